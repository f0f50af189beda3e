"""Pictures of TensorBoard, for the pages that explain it."""

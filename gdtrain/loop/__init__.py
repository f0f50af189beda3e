"""`fit`, `evaluate` and `predict`, by blocks of steps."""

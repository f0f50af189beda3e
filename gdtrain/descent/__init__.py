"""One step of gradient descent: tensors in, tensors out."""

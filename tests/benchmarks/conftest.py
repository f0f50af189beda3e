"""Keeps pytest from importing benchmarks: PyTorch or JAX may not be there."""

collect_ignore_glob = ["*.py"]

"""A disk that is full."""

import contextlib
import resource


@contextlib.contextmanager
def files_up_to(size_bytes):
    """While open, no file of this process grows beyond a size."""
    allowed, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (allowed, hard))

"""Paths that mean the same file until the end."""

import os


def absolute(path: str | os.PathLike) -> str:
    """A path that `os.chdir` does not change; a URL stays as it is.

    Example:

    >>> absolute("logs") == os.path.join(os.getcwd(), "logs")
    True
    >>> absolute("gs://bucket/logs")
    'gs://bucket/logs'
    """
    path = os.fspath(path)
    return path if "://" in path else os.path.abspath(path)

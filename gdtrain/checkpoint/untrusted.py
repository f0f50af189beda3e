"""Reads files that anyone may have written, whatever they hold.

Nothing is opened but plain files, and no more is read than belongs there.
"""

import json
import math
import os
import stat
from collections.abc import Iterator
from typing import IO, Any


class Damaged(ValueError):
    """A checkpoint is not as it was written."""


def opened(path: str) -> IO[bytes]:
    """Opens a plain file, without following a link or waiting for a pipe.

    Raises:
        Damaged: if it is something else.
        OSError: if it cannot be opened.
    """
    _check_plain(path, os.lstat(path))  # Opening alone may do something.
    flags = os.O_RDONLY
    for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"):
        flags |= getattr(os, name, 0)
    file = os.fdopen(os.open(path, flags), "rb")
    try:
        _check_plain(path, os.fstat(file.fileno()))  # It may be another now.
    except Damaged:
        file.close()
        raise
    return file


def names_below(folder: str) -> Iterator[str]:
    """Names of all files in a folder and below, with `/` between folders.

    Raises:
        Damaged: if there is something else than files and folders.
        OSError: if the folder cannot be read.
    """
    with os.scandir(folder) as entries:
        for entry in entries:
            status = entry.stat(follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                for name in names_below(entry.path):
                    yield f"{entry.name}/{name}"
            else:
                _check_plain(entry.path, status)
                yield entry.name


def is_name_below(name: object) -> bool:
    """Whether a name with `/` between folders leads to no other folder."""
    return (
        isinstance(name, str)
        and not set("\\:\0") & set(name)
        and all(part not in ("", ".", "..") for part in name.split("/"))
    )


def parsed(data: bytes) -> Any:
    """What JSON of this library says.

    Raises:
        ValueError: at what `json.dumps(..., allow_nan=False)` never writes:
            NaN, a number beyond float64, a name that comes twice in a dict.
        RecursionError: if it is nested very deep.

    Example:

    >>> parsed(b'{"step": 3}')
    {'step': 3}
    >>> parsed(b'{"step": NaN}')
    Traceback (most recent call last):
    ValueError: JSON has no number NaN
    """
    return json.loads(
        data,
        object_pairs_hook=_each_once,
        parse_constant=_no_number,
        parse_float=_float,
    )


def _each_once(pairs):
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name comes twice")
    return found


def _no_number(text):
    raise ValueError(f"JSON has no number {text}")


def _float(text):
    number = float(text)
    return number if math.isfinite(number) else _no_number(text[:20])


def _check_plain(path, status):
    """Raises unless something is a plain file."""
    kind = status.st_mode
    if stat.S_ISDIR(kind):
        raise Damaged(f"{path} is missing.")
    if not stat.S_ISREG(kind):
        what = "a symbolic link" if stat.S_ISLNK(kind) else "a special file"
        raise Damaged(f"{path} must be a plain file. Received: {what}.")

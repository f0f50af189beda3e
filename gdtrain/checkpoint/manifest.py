"""Reads files that anyone may have written, whatever they hold.

Nothing is opened but plain files, and no more is read than belongs there.
"""

import contextlib
import errno
import hashlib
import json
import math
import os
import pathlib
import re
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


NAME = "manifest.json"
FORMAT = 2
_PIECE = 2**20  # Bytes that are read at a time
_LARGEST = 2**24  # Bytes of a manifest
_SHA256 = re.compile("[0-9a-f]{64}")
# What file managers leave anywhere
_IGNORED = {".DS_Store", "Thumbs.db", "desktop.ini"}


class WrongFormat(ValueError):
    """A checkpoint was written by another version of gdtrain."""


def write(folder):
    """Adds a manifest of all files that are in a folder and below it.

    Args:
        folder: The folder. It has no manifest yet.

    Raises:
        OSError: if a file cannot be read or the manifest cannot be written.

    Example:

    >>> import tempfile
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> _ = (folder / "text").write_text("four")
    >>> write(folder)
    >>> check(folder)
    ['text']
    >>> _ = (folder / "text").write_text("f")
    >>> check(folder)
    Traceback (most recent call last):
    gdtrain.checkpoint.manifest.Damaged: ...text is shorter than it was...
    """
    files = {}
    for path in sorted(pathlib.Path(folder).rglob("*")):
        if path.is_file():
            with open(path, "rb") as file:
                files[path.relative_to(folder).as_posix()] = _measured(file)
    text = json.dumps({"format": FORMAT, "files": files}, indent=1)
    rest = text.removeprefix("{\n").encode()
    with open(os.path.join(folder, NAME), "wb") as file:
        file.write(_first_line(rest) + rest)


def check(folder):
    """Checks each file against the manifest, and that there are no others.

    Args:
        folder: The folder.

    Returns:
        The names of the files, with `/` between folders.

    Raises:
        Damaged: if a file or the manifest is missing or changed, or there is
            one that the manifest does not name, or no plain file.
        WrongFormat: if another version wrote the manifest.
        OSError: if reading is not allowed.
    """
    files = _files(os.path.join(folder, NAME))
    for name in names_below(folder):
        if name not in files and name != NAME and name not in _IGNORED:
            raise Damaged(
                f"{os.path.join(folder, name)} is not of this checkpoint: its "
                "manifest does not name it. Remove that file."
            )
    paths = {os.path.join(folder, name): was for name, was in files.items()}
    for path, was in paths.items():
        with _opened(path) as file:
            _check_size(path, os.fstat(file.fileno()).st_size, was["size"])
    for path, was in paths.items():
        with _opened(path) as file:
            if _measured(file, was["size"]) != was:
                raise Damaged(f"{path} was changed: its SHA-256 is another.")
    return list(files)


def _files(path):
    """The files that an undamaged manifest of a known format names."""
    with _opened(path) as file:
        data = file.read(_LARGEST + 1)
    if len(data) > _LARGEST:
        raise Damaged(f"{path} is longer than a manifest is.")
    line, _, rest = data.partition(b"\n")
    # Of bytes, so that it holds for formats that are not known yet
    if line + b"\n" != _first_line(rest):
        raise Damaged(
            f"{path} was cut or changed: its SHA-256 is not that of its "
            "first line."
        )
    try:
        manifest = parsed(data)
        number = _number(manifest["format"])
        files = _checked(manifest["files"]) if number == FORMAT else {}
    except Exception as error:
        raise Damaged(f"{path} is no manifest: {error!r}.") from error
    if number != FORMAT:
        remedy = (
            "Update gdtrain"
            if number > FORMAT
            else "Delete it to train from the start, or use the version of "
            "gdtrain that wrote it"
        )
        raise WrongFormat(
            f"A checkpoint must be of format {FORMAT} to be read by this "
            f"version of gdtrain. Received: {os.path.dirname(path)} of format "
            f"{number}. {remedy}."
        )
    return files


def _checked(files):
    """The files, if each has what a manifest says of one."""
    for name, file in files.items():
        if not is_name_below(name) or name == NAME:
            raise ValueError(f"{name!r} is no name of a file below it")
        if not _SHA256.fullmatch(file["sha256"]) or len(file) != 2:
            raise ValueError(f"{name!r} is described by {file!r}")
        _number(file["size"])
    return files


def _number(value):
    """A whole number that is not negative."""
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r} is no whole number")
    return value


def _first_line(rest):
    """The first line of a manifest, by the lines below it."""
    return b'{"sha256": "%s",\n' % hashlib.sha256(rest).hexdigest().encode()


def _measured(file, most=math.inf):
    """Size and SHA-256 of an open file, or of so many bytes and some more."""
    digest = hashlib.sha256()
    while file.tell() <= most and (piece := file.read(_PIECE)):
        digest.update(piece)
    return {"size": file.tell(), "sha256": digest.hexdigest()}


def _check_size(path, size, was):
    """Raises if a file became shorter or longer."""
    if size != was:
        change = "shorter" if size < was else "longer"
        raise Damaged(
            f"{path} is {change} than it was: {size} bytes, not {was}."
        )


@contextlib.contextmanager
def _opened(path):
    """A file to be read; that it cannot be is damage if the disk says so."""
    try:
        with opened(path) as file:
            yield file
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise Damaged(f"{path} is missing.") from None
    except OSError as error:
        # A lack of rights is none, and going back would hide it.
        if error.errno != errno.EIO:
            raise
        raise Damaged(f"{path} cannot be read from the disk.") from error

"""The manifest of a checkpoint, by which it is known to be as it was written.

The files may come from anywhere: nothing is opened but plain files, and no
more is read than belongs there.
"""

import contextlib
import errno
import hashlib
import json
import math
import os
import re
import stat
from collections.abc import Iterable, Iterator
from typing import IO, Any, NoReturn

from gdtrain.common.explained import more

NAME = "manifest.json"
FORMAT = 2
_PIECE = 2**20  # Bytes that are read at a time
_LARGEST = 2**24  # Bytes of a manifest
_SHA256 = re.compile("[0-9a-f]{64}")
# What file managers leave anywhere
_IGNORED = {".DS_Store", "Thumbs.db", "desktop.ini"}


class Damaged(ValueError):
    """A checkpoint is not as it was written."""


class WrongFormat(ValueError):
    """A checkpoint was written by a different version of gdtrain."""


@contextlib.contextmanager
def opened(path: str) -> Iterator[IO[bytes]]:
    """Opens a plain file, without following a link or waiting for a pipe.

    Raises:
        Damaged: if it is something else, missing, or the disk fails.
        OSError: if it cannot be opened otherwise, as for a lack of rights,
            where going back to an older checkpoint would hide the reason.
    """
    flags = os.O_RDONLY
    for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"):
        flags |= getattr(os, name, 0)  # Which of them there are
    try:
        _check_plain(path, os.lstat(path))  # Opening alone may do something.
        with os.fdopen(os.open(path, flags), "rb") as file:
            _check_plain(path, os.fstat(file.fileno()))  # It may have changed.
            yield file
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise Damaged(f"{path} is missing.") from None
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        raise Damaged(f"{path} cannot be read from the disk.") from error


def _check_plain(path: str, status: os.stat_result) -> None:
    """Raises unless something is a plain file."""
    kind = status.st_mode
    if stat.S_ISDIR(kind):
        raise Damaged(f"{path} is missing.")
    if not stat.S_ISREG(kind):
        what = "a symbolic link" if stat.S_ISLNK(kind) else "a special file"
        raise Damaged(f"{path} must be a plain file. Received: {what}.")


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


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name comes twice")
    return found


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"JSON has no number {text}")


def _float(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _no_number(text[:20])


def write(folder: str, names: Iterable[str]) -> None:
    """Adds the manifest of some files of a folder.

    Raises:
        OSError: if a file cannot be read or the manifest cannot be written.

    Example:

    >>> import pathlib, tempfile
    >>> folder = tempfile.mkdtemp()
    >>> file = pathlib.Path(folder, "text")
    >>> _ = file.write_text("four")
    >>> write(folder, ["text"])
    >>> check(folder, ["text"])
    >>> _ = file.write_text("f")
    >>> check(folder, ["text"])
    Traceback (most recent call last):
    gdtrain.checkpoint.manifest.Damaged: ...text is shorter than it was...
    """
    files = {}
    for name in names:
        with open(os.path.join(folder, name), "rb") as file:
            files[name] = _measured(file)
    text = json.dumps({"format": FORMAT, "files": files}, indent=1)
    rest = text.removeprefix("{\n").encode()
    with open(os.path.join(folder, NAME), "wb") as file:
        file.write(_first_line(rest) + rest)


def check(folder: str, names: Iterable[str]) -> None:
    """Checks files against their manifest, and that there are no others.

    Raises:
        Damaged: if a file or the manifest is missing or changed, or there is
            an additional file, or no plain file.
        WrongFormat: if a different version wrote the manifest.
        OSError: if reading is not allowed.
    """
    files = _described(os.path.join(folder, NAME), {*names})
    for name in os.listdir(folder):
        if name not in files and name != NAME and name not in _IGNORED:
            raise Damaged(
                f"{os.path.join(folder, name)} is not of this checkpoint. "
                "Remove it."
            )
    paths = {os.path.join(folder, name): was for name, was in files.items()}
    for path, was in paths.items():
        with opened(path) as file:
            size = os.fstat(file.fileno()).st_size
        if size != was["size"]:
            change = "shorter" if size < was["size"] else "longer"
            raise Damaged(
                f"{path} is {change} than it was: {size} bytes, not "
                f"{was['size']}."
            )
    for path, was in paths.items():
        with opened(path) as file:
            if _measured(file, was["size"]) != was:
                raise Damaged(f"{path} was changed: its SHA-256 differs.")


def _described(path: str, names: set[str]) -> dict[str, dict[str, Any]]:
    """What an undamaged manifest of this format says of files of such names."""
    data = _signed(path)
    try:
        manifest = parsed(data)
        number = _whole(manifest["format"])
        if number == FORMAT:
            files = manifest["files"]
            if set(files) != names:
                raise ValueError(f"it describes {sorted(files)[:3]}")
            for file in files.values():
                _whole(file["size"])
                if not _SHA256.fullmatch(file["sha256"]) or len(file) != 2:
                    raise ValueError(f"it describes a file by {file!r}")
            return files
    except Exception as error:
        raise Damaged(f"{path} is no manifest: {error!r}.") from error
    remedy = "Update gdtrain."
    if number < FORMAT:
        remedy = (
            "Delete it to train from the start, or use the version of gdtrain "
            "that wrote it."
        )
    raise WrongFormat(
        f"A checkpoint must be of format {FORMAT} to be read by this version "
        f"of gdtrain. Received: {os.path.dirname(path)} of format {number}. "
        f"{remedy}" + more("damaged-checkpoint")
    )


def _signed(path: str) -> bytes:
    """A manifest, checked by its first line.

    Of bytes, so that it holds for formats that are not known yet.
    """
    with opened(path) as file:
        data = file.read(_LARGEST + 1)
    if len(data) > _LARGEST:
        raise Damaged(f"{path} is longer than a manifest is.")
    line, _, rest = data.partition(b"\n")
    if line + b"\n" != _first_line(rest):
        raise Damaged(
            f"{path} was cut or changed: its SHA-256 is not that of its "
            "first line."
        )
    return data


def _whole(value: Any) -> int:
    """Checks a whole number that is not negative."""
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r} is no whole number")
    return value


def _first_line(rest: bytes) -> bytes:
    """The first line of a manifest, by the lines below it."""
    return b'{"sha256": "%s",\n' % hashlib.sha256(rest).hexdigest().encode()


def _measured(file: IO[bytes], most: float = math.inf) -> dict[str, Any]:
    """Size and SHA-256 of a file, or of little more than so many bytes."""
    digest = hashlib.sha256()
    while file.tell() <= most and (piece := file.read(_PIECE)):
        digest.update(piece)
    return {"size": file.tell(), "sha256": digest.hexdigest()}

"""The cache folder: what can be made again is kept there.

Rows of arrays are in packs: a pack is a `.npy` file and a little more. After
the array follows, as JSON, what its rows were made of. It is written last, so
that a file that ends too early is noticed.
"""

import contextlib
import errno
import hashlib
import json
import math
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import IO, NamedTuple

import numpy as np

from gdtrain.common.failures import FailureReporter

PACK_ENDING = ".npy"

_PART = ".part"  # The ending of a file that is being written
_ABANDONED_SECONDS = 24 * 3600  # Since the last write: its process was killed

_reporter = FailureReporter()


def folder(cache_dir: str | os.PathLike | None = None) -> str:
    """The path of the cache folder, which may be deleted at any time.

    Args:
        cache_dir: By default `$XDG_CACHE_HOME/gdtrain`, or
            `~/.cache/gdtrain` if that is not set.
    """
    if cache_dir is not None:
        return os.path.abspath(os.path.expanduser(cache_dir))
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.path.join(home, "gdtrain")


def path(folder: str, kind: str, contents: Iterable[str], ending: str) -> str:
    """The path of the file that keeps what is made of some contents."""
    key = hashlib.sha256("\n".join(contents).encode()).hexdigest()[:32]
    return os.path.join(folder, kind + key + ending)


def keeping(folder: str) -> contextlib.AbstractContextManager[None]:
    """Turns an error in writing to the cache folder into a warning."""
    return _reporter.catch(
        f"Nothing is kept in the cache folder {folder!r}",
        "What is there stays in memory; the next run makes it again.",
    )


@contextlib.contextmanager
def writing(path: str, size_bytes: int) -> Iterator[IO[bytes]]:
    """A new file, which has its name once all of it is on the disk.

    Processes that write the same file do not meet: the last one replaces what
    is there by the same content.

    Args:
        path: Of the file. The folder is made.
        size_bytes: About how much will be written.

    Raises:
        OSError: if it cannot be written, at once if there is too little room.
    """
    folder = os.path.dirname(path)
    os.makedirs(folder, exist_ok=True)
    _delete_abandoned(folder)
    if size_bytes > shutil.disk_usage(folder).free:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), folder)
    file = tempfile.NamedTemporaryFile(dir=folder, suffix=_PART, delete=False)
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(file.name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.remove(file.name)
        raise


def _delete_abandoned(folder: str) -> None:
    """Deletes what processes that were killed have left."""
    before = time.time() - _ABANDONED_SECONDS
    for name in os.listdir(folder):
        path = os.path.join(folder, name)
        with contextlib.suppress(OSError):  # Another process is faster.
            if name.endswith(_PART) and os.path.getmtime(path) < before:
                os.remove(path)


class Pack(NamedTuple):
    """Rows of an array, such as decoded photos.

    Attributes:
        rows: `[n, ...]`, a memory map.
        digests: Of the content that each row was made of.
        failed: Why no row could be made of others, by digest.
    """

    rows: np.ndarray
    digests: list[str]
    failed: dict[str, str]


def write_pack(
    file: IO[bytes],
    parts: Iterable[np.ndarray],
    row: np.ndarray,
    digests: Iterable[str],
    failed: Mapping[str, str],
) -> None:
    """Writes a pack to a new file.

    Args:
        file: The file.
        parts: Arrays of some rows each.
        row: One with the shape and dtype of all.
        digests, failed: As in `Pack`. They are read after the last row.
    """
    _write_header(file, 0, row)
    start = file.tell()
    count = 0
    for part in parts:
        file.write(np.ascontiguousarray(part).data)
        count += len(part)
    facts = {"digests": list(digests), "failed": dict(failed)}
    file.write(json.dumps(facts).encode())
    file.seek(0)
    _write_header(file, count, row)
    assert file.tell() == start  # NumPy leaves room for a larger count.


def _write_header(file: IO[bytes], count: int, row: np.ndarray) -> None:
    """Writes the beginning of a `.npy` file of some rows."""
    header = {
        "descr": np.lib.format.dtype_to_descr(row.dtype),
        "fortran_order": False,
        "shape": (count, *row.shape),
    }
    np.lib.format.write_array_header_1_0(file, header)


def read_pack(path: str) -> Pack | None:
    """The pack in a file; `None` if there is none that is whole."""
    with contextlib.suppress(OSError, ValueError, KeyError):
        with open(path, "rb") as file:
            np.lib.format.read_magic(file)
            shape, _, dtype = np.lib.format.read_array_header_1_0(file)
            start = file.tell()
            file.seek(start + math.prod(shape) * dtype.itemsize)
            facts = json.load(file)
            rows: np.ndarray = np.empty(shape, dtype)
            if rows.size:  # No bytes cannot be mapped.
                rows = np.memmap(file, dtype, "r", start, shape)
        return Pack(rows, facts["digests"], facts["failed"])
    return None


def known_rows(folder: str, kind: str) -> dict[str, np.ndarray | str]:
    """What is in all packs whose names begin with `kind`, by digest.

    Returns:
        Rows, and of contents of which none could be made, why.
    """
    found: dict[str, np.ndarray | str] = {}
    for _, pack in _packs(folder, kind):
        # As plain arrays, of which a row is taken in less time
        found |= zip(pack.digests, np.asarray(pack.rows), strict=True)
        found |= pack.failed
    return found


def delete_contained(folder: str, kind: str, path: str) -> None:
    """Deletes packs of a kind that have nothing but what is in one of them.

    A collection that grows would else leave a pack for each of its sizes.
    """
    whole = read_pack(path)
    if whole is None:
        return
    contents = {*whole.digests, *whole.failed}
    for other, part in _packs(folder, kind):
        is_contained = contents.issuperset([*part.digests, *part.failed])
        if is_contained and other != path:
            # Maps of it stay; where a system refuses, it stays too.
            with contextlib.suppress(OSError):
                os.remove(other)


def _packs(folder: str, kind: str) -> Iterator[tuple[str, Pack]]:
    """Paths and packs whose names begin with `kind`."""
    for name in os.listdir(folder) if os.path.isdir(folder) else []:
        if name.startswith(kind) and name.endswith(PACK_ENDING):
            path = os.path.join(folder, name)
            pack = read_pack(path)
            if pack is not None:
                yield path, pack

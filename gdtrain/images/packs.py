"""Packs: files of many rows, each a `.npy` file and a little more.

After the array follows, as JSON, what its rows were made of. It is written
last, so that a file that ends too early is noticed.
"""

import contextlib
import json
import math
import os
from collections.abc import Iterable, Mapping
from typing import IO, NamedTuple

import numpy as np

ENDING = ".npy"


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


def write(
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


def read(path: str) -> Pack | None:
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


def known(folder: str, kind: str) -> dict[str, np.ndarray | str]:
    """What is in all packs whose names begin with `kind`, by digest.

    Returns:
        Rows, and of contents of which none could be made, why.
    """
    found: dict[str, np.ndarray | str] = {}
    names = os.listdir(folder) if os.path.isdir(folder) else []
    for name in names:
        if name.startswith(kind) and name.endswith(ENDING):
            pack = read(os.path.join(folder, name))
            if pack is not None:
                # As plain arrays, of which a row is taken in less time
                found |= zip(pack.digests, np.asarray(pack.rows), strict=True)
                found |= pack.failed
    return found


def delete_contained(folder: str, kind: str, path: str) -> None:
    """Deletes packs of a kind that have nothing but what is in one of them.

    A collection that grows would else leave a pack for each of its sizes.
    """
    whole = read(path)
    if whole is None:
        return
    contents = {*whole.digests, *whole.failed}
    for name in os.listdir(folder):
        other = os.path.join(folder, name)
        if name.startswith(kind) and name.endswith(ENDING) and other != path:
            part = read(other)
            if part and contents.issuperset([*part.digests, *part.failed]):
                # Maps of it stay; where a system refuses, it stays too.
                with contextlib.suppress(OSError):
                    os.remove(other)

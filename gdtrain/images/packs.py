"""Packs: files of many decoded photos, each a `.npy` file and a little more.

After the array follows, as JSON, what its rows are. It is written last, so
that a file that ends too early is noticed.
"""

import contextlib
import json
import math
import os
from collections.abc import Iterable
from typing import IO, NamedTuple

import numpy as np

ENDING = ".npy"


class Pack(NamedTuple):
    """Decoded photos.

    Attributes:
        images: uint8 `[n, height, width, channels]`, a memory map.
        digests: Of the content that each row was decoded from.
        damaged: Why others could not be decoded, by digest.
    """

    images: np.ndarray
    digests: list[str]
    damaged: dict[str, str]


def write(
    file: IO[bytes],
    images: Iterable[np.ndarray],
    shape: tuple[int, ...],
    digests: list[str],
    damaged: dict[str, str],
) -> None:
    """Writes a pack to a new file.

    Args:
        file: The file.
        images: Its rows.
        shape: Of one of them.
        digests, damaged: As in `Pack`. They are read after the last row.
    """
    _write_header(file, 0, shape)
    start = file.tell()
    count = 0
    for image in images:
        file.write(np.ascontiguousarray(image).data)
        count += 1
    facts = {"digests": digests, "damaged": damaged}
    file.write(json.dumps(facts).encode())
    file.seek(0)
    _write_header(file, count, shape)
    assert file.tell() == start  # NumPy leaves room for a larger count.


def _write_header(file: IO[bytes], count: int, shape: tuple[int, ...]) -> None:
    """Writes the beginning of a `.npy` file of some images."""
    header = {"descr": "|u1", "fortran_order": False, "shape": (count, *shape)}
    np.lib.format.write_array_header_1_0(file, header)


def read(path: str) -> Pack | None:
    """The pack in a file; `None` if there is none that is whole."""
    with contextlib.suppress(OSError, ValueError, KeyError):
        with open(path, "rb") as file:
            np.lib.format.read_magic(file)
            shape, _, _ = np.lib.format.read_array_header_1_0(file)
            start = file.tell()
            file.seek(start + math.prod(shape))
            facts = json.load(file)
            images: np.ndarray = np.empty(shape, np.uint8)
            if len(images):  # No bytes cannot be mapped.
                images = np.memmap(file, np.uint8, "r", start, shape)
        return Pack(images, facts["digests"], facts["damaged"])
    return None


def known(folder: str, kind: str) -> dict[str, np.ndarray | str]:
    """What is in all packs whose names begin with `kind`, by digest.

    Returns:
        Images, and of contents that could not be decoded, why.
    """
    found: dict[str, np.ndarray | str] = {}
    names = os.listdir(folder) if os.path.isdir(folder) else []
    for name in names:
        if name.startswith(kind) and name.endswith(ENDING):
            pack = read(os.path.join(folder, name))
            if pack is not None:
                found |= zip(pack.digests, pack.images, strict=True)
                found |= pack.damaged
    return found

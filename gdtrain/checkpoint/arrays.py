"""Arrays by name in one file, as `numpy.savez` writes them and no other way."""

import collections
import math
import zipfile

import numpy as np

_AROUND = 512  # Most bytes that a zip file has for a member, and at its end
_ENDING = ".npy"


def write(file, arrays: dict) -> None:
    """Writes arrays of numbers."""
    np.savez(file, **arrays)


def read(file) -> dict:
    """Reads what `write` wrote.

    A zip file may hold more than it is long, and say of itself what it likes:
    before an array is made, its bytes must be there.

    Raises:
        ValueError, zipfile.BadZipFile: if it is not what `write` writes.
    """
    size = file.seek(0, 2)
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        if any(m.compress_type != zipfile.ZIP_STORED for m in members):
            raise ValueError("its arrays are compressed")
        if any(m.file_size != m.compress_size for m in members):
            raise ValueError("sizes of its arrays contradict each other")
        needed = sum(m.file_size + _AROUND for m in members) + _AROUND
        if size > needed or sum(m.file_size for m in members) > size:
            raise ValueError(f"it has {size} bytes, not what its arrays need")
        names = [m.filename.removesuffix(_ENDING) for m in members]
        if len(set(names)) < len(names):
            raise ValueError("an array comes twice")
        return {
            name: _array(archive, member)
            for name, member in zip(names, members, strict=True)
        }


def _array(archive, member):
    """One array, whose header is looked at first."""
    with archive.open(member) as file:
        if np.lib.format.read_magic(file) != (1, 0):
            raise ValueError("an array is of another version")
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
        if dtype.hasobject or dtype.kind not in "biufc":
            raise ValueError(f"an array is of dtype {dtype}")
        if file.tell() + math.prod(shape) * dtype.itemsize != member.file_size:
            raise ValueError(f"an array of shape {shape} is not all there")
    with archive.open(member) as file:
        return np.lib.format.read_array(file, allow_pickle=False)


class Noting(collections.UserDict):
    """Arrays by name; which are asked for is noted.

    Args:
        arrays: The arrays.
        left: A set of their names, of which those are removed.
    """

    def __init__(self, arrays, left):
        super().__init__(arrays)
        self._left = left

    def __getitem__(self, name):
        self._left.discard(name)
        return super().__getitem__(name)

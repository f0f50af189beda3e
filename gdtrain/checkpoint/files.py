"""Arrays by name in one file, as `numpy.savez` writes them and no other way."""

import collections
import json
import math
import os
import shutil
import zipfile

import numpy as np

from gdtrain.checkpoint import manifest
from gdtrain.checkpoint.manifest import Damaged, WrongFormat
from gdtrain.checkpoint.tree import pack, unpack

_AROUND = 512  # Most bytes that a zip file has for a member, and at its end
_ENDING = ".npy"


def write_arrays(file, arrays: dict) -> None:
    """Writes arrays of numbers."""
    np.savez(file, **arrays)


def read_arrays(file) -> dict:
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


__all__ = ["Damaged", "WrongFormat", "read", "write"]

_STATE = "state.json"
_ARRAYS = "arrays.npz"
_EXTRA = "extra"
_LARGEST = 2**28  # Bytes of a state beside its arrays


def write(folder, tree, extra=None):
    """Writes a checkpoint, and replaces the one that is there.

    At each moment, what is there is the new one, or the old one. In between
    two renamings the old one is `<folder>.old`; `Backups` looks there too.

    Args:
        folder: Path of the checkpoint. The folders above it are made.
        tree: The state; see `gdtrain.checkpoint.tree.pack`.
        extra: Path of a folder whose content is moved to the checkpoint. It
            is gone also if writing fails then.

    Raises:
        TypeError: if the tree holds what cannot be saved.
        OSError: if it cannot be written.

    Example:

    >>> import tempfile, numpy as np
    >>> folder = os.path.join(tempfile.mkdtemp(), "step-000000000007")
    >>> write(folder, {"step": 7, "weights": [np.zeros(2)]})
    >>> sorted(os.listdir(folder))
    ['arrays.npz', 'manifest.json', 'state.json']
    >>> read(folder)
    ({'step': 7, 'weights': [array([0., 0.])]}, None)
    """
    folder = os.path.abspath(folder)
    part = folder + ".part"
    try:
        _fill(part, tree, extra)
        _place(part, folder)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def read(folder):
    """Reads a checkpoint, all of which is checked first.

    Args:
        folder: Path of the checkpoint.

    Returns:
        `(tree, extra)`: the state, and the path of the folder of other files
        or `None` if there are none.

    Raises:
        Damaged: if it is not as it was written.
        WrongFormat: if another version of gdtrain wrote it.
        OSError: if reading is not allowed.
    """
    folder = os.path.abspath(folder)
    if os.path.islink(folder):
        raise Damaged(f"{folder} must be a folder. Received: a symbolic link.")
    names = manifest.check(folder)
    found = _parsed(os.path.join(folder, _ARRAYS), read_arrays)
    tree = _parsed(
        os.path.join(folder, _STATE), lambda file: _unpacked(file, found)
    )
    has_extra = any(name.startswith(_EXTRA + "/") for name in names)
    return tree, os.path.join(folder, _EXTRA) if has_extra else None


def _fill(part, tree, extra):
    """Makes the folder anew with all that belongs to it, on the disk."""
    packed, named = pack(tree)
    text = json.dumps(packed, allow_nan=False).encode()
    if len(text) > _LARGEST:
        raise ValueError(
            f"A state to be saved may have {_LARGEST} bytes beside its arrays. "
            f"Received: {len(text)}. Turn long lists of numbers into arrays."
        )
    shutil.rmtree(part, ignore_errors=True)
    os.makedirs(part)
    with open(os.path.join(part, _STATE), "wb") as file:
        file.write(text)
    with open(os.path.join(part, _ARRAYS), "wb") as file:
        write_arrays(file, named)
    if extra is not None:
        os.mkdir(os.path.join(part, _EXTRA))
        for name in os.listdir(extra):
            to = os.path.join(part, _EXTRA, name)
            shutil.move(os.path.join(extra, name), to)
    manifest.write(part)
    _sync_all(part)


def _place(part, folder):
    """Gives the written folder its name."""
    old = folder + ".old"
    if os.path.lexists(folder):
        # A folder that is not empty cannot be replaced by a single renaming.
        shutil.rmtree(old, ignore_errors=True)
        os.rename(folder, old)
    os.rename(part, folder)
    _sync_folder(os.path.dirname(folder))
    shutil.rmtree(old, ignore_errors=True)


def _sync_all(folder):
    """Waits until all in a folder is on the disk."""
    for parent, _, names in os.walk(folder):
        for name in names:
            # Windows syncs no file that is open for reading alone.
            with open(os.path.join(parent, name), "r+b") as file:
                os.fsync(file.fileno())
        _sync_folder(parent)


def _sync_folder(folder):
    """Waits until the names in a folder are on the disk, where it can."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return  # Windows opens no folder.
    try:
        os.fsync(descriptor)
    except OSError:
        pass  # Some file systems of a network sync no folder.
    finally:
        os.close(descriptor)


def _unpacked(file, found):
    """The state, of arrays by name; all of them must be part of it."""
    data = file.read(_LARGEST + 1)
    if len(data) > _LARGEST:
        raise ValueError(f"it has more than {_LARGEST} bytes")
    left = set(found)
    tree = unpack(manifest.parsed(data), Noting(found, left))
    if left:
        raise ValueError(f"it does not use the arrays {sorted(left)[:3]}")
    return tree


def _parsed(path, parse):
    """What a file holds; whatever goes wrong in parsing is damage."""
    try:
        with manifest.opened(path) as file:
            return parse(file)
    except (MemoryError, Damaged):
        raise
    except Exception as error:
        raise Damaged(f"{path} cannot be understood: {error!r}.") from error

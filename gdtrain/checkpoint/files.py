"""One checkpoint: a state in a folder, whole or not at all."""

import json
import os
import shutil
from collections.abc import Callable
from typing import IO, Any

import numpy as np

from gdtrain.checkpoint import manifest
from gdtrain.checkpoint.manifest import Damaged
from gdtrain.checkpoint.tree import Arrays, pack, read_arrays, unpack

_STATE = "state.json"
_ARRAYS = "arrays.npz"
_LARGEST = 2**28  # Bytes of a state beside its arrays


def write(folder: str | os.PathLike, tree: Any) -> None:
    """Writes a checkpoint, and replaces the one that is there.

    At each moment, either the new one is there or the old one. In between
    two renamings the old one is `<folder>.old`; `Backups` looks there too.

    Args:
        folder: Path of the checkpoint. The folders above it are made.
        tree: The state; see `gdtrain.checkpoint.tree.pack`.

    Raises:
        TypeError: if the tree holds what cannot be saved.
        OSError: if it cannot be written.

    Example:

    >>> import tempfile
    >>> folder = os.path.join(tempfile.mkdtemp(), "step-000000000007")
    >>> write(folder, {"step": 7, "weights": [np.zeros(2)]})
    >>> sorted(os.listdir(folder))
    ['arrays.npz', 'manifest.json', 'state.json']
    >>> read(folder)
    {'step': 7, 'weights': [array([0., 0.])]}
    """
    folder = os.path.abspath(folder)
    part = folder + ".part"
    try:
        _fill(part, tree)
        _place(part, folder)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def read(folder: str | os.PathLike) -> Any:
    """Reads the state of a checkpoint, all of which is checked first.

    Raises:
        Damaged: if it is not as it was written.
        WrongFormat: if another version of gdtrain wrote it.
        OSError: if reading is not allowed.
    """
    folder = os.path.abspath(folder)
    if os.path.islink(folder):
        raise Damaged(f"{folder} must be a folder. Received: a symbolic link.")
    manifest.check(folder, [_STATE, _ARRAYS])
    arrays = _parsed(os.path.join(folder, _ARRAYS), read_arrays)
    return _parsed(
        os.path.join(folder, _STATE), lambda file: _read_tree(file, arrays)
    )


def _fill(part: str, tree: Any) -> None:
    """Makes the folder with all that belongs to it, on the disk."""
    packed, arrays = pack(tree)
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
        np.savez(file, **arrays)
    manifest.write(part, [_STATE, _ARRAYS])
    for name in os.listdir(part):
        # Windows syncs no file that is open for reading alone.
        with open(os.path.join(part, name), "r+b") as file:
            os.fsync(file.fileno())
    _sync_folder(part)


def _place(part: str, folder: str) -> None:
    """Gives the written folder its name."""
    old = folder + ".old"
    if os.path.lexists(folder):
        # A folder that is not empty cannot be replaced by a single renaming.
        shutil.rmtree(old, ignore_errors=True)
        os.rename(folder, old)
    os.rename(part, folder)
    _sync_folder(os.path.dirname(folder))
    shutil.rmtree(old, ignore_errors=True)


def _sync_folder(folder: str) -> None:
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


def _read_tree(file: IO[bytes], arrays: Arrays) -> Any:
    """The state, which must use all of the arrays."""
    data = file.read(_LARGEST + 1)
    if len(data) > _LARGEST:
        raise ValueError(f"it has more than {_LARGEST} bytes")
    tree = unpack(manifest.parsed(data), arrays)
    if arrays:
        raise ValueError(f"it does not use the arrays {sorted(arrays)[:3]}")
    return tree


def _parsed(path: str, parse: Callable[[IO[bytes]], Any]) -> Any:
    """What a file holds; whatever goes wrong in parsing is damage."""
    try:
        with manifest.opened(path) as file:
            return parse(file)
    except (MemoryError, Damaged):
        raise
    except Exception as error:
        raise Damaged(f"{path} cannot be understood: {error!r}.") from error

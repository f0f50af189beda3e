"""Trees of plain values and arrays, as JSON and named arrays."""

import contextlib
import json
import math
import os
import shutil
import struct
import zipfile
from collections.abc import Callable
from typing import IO, Any

import numpy as np

from gdtrain.checkpoint import manifest
from gdtrain.checkpoint.manifest import Damaged

_KIND = "%kind"  # Marks a dict that stands for something else.
_STATE = "state.json"
_ARRAYS = "arrays.npz"
_LARGEST = 2**28  # Bytes of a state beside its arrays
_AROUND = 512  # Most bytes that a zip file has for a member, and at its end

Arrays = dict[str, Any]  # NumPy arrays by name


def pack(tree: Any) -> tuple[Any, Arrays]:
    """Splits a tree into what JSON can hold and its arrays.

    All comes back with `unpack` bit for bit: floats (NaN and its bits too),
    integers of any size, and arrays and NumPy scalars of any dtype of numbers
    or bool, those of `ml_dtypes` included. Types must be exact, as a subclass
    would come back as something else.

    Args:
        tree: Dicts with string keys, lists, tuples, `None`, bool, int, float,
            str, NumPy arrays and NumPy scalars.

    Returns:
        `(packed, arrays)`: what `json.dumps` takes, and a dict of arrays by
        name, none of which needs pickle. Arrays are not copied.

    Raises:
        TypeError: if something else is in the tree.

    Example:

    >>> pack({"step": 3, "loss": [0.5, np.float32(2)]})
    ({'step': 3, 'loss': [0.5, {'%kind': 'scalar', 'array': '0'}]},
     {'0': array(2., dtype=float32)})
    >>> pack({"callbacks": [{"best": {1, 2}}]})
    Traceback (most recent call last):
    TypeError: ... must be... Received: callbacks/0/best of type set...
    """
    arrays: Arrays = {}
    return _packed(tree, "", arrays), arrays


def unpack(packed: Any, arrays: Arrays) -> Any:
    """The tree that `pack` was given.

    Args:
        packed: What `pack` returned first, or JSON read back.
        arrays: What `pack` returned second; those of the tree are removed.

    Example:

    >>> unpack(*pack({"loss": (0.5, float("inf"))}))
    {'loss': (0.5, inf)}
    """
    if isinstance(packed, list):
        return [unpack(item, arrays) for item in packed]
    if not isinstance(packed, dict):
        return packed
    kind = packed.get(_KIND, "dict")
    if kind == "dict":
        items = packed["items"] if _KIND in packed else packed
        return {key: unpack(item, arrays) for key, item in items.items()}
    if kind == "tuple":
        return tuple(unpack(packed["items"], arrays))
    if kind == "int":
        return int(packed["hex"], 16)
    if kind == "float":
        return struct.unpack(">d", bytes.fromhex(packed["hex"]))[0]
    array = arrays.pop(packed["array"])
    if "dtype" in packed:
        array = array.view(np.dtype(packed["dtype"]))
    return {"array": array, "scalar": array[()]}[kind]


def read_arrays(file: IO[bytes]) -> Arrays:
    """Reads arrays of numbers, as `numpy.savez` writes them and no other way.

    A zip file may hold more than it is long, and say of itself what it likes:
    before an array is made, its bytes must be there.

    Raises:
        ValueError, zipfile.BadZipFile: if it is anything else.
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
        arrays = {
            member.filename.removesuffix(".npy"): _read_array(archive, member)
            for member in members
        }
    if len(arrays) < len(members):
        raise ValueError("an array comes twice")
    return arrays


def _read_array(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo
) -> np.ndarray:
    """One array, whose header is checked first."""
    with archive.open(member) as file:
        if np.lib.format.read_magic(file) != (1, 0):
            raise ValueError("an array is of an unknown version")
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
        if dtype.hasobject or dtype.kind not in "biufc":
            raise ValueError(f"an array is of dtype {dtype}")
        if file.tell() + math.prod(shape) * dtype.itemsize != member.file_size:
            raise ValueError(f"an array of shape {shape} is not all there")
    with archive.open(member) as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def _packed(node: Any, path: str, arrays: Arrays) -> Any:
    """The JSON of a node; its arrays are added to `arrays`."""
    kind = type(node)
    if kind is int and node.bit_length() > 64:
        # Python writes no more than 4300 digits, but any number of hex ones.
        return {_KIND: "int", "hex": hex(node)}
    if kind is float and not math.isfinite(node):
        # JSON has no such number; a NaN has a sign and bits of its own.
        return {_KIND: "float", "hex": struct.pack(">d", node).hex()}
    if node is None or kind in (bool, str, int, float):
        return node
    if kind in (list, tuple):
        items = [
            _packed(item, f"{path}/{index}", arrays)
            for index, item in enumerate(node)
        ]
        return items if kind is list else {_KIND: "tuple", "items": items}
    if kind is dict:
        for key in node:
            if type(key) is not str:
                what = f"the key {key!r} of type {type(key).__name__}"
                raise _refusal(path, f"type dict with {what}")
        packed = {
            key: _packed(item, f"{path}/{key}", arrays)
            for key, item in node.items()
        }
        # Within a marked dict if it could be taken for one
        return {_KIND: "dict", "items": packed} if _KIND in packed else packed
    if kind is np.ndarray or isinstance(node, np.generic):
        return _packed_array(node, path, arrays)
    raise _refusal(path, f"type {kind.__name__}")


def _packed_array(
    node: np.ndarray | np.generic, path: str, arrays: Arrays
) -> dict[str, str]:
    """The name of an array, and its dtype if NumPy's files lack it."""
    dtype = node.dtype
    packed = {_KIND: "array" if type(node) is np.ndarray else "scalar"}
    array = np.asarray(node)
    if dtype.type.__module__ == "ml_dtypes":
        packed["dtype"] = dtype.name
        array = array.view(f"u{dtype.itemsize}")
    elif dtype.kind not in "biufc":
        raise _refusal(path, f"type {type(node).__name__} of dtype {dtype}")
    packed["array"] = str(len(arrays))
    arrays[packed["array"]] = array
    return packed


def _refusal(path: str, received: str) -> TypeError:
    """The error that says what may be in a tree, and what was there."""
    return TypeError(
        "A state to be saved must be made of dicts with string keys, lists, "
        "tuples, None, bool, int, float, str, and NumPy arrays and scalars of "
        f"numbers. Received: {path[1:] or 'a state'} of {received}. Turn it "
        "into these, or leave it out."
    )


def write(folder: str | os.PathLike, tree: Any) -> None:
    """Writes a checkpoint, and replaces the one that is there.

    At each moment, either the new one is there or the old one. In between
    two renamings the old one is `<folder>.old`; `Backups` looks there too.

    Args:
        folder: Path of the checkpoint. The folders above it are made.
        tree: The state; see `gdtrain.checkpoint.files.pack`.

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
        WrongFormat: if a different version of gdtrain wrote it.
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
    # Windows opens no folder; some file systems of a network sync none.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
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

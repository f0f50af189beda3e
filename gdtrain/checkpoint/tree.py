"""Trees of plain values and arrays, as JSON and named arrays."""

import math
import struct
import zipfile
from collections.abc import Iterable
from typing import IO, Any

import numpy as np

_KIND = "%kind"  # Marks a dict that stands for something else.
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
            raise ValueError("an array is of another version")
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
    if node is None or kind in (bool, str):
        return node
    if kind is int and node.bit_length() > 64:
        # Python writes no more than 4300 digits, but any number of hex ones.
        return {_KIND: "int", "hex": hex(node)}
    if kind is float and not math.isfinite(node):
        # JSON has no such number; a NaN has a sign and bits of its own.
        return {_KIND: "float", "hex": struct.pack(">d", node).hex()}
    if kind in (int, float):
        return node
    if kind is list:
        return _packed_items(enumerate(node), path, arrays)
    if kind is tuple:
        items = _packed_items(enumerate(node), path, arrays)
        return {_KIND: "tuple", "items": items}
    if kind is dict:
        for key in node:
            if type(key) is not str:
                what = f"the key {key!r} of type {type(key).__name__}"
                raise _refusal(path, f"type dict with {what}")
        values = _packed_items(node.items(), path, arrays)
        packed = dict(zip(node, values, strict=True))
        # Inside another one if it could be taken for a marked one
        return {_KIND: "dict", "items": packed} if _KIND in packed else packed
    if kind is np.ndarray or isinstance(node, np.generic):
        return _packed_array(node, path, arrays)
    raise _refusal(path, f"type {kind.__name__}")


def _packed_items(
    items: Iterable[tuple[Any, Any]], path: str, arrays: Arrays
) -> list[Any]:
    """The JSON of each of `(key, item)`."""
    return [
        _packed(item, f"{path}/{key}" if path else str(key), arrays)
        for key, item in items
    ]


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
        f"numbers. Received: {path or 'a state'} of {received}. Turn it "
        "into these, or leave it out."
    )

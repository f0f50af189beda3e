"""Trees of plain values and arrays, as JSON and named arrays."""

import math
import struct

import numpy as np

_KIND = "%kind"  # Marks a dict that stands for something else.


def pack(tree):
    """Parts a tree into what JSON can hold and its arrays.

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
    arrays: dict = {}
    return _packed(tree, "", arrays), arrays


def unpack(packed, arrays):
    """Makes the tree anew.

    Args:
        packed: What `pack` returned first, or JSON read back.
        arrays: What `pack` returned second: arrays by name.

    Returns:
        The tree that `pack` was given.

    Example:

    >>> unpack(*pack({"loss": (0.5, float("inf"))}))
    {'loss': (0.5, inf)}
    """
    if isinstance(packed, list):
        return [unpack(item, arrays) for item in packed]
    if not isinstance(packed, dict):
        return packed
    if _KIND not in packed:
        return {key: unpack(item, arrays) for key, item in packed.items()}
    return _KINDS[packed[_KIND]](packed, arrays)


def _packed(node, path, arrays):
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
        return _packed_items(node, path, arrays)
    if kind is tuple:
        return {_KIND: "tuple", "items": _packed_items(node, path, arrays)}
    if kind is dict:
        return _packed_dict(node, path, arrays)
    if kind is np.ndarray or isinstance(node, np.generic):
        return _packed_array(node, path, arrays)
    raise TypeError(_refusal(path, f"type {kind.__name__}"))


def _packed_items(node, path, arrays):
    """The JSON of each item."""
    return [
        _packed(item, _below(path, index), arrays)
        for index, item in enumerate(node)
    ]


def _packed_dict(node, path, arrays):
    """A dict, inside another one if it could be taken for a marked one."""
    for key in node:
        if type(key) is not str:
            kind = type(key).__name__
            raise TypeError(
                _refusal(path, f"type dict with the key {key!r} of type {kind}")
            )
    items = {
        key: _packed(item, _below(path, key), arrays)
        for key, item in node.items()
    }
    return {_KIND: "dict", "items": items} if _KIND in items else items


def _packed_array(node, path, arrays):
    """The name of an array, and its dtype if NumPy's files lack it."""
    dtype = node.dtype
    packed = {_KIND: "array" if type(node) is np.ndarray else "scalar"}
    array = np.asarray(node)
    if dtype.type.__module__ == "ml_dtypes":
        packed["dtype"] = dtype.name
        array = array.view(f"u{dtype.itemsize}")
    elif dtype.kind not in "biufc":
        kind = type(node).__name__
        raise TypeError(_refusal(path, f"type {kind} of dtype {dtype}"))
    packed["array"] = str(len(arrays))
    arrays[packed["array"]] = array
    return packed


def _below(path, key):
    """The path of an item."""
    return f"{path}/{key}" if path else str(key)


def _refusal(path, received):
    """What may be in a tree, and what was there instead."""
    return (
        "A state to be saved must be made of dicts with string keys, lists, "
        "tuples, None, bool, int, float, str, and NumPy arrays and scalars of "
        f"numbers. Received: {path or 'a state'} of {received}. Turn it "
        "into these, or leave it out."
    )


def _array(packed, arrays):
    """The array, of the dtype that it had."""
    array = arrays[packed["array"]]
    if "dtype" in packed:
        array = array.view(np.dtype(packed["dtype"]))
    return array


_KINDS = {
    "array": _array,
    "scalar": lambda packed, arrays: _array(packed, arrays)[()],
    "int": lambda packed, arrays: int(packed["hex"], 16),
    "float": lambda packed, arrays: struct.unpack(
        ">d", bytes.fromhex(packed["hex"])
    )[0],
    "tuple": lambda packed, arrays: tuple(unpack(packed["items"], arrays)),
    "dict": lambda packed, arrays: {
        key: unpack(item, arrays) for key, item in packed["items"].items()
    },
}

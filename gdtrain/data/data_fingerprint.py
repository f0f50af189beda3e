"""The fingerprint of data: a dict of leaves by name.

A leaf is a number, a string, `None`, a list of these, or a digest:
`"#data float32[22, 3] 5f2c..."`, with a kind, a label and a hash. What cannot
be compared is `"#unknown a generator"`.
"""

import hashlib
import re
from typing import Any

import keras
import numpy as np
import tensorflow as tf

FIRST_BATCHES = "the first batches"  # The name of their leaf

_WHOLE = 2**26  # Bytes of an array that are hashed
_ROWS = 2**12  # How many rows of a larger one, at most
_DIGEST = re.compile("#(data|code|structure) (.*) ([0-9a-f]{32})", re.DOTALL)


def digest(kind: str, label: str, *parts: bytes) -> str:
    """A leaf that stands for bytes.

    Args:
        kind: `"data"`, `"code"` or `"structure"`.
        label: What messages show.
        *parts: The bytes.

    Example:

    >>> digest("data", "bytes[1]", b"a")
    '#data bytes[1] 27c35e6e9373877f29e562464e46497e'
    """
    found = hashlib.blake2b(digest_size=16)
    for part in parts:
        found.update(part)
    return f"#{kind} {label} {found.hexdigest()}"


def parsed(leaf: object) -> tuple[str, str, str] | None:
    """`(kind, label, hash)` of a digest; `None` for other leaves."""
    match = _DIGEST.fullmatch(leaf) if isinstance(leaf, str) else None
    return (match[1], match[2], match[3]) if match else None


def content(array: np.ndarray | tf.Tensor) -> str:
    """The digest of an array or tensor: dtype, shape and content.

    Of an array of more than 64 MiB, some thousand evenly spaced rows are
    hashed.

    Example:

    >>> content(np.zeros([4, 2], "float32")).partition(" ")[2][:13]
    'float32[4, 2]'
    """
    is_tensor = tf.is_tensor(array)
    dtype: Any = array.dtype
    label = f"{dtype.name if is_tensor else dtype}{list(map(int, array.shape))}"
    size = int(np.prod(array.shape)) * (
        dtype.size or 1 if is_tensor else dtype.itemsize
    )
    if size > _WHOLE and len(array.shape):
        length = int(array.shape[0])
        count = max(1, min(_ROWS, _WHOLE * length // size))
        rows = np.linspace(0, length - 1, count).astype(np.int64)
        array = tf.gather(array, rows) if is_tensor else array[rows]
    # Of a tensor on the CPU, this is no copy.
    return digest("data", label, _bytes(np.asarray(array)))


def of(structure: Any, batch_size: int | None) -> dict[str, Any]:
    """The fingerprint of arrays.

    Args:
        structure: `(x,)`, `(x, y)` or `(x, y, sample_weight)`, each an array
            or a structure of some; `None` is skipped.
        batch_size: How many examples are in a batch, if that is known.

    Example:

    >>> one = of((np.zeros([4, 2]), np.ones([4])), batch_size=2)
    >>> sorted(one)
    ['batch_size', 'kind', 'x', 'y']
    >>> other = of((np.zeros([4, 2]), np.zeros([4])), batch_size=2)
    >>> [name for name in one if one[name] != other[name]]
    ['y']
    """
    found: dict[str, Any] = {"kind": "arrays", "batch_size": batch_size}
    parts = structure if isinstance(structure, tuple) else (structure,)
    for name, part in zip(("x", "y", "sample_weight"), parts, strict=False):
        found |= contents(name, part)
    return found


def contents(name: str, structure: Any) -> dict[str, str]:
    """Digests of the arrays in a structure, by name."""
    leaves = keras.tree.flatten_with_path(structure)
    return {
        name + "".join(f"[{key!r}]" for key in path): content(leaf)
        for path, leaf in leaves
        if leaf is not None
    }


def _bytes(array: np.ndarray) -> Any:
    """The bytes of an array; of strings, themselves."""
    if array.dtype == object:
        return repr(array.tolist()).encode()
    if array.dtype.kind in "biufc" and array.size:
        return np.ascontiguousarray(array).data.cast("B")  # No copy
    return array.tobytes()

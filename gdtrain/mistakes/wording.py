"""How messages name arrays, places in them, and shapes."""

from collections.abc import Iterable
from typing import Any

import tensorflow as tf


def place(name: str, path: Iterable[Any]) -> str:
    """A part of a structure or an array, as Python writes it.

    Example:

    >>> place("x", ["size", 3])
    "x['size'][3]"
    """
    return name + "".join(f"[{step!r}]" for step in path)


def sizes(tensor: Any) -> list[Any] | None:
    """The sizes of the axes of a tensor or array; `None` if unknown."""
    if not hasattr(tensor, "shape"):
        return None
    shape = tf.TensorShape(tensor.shape)
    return None if shape.rank is None else shape.as_list()


def written(shape: Iterable[int | None]) -> str:
    """A shape, in which an unknown size is that of the batch.

    Example:

    >>> written([None, 3]), written([None])
    ('(batch, 3)', '(batch,)')
    """
    parts = ["batch" if size is None else str(size) for size in shape]
    return f"({', '.join(parts)}{',' if len(parts) == 1 else ''})"


def may_be_equal(
    one: Iterable[int | None], other: Iterable[int | None]
) -> bool:
    """Whether two shapes may be equal, apart from their first axes."""
    some, others = list(one), list(other)
    return len(some) == len(others) and all(
        a is None or b is None or a == b
        for a, b in zip(some[1:], others[1:], strict=True)
    )

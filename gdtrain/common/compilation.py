"""Whether the compiler of the program that is traced is XLA."""

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import tensorflow as tf


class _State(threading.local):  # MirroredStrategy: a thread for each replica
    xla = False


_state = _State()
_INTEGERS = {2: tf.int16, 4: tf.int32, 8: tf.int64}  # By size in bytes


@contextlib.contextmanager
def tracing(xla: bool) -> Iterator[None]:
    """While open, `by_xla` returns `xla`."""
    before = by_xla()
    _state.xla = xla
    try:
        yield
    finally:
        _state.xla = before


def by_xla() -> bool:
    """Whether XLA will compile the program that this thread traces."""
    return _state.xla


def sealed(tensor: Any, zero: tf.Tensor) -> Any:
    """A tensor whose values are rounded where they are computed.

    XLA recomputes a value wherever it is used, unless it has many uses, and
    fuses a product and a sum into one operation, which rounds once. So an
    observer of one value may change the last bit of a second one. As XLA cannot
    know that `zero` is 0, it cannot fuse across this.
    `tf.raw_ops.XlaOptimizationBarrier` does not help: XLA for CPUs (in
    TensorFlow 2.21) removes it before it fuses operations.

    Args:
        tensor: A float tensor; anything else is returned unchanged.
        zero: An integer scalar that is 0, but not known to be.

    Returns:
        A tensor of the same values.

    Example:

    >>> sealed(tf.constant([0.5, -3.0]), tf.constant(0)).numpy().tolist()
    [0.5, -3.0]
    """
    if not isinstance(tensor, tf.Tensor) or not tensor.dtype.is_floating:
        return tensor
    integer = _INTEGERS[tensor.dtype.size]
    bits = tf.bitcast(tensor, integer)
    bits = tf.bitwise.bitwise_xor(bits, tf.cast(zero, integer))
    return tf.bitcast(bits, tensor.dtype)

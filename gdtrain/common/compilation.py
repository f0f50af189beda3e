"""Whether XLA compiles what is being traced."""

import contextlib
import threading

import tensorflow as tf

_state = threading.local()  # MirroredStrategy: a thread for each replica
_INTEGERS = {2: tf.int16, 4: tf.int32, 8: tf.int64}  # By size in bytes


@contextlib.contextmanager
def tracing(xla):
    """While open, `by_xla` tells whether XLA will compile what is traced."""
    before = by_xla()
    _state.xla = xla
    try:
        yield
    finally:
        _state.xla = before


def by_xla():
    """Whether XLA will compile what is being traced in this thread."""
    return getattr(_state, "xla", False)


def sealed(tensor, zero):
    """A tensor whose numbers are rounded where they are made.

    XLA computes a number anew wherever it is used, unless too many use it,
    and joins a product and a sum into one operation, which rounds once. So
    whoever looks at a number may change the last bit of another one. As XLA
    cannot know that `zero` is 0, it cannot join anything across this.
    `tf.raw_ops.XlaOptimizationBarrier` does not help: XLA for CPUs (in
    TensorFlow 2.21) takes it away before it joins operations.

    Args:
        tensor: A float tensor; anything else comes back as it is.
        zero: An integer scalar that is 0, but not known to be.

    Returns:
        A tensor of the same numbers.

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

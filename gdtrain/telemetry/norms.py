"""Norms of gradients, updates and weights, and whether they are finite."""

import contextlib
import math
import threading

import tensorflow as tf

from gdtrain.common import compilation
from gdtrain.telemetry.quantity import Parts, Quantity

_FEW = 1024  # Numbers, of which no matrix is worth while
_NARROW = 16  # Numbers of a row, likewise
# From here on, the squares that underflow are less than the rounding of a sum
# of 1e6 others.
_LEAST = 1e-26

_state = threading.local()  # MirroredStrategy: a thread for each replica


def exactly(numbers):
    """A vector made of sums of squares, right where these leave float32.

    Args:
        numbers: A function that returns a float32 vector, and changes nothing
            else. It may be called twice, once with `squared_norms` in float64.

    Returns:
        Its vector.
    """
    with _set("noted", []):
        vector = numbers()
        noted = _state.noted
    if not noted:
        return vector
    squares = tf.concat(noted, 0)
    # A sum of 0 is taken for one of zeros: where training has come to rest,
    # updates are 0 at every step, and all would be computed twice.
    serves = tf.math.is_finite(tf.reduce_sum(vector)) & tf.reduce_all(
        tf.equal(squares, 0.0) | (squares > _LEAST)
    )

    def again():
        with _set("in_float64", True):
            return numbers()

    return tf.cond(serves, lambda: vector, again)


def may_be_repeated():
    """Whether `exactly` repeats what is made now if it is not finite."""
    return getattr(_state, "noted", None) is not None


@contextlib.contextmanager
def _set(name, value):
    before = getattr(_state, name, None)
    setattr(_state, name, value)
    try:
        yield
    finally:
        setattr(_state, name, before)


def squared_norms(tensors):
    """The sum of squares of each tensor.

    Args:
        tensors: A list of float tensors of any shape.

    Returns:
        A vector: float32, infinite where squares overflow; or float64 where
        `exactly` repeats.
    """
    if getattr(_state, "in_float64", False):
        return 2.0 * tf.stack(
            [tf.nn.l2_loss(tf.cast(t, tf.float64)) for t in tensors]
        )
    if compilation.by_xla():
        flat = [_flat(t) for t in tensors]
        squares = tf.stack([_sum(t * t) for t in flat])
    else:
        # Few operations a tensor, as a small network spends more time on
        # their number than on its numbers.
        squares = 2.0 * tf.stack(
            [tf.nn.l2_loss(tf.cast(t, tf.float32)) for t in tensors]
        )
    if may_be_repeated():
        _state.noted.append(squares)
    return squares


def dot_products(tensors, others):
    """The sum of products of each tensor with another.

    Args:
        tensors, others: Lists of float tensors of the same shapes.

    Returns:
        A float32 vector; or float64 where `exactly` repeats.
    """
    if getattr(_state, "in_float64", False):
        return tf.stack(
            [
                tf.reduce_sum(tf.cast(a, tf.float64) * tf.cast(b, tf.float64))
                for a, b in zip(tensors, others, strict=True)
            ]
        )
    return tf.stack(
        [
            _sum(_flat(a) * _flat(b))
            for a, b in zip(tensors, others, strict=True)
        ]
    )


def _sum(vector):
    """The sum of a vector.

    XLA for CPUs (in TensorFlow 2.21) adds up one number after another, but
    is four times as fast at a matrix times a vector of ones.
    """
    size = vector.shape[0]
    if not compilation.by_xla() or size < _FEW:
        return tf.reduce_sum(vector)
    width = next(
        (w for w in range(math.isqrt(size), _NARROW, -1) if size % w == 0), 1
    )
    if width == 1:
        return tf.reduce_sum(vector)
    rows = tf.reshape(vector, [-1, width])
    return tf.reduce_sum(tf.linalg.matvec(rows, tf.ones([width])))


def _flat(tensor):
    """A tensor as a float32 vector, of which XLA is twice as fast."""
    tensor = tf.cast(tensor, tf.float32)
    return tensor if tensor.shape.rank == 1 else tf.reshape(tensor, [-1])


def sums_by_layer(values, layers):
    """Sums by layer of a number for each weight.

    Args:
        values: A vector, a number for each weight.
        layers: The name of each weight's layer.

    Returns:
        `Parts` of the layers, in the order of first appearance.
    """
    names = list(dict.fromkeys(layers))
    places = tf.constant([names.index(one) for one in layers], tf.int32)
    sums = tf.math.unsorted_segment_sum(values, places, len(names))
    return Parts(names, sums)


def whole_and_by_layer(values, layers):
    """As `sums_by_layer`, with the sum of all, named `""`, in front."""
    names, sums = sums_by_layer(values, layers)
    whole = tf.reduce_sum(values, keepdims=True)
    return Parts(["", *names], tf.concat([whole, sums], 0))


def by_layer(squares, layers):
    """Norms by layer: the root of the sum of squares of its weights.

    Args:
        squares: A vector, a number for each weight.
        layers: The name of each weight's layer.

    Returns:
        `Parts` of the layers, in the order of first appearance.
    """
    names, sums = sums_by_layer(squares, layers)
    return Parts(names, tf.sqrt(sums))


class GradientNorm(Quantity):
    """Euclidean norm of the gradient: whole model, and each layer.

        gradient_norm = sqrt(sum over weights of sum(gradient ** 2))

    Of the mean over micro-batches and replicas, before clipping. It is 0 at a
    minimum, grows without bound in a divergence, and is NaN or infinite where
    a gradient is. Cost: one pass over the gradients.

    References:
        Goodfellow, Bengio and Courville, Deep Learning, 2016, section 8.2.1.

    Example:

    >>> GradientNorm().name
    'gradient_norm'
    """

    name = "gradient_norm"
    sums_squares = True

    def measure(self, record):
        """The whole, and `Parts` by layer."""
        squares = squared_norms(record.gradients)
        names, sums = whole_and_by_layer(squares, record.layers)
        return {self.name: Parts(names, tf.sqrt(sums))}


class WeightNorm(Quantity):
    """Euclidean norm of the weights of each layer, after the update.

        weight_norm/<layer> = sqrt(sum over its weights of sum(weight ** 2))

    Of trainable weights only; infinite for weights beyond 1.8e19, whose
    squares float32 does not hold. Cost: one pass over the weights.

    Example:

    >>> WeightNorm().name
    'weight_norm'
    """

    name = "weight_norm"

    def measure(self, record):
        """`Parts` by layer."""
        squares = squared_norms(record.weights_after)
        return {self.name: by_layer(squares, record.layers)}


class UpdateNorm(Quantity):
    """Euclidean norm of the update: whole model, and each layer.

        update_norm = norm(w_after - w_before)

    What the optimizer really did: with clipping, momentum, weight decay and
    constraints. For plain descent it is `learning_rate * gradient_norm`.

    Cost: a copy of the weights in each step that measures, and one pass over
    it.

    Example:

    >>> UpdateNorm().name
    'update_norm'
    """

    name = "update_norm"
    sums_squares = True

    def measure(self, record):
        """The whole, and `Parts` by layer."""
        squares = squared_norms(record.updates)
        names, sums = whole_and_by_layer(squares, record.layers)
        return {self.name: Parts(names, tf.sqrt(sums))}


class UpdateRatio(Quantity):
    """Norm of the update over norm of the weights, for each layer.

        update_ratio/<layer> = norm(w_after - w_before) / norm(w_before)

    What the optimizer really did: with clipping, momentum, weight decay and
    constraints. About 0.001 is a rule of thumb for large networks; small
    models and full batches are trained well at far more. Where the weights
    are all zero, as a bias is at the start, it is infinite for an update that
    moves them and NaN for one that does not; likewise for weights beyond
    1.8e19, whose squares float32 does not hold. Cost: a copy of the weights and
    two passes over them.

    References:
        Karpathy, CS231n notes, "Neural Networks Part 3", ratio of
        weights:updates.

    Example:

    >>> UpdateRatio().name
    'update_ratio'
    """

    name = "update_ratio"

    def measure(self, record):
        """`Parts` by layer."""
        names, moved = by_layer(squared_norms(record.updates), record.layers)
        _, lengths = by_layer(
            squared_norms(record.weights_before), record.layers
        )
        return {self.name: Parts(names, moved / lengths)}


class NonfiniteCount(Quantity):
    """Number of entries of the gradients, and the loss, that are not finite.

        nonfinite_count = sum over gradients of count(not finite)
                          + (1 if the loss is not finite else 0)

    0 in a healthy step. Exact up to 2 ** 24, as float32 counts. Cost: one
    pass over the gradients, which it shares with `GradientNorm`.

    Example:

    >>> NonfiniteCount().name
    'nonfinite_count'
    """

    name = "nonfinite_count"
    sums_squares = True

    def measure(self, record):
        """`{"nonfinite_count": scalar}`."""
        tensors = list(record.gradients)
        # Where a sum of squares is finite, so is all that it is a sum of.
        total = tf.reduce_sum(squared_norms(record.gradients))
        if record.loss is not None:
            tensors.append(record.loss)
            total *= tf.cast(record.loss, total.dtype)
        if may_be_repeated():
            return {self.name: total - total}
        return {
            self.name: tf.cond(
                tf.math.is_finite(total),
                lambda: tf.constant(0.0),
                lambda: _count(tensors),
            )
        }


def _count(tensors):
    """How many entries are not finite, a float32 scalar."""
    return tf.add_n(
        [
            tf.reduce_sum(tf.cast(~tf.math.is_finite(t), tf.float32))
            for t in tensors
        ]
    )

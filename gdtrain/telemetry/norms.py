"""Norms of gradients, updates and weights, and whether they are finite."""

import contextlib
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import tensorflow as tf

from gdtrain.common import compilation
from gdtrain.telemetry.quantity import Measured, Quantity, Scalars
from gdtrain.telemetry.record import Record

Tensors = Sequence[tf.Tensor]

_MIN_SIZE = 1024  # Smaller vectors are not worth a matrix.
_MIN_WIDTH = 16  # Nor are narrower rows.
# Above it, squares that underflow are less than the rounding of a sum of 1e6
# others.
_MIN_SQUARES = 1e-26


class _State(threading.local):  # MirroredStrategy: a thread for each replica
    sums: list[tf.Tensor] | None = None  # Of squares, made within `exactly`
    in_float64 = False


_state = _State()


def exactly(numbers: Callable[[], tf.Tensor]) -> tf.Tensor:
    """A vector made of sums of squares, right even where they leave float32.

    Args:
        numbers: Returns a float32 vector, and changes nothing else. It may be
            called twice, the second time with `squared_norms` in float64.

    Returns:
        Its vector.
    """
    with _set("sums", []):
        vector = numbers()
        sums = _state.sums
    if not sums:
        return vector
    squares = tf.concat(sums, 0)
    # A sum of 0 is taken for one of zeros: where training has come to rest,
    # updates are 0 at every step, and all would be computed twice.
    serves = tf.math.is_finite(tf.reduce_sum(vector)) & tf.reduce_all(
        tf.equal(squares, 0.0) | (squares > _MIN_SQUARES)
    )

    def again() -> tf.Tensor:
        with _set("in_float64", True):
            return numbers()

    return tf.cond(serves, lambda: vector, again)


@contextlib.contextmanager
def _set(name: str, value: Any) -> Iterator[None]:
    """While open, a field of the state has a value."""
    before = getattr(_state, name)
    setattr(_state, name, value)
    try:
        yield
    finally:
        setattr(_state, name, before)


def squared_norms(tensors: Tensors) -> tf.Tensor:
    """The sum of squares of each tensor.

    Args:
        tensors: Float tensors of any shape.

    Returns:
        A vector: float32, infinite where squares overflow; or float64 where
        `exactly` repeats.
    """
    if _state.in_float64:
        return 2.0 * tf.stack(
            [tf.nn.l2_loss(tf.cast(t, tf.float64)) for t in tensors]
        )
    if compilation.by_xla():
        flat = [_flat(t) for t in tensors]
        squares = tf.stack([_sum(t * t) for t in flat])
    else:
        # Few operations for each tensor, as a small network spends more time
        # on their number than on its numbers.
        squares = 2.0 * tf.stack(
            [tf.nn.l2_loss(tf.cast(t, tf.float32)) for t in tensors]
        )
    if _state.sums is not None:
        _state.sums.append(squares)
    return squares


def dot_products(tensors: Tensors, others: Tensors) -> tf.Tensor:
    """The dot product of each pair of tensors.

    Args:
        tensors, others: Float tensors of the same shapes.

    Returns:
        A float32 vector; or float64 where `exactly` repeats.
    """
    if _state.in_float64:
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


def _sum(vector: tf.Tensor) -> tf.Tensor:
    """The sum of a vector.

    XLA for CPUs (in TensorFlow 2.21) adds numbers one by one, but is
    four times as fast at a matrix times a vector of ones.
    """
    size = vector.shape[0]
    if not compilation.by_xla() or size < _MIN_SIZE:
        return tf.reduce_sum(vector)
    width = next(
        (w for w in range(math.isqrt(size), _MIN_WIDTH, -1) if size % w == 0), 1
    )
    if width == 1:
        return tf.reduce_sum(vector)
    rows = tf.reshape(vector, [-1, width])
    return tf.reduce_sum(tf.linalg.matvec(rows, tf.ones([width])))


def _flat(tensor: tf.Tensor) -> tf.Tensor:
    """A tensor as a float32 vector, with which XLA is twice as fast."""
    tensor = tf.cast(tensor, tf.float32)
    return tensor if tensor.shape.rank == 1 else tf.reshape(tensor, [-1])


def sums_by_layer(values: tf.Tensor, layers: Sequence[str]) -> Scalars:
    """Sums by layer of a number for each weight.

    Args:
        values: A vector, a number for each weight.
        layers: The name of each weight's layer.

    Returns:
        A sum for each layer, in the order of first appearance.
    """
    names = list(dict.fromkeys(layers))
    places = tf.constant([names.index(one) for one in layers], tf.int32)
    sums = tf.math.unsorted_segment_sum(values, places, len(names))
    return Scalars(names, sums)


def whole_and_by_layer(values: tf.Tensor, layers: Sequence[str]) -> Scalars:
    """As `sums_by_layer`, after the sum of all, whose name is `""`."""
    names, sums = sums_by_layer(values, layers)
    whole = tf.reduce_sum(values, keepdims=True)
    return Scalars(["", *names], tf.concat([whole, sums], 0))


def norms_by_layer(tensors: Tensors, layers: Sequence[str]) -> Scalars:
    """Euclidean norms of the tensors of each layer together."""
    return sums_by_layer(squared_norms(tensors), layers).map(tf.sqrt)


def all_norms(tensors: Tensors, layers: Sequence[str]) -> Scalars:
    """As `norms_by_layer`, after the norm of all, whose name is `""`."""
    return whole_and_by_layer(squared_norms(tensors), layers).map(tf.sqrt)


class GradientNorm(Quantity):
    """Euclidean norm of the gradient: whole model, and each layer.

        gradient_norm = sqrt(sum over weights of sum(gradient ** 2))

    Of the mean over micro-batches and replicas, before clipping. It is 0 at a
    minimum, grows without bound in a divergence, and is NaN or infinite where
    a gradient is.

    Columns: `gradient_norm`, `gradient_norm/<layer>`

    Unit: that of the loss per weight.

    Cost: one pass over the gradients.

    References:
        Goodfellow, Bengio and Courville, Deep Learning, 2016, section 8.2.1.

    Example:

    >>> from gdtrain.telemetry.measurement import evaluate
    >>> gradients = [tf.constant([3.0, 4.0]), tf.constant(12.0)]
    >>> evaluate(GradientNorm(), gradients=gradients, layers=["a", "b"])
    {'gradient_norm': 13.0, 'gradient_norm/a': 5.0, 'gradient_norm/b': 12.0}
    """

    name = "gradient_norm"
    preset = "standard"
    sums_squares = True

    def measure(self, record: Record) -> Measured:
        """Of the whole model, and by layer."""
        return {self.name: all_norms(record.gradients, record.layers)}


class WeightNorm(Quantity):
    """Euclidean norm of the weights of each layer, after the update.

        weight_norm/<layer> = sqrt(sum over its weights of sum(weight ** 2))

    It grows while a layer learns, and shrinks at an even rate where weight
    decay is stronger than the data. Of trainable weights only; infinite for
    weights beyond 1.8e19, whose squares overflow float32.

    Columns: `weight_norm/<layer>`

    Unit: that of weights.

    Cost: one pass over the weights.

    Example:

    >>> from gdtrain.telemetry.measurement import evaluate
    >>> weights = [tf.constant([3.0, 4.0])]
    >>> evaluate(WeightNorm(), weights_after=weights, layers=["line"])
    {'weight_norm/line': 5.0}
    """

    name = "weight_norm"
    preset = "standard"

    def measure(self, record: Record) -> Measured:
        """By layer."""
        return {self.name: norms_by_layer(record.weights_after, record.layers)}


class UpdateNorm(Quantity):
    """Euclidean norm of the update: whole model, and each layer.

        update_norm = norm(w_after - w_before)

    What the optimizer really did: with clipping, momentum, weight decay and
    constraints. For plain descent it is `learning_rate * gradient_norm`.

    Columns: `update_norm`, `update_norm/<layer>`

    Unit: that of weights.

    Cost: a copy of the weights in each step that measures, and one pass over
    it.

    Example:

    >>> from gdtrain.telemetry.measurement import evaluate
    >>> before, after = [tf.constant([3.0, 4.0])], [tf.constant([0.0, 0.0])]
    >>> evaluate(
    ...     UpdateNorm(),
    ...     weights_before=before,
    ...     weights_after=after,
    ...     layers=["line"],
    ... )
    {'update_norm': 5.0, 'update_norm/line': 5.0}
    """

    name = "update_norm"
    sums_squares = True

    def measure(self, record: Record) -> Measured:
        """Of the whole model, and by layer."""
        return {self.name: all_norms(record.updates, record.layers)}


class UpdateRatio(Quantity):
    """Norm of the update over norm of the weights, for each layer.

        update_ratio/<layer> = norm(w_after - w_before) / norm(w_before)

    What the optimizer really did: with clipping, momentum, weight decay and
    constraints. About 0.001 is a rule of thumb for large networks; small
    models and full batches train well at far more. Where the weights are all
    zero, as a bias is at the start, it is infinite for an update that moves
    them and NaN for one that does not; likewise for weights beyond 1.8e19,
    whose squares overflow float32.

    Columns: `update_ratio/<layer>`

    Unit: none.

    Cost: a copy of the weights and two passes over them.

    References:
        Karpathy, CS231n notes, "Neural Networks Part 3", ratio of
        weights:updates.

    Example:

    >>> from gdtrain.telemetry.measurement import evaluate
    >>> before, after = [tf.constant([3.0, 4.0])], [tf.constant([1.5, 2.0])]
    >>> evaluate(
    ...     UpdateRatio(),
    ...     weights_before=before,
    ...     weights_after=after,
    ...     layers=["line"],
    ... )
    {'update_ratio/line': 0.5}
    """

    name = "update_ratio"
    preset = "standard"

    def measure(self, record: Record) -> Measured:
        """By layer."""
        names, moved = norms_by_layer(record.updates, record.layers)
        _, lengths = norms_by_layer(record.weights_before, record.layers)
        return {self.name: Scalars(names, moved / lengths)}


class DistanceFromStart(Quantity):
    """Euclidean distance of the weights from those at the start.

        distance_from_start = norm(w_after - w_start)

    For the whole model, and for each layer. The start is where the weights
    were when a model was first trained with this; a second `fit` continues
    from there. Noise makes it grow with the root of the number of steps, a
    slope with the number itself.

    Columns: `distance_from_start`, `distance_from_start/<layer>`

    Unit: that of weights.

    Cost: a copy of the weights that is kept, and one pass over it.

    References:
        Hoffer, Hubara and Soudry, NeurIPS 2017, arXiv:1705.08741, section 4.

    Example:

    >>> from gdtrain.telemetry.measurement import evaluate
    >>> evaluate(
    ...     DistanceFromStart(),
    ...     weights=[tf.constant([0.0, 0.0])],
    ...     weights_after=[tf.constant([3.0, 4.0])],
    ...     layers=["line"],
    ... )
    {'distance_from_start': 5.0, 'distance_from_start/line': 5.0}
    """

    name = "distance_from_start"
    sums_squares = True

    def measure(self, record: Record) -> Measured:
        """Of the whole model, and by layer."""
        start = record.keep(
            self.name, lambda: [tf.cast(w, tf.float32) for w in record.weights]
        )
        moved = [
            tf.cast(w, tf.float32) - tf.identity(variable)
            for w, variable in zip(record.weights_after, start, strict=True)
        ]
        return {self.name: all_norms(moved, record.layers)}


class NonfiniteCount(Quantity):
    """Number of entries of the gradients, and the loss, that are not finite.

        nonfinite_count = sum over gradients of count(not finite)
                          + (1 if the loss is not finite else 0)

    0 in a healthy step. Exact up to 2 ** 24, as float32 counts.

    Columns: `nonfinite_count`

    Unit: entries.

    Cost: one pass over the gradients, which it shares with `GradientNorm`.

    Example:

    >>> from gdtrain.telemetry.measurement import evaluate
    >>> gradients = [tf.constant([3.0, float("inf"), float("nan")])]
    >>> evaluate(NonfiniteCount(), gradients=gradients)
    {'nonfinite_count': 2.0}
    """

    name = "nonfinite_count"
    preset = "standard"
    sums_squares = True

    def measure(self, record: Record) -> Measured:
        """The count of the whole model."""
        tensors = list(record.gradients)
        # Where a sum of squares is finite, so is every number in it.
        total = tf.reduce_sum(squared_norms(record.gradients))
        if record.loss is not None:
            tensors.append(record.loss)
            total *= tf.cast(record.loss, total.dtype)
        if _state.sums is not None:  # `exactly` repeats it if not finite.
            return {self.name: total - total}
        if _state.in_float64:  # Few steps do, and all pay for a condition.
            return {self.name: _count(tensors)}
        return {
            self.name: tf.cond(
                tf.math.is_finite(total),
                lambda: tf.constant(0.0),
                lambda: _count(tensors),
            )
        }


def _count(tensors: Tensors) -> tf.Tensor:
    """How many entries are not finite, a float32 scalar."""
    return tf.add_n(
        [
            tf.reduce_sum(tf.cast(~tf.math.is_finite(t), tf.float32))
            for t in tensors
        ]
    )

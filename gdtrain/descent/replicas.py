"""The mean over replicas, and what the loss of one replica means.

A replica's loss is the mean over that replica's examples. Keras divides such
a loss by the number of replicas, so that the sum over replicas is the mean;
a loss written by hand it leaves alone. Here both are what they say: inside a
step, Keras's losses are not divided, and `mean` weighs each replica by its
examples, so that a batch that does not divide evenly counts each example once.

A step that applies its gradients without `descend` hands them to an optimizer
that adds them up over replicas: for it, and for it alone, the gradient of a
Keras loss is divided as Keras would have divided the loss.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import tensorflow as tf

from gdtrain.keras_bridge import patches


class _State(threading.local):  # MirroredStrategy: a thread for each replica
    descending = False


_state = _State()


@contextlib.contextmanager
def descending() -> Iterator[None]:
    """While open, gradients of Keras losses are those of the replica."""
    _state.descending = True
    try:
        yield
    finally:
        _state.descending = False


def count() -> int:
    """Number of replicas that train in step."""
    return tf.distribute.get_strategy().num_replicas_in_sync


def index() -> int:
    """The number of this replica; 0 outside of any."""
    context = tf.distribute.get_replica_context()
    if count() == 1 or context is None:
        return 0
    return int(tf.get_static_value(context.replica_id_in_sync_group))


@tf.custom_gradient
def _loss_of_replica(
    loss: tf.Tensor,
) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
    def gradient(upstream: tf.Tensor) -> tf.Tensor:
        if _state.descending:
            return upstream
        return upstream / tf.cast(count(), upstream.dtype)

    return tf.identity(loss), gradient


def undivided_losses(
    strategy: tf.distribute.Strategy,
) -> contextlib.AbstractContextManager:
    """A context in which Keras does not divide losses by the replicas.

    It surrounds the tracing of steps; one replica needs none.
    """
    if strategy.num_replicas_in_sync == 1:
        return contextlib.nullcontext()
    return patches.loss_scaling(_loss_of_replica, lambda loss: loss)


def mean(tensors: Sequence[Any], examples: Any) -> list[Any]:
    """The mean of tensors over replicas, weighted by their examples.

        mean = sum over replicas (examples * tensor) / sum (examples)

    A replica without examples counts nothing, even where its tensors are NaN.
    On one replica the tensors come back as they are.

    Args:
        tensors: A list of float tensors or indexed slices (which become
            tensors); `None` stays `None`.
        examples: How many examples this replica's values are a mean over, a
            number or scalar tensor.

    Returns:
        A list like `tensors`, equal on all replicas.
    """
    context = tf.distribute.get_replica_context()
    if count() == 1 or context is None:
        return list(tensors)
    examples = tf.cast(examples, tf.float32)
    *weighted, total_examples = sums(
        [
            None
            if t is None
            else tf.math.multiply_no_nan(
                tf.convert_to_tensor(t), tf.cast(examples, t.dtype)
            )
            for t in [*tensors, tf.ones(())]
        ]
    )
    return [
        None if w is None else w / tf.cast(total_examples, w.dtype)
        for w in weighted
    ]


def sums(tensors: Sequence[Any]) -> list[Any]:
    """The sum of each tensor over replicas.

    On one replica the tensors come back as they are.

    Args:
        tensors: A list of float tensors or indexed slices (which become
            tensors); `None` stays `None`.

    Returns:
        A list like `tensors`, equal on all replicas.
    """
    context = tf.distribute.get_replica_context()
    if count() == 1 or context is None:
        return list(tensors)
    found = [None if t is None else tf.convert_to_tensor(t) for t in tensors]
    # A dtype at a time: TensorFlow 2.21 packs a list into one tensor.
    for dtype in dict.fromkeys(t.dtype for t in found if t is not None):
        places = [
            place
            for place, tensor in enumerate(found)
            if tensor is not None and tensor.dtype == dtype
        ]
        reduced = context.all_reduce(
            tf.distribute.ReduceOp.SUM, [found[place] for place in places]
        )
        for place, tensor in zip(places, reduced, strict=True):
            found[place] = tensor
    return found


def gathered(rows: tf.Tensor) -> tf.Tensor:
    """The rows of all replicas, `[replicas * rows, ...]`, in their order."""
    context = tf.distribute.get_replica_context()
    if count() == 1 or context is None:
        return rows
    if not tf.executing_eagerly():
        return context.all_gather(rows, axis=0)
    # TensorFlow 2.21 gathers over processes only within a graph.
    zeros = tf.zeros_like(rows)
    places = [rows if i == index() else zeros for i in range(count())]
    return sums([tf.concat(places, 0)])[0]


def of_first(tensor: tf.Tensor) -> tf.Tensor:
    """A tensor whose sum over replicas has the bits of the first one's.

    Those of the others are 0, except for numbers that are not finite, so that
    all replicas see these. For tensors that are equal on all replicas.
    """
    if index() == 0:
        return tensor
    zeros = tf.zeros_like(tensor)
    if not tensor.dtype.is_floating:
        return zeros
    return tf.where(tf.math.is_finite(tensor), zeros, tensor)


def total(number: Any) -> tf.Tensor:
    """The sum of a number over replicas, a float32 scalar."""
    return sums([tf.cast(number, tf.float32)])[0]


def equalize(variables: Sequence[Any], examples: Any) -> None:
    """Sets each variable to its mean over replicas.

    Keras 3 lets each replica keep moving averages of its own, of which only
    those of the first are saved.

    Args:
        variables: A list of float variables.
        examples: How many examples this replica's values come from.
    """
    if count() == 1 or not variables:
        return
    means = mean([tf.convert_to_tensor(v) for v in variables], examples)
    for variable, value in zip(variables, means, strict=True):
        variable.assign(value)

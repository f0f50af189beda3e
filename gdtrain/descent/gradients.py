"""Gradients of a batch, whole or in micro-batches."""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import keras
import tensorflow as tf

from gdtrain.common.explained import more
from gdtrain.descent import replicas

Gradient: TypeAlias = tf.Tensor | tf.IndexedSlices


def compute(
    tape: tf.GradientTape, loss: Any, weights: Sequence[Any], optimizer: Any
) -> list[Gradient | None]:
    """Gradients of `loss` with respect to each of `weights`.

        gradient = d(loss * scale) / d(weight) / scale

    `scale` is what a loss-scaling optimizer asks for, so that small gradients
    survive float16, and 1 for all others, for which nothing is multiplied.

    Args:
        tape: The `tf.GradientTape` that recorded `loss`.
        loss: A float scalar.
        weights: A list of weights.
        optimizer: The Keras optimizer that will apply the gradients; built.
            `None` scales no loss.

    Returns:
        A list of tensors or `tf.IndexedSlices`, each of its weight's shape,
        and `None` for a weight that the loss does not depend on.

    Raises:
        ValueError: if `loss` is not a scalar.

    References:
        Micikevicius et al., ICLR 2018, arXiv:1710.03740, section 3.2.
    """
    loss = tf.convert_to_tensor(loss)
    if loss.shape.rank:
        raise ValueError(
            "The loss to descend must be a scalar. Received: a loss of shape "
            f"{tuple(loss.shape)}. Take its mean: tf.reduce_mean(loss)."
            + more("train-step")
        )
    scale = loss_scale(optimizer)
    with replicas.descending():
        gradients = tape.gradient(
            loss,
            weights,
            output_gradients=None
            if scale is None
            else tf.cast(scale, loss.dtype),
        )
    if scale is not None:
        gradients = [multiply(g, 1.0 / scale) for g in gradients]
    return gradients


def loss_scale(optimizer: Any) -> tf.Tensor | None:
    """The factor by which `optimizer` scales a loss; `None` if it does not."""
    if optimizer is None:
        return None
    one = tf.ones(())
    scaled = optimizer.scale_loss(one)
    return None if scaled is one else tf.cast(scaled, tf.float32)


def multiply(gradient: Gradient | None, factor: Any) -> Gradient | None:
    """`gradient * factor`, for a tensor, indexed slices or `None`."""
    if gradient is None:
        return None
    return mapped(gradient, lambda g: g * tf.cast(factor, g.dtype))


def mapped(
    gradient: Gradient, function: Callable[[tf.Tensor], tf.Tensor]
) -> Gradient:
    """A function of a tensor, or of the values of indexed slices."""
    if isinstance(gradient, tf.IndexedSlices):
        values = function(gradient.values)
        return tf.IndexedSlices(values, gradient.indices, gradient.dense_shape)
    return function(gradient)


def dense(gradient: Gradient | None) -> tf.Tensor | None:
    """A gradient as a tensor: the rows of indexed slices added up."""
    return None if gradient is None else tf.convert_to_tensor(gradient)


def examples_in(data: Any) -> int | tf.Tensor:
    """Number of examples in a batch: the length of its first tensor.

    Args:
        data: A nested structure of tensors of shape `[batch, ...]`.

    Returns:
        An `int` where the shape is known, else an int32 scalar; 1 if the
        first tensor is a scalar.
    """
    first = next((t for t in keras.tree.flatten(data) if t is not None), None)
    if first is None or first.shape.rank == 0:
        return 1
    if isinstance(first, tf.RaggedTensor):
        return tf.cast(first.nrows(), tf.int32)
    if first.shape.rank is not None and first.shape[0] is not None:
        return first.shape[0]
    if isinstance(first, tf.SparseTensor):
        return tf.cast(first.dense_shape[0], tf.int32)
    return tf.shape(first)[0]


def split(data: Any, microbatches: int) -> list[tuple[Any, float | tf.Tensor]]:
    """Splits a batch into micro-batches of nearly equal length.

    Of n examples, part i has those from n * i // k up to n * (i + 1) // k. A
    batch shorter than k has empty parts where its length is not known while
    tracing; they weigh nothing.

    Args:
        data: A nested structure of tensors of shape `[batch, ...]`.
        microbatches: How many parts, k. 1 gives the batch as it is.

    Returns:
        A list of `(part, share)`; the shares add up to 1.

    Example:

    >>> parts = split(tf.range(5), 2)
    >>> [(part.numpy().tolist(), share) for part, share in parts]
    [([0, 1], 0.4), ([2, 3, 4], 0.6)]
    """
    if microbatches == 1:
        return [(data, 1.0)]
    examples = examples_in(data)
    if isinstance(examples, int):
        microbatches = min(microbatches, max(examples, 1))
    bounds = [examples * i // microbatches for i in range(microbatches + 1)]
    return [
        (
            keras.tree.map_structure(lambda t: rows(t, start, end), data),
            (end - start) / examples,
        )
        for start, end in zip(bounds, bounds[1:])
    ]


def rows(tensor: Any, start: Any, end: Any) -> Any:
    """Rows `start` to `end` of a tensor; a scalar or `None` as it is."""
    if tensor is None or tensor.shape.rank == 0:
        return tensor
    if isinstance(tensor, tf.SparseTensor):
        shape = tensor.dense_shape
        rest = tf.zeros_like(shape[1:])
        first = tf.concat([[tf.cast(start, tf.int64)], rest], 0)
        size = tf.concat([[tf.cast(end - start, tf.int64)], shape[1:]], 0)
        return tf.sparse.slice(tensor, first, size)
    return tensor[start:end]


def add_share(
    total: Sequence[Any] | None, tensors: Sequence[Any], share: Any
) -> list[Any]:
    """`total + share * tensors`, the running mean over micro-batches.

    Args:
        total: A list of tensors, or `None` before the first micro-batch.
        tensors: A list of tensors or indexed slices; `None` stays `None`.
        share: This micro-batch's share of the examples.

    Returns:
        A list of tensors. A share of 0 adds nothing, even to NaN.
    """
    weighted = [
        None
        if t is None
        else tf.math.multiply_no_nan(
            tf.convert_to_tensor(t), tf.cast(share, t.dtype)
        )
        for t in tensors
    ]
    if total is None:
        return weighted
    return [
        None if t is None else t + w
        for t, w in zip(total, weighted, strict=True)
    ]

"""Micro-batches: a batch in parts, one after another, for one update.

The mean over micro-batches, weighted by their examples, is the mean over the
batch, in the memory of one part. Exact for losses that are a mean over
examples; batch normalization sees each part by itself.
"""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf


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
            keras.tree.map_structure(lambda t: _rows(t, start, end), data),
            (end - start) / examples,
        )
        for start, end in zip(bounds, bounds[1:])
    ]


def _rows(tensor: Any, start: Any, end: Any) -> Any:
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


def add(
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

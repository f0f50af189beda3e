"""Gradients of a loss, whatever the optimizer's loss scale."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import tensorflow as tf

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
            "The loss to descend must be a scalar. Received a loss of shape "
            f"{tuple(loss.shape)}. Take its mean: tf.reduce_mean(loss)."
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
    if isinstance(gradient, tf.IndexedSlices):
        return tf.IndexedSlices(
            multiply(gradient.values, factor),
            gradient.indices,
            gradient.dense_shape,
        )
    return gradient * tf.cast(factor, gradient.dtype)


def dense(gradient: Gradient | None) -> tf.Tensor | None:
    """A gradient as a tensor: the rows of indexed slices added up."""
    return None if gradient is None else tf.convert_to_tensor(gradient)

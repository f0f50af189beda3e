"""What a step knows of itself, for quantities to measure."""

import dataclasses
from typing import Any

import keras
import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Record:
    """One update of the weights. Its tensors are equal on all replicas.

    Args:
        loss: The loss before the update, a scalar: the mean over
            micro-batches and replicas.
        learning_rates: The learning rate of this update, a float32 scalar,
            under the name `""`; for an optimizer made of several, each under
            its name.
        gradients: A tensor for each weight, before clipping; means over
            micro-batches and replicas, without any loss scale. Zeros for a
            weight that the loss does not depend on.
        weights_before: A tensor for each weight: its value before the update.
        weights_after: A tensor for each weight: its value after the update.
        layers: For each weight, the name of its layer.
    """

    loss: Any
    learning_rates: dict[str, Any]
    gradients: list[Any]
    weights_before: list[Any]
    weights_after: list[Any]
    layers: list[str]


def learning_rates(optimizer):
    """The learning rate of the coming update, by name of the optimizer.

    Args:
        optimizer: A Keras optimizer.

    Returns:
        A dict of float32 scalars; the key is `""` where there is but one.
    """
    return {
        name: tf.cast(one.learning_rate, tf.float32)
        for name, one in _with_rates(optimizer).items()
    }


def is_scheduled(optimizer):
    """Whether the learning rate changes by itself from step to step.

    Args:
        optimizer: A Keras optimizer, or `None`.
    """
    return optimizer is not None and any(
        not isinstance(one.learning_rate, keras.Variable)
        for one in _with_rates(optimizer).values()
    )


def _with_rates(optimizer):
    """The optimizers that have a learning rate, by name."""
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    if hasattr(inner, "optimizers"):
        return {one.name: one for one in inner.optimizers}
    return {"": inner}


def layer_of(weight, model_name):
    """The name of the layer that a weight belongs to.

    It is the weight's path without the weight's own name, and without the
    model's name in front of it.

    Args:
        weight: A `keras.Variable` or `tf.Variable`.
        model_name: The name of the model.

    Returns:
        For example `"dense"`, or `"encoder/dense"` in a nested model; the
        model's name for a weight of the model itself.

    Example:

    >>> import keras
    >>> model = keras.Sequential([keras.layers.Dense(1)], name="line")
    >>> model.build((None, 1))
    >>> layer_of(model.weights[0], "line")
    'dense...'
    """
    path = getattr(weight, "path", None)
    if path is None:
        return weight.name.split(":")[0]
    layer = path.rpartition("/")[0] or model_name
    return layer.removeprefix(f"{model_name}/")

"""The learning rates of a Keras optimizer, which may be made of several."""

from typing import Any

import keras
import tensorflow as tf

from gdtrain.keras_bridge.optimizers import unwrapped


def by_name(optimizer: keras.optimizers.Optimizer | None) -> dict[str, Any]:
    """The optimizers that have a learning rate, by name.

    Args:
        optimizer: A Keras optimizer, or `None`.

    Returns:
        A dict; the key is `""` if there is only one. Empty for `None`.

    Example:

    >>> list(by_name(keras.optimizers.SGD()))
    ['']
    """
    if optimizer is None:
        return {}
    inner = unwrapped(optimizer)
    if isinstance(inner, keras.optimizers.MultiOptimizer):
        return {one.name: one for one in inner.optimizers}
    return {"": inner}


def learning_rates(
    optimizer: keras.optimizers.Optimizer | None,
) -> dict[str, tf.Tensor]:
    """The learning rate of the next update, by name of the optimizer.

    Args:
        optimizer: A Keras optimizer, or `None`.

    Returns:
        Float32 scalars; the key is `""` if there is only one.

    Example:

    >>> float(learning_rates(keras.optimizers.SGD(0.5))[""])
    0.5
    """
    return {
        name: tf.cast(one.learning_rate, tf.float32)
        for name, one in by_name(optimizer).items()
    }


def is_scheduled(optimizer: keras.optimizers.Optimizer | None) -> bool:
    """Whether the learning rate is a schedule, a function of the step.

    Args:
        optimizer: A Keras optimizer, or `None`.

    Example:

    >>> schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 5, 0.5)
    >>> is_scheduled(keras.optimizers.SGD(schedule))
    True
    """
    return any(
        not isinstance(one.learning_rate, keras.Variable)
        for one in by_name(optimizer).values()
    )

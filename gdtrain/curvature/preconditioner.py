"""What an adaptive optimizer divides the gradient by."""

from collections.abc import Callable

import keras
import tensorflow as tf
from keras.optimizers import Optimizer

from gdtrain.keras_bridge import optimizers
from gdtrain.keras_bridge.optimizers import unwrapped
from gdtrain.state import variables


def of(
    optimizer: Optimizer,
    weights: list[keras.Variable],
    strategy: tf.distribute.Strategy | None = None,
) -> list[tf.Tensor] | None:
    """The preconditioner P of an optimizer now, for each number of a weight.

        step = -learning_rate * average(gradient) / P

    As it was at the last update; the next one moves it a little. With t
    updates so far and v the average of squared gradients kept by Keras:

        Adam, AdamW   P = (1 - beta_1**t) / sqrt(1 - beta_2**t)
                          * (sqrt(v) + epsilon)
        RMSprop       P = sqrt(v + epsilon)

    where `amsgrad` replaces v by the largest v so far.

    Args:
        optimizer: A Keras optimizer.
        weights: The weights, a list of `keras.Variable`.
        strategy: The `tf.distribute.Strategy` of the weights. Defaults to
            `None`, the current one.

    Returns:
        A list of tensors of the shapes of the weights; `None` before the
        first update, and for an optimizer without a preconditioner or whose
        preconditioner is not known.

    Example:

    >>> import keras
    >>> w = keras.Variable([1.0, 2.0])
    >>> adam = keras.optimizers.Adam(epsilon=0.0)
    >>> adam.apply([tf.constant([3.0, -4.0])], [w])
    >>> [p.numpy().round(4) for p in of(adam, [w])]  # 0.1 * abs(gradient)
    [array([0.3, 0.4], dtype=float32)]

    References:
        Cohen et al., Adaptive Gradient Methods at the Edge of Stability,
        2022, arXiv:2207.14484, section 2.
    """
    optimizer = unwrapped(optimizer)
    formula = _FORMULAS.get(type(optimizer))
    if formula is None or not optimizer.built:
        return None
    strategy = strategy or tf.distribute.get_strategy()
    updates = variables.parts(optimizer.iterations, strategy)[0]
    with tf.init_scope():  # Where a graph is made, whether there was one yet
        if not int(updates):
            return None
    slots = optimizers.squared_gradients(optimizer)
    return [
        formula(
            optimizer,
            tf.convert_to_tensor(variables.parts(slot, strategy)[0]),
            updates,
        )
        for slot in (
            optimizers.slot(optimizer, slots, weight) for weight in weights
        )
    ]


def _adam(
    optimizer: keras.optimizers.Adam, squares: tf.Tensor, updates: tf.Tensor
) -> tf.Tensor:
    """With Adam's corrections for averages that begin with 0."""
    updates = tf.cast(updates, tf.float64)
    of_first = 1 - float(optimizer.beta_1) ** updates
    of_second = 1 - float(optimizer.beta_2) ** updates
    factor = tf.cast(of_first / tf.sqrt(of_second), squares.dtype)
    return factor * (tf.sqrt(squares) + optimizer.epsilon)


def _rmsprop(
    optimizer: keras.optimizers.RMSprop, squares: tf.Tensor, _: tf.Tensor
) -> tf.Tensor:
    return tf.sqrt(squares + optimizer.epsilon)


_FORMULAS: dict[type, Callable[..., tf.Tensor]] = {
    keras.optimizers.Adam: _adam,
    keras.optimizers.AdamW: _adam,
    keras.optimizers.RMSprop: _rmsprop,
}

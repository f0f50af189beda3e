"""The Hessian over all weights, and the preconditioner that scales it."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras.optimizers import Optimizer

from gdtrain.curvature import lanczos
from gdtrain.curvature.objective import Objective
from gdtrain.keras_bridge import optimizers
from gdtrain.keras_bridge.optimizers import unwrapped
from gdtrain.state import variables

#: Returns P as it is now: tensors of the shapes of the weights, above 0;
#: `None` if it is not known yet. What it returns when a `Hessian` is made
#: decides whether that has one: it becomes part of a program.
Preconditioner = Callable[[], list[tf.Tensor] | None]


class Hessian:
    """Multiplies vectors by the Hessian of a loss, or by P**-0.5 H P**-0.5.

    At the weights, and with the preconditioner P, as they were when it was
    made or at the last `refresh`.

    Args:
        objective: The loss.
        preconditioner: Returns P. Defaults to `None`: P is 1.

    Example:

    >>> import keras
    >>> model = keras.Sequential([keras.Input([1]), keras.layers.Dense(1)])
    >>> model.compile(loss="mse")
    >>> x = tf.constant([[0.0], [2.0]])
    >>> hessian = Hessian(Objective(model, x, 3 * x))
    >>> hessian(np.array([1.0, 0.0], hessian.dtype)).tolist()
    [4.0, 2.0]
    """

    def __init__(
        self, objective: Objective, preconditioner: Preconditioner | None = None
    ) -> None:
        self._objective = objective
        self._preconditioner = preconditioner
        #: How many weights there are, an `int`.
        self.size = objective.size
        #: Of the vectors, a NumPy dtype.
        self.dtype = np.dtype(objective.dtype.as_numpy_dtype)
        self._read = objective.compiled(self._values_now)
        self._multiply = objective.compiled(self._multiplied)
        self.refresh()

    def refresh(self) -> None:
        """Takes the weights and the preconditioner as they are now."""
        values, divided_by = self._read()
        # By NumPy: a graph would replace it by a less exact operation.
        scale = None
        if divided_by is not None:
            scale = tf.constant(1 / np.sqrt(divided_by.numpy()))
        self._at = values, scale

    def __call__(self, vector: np.ndarray) -> np.ndarray:
        """The product, an array `[size]`, as `vector` is."""
        return self._multiply(tf.constant(vector), *self._at).numpy()

    def largest(
        self, vectors: np.ndarray | None = None, **limits: Any
    ) -> lanczos.Eigenpairs:
        """Its largest eigenvalues.

        Args:
            vectors: Eigenvectors to begin with, `[any, size]`. Defaults to
                `None`, a random vector.
            **limits: Arguments of `lanczos.largest`.
        """
        start = lanczos.start_from(vectors, self.size, self.dtype)
        return lanczos.largest(self, start, **limits)

    def _values_now(self) -> tuple[list[tf.Tensor], tf.Tensor | None]:
        """The values of the weights, and P as one vector."""
        values = self._objective.values()
        divided_by = self._preconditioner and self._preconditioner()
        if divided_by is None:
            return values, None
        return values, tf.cast(_joined(divided_by), self._objective.dtype)

    def _multiplied(
        self, vector: tf.Tensor, values: list[tf.Tensor], scale: tf.Tensor
    ) -> tf.Tensor:
        if scale is not None:
            vector = vector * scale
        parts = self._objective.split(vector)
        found = _joined(self._objective.hessian_vector_product(parts, values))
        return found if scale is None else found * scale


def _joined(tensors: list[tf.Tensor]) -> tf.Tensor:
    """Tensors joined to one vector."""
    return tf.concat([tf.reshape(tensor, [-1]) for tensor in tensors], 0)


def preconditioner_of(
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
    >>> [p.numpy().round(4) for p in preconditioner_of(adam, [w])]
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
    name = optimizers.squared_gradients(optimizer)
    slots = [optimizers.slot(optimizer, name, weight) for weight in weights]
    first = [variables.parts(slot, strategy)[0] for slot in slots]
    squares = map(tf.convert_to_tensor, first)
    return [formula(optimizer, square, updates) for square in squares]


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

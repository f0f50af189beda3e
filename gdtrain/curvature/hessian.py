"""The Hessian of a loss as a matrix over all weights in one vector."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from gdtrain.curvature.objective import Objective

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
    """Tensors one after another, a vector."""
    return tf.concat([tf.reshape(tensor, [-1]) for tensor in tensors], 0)

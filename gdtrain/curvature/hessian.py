"""The Hessian of a loss as a matrix over all weights in one vector."""

import numpy as np


class Hessian:
    """Multiplies vectors by the Hessian of a loss, or by P**-0.5 H P**-0.5.

    At the values of the weights when it is made.

    Args:
        objective: An `Objective`.
        preconditioner: P, a list of tensors of the shapes of the weights,
            above 0. Defaults to `None`, which multiplies by H itself.

    Example:

    >>> import keras, tensorflow as tf
    >>> from gdtrain.curvature.objective import Objective
    >>> model = keras.Sequential([keras.Input([1]), keras.layers.Dense(1)])
    >>> model.compile(loss="mse")
    >>> x = tf.constant([[0.0], [2.0]])
    >>> hessian = Hessian(Objective(model, x, 3 * x))
    >>> hessian(np.array([1.0, 0.0], hessian.dtype)).tolist()
    [4.0, 2.0]
    """

    def __init__(self, objective, preconditioner=None):
        self._objective = objective
        self._values = objective.values()
        self._shapes = [value.shape for value in self._values]
        sizes = [shape.num_elements() for shape in self._shapes]
        self._bounds = np.cumsum(sizes)[:-1]
        #: How many weights there are, an `int`.
        self.size = sum(sizes)
        #: Of the vectors, a NumPy dtype.
        self.dtype = np.dtype(objective.dtype.as_numpy_dtype)
        self._shrink = None
        if preconditioner is not None:
            self._shrink = 1 / np.sqrt(self._joined(preconditioner))

    def __call__(self, vector):
        """The product, an array `[size]`, as `vector` is."""
        if self._shrink is not None:
            vector = vector * self._shrink
        parts = np.split(vector, self._bounds)
        product = self._joined(
            self._objective.hessian_vector_product(
                [
                    part.reshape(shape)
                    for part, shape in zip(parts, self._shapes, strict=True)
                ],
                self._values,
            )
        )
        return product if self._shrink is None else product * self._shrink

    def _joined(self, tensors):
        """Tensors one after another, an array `[size]`."""
        return np.concatenate(
            [tensor.numpy().ravel() for tensor in tensors], dtype=self.dtype
        )

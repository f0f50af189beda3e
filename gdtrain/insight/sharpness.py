"""The largest eigenvalue of the Hessian, followed while training goes on."""

import math

import numpy as np

from gdtrain.insight import lanczos
from gdtrain.insight.hessian import Hessian

#: How much of a random vector a search that goes on begins with, so that an
#: eigenvector which was not seen before can be found.
RANDOM_SHARE = 0.01


def start_from(vectors, size, dtype, random):
    """A vector to begin a search with.

    Args:
        vectors: Eigenvectors found before, `[any, size]`; `None` if none.
        size: How many numbers it has.
        dtype: Its dtype.
        random: A `numpy.random.Generator`.

    Returns:
        An array `[size]`.
    """
    fresh = random.standard_normal(size, dtype)
    if vectors is None:
        return fresh
    fresh *= RANDOM_SHARE / np.linalg.norm(fresh)
    return vectors.sum(axis=0).astype(dtype) + fresh


class Sharpness:
    """The largest eigenvalue of the Hessian, found anew at each update.

    It begins where it was the last time. As weights move little between
    probes, two products a time follow it; the first time takes more, about
    ten.

    Args:
        objective: An `Objective`, the loss.
        preconditioner: A function without arguments that returns P as it is
            now, a list of tensors of the shapes of the weights, for the
            eigenvalue of P**-0.5 H P**-0.5; it returns `None` if that is not
            known yet. Defaults to `None`, the Hessian itself.

    Example:

    >>> import keras
    >>> import tensorflow as tf
    >>> from gdtrain.insight.objective import Objective
    >>> model = keras.Sequential([keras.Input([1]), keras.layers.Dense(1)])
    >>> model.compile(loss="mse")
    >>> x = tf.constant([[0.0], [2.0]])
    >>> sharpness = Sharpness(Objective(model, x, 3 * x))
    >>> value, error_bound = sharpness.update(most_products=10)
    >>> round(value, 3)  # 3 + 5**0.5
    5.236
    """

    def __init__(self, objective, preconditioner=None):
        self._objective = objective
        self._preconditioner = preconditioner
        self._random = np.random.default_rng(0)
        self._vectors = None
        #: How many products were used so far, an `int`.
        self.products = 0

    def update(self, most_products=2, *, tolerance=1e-3):
        """The sharpness at the weights as they are now.

        Args:
            most_products: Most Hessian-vector products to use, each about
                four times as dear as the loss. Defaults to 2, which follow
                a change; 1 is a lower bound from the last eigenvector alone.
            tolerance: Error bound to stop at, relative to the sharpness.
                Defaults to 1e-3.

        Returns:
            `(sharpness, error_bound)`, floats. The largest eigenvalue is no
            smaller than `sharpness`, and there is one within `error_bound` of
            it. Both NaN where the loss or the preconditioner is not finite or
            not known.
        """
        preconditioner = None
        if self._preconditioner is not None:
            preconditioner = self._preconditioner()
            if preconditioner is None:
                return math.nan, math.nan
        hessian = Hessian(self._objective, preconditioner)
        start = start_from(
            self._vectors, hessian.size, hessian.dtype, self._random
        )
        try:
            found = lanczos.largest(
                hessian,
                start,
                tolerance=tolerance,
                most_products=most_products,
                most_vectors=max(most_products, lanczos.FEWEST_VECTORS),
            )
        except FloatingPointError:
            self._vectors = None
            return math.nan, math.nan
        self._vectors = found.vectors
        self.products += found.products
        return float(found.values[0]), float(found.error_bounds[0])

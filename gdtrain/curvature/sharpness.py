"""The largest eigenvalue of the Hessian, followed while training goes on."""

import math
from typing import Any

import numpy as np
import tensorflow as tf

#: Most products at a time; each is an operation of the program of its own.
MOST = 4


def largest_of_few(product, start, count):
    """The largest eigenvalue that `count` products of a matrix A see.

    With V the vectors multiplied, each what is new in the product before,

        T = V A V';  T s = value s;  vector = s V
        error bound = norm(A vector - value vector)

    Args:
        product: A function of a vector `[n]`, returns A times it.
        start: Where to begin, a tensor `[n]`, not zero.
        count: How many products, a Python integer of 1 to `MOST`.

    Returns:
        `(value, error_bound, vector)`: two scalars, and the vector `[n]`, of
        length 1. Not finite where a product is not.

    Example:

    >>> matrix = tf.linalg.diag([1.0, 5.0, 3.0])
    >>> value, error_bound, vector = largest(
    ...     lambda v: tf.linalg.matvec(matrix, v), tf.ones([3]), 3
    ... )
    >>> round(float(value), 5), abs(vector.numpy()).round(3).tolist()
    (5.0, [0.0, 1.0, 0.0])

    References:
        Lanczos, 1950; Parlett, The Symmetric Eigenvalue Problem, 1998,
        chapter 13. `gdtrain.curvature.lanczos` has the search for many.
    """
    vectors = [start / tf.norm(start)]
    images = [product(vectors[0])]
    while len(images) < count:
        vectors.append(_new_in(images[-1], tf.stack(vectors)))
        images.append(product(vectors[-1]))
    basis, images = tf.stack(vectors), tf.stack(images)
    seen = tf.matmul(basis, images, transpose_b=True)
    seen = (seen + tf.transpose(seen)) / 2
    is_finite = tf.reduce_all(tf.math.is_finite(seen))
    # What is not finite would be an error of the decomposition.
    seen = tf.where(is_finite, seen, tf.zeros_like(seen))
    values, parts = tf.linalg.eigh(_without_dummies(seen, basis))
    value = tf.where(is_finite, values[-1], float("nan"))
    part = parts[tf.newaxis, :, -1]
    vector = tf.matmul(part, basis)[0]
    residual = tf.matmul(part, images)[0] - value * vector
    return value, _norm(residual), vector


def _new_in(image, basis):
    """What of a product is orthogonal to others, of length 1.

    Zeros, if that is nothing but rounding.
    """
    rest = image
    for _ in range(2):  # Once leaves rounding of the first in the second.
        along = tf.linalg.matvec(basis, rest)
        rest -= tf.linalg.matvec(basis, along, transpose_a=True)
    length = _norm(rest)
    rounding = 10 * np.finfo(image.dtype.as_numpy_dtype).eps
    is_new = length > rounding * _norm(image)
    return tf.where(is_new, rest / length, tf.zeros_like(rest))


def _without_dummies(seen, basis):
    """Makes vectors of zeros see less than all others."""
    is_dummy = tf.reduce_all(tf.equal(basis, 0), 1)
    diagonal = tf.linalg.diag_part(seen)
    least = tf.reduce_min(diagonal)
    below = least - tf.abs(least) - 1
    return tf.linalg.set_diag(seen, tf.where(is_dummy, below, diagonal))


def _norm(vector):
    """The Euclidean norm: squares of 1e20 are more than float32 holds."""
    return tf.cast(tf.norm(tf.cast(vector, tf.float64)), vector.dtype)


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
    ten. Up to 4 products are one compiled program.

    Args:
        objective: An `Objective`, the loss.
        preconditioner: A function without arguments that returns P as it is
            now, a list of tensors of the shapes of the weights, for the
            eigenvalue of P**-0.5 H P**-0.5; it becomes part of the program.
            It returns `None` if that is not known yet. Defaults to `None`,
            the Hessian itself.

    Example:

    >>> import keras
    >>> from gdtrain.curvature.objective import Objective
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
        self._is_known = preconditioner is None
        self._shapes = [weight.shape for weight in objective.weights]
        self._sizes = [shape.num_elements() for shape in self._shapes]
        random = np.random.default_rng(0)
        fresh = random.standard_normal(sum(self._sizes))
        self._fresh = tf.constant(
            fresh / np.linalg.norm(fresh), objective.dtype
        )
        self._vector: Any = None  # The eigenvector found last
        self._search: Any = self._searched
        if not objective.run_eagerly:
            self._search = tf.function(self._searched, autograph=False)
        #: How many products were used so far, an `int`.
        self.products = 0

    def update(self, most_products=2, *, tolerance=1e-3):
        """The sharpness at the weights as they are now.

        Args:
            most_products: Most Hessian-vector products to use, each four to
                six times as dear as the loss. Defaults to 2, which follow
                a change; 1 is a lower bound from the last eigenvector alone.
            tolerance: Error bound to stop at, relative to the sharpness, seen
                after each 4 products. Defaults to 1e-3.

        Returns:
            `(sharpness, error_bound)`, floats. The largest eigenvalue is no
            smaller than `sharpness`, and there is one within `error_bound` of
            it. Both NaN where the loss or the preconditioner is not finite or
            not known.
        """
        self._is_known = self._is_known or self._preconditioner() is not None
        if not self._is_known:
            return math.nan, math.nan
        start = self._start()
        used = 0
        while True:
            count = min(most_products - used, MOST, sum(self._sizes))
            numbers, start = self._search(start, count)
            value, error_bound = numbers.numpy().tolist()
            used += count
            is_finite = math.isfinite(value) and math.isfinite(error_bound)
            if not is_finite or error_bound <= tolerance * abs(value):
                break
            if used >= most_products:
                break
        self.products += used
        self._vector = start if is_finite else None
        return (value, error_bound) if is_finite else (math.nan, math.nan)

    @property
    def is_warm(self):
        """Whether it has an eigenvector to begin with."""
        return self._vector is not None

    def get_state(self):
        """What it goes on from: an array `[weights]`, or `None`."""
        return None if self._vector is None else self._vector.numpy()

    def set_state(self, state):
        """Goes on from what `get_state` gave."""
        self._vector = None if state is None else tf.constant(state)

    def _start(self):
        """Where to begin: at the last eigenvector, and a bit of another."""
        if self._vector is None:
            return self._fresh
        return self._vector + RANDOM_SHARE * self._fresh

    def _searched(self, start, count):
        """`[value, error_bound]` and the vector, within the program."""
        values = self._objective.values()
        shrink = None
        if self._preconditioner is not None:
            shrink = tf.math.rsqrt(_joined(self._preconditioner()))
            shrink = tf.cast(shrink, self._objective.dtype)

        def product(vector):
            if shrink is not None:
                vector = vector * shrink
            parts = [
                tf.reshape(part, shape)
                for part, shape in zip(
                    tf.split(vector, self._sizes), self._shapes, strict=True
                )
            ]
            found = _joined(
                self._objective.hessian_vector_product(parts, values)
            )
            return found if shrink is None else found * shrink

        value, error_bound, vector = largest_of_few(product, start, count)
        return tf.stack([value, error_bound]), vector


def _joined(tensors):
    """Tensors one after another, a vector."""
    return tf.concat([tf.reshape(tensor, [-1]) for tensor in tensors], 0)

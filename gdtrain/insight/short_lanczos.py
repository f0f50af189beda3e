"""A few steps of Lanczos's method, as part of a compiled program."""

import numpy as np
import tensorflow as tf

#: Most products at a time; each is an operation of the program of its own.
MOST = 4


def largest(product, start, count):
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
        chapter 13. `gdtrain.insight.lanczos` has the search for many.
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

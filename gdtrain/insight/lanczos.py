"""The largest eigenvalues of a symmetric matrix known by its products."""

from typing import NamedTuple

import numpy as np

from gdtrain.insight.krylov import KrylovSpace

#: Products beyond those wanted before a search may end: one product of a
#: random vector may see an eigenvalue that many share, and no other.
_MORE = 4
#: What rounding of vectors adds to a residual, in units of their precision.
_ROUNDING = 64
#: To keep for one eigenvalue, so that a restart has where to go.
FEWEST_VECTORS = 5


class Eigenpairs(NamedTuple):
    """What `largest` found.

    Args:
        values: Float64 `[top]`, the largest first.
        error_bounds: Float64 `[top]`: within it of each value there is an
            eigenvalue.
        vectors: `[top, n]`, of length 1, of the dtype of the start.
        products: How many products it took.
    """

    values: np.ndarray
    error_bounds: np.ndarray
    vectors: np.ndarray
    products: int


def largest(
    product,
    start,
    *,
    top=1,
    tolerance=1e-3,
    most_products=100,
    most_vectors=None,
    seed=0,
):
    """The algebraically largest eigenvalues of a symmetric matrix A.

    By Lanczos's method with full reorthogonalisation, begun again with the
    best vectors found whenever the memory for vectors is full (thick restart).
    With T the matrix seen by the vectors V multiplied so far,

        T = V A V';  T s = value s;  vector = s V
        error bound = norm(A vector - value vector)

    Each value is at most the eigenvalue of its rank, but for rounding, and
    an eigenvalue lies within the error bound of it; the error is usually
    about the square of the bound. Rounding of the vectors is in the bound,
    rounding within a product is not. Equal eigenvalues are all found for `top`
    above 1, by a second search among what is orthogonal to the first.

    Memory: `most_vectors` + 3 vectors of n numbers.

    Args:
        product: A function of a vector, returns A times it; arrays `[n]`.
        start: Where to begin, an array `[n]`, not zero. All vectors have its
            dtype, float32 or float64. The nearer to the eigenvectors, the
            fewer products; one that has no part of an eigenvector cannot
            find it.
        top: How many eigenvalues. Defaults to 1. Of a matrix with fewer, all.
        tolerance: Largest error bound to stop at, relative to the largest
            absolute value found. Defaults to 1e-3.
        most_products: Most products to use. Defaults to 100.
        most_vectors: Most vectors to keep, at least top + 4. Defaults to
            `None`, 2 * top + 22.
        seed: For the vectors with which a search goes on. Defaults to 0.

    Returns:
        `Eigenpairs`.

    Raises:
        FloatingPointError: if a product is not finite.

    Example:

    >>> matrix = np.diag([1.0, 5.0, 3.0])
    >>> found = largest(matrix.dot, np.ones(3), top=2)
    >>> found.values.round(6).tolist(), found.products
    ([5.0, 3.0], 3)

    References:
        Lanczos, 1950; Wu and Simon, SIAM Journal on Matrix Analysis, 2000
        (thick restart); Parlett, The Symmetric Eigenvalue Problem, 1998,
        sections 6.9 (orthogonalisation) and 11.5 (error bounds).
    """
    top = min(top, len(start))
    space = KrylovSpace(product, start, most_vectors or 2 * top + 22, seed)
    _search(space, top, tolerance, most_products)
    while top > 1 and space.products < most_products and space.has_next:
        before = space.ritz()
        space.begin_again(top)
        _search(space, top + 1, tolerance, most_products)
        after = space.ritz()
        more = after.values[:top] - before.values[:top]
        if np.all(more <= tolerance * after.scale):
            break
    return _found(space, top)


def _search(space, wanted, tolerance, most_products):
    """Multiplies until the largest are found, or products are used up."""
    fewest = space.products + wanted + _MORE
    while space.products < most_products and space.has_next:
        if space.is_full:
            space.keep((wanted + space.room) // 2)
        space.multiply()
        if space.products >= fewest:
            ritz = space.ritz()
            if np.all(ritz.ties[:wanted] <= tolerance * ritz.scale):
                return


def _found(space, top):
    """The `Eigenpairs` found; of fewer vectors than `top`, fewer."""
    ritz = space.ritz()
    vectors = space.combined(ritz.vectors[:, :top])
    rounding = _ROUNDING * np.finfo(vectors.dtype).eps * ritz.scale
    ties = np.sqrt(ritz.ties[:top] ** 2 + space.left_out)
    return Eigenpairs(
        ritz.values[:top], ties + rounding, vectors, space.products
    )

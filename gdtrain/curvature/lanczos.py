"""Lanczos's method: the largest eigenvalues of a symmetric matrix."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from gdtrain.common.explained import more

#: A matrix as a function: of a vector `[n]`, returns the matrix times it.
Product = Callable[[np.ndarray], np.ndarray]

_COLUMNS = 2**16  # Columns of the stored vectors that are combined at a time
# Products beyond those wanted before a search may end: one product of a
# random vector may see an eigenvalue that many share, and no other.
_EXTRA_PRODUCTS = 4
# What rounding of vectors adds to a residual, in units of their precision
_ROUNDING = 64
# Length of the random vector that is added to known eigenvectors, so that an
# eigenvector to which these are orthogonal can be found
_RANDOM_LENGTH = 0.01


class Ritz(NamedTuple):
    """Eigenvalues of a matrix restricted to a Krylov space, largest first.

    Args:
        values: The eigenvalues (Ritz values) `[m]`.
        residuals: The length of `A vector - value vector` of each `[m]`.
        vectors: The eigenvectors as columns `[m, m]`, in the basis of the
            space.
    """

    values: np.ndarray
    residuals: np.ndarray
    vectors: np.ndarray

    @property
    def scale(self) -> float:
        """The largest absolute value."""
        return np.max(np.abs(self.values))


class KrylovSpace:
    """An orthonormal basis V of vectors that a matrix A was multiplied by.

    When there is no room for one more vector, the best combinations of them
    are kept (thick restart).

    Args:
        product: The matrix A.
        start: The first vector, an array `[n]`, not zero.
        room: How many vectors to keep at most, besides the next one.
        seed: Of the random vectors that continue a search when a product
            adds no direction.

    Raises:
        FloatingPointError: by `multiply`, if a product is not finite.

    Example:

    >>> space = KrylovSpace(np.diag([1.0, 5.0]).dot, np.ones(2), 2, seed=0)
    >>> space.multiply(), space.multiply()
    (None, None)
    >>> space.ritz().values.round(6).tolist()
    [5.0, 1.0]
    """

    def __init__(
        self, product: Product, start: np.ndarray, room: int, seed: int
    ) -> None:
        self._product = product
        self._random = np.random.default_rng(seed)
        #: How many vectors to keep at most.
        self.room = min(room, len(start))
        self._vectors = np.empty([self.room + 1, len(start)], start.dtype)
        self._vectors[0] = start / np.linalg.norm(start)
        self._count = 0  # Vectors multiplied; the next one follows them.
        self._projected = np.zeros([self.room + 1, self.room + 1])  # V A V'
        #: Squared length of the residuals that `restart` dropped.
        self.dropped = 0.0
        #: How many products were used.
        self.products = 0

    @property
    def is_full(self) -> bool:
        """Whether there is no room for one more product."""
        return self._count == self.room

    @property
    def has_next(self) -> bool:
        """Whether the vectors do not span the whole space yet."""
        return self._count < self._vectors.shape[1]

    def ritz(self) -> Ritz:
        """Eigenvalues of the matrix restricted to the vectors multiplied."""
        count = self._count
        values, vectors = np.linalg.eigh(self._projected[:count, :count])
        values, vectors = values[::-1], vectors[:, ::-1]
        residuals = np.abs(self._projected[count, :count] @ vectors)
        return Ritz(values, residuals, vectors)

    def combined(self, parts: np.ndarray) -> np.ndarray:
        """The vectors `[any, n]` whose coordinates are the columns of parts."""
        parts = parts.T.astype(self._vectors.dtype)
        return parts @ self._vectors[: self._count]

    def multiply(self) -> None:
        """Multiplies the next vector; the new direction is the next one."""
        place = self._count
        image = np.array(
            self._product(self._vectors[place]), self._vectors.dtype
        )
        self.products += 1
        length = length_of(image)
        if not np.isfinite(length):
            raise FloatingPointError(
                "Products of the matrix must be finite. Received: one of "
                f"length {length}. If it is the Hessian of a loss, look for "
                "NaN and infinity in the weights and the data."
                + more("nonfinite")
            )
        self._count += 1
        image, along, rest = self._orthogonal(image)
        projected = self._projected
        projected[place, : place + 1] = projected[: place + 1, place] = along
        if rest > 10 * np.finfo(image.dtype).eps * length:
            self._vectors[self._count] = image / rest
            projected[self._count] = 0
            projected[self._count, place] = rest
        elif self.has_next:
            self._add_random()

    def keep(self, count: int) -> None:
        """Keeps the vectors of the largest values, and the next vector."""
        ritz = self.ritz()
        chosen = ritz.vectors[:, :count]
        along = self._projected[self._count, : self._count] @ chosen
        following = self._vectors[self._count].copy()
        self._combine(chosen)
        self._projected[:] = 0
        self._projected[range(count), range(count)] = ritz.values[:count]
        self._projected[count, :count] = along
        self._count = count
        following, _, length = self._orthogonal(following)
        self._vectors[count] = following / length

    def restart(self, count: int) -> None:
        """Keeps the `count` largest alone; the next vector is random."""
        self.dropped += np.sum(self.ritz().residuals[:count] ** 2)
        self.keep(count)
        self._add_random()

    def _add_random(self) -> None:
        """Makes the next vector a random one, orthogonal to all."""
        self._projected[self._count] = 0
        shape = self._vectors.shape[1:]
        vector = self._random.standard_normal(shape, self._vectors.dtype)
        vector, _, length = self._orthogonal(vector)
        self._vectors[self._count] = vector / length

    def _orthogonal(
        self, vector: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, float]:
        """The part orthogonal to all vectors; coordinates; its length."""
        vectors = self._vectors[: self._count]
        parts = np.zeros(self._count)
        length = length_of(vector)
        for _ in range(4):  # Two are enough unless all is rounding.
            along = vectors @ vector
            vector = vector - along @ vectors
            parts += along
            before, length = length, length_of(vector)
            if length > before / 2:
                break
        return vector, parts, length

    def _combine(self, chosen: np.ndarray) -> None:
        """Replaces the vectors by combinations, some columns at a time."""
        count, kept = chosen.shape
        chosen = chosen.T.astype(self._vectors.dtype)
        for begin in range(0, self._vectors.shape[1], _COLUMNS):
            part = self._vectors[:, begin : begin + _COLUMNS]
            part[:kept] = chosen @ part[:count]


def length_of(vector: np.ndarray) -> float:
    """The Euclidean norm, also where squares leave the range of float32.

    That is at norms above about 1e19 and below about 1e-19.

    Example:

    >>> round(length_of(np.array([3e20, 4e20], "float32")) / 1e20, 5)
    5.0
    """
    with np.errstate(over="ignore"):
        length = float(np.linalg.norm(vector))
    if 1e-15 < length < np.inf:
        return length
    return float(np.linalg.norm(np.asarray(vector, "float64")))


def start_from(
    vectors: np.ndarray | None, size: int, dtype: np.dtype
) -> np.ndarray:
    """A vector to begin a search with.

    Args:
        vectors: Eigenvectors found before, `[any, size]`, or `None`.
        size: How many numbers it has.
        dtype: float32 or float64.

    Returns:
        An array `[size]`: a random vector, the same at each call; or the sum
        of the eigenvectors and a short random vector.
    """
    drawn = np.random.default_rng(0).standard_normal(size, dtype)
    if vectors is None:
        return drawn
    drawn *= _RANDOM_LENGTH / np.linalg.norm(drawn)
    return vectors.sum(axis=0).astype(dtype) + drawn


class Eigenpairs(NamedTuple):
    """Eigenvalues and eigenvectors, the largest first.

    Args:
        values: Float64 `[top]`.
        residuals: Float64 `[top]`: within it of each value there is an
            eigenvalue, but for rounding.
        error_bounds: The same with rounding of the vectors.
        vectors: `[top, n]`, of length 1, of the dtype of the start.
        products: How many products were used.
    """

    values: np.ndarray
    residuals: np.ndarray
    error_bounds: np.ndarray
    vectors: np.ndarray
    products: int


def largest(
    product: Product,
    start: np.ndarray,
    *,
    top: int = 1,
    tolerance: float = 1e-3,
    max_products: int = 100,
    max_vectors: int | None = None,
) -> Eigenpairs:
    """The algebraically largest eigenvalues of a symmetric matrix A.

    By Lanczos's method with full reorthogonalisation, restarted with the best
    vectors found whenever the memory for vectors is full (thick restart).
    With T the matrix restricted to the vectors V multiplied so far,

        T = V A V';  T s = value s;  vector = s V
        error bound = norm(A vector - value vector)

    Each value is at most the eigenvalue of its rank, except for rounding, and
    an eigenvalue lies within the error bound of it; the error is usually
    about the square of the bound. The bound includes rounding of the vectors,
    not rounding within a product. Equal eigenvalues are all found for `top`
    above 1, by a second search orthogonal to what the first one found.

    Memory: `max_vectors` + 3 vectors of n numbers.

    Args:
        product: The matrix A: a function of a vector, returns A times it.
        start: The first vector `[n]`, not zero. All vectors have its dtype,
            float32 or float64. The nearer it is to the eigenvectors, the
            fewer products; an eigenvector orthogonal to it is not found.
        top: How many eigenvalues. Defaults to 1. Of a smaller matrix, all.
        tolerance: The error bound to stop at, relative to the largest
            absolute value found. Defaults to 1e-3.
        max_products: Defaults to 100.
        max_vectors: How many vectors to keep, at least top + 4. Defaults to
            `None`, 2 * top + 22.

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
    space = KrylovSpace(product, start, max_vectors or 2 * top + 22, seed=0)
    _search(space, top, tolerance, max_products)
    while top > 1 and space.products < max_products and space.has_next:
        before = space.ritz()
        space.restart(top)
        _search(space, top + 1, tolerance, max_products)
        after = space.ritz()
        more = after.values[:top] - before.values[:top]
        if np.all(more <= tolerance * after.scale):
            break
    ritz = space.ritz()  # With fewer values than `top` after few products
    vectors = space.combined(ritz.vectors[:, :top])
    rounding = _ROUNDING * np.finfo(vectors.dtype).eps * ritz.scale
    residuals = np.sqrt(ritz.residuals[:top] ** 2 + space.dropped)
    return Eigenpairs(
        values=ritz.values[:top],
        residuals=residuals,
        error_bounds=residuals + rounding,
        vectors=vectors,
        products=space.products,
    )


def _search(
    space: KrylovSpace, wanted: int, tolerance: float, max_products: int
) -> None:
    """Multiplies until the largest are found, or products are used up."""
    fewest = space.products + wanted + _EXTRA_PRODUCTS
    while space.products < max_products and space.has_next:
        if space.is_full:
            space.keep((wanted + space.room) // 2)
        space.multiply()
        if space.products >= fewest:
            ritz = space.ritz()
            if np.all(ritz.residuals[:wanted] <= tolerance * ritz.scale):
                return

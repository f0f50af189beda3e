"""Lanczos's method: the largest eigenvalues of a symmetric matrix."""

from typing import NamedTuple

import numpy as np

#: Parts of long vectors that are rewritten at a time, in numbers.
_COLUMNS = 2**16


class Ritz(NamedTuple):
    """What the vectors see of a matrix, the largest first.

    Args:
        values: The values `[m]`.
        ties: Length of what a product leaves of each, along the next vector.
        vectors: In columns `[m, m]`, in terms of the vectors multiplied.
    """

    values: np.ndarray
    ties: np.ndarray
    vectors: np.ndarray

    @property
    def scale(self):
        """The largest absolute value."""
        return np.max(np.abs(self.values))


class KrylovSpace:
    """Vectors V that a matrix A was multiplied by, and the next one.

    They are orthogonal to one another and of length 1. When there is no room
    for more, the best combinations of them are kept (thick restart).

    Args:
        product: A function of a vector, returns A times it; arrays `[n]`.
        start: The first vector, an array `[n]`, not zero.
        room: Most vectors to keep, and 1 more.
        seed: For vectors drawn where there is nowhere else to go.

    Raises:
        FloatingPointError: by `multiply`, if a product is not finite.

    Example:

    >>> space = KrylovSpace(np.diag([1.0, 5.0]).dot, np.ones(2), 2, seed=0)
    >>> space.multiply(), space.multiply()
    (None, None)
    >>> space.ritz().values.round(6).tolist()
    [5.0, 1.0]
    """

    def __init__(self, product, start, room, seed):
        self._product = product
        self._random = np.random.default_rng(seed)
        room = min(room, len(start))
        self._vectors = np.empty([room + 1, len(start)], start.dtype)
        self._vectors[0] = start / np.linalg.norm(start)
        self._count = 0  # Vectors multiplied; the next one follows them.
        self._seen = np.zeros([room + 1, room + 1])
        #: Squared length of what `begin_again` left out of A V.
        self.left_out = 0.0
        #: How many products were used so far, an `int`.
        self.products = 0

    @property
    def room(self):
        """Most vectors to keep."""
        return len(self._vectors) - 1

    @property
    def is_full(self):
        """Whether there is no room for another product."""
        return self._count == self.room

    @property
    def has_next(self):
        """Whether there are vectors that were not multiplied."""
        return self._count < self._vectors.shape[1]

    def ritz(self):
        """What the vectors multiplied so far see, the largest first."""
        count = self._count
        values, vectors = np.linalg.eigh(self._seen[:count, :count])
        values, vectors = values[::-1], vectors[:, ::-1]
        ties = np.abs(self._seen[count, :count] @ vectors)
        return Ritz(values, ties, vectors)

    def combined(self, parts):
        """The vectors `[any, n]` with these parts along those multiplied."""
        parts = parts.T.astype(self._vectors.dtype)
        return parts @ self._vectors[: self._count]

    def begin_again(self, top):
        """Keeps the `top` largest alone, and goes on from a random vector."""
        self.left_out += np.sum(self.ritz().ties[:top] ** 2)
        self.keep(top)
        self._add_random()

    def multiply(self):
        """Multiplies the next vector; what is new in it is the next."""
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
            )
        self._count += 1
        image, seen, rest = self._orthogonal(image)
        self._seen[place, : place + 1] = self._seen[: place + 1, place] = seen
        if rest > 10 * np.finfo(image.dtype).eps * length:
            self._vectors[self._count] = image / rest
            self._seen[self._count] = 0
            self._seen[self._count, place] = rest
        elif self.has_next:
            self._add_random()

    def _add_random(self):
        """Makes the next vector a random one, orthogonal to all."""
        self._seen[self._count] = 0
        shape = self._vectors.shape[1:]
        vector = self._random.standard_normal(shape, self._vectors.dtype)
        vector, _, length = self._orthogonal(vector)
        self._vectors[self._count] = vector / length

    def _orthogonal(self, vector):
        """A vector without its parts along others; the parts; its length."""
        vectors = self._vectors[: self._count]
        parts = np.zeros(self._count)
        length = length_of(vector)
        for _ in range(4):  # Two are enough but for what is all rounding.
            along = vectors @ vector
            vector = vector - along @ vectors
            parts += along
            before, length = length, length_of(vector)
            if length > before / 2:
                break
        return vector, parts, length

    def keep(self, count):
        """Keeps the largest alone, and the next vector."""
        ritz = self.ritz()
        chosen = ritz.vectors[:, :count]
        seen = self._seen[self._count, : self._count] @ chosen
        next_one = self._vectors[self._count].copy()
        self._rotate(chosen)
        self._seen[:] = 0
        self._seen[range(count), range(count)] = ritz.values[:count]
        self._seen[count, :count] = seen
        self._count = count
        next_one, _, length = self._orthogonal(next_one)
        self._vectors[count] = next_one / length

    def _rotate(self, chosen):
        """Puts combinations of the vectors in their place, a part a time."""
        count, kept = chosen.shape
        chosen = chosen.T.astype(self._vectors.dtype)
        for begin in range(0, self._vectors.shape[1], _COLUMNS):
            part = self._vectors[:, begin : begin + _COLUMNS]
            part[:kept] = chosen @ part[:count]


def length_of(vector):
    """The Euclidean norm, a float: also of float32 whose squares overflow.

    Or underflow, which are too large or small for float32 from norms of about
    1e19 and 1e-19 on.

    Example:

    >>> round(length_of(np.array([3e20, 4e20], "float32")) / 1e20, 5)
    5.0
    """
    with np.errstate(over="ignore"):
        length = float(np.linalg.norm(vector))
    if 1e-15 < length < np.inf:
        return length
    return float(np.linalg.norm(np.asarray(vector, "float64")))


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

"""The largest eigenvalues of a symmetric matrix known by its products."""

from typing import NamedTuple

import numpy as np

#: Parts of long vectors that are rewritten at a time, in numbers.
_COLUMNS = 2**16
#: Products beyond those wanted before a search may end: one product of a
#: random vector may see an eigenvalue that many share, and no other.
_MORE = 4
#: So that a search which begins again has where to go.
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
    about the square of the bound. Equal eigenvalues are all found for `top`
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
        most_vectors: Most vectors to keep, at least top + 4
            (`FEWEST_VECTORS` for one). Defaults to
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
    search = _Search(product, start, most_vectors or 2 * top + 22, seed)
    search.run(top, tolerance, most_products)
    while top > 1 and search.products < most_products and search.has_next:
        before = search.ritz()
        search.begin_again(top)
        search.run(top + 1, tolerance, most_products)
        after = search.ritz()
        more = after.values[:top] - before.values[:top]
        if np.all(more <= tolerance * after.scale):
            break
    return search.found(top)


class _Ritz(NamedTuple):
    """Values, what ties them to the next vector, and vectors in columns."""

    values: np.ndarray
    ties: np.ndarray
    vectors: np.ndarray  # In terms of the vectors kept

    @property
    def scale(self):
        """The largest absolute value."""
        return np.max(np.abs(self.values))


class _Search:
    """Vectors that were multiplied, and the one to be multiplied next."""

    def __init__(self, product, start, room, seed):
        self._product = product
        self._random = np.random.default_rng(seed)
        self._room = min(room, len(start))
        self._vectors = np.empty([self._room + 1, len(start)], start.dtype)
        self._vectors[0] = start / np.linalg.norm(start)
        self._count = 0  # Vectors multiplied; the next one follows them.
        self._seen = np.zeros([self._room + 1, self._room + 1])
        self._left_out = 0.0  # Of A V, squared
        self.products = 0

    @property
    def has_next(self):
        """Whether there are vectors that were not multiplied."""
        return self._count < self._vectors.shape[1]

    def run(self, wanted, tolerance, most_products):
        """Multiplies until the largest are found, or products are used up."""
        fewest = self.products + wanted + _MORE
        while self.products < most_products and self.has_next:
            if self._count == self._room:
                self._keep((wanted + self._room) // 2)
            self._multiply()
            if self.products >= fewest:
                ritz = self.ritz()
                if np.all(ritz.ties[:wanted] <= tolerance * ritz.scale):
                    return

    def ritz(self):
        """What the vectors multiplied so far see, the largest first."""
        count = self._count
        values, vectors = np.linalg.eigh(self._seen[:count, :count])
        values, vectors = values[::-1], vectors[:, ::-1]
        ties = np.abs(self._seen[count, :count] @ vectors)
        return _Ritz(values, ties, vectors)

    def found(self, top):
        """The `Eigenpairs` found; of fewer vectors than `top`, fewer."""
        ritz = self.ritz()
        vectors = ritz.vectors[:, :top].T.astype(self._vectors.dtype)
        return Eigenpairs(
            ritz.values[:top],
            np.sqrt(ritz.ties[:top] ** 2 + self._left_out),
            vectors @ self._vectors[: self._count],
            self.products,
        )

    def begin_again(self, top):
        """Keeps the `top` largest alone, and goes on from a random vector."""
        self._left_out += np.sum(self.ritz().ties[:top] ** 2)
        self._keep(top)
        self._add_random()

    def _multiply(self):
        """Multiplies the next vector; what is new in it is the next."""
        place = self._count
        image = np.array(
            self._product(self._vectors[place]), self._vectors.dtype
        )
        self.products += 1
        length = np.linalg.norm(image)
        if not np.isfinite(length):
            raise FloatingPointError(
                "A product of the matrix is not finite: "
                f"it has length {length}."
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
        length = np.linalg.norm(vector)
        for _ in range(4):  # Two are enough but for what is all rounding.
            along = vectors @ vector
            vector = vector - along @ vectors
            parts += along
            before, length = length, np.linalg.norm(vector)
            if length > before / 2:
                break
        return vector, parts, float(length)

    def _keep(self, count):
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
        """Puts combinations of the vectors in their place."""
        count, kept = chosen.shape
        lengths = np.zeros([count, count])
        for part in self._parts():
            lengths += part[:count] @ part[:count].T
        # Without this, rounding would add up from one time to the next.
        chosen = chosen @ (3 * np.eye(kept) - chosen.T @ lengths @ chosen) / 2
        chosen = chosen.T.astype(self._vectors.dtype)
        for part in self._parts():
            part[:kept] = chosen @ part[:count]

    def _parts(self):
        """The vectors, some columns at a time."""
        for begin in range(0, self._vectors.shape[1], _COLUMNS):
            yield self._vectors[:, begin : begin + _COLUMNS]

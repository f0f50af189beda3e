"""Vectors that a symmetric matrix was multiplied by, and what they see."""

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

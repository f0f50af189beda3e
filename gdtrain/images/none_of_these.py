"""Photos that are like nothing learned."""

import math

import numpy as np

from gdtrain.common import checks
from gdtrain.images.axes import parts, standardization, stratified_folds
from gdtrain.images.calibration import check_pairs, wilson

_POWER = 0.75
_NEIGHBOURS = 3
_FOLDS = 20
_MOST = 4096  # Photos to compare with: 10 MB for 1,280 features


class NoneOfThese:
    """Finds photos that are like nothing learned.

    The score of a photo is its mean distance to the three nearest learned
    photos, from 0 to 2. Features are directions here: their power of 0.75,
    with their sign, scaled to a length of 1. No class needs to look alike.

    The threshold is set by scores of learned photos that were held out in
    turn, so that a photo of a learned class is refused with the chance
    `refused`, or less. Where there are fewer photos than 1 / `refused` - 1,
    it is the largest of these scores, which one photo in photos + 1 exceeds:
    see `refused_at_most`.

    How often something else is accepted depends on what it is, and cannot be
    known from these photos. Measured with the defaults on held-out pictures,
    some 2% of the known ones refused; the method was chosen on other splits
    of some of these data, so that other data may do worse:

    * pixels of the digits 0 to 4: 80% of the digits 5 to 9 are refused;
    * features of EfficientNet-Lite0, 100 photos, of hot dogs and of others:
      parts of two other photos, digits and noise are all refused, and 99% of
      clothes;
    * the same of clothes: 3% to 37% of other clothes, by kind. Most of what
      looks like a learned class is accepted.

    Args:
        features: Float `[photos, features]`. Of more than 4,096, so many are
            drawn, and the others have no part in it.
        labels: Integers `[photos]`.
        refused: The share of photos of learned classes that may be refused,
            above 0 and below 1. Defaults to 0.02.
        seed: Draws the folds, and photos where there are many.

    Attributes:
        threshold: The score above which a photo is none of these.
        cross_validated: The score of each photo by the photos of other folds,
            float64 `[photos]`.
        refused_of_held_out: How many of them are above the threshold.

    Raises:
        TypeError, ValueError: if an argument cannot be used.

    Example:

    >>> random = np.random.default_rng(0)
    >>> labels = np.arange(200) % 2
    >>> features = random.uniform(size=[200, 4]) + 5 * np.eye(4)[labels]
    >>> none_of_these = NoneOfThese(features, labels)
    >>> none_of_these.is_none(5 * np.eye(4)[[0, 1, 3]] + 0.5)
    array([False, False,  True])

    References:
        Sun et al., ICML 2022, arXiv:2204.06507 (nearest neighbours of scaled
        features); Perronnin et al., ECCV 2010 (powers of features, there
        0.5); Vovk et al., 2005 (the rank of the threshold).
    """

    def __init__(
        self,
        features: np.ndarray,
        labels: np.ndarray,
        refused: float = 0.02,
        seed: int = 0,
    ) -> None:
        refused = checks.positive_number("refused", refused, "Write 0.02.")
        if refused >= 1:
            raise ValueError(
                f"`refused` must be below 1. Received: refused={refused}."
            )
        features, labels = np.asarray(features), np.asarray(labels)
        check_pairs(features, labels, "features")
        if len(labels) > _MOST:
            random = np.random.default_rng(seed)
            drawn = np.sort(random.choice(len(labels), _MOST, replace=False))
            features, labels = features[drawn], labels[drawn]
        # Half the bytes in the file; distances change by less than 0.001.
        self._learned = _directions(features).astype(np.float16)
        folds = stratified_folds(
            standardization(features), features, labels, folds=_FOLDS, seed=seed
        )
        self.cross_validated = np.zeros(len(labels))
        for fold in np.unique(folds):
            held_out = folds == fold
            self.cross_validated[held_out] = _distances(
                _directions(features[held_out]), self._learned[~held_out]
            )
        ranked = np.sort(self.cross_validated)
        rank = math.ceil((len(ranked) + 1) * (1 - refused))
        self.threshold = float(ranked[min(rank, len(ranked)) - 1])
        self.refused_of_held_out = int(
            np.sum(self.cross_validated > self.threshold)
        )

    def score(self, features: np.ndarray) -> np.ndarray:
        """How far photos are from all that was learned.

        Args:
            features: `[photos, features]`.

        Returns:
            Float64 `[photos]`, at least 0.
        """
        found = np.empty(len(features))
        for part in parts(len(features)):
            directions = _directions(np.asarray(features[part]))
            found[part] = _distances(directions, self._learned)
        return found

    def is_none(self, features: np.ndarray) -> np.ndarray:
        """Whether photos are like nothing learned, bool `[photos]`."""
        return self.score(features) > self.threshold

    @property
    def refused_at_most(self) -> float:
        """The chance that a photo of a learned class is refused, at most.

        By the rank of the threshold among the scores of held-out photos, if
        the photo is drawn as they were.
        """
        return (1 + self.refused_of_held_out) / (1 + len(self.cross_validated))

    @property
    def refusal_interval(self) -> tuple[float, float]:
        """How many photos of learned classes are refused: see `wilson`."""
        return wilson(self.refused_of_held_out, len(self.cross_validated))


def _directions(features: np.ndarray) -> np.ndarray:
    """Powers of features, scaled to a length of 1, float32."""
    powers = np.sign(features) * np.abs(features.astype(np.float64)) ** _POWER
    lengths = np.linalg.norm(powers, axis=1, keepdims=True)
    return (powers / np.where(lengths > 0, lengths, 1)).astype(np.float32)


def _distances(photos: np.ndarray, learned: np.ndarray) -> np.ndarray:
    """The mean distance of each to its nearest ones, float64 `[photos]`."""
    squares = 2 - 2 * photos @ learned.astype(np.float32).T
    count = min(_NEIGHBOURS, len(learned))
    if not count:  # All photos are in one fold.
        return np.full(len(photos), math.sqrt(2))
    nearest = np.partition(squares, count - 1, axis=1)[:, :count]
    return np.sqrt(np.maximum(nearest, 0)).mean(axis=1, dtype=np.float64)

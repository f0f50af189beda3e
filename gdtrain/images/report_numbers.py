"""How good a classifier of photos is: its numbers, and photos to look at."""

import dataclasses
from typing import NamedTuple

import numpy as np

from gdtrain.images import calibration
from gdtrain.images.photos import Photos

MAX_LISTED = 20  # Photos in a list of those to look at
BINS = 15  # Of confidence, as in Guo et al. 2017


class ListedPhoto(NamedTuple):
    """A photo to look at.

    Args:
        file: Its path; where there are no files, its part and position.
        given: The class that it is labelled with.
        said: The class that it was taken for.
        probability: In `Report.most_wrong` of the class that was said, in
            `Report.most_suspect` of the class that was given.
        position: Its place in its part of the photos.
    """

    file: str
    given: str
    said: str
    probability: float
    position: int


class ReliabilityBin(NamedTuple):
    """Photos that were classified with about the same confidence.

    Args:
        confidence: The mean probability of the classes that were said.
        accuracy: The share of photos that are right.
        low, high: The 95% interval of the accuracy (Wilson).
        photos: How many they are, at least one.
    """

    confidence: float
    accuracy: float
    low: float
    high: float
    photos: int


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class ReportNumbers:
    """What a classifier makes of held-out photos, in numbers and lists.

    Args:
        photos: The photos.
        probabilities: Of the n held-out photos, float64 `[n, classes]`.
        cross_validated: Of the m photos to learn from, each by a model that
            did not learn from it, float64 `[m, classes]`; `None` if there are
            none, and then no label is suspect.

    Example:

    >>> from gdtrain.images.photos import LabelledImages
    >>> images = np.zeros([4, 8, 8, 3], np.uint8)
    >>> part = LabelledImages(images, np.array([0, 0, 1, 1]), [])
    >>> photos = Photos(["cat", "dog"], part, part, [], "Four photos.")
    >>> said = np.array([[0.9, 0.1], [0.7, 0.3], [0.4, 0.6], [0.8, 0.2]])
    >>> found = ReportNumbers(photos, said)
    >>> found.accuracy, found.recall.tolist(), found.confusion.tolist()
    (0.75, [1.0, 0.5], [[2, 0], [1, 1]])
    >>> found.most_wrong
    [ListedPhoto(file='held out 3', given='dog', said='cat', probability=0.8,
                 position=3)]
    """

    photos: Photos
    probabilities: np.ndarray
    cross_validated: np.ndarray | None = None

    @property
    def class_names(self) -> list[str]:
        """The name of each class."""
        return self.photos.class_names

    @property
    def labels(self) -> np.ndarray:
        """The right classes of the held-out photos, int `[n]`."""
        return self.photos.held_out.labels

    @property
    def said(self) -> np.ndarray:
        """The classes that they were taken for, int `[n]`."""
        return self.probabilities.argmax(1)

    @property
    def right(self) -> int:
        """How many held-out photos are classified rightly."""
        return int((self.said == self.labels).sum())

    @property
    def accuracy(self) -> float:
        """The share of held-out photos that are classified rightly."""
        return self.right / len(self.labels)

    @property
    def interval(self) -> tuple[float, float]:
        """The 95% interval of the accuracy (Wilson)."""
        return calibration.wilson(self.right, len(self.labels))

    @property
    def confusion(self) -> np.ndarray:
        """Photos of each class (row) by what was said (column), int."""
        counts = np.zeros([len(self.class_names)] * 2, np.int64)
        np.add.at(counts, (self.labels, self.said), 1)
        return counts

    @property
    def precision(self) -> np.ndarray:
        """The share of photos taken for a class that are of it, `[classes]`.

        NaN for a class that no photo was taken for.
        """
        return _shares(self.confusion.diagonal(), self.confusion.sum(0))

    @property
    def recall(self) -> np.ndarray:
        """The share of photos of a class that are taken for it, `[classes]`.

        NaN for a class without held-out photos.
        """
        return _shares(self.confusion.diagonal(), self.confusion.sum(1))

    @property
    def expected_calibration_error(self) -> float:
        """By how much confidence differs from accuracy, in the mean of bins."""
        return calibration.expected_calibration_error(
            self.probabilities, self.labels, BINS
        )

    @property
    def reliability(self) -> list[ReliabilityBin]:
        """Confidence and accuracy in bins of equal width, but empty ones."""
        confidence = self.probabilities.max(1)
        is_right = self.said == self.labels
        # As calibration: (0, 1/15], (1/15, 2/15], ...
        of_bin = np.minimum(np.ceil(confidence * BINS), BINS)
        found = []
        for at in (of_bin == number for number in np.unique(of_bin)):
            right, count = int(is_right[at].sum()), int(at.sum())
            share, interval = right / count, calibration.wilson(right, count)
            mean = float(confidence[at].mean())
            found.append(ReliabilityBin(mean, share, *interval, count))
        return found

    @property
    def most_wrong(self) -> list[ListedPhoto]:
        """Held-out photos that are classified wrongly, the surest first."""
        surest = self.probabilities.max(1)
        wrong = np.flatnonzero(self.said != self.labels)
        order = wrong[np.argsort(-surest[wrong], kind="stable")]
        return self._listed("held out", self.said, surest, order)

    @property
    def most_suspect(self) -> list[ListedPhoto]:
        """Photos to learn from whose labels may be mistakes, likeliest first.

        Those that a model which did not learn from them takes for another
        class, by the probability of the label that they were given: the
        ranking by self-confidence of confident learning.

        References: Northcutt, Jiang and Chuang, "Confident Learning:
        Estimating Uncertainty in Dataset Labels", JAIR 70 (2021), section 3.2,
        arXiv:1911.00068.
        """
        if self.cross_validated is None:
            return []
        labels = self.photos.training.labels
        said = self.cross_validated.argmax(1)
        given = self.cross_validated[np.arange(len(labels)), labels]
        suspect = np.flatnonzero(said != labels)
        order = suspect[np.argsort(given[suspect], kind="stable")]
        return self._listed("training", said, given, order)

    def _listed(
        self, part: str, said: np.ndarray, shown: np.ndarray, order: np.ndarray
    ) -> list[ListedPhoto]:
        """Photos of a part, at most 20, in an order of their positions."""
        photos = (
            self.photos.held_out if part == "held out" else self.photos.training
        )
        return [
            ListedPhoto(
                photos.files[at].path if photos.files else f"{part} {at}",
                self.class_names[photos.labels[at]],
                self.class_names[said[at]],
                float(shown[at]),
                int(at),
            )
            for at in order[:MAX_LISTED]
        ]


def _shares(parts: np.ndarray, wholes: np.ndarray) -> np.ndarray:
    """Quotients, float64; NaN where there is nothing."""
    return np.where(wholes > 0, parts / np.maximum(wholes, 1), np.nan)

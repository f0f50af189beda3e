"""One order of examples in all epochs, similar ones together.

Trigger:
    From {EPOCHS} epochs of {BATCHES} batches or more: the loss takes the same
    course in each epoch (a correlation of {SAME:g} or more with the next
    one, {CHANCE:g} standard errors from 0), jumps up and falls slowly
    ({JUMPS:g} standard errors of a skewness), by {RANGE:.0%} of what it fell
    in all epochs or more. With the data: they are sorted by their targets, by
    more than {SORTED:g} where 1 is sorted, each epoch takes them in that
    order, and the model has not learned.
Evidence:
    `correlation_of_epochs`, `skewness_of_steps` and `range`, or
    `sortedness`.
Confused with:
    "oscillating": there the loss turns back at each step, here once for each
    kind of example. A fixed order of examples that are mixed does no harm,
    and has no verdict.
Advice:
    Shuffle: `fit(..., shuffle=True)` for arrays; `dataset.shuffle(n)` before
    `batch`, with n the number of all examples, for a `tf.data.Dataset`.
Example:

>>> import numpy as np, gdtrain
>>> from gdtrain.telemetry import StepTable
>>> course = np.tile(0.7 ** np.arange(8), 4)  # Of the batches of an epoch
>>> random = np.random.default_rng(0)
>>> epochs = [course + 0.8**n + random.normal(0, 0.02, 32) for n in range(8)]
>>> loss = np.concatenate(epochs)
>>> table = StepTable(range(1, 257), ["loss"], loss[:, np.newaxis])
>>> history = {"loss": [epoch.mean() for epoch in epochs]}
>>> print(gdtrain.diagnose(table, history=history))
data not shuffled (confidence 0.75, steps 1 to 256)
  Within each epoch the loss takes the same course (correlation 1.00 from
    epoch to epoch; a random order has 0 +- 0.072): it jumps and falls again
    at the same places, by 1.3 times what it fell in all epochs. The examples
    come in one order, similar ones together.
  Shuffle: `fit(..., shuffle=True)` for arrays; `dataset.shuffle(n)` with n
    the number of all examples, before `batch`, for a tf.data.Dataset.
"""

import math
from typing import NamedTuple

import numpy as np

from gdtrain.diagnosis.case import Case
from gdtrain.diagnosis.learned import well_learned
from gdtrain.diagnosis.run import Run
from gdtrain.diagnosis.task import Task
from gdtrain.diagnosis.verdict import Change, Verdict, confidence

NAME = "data not shuffled"

EPOCHS = 4  # The first of them is not compared.
BATCHES = 8  # Of an epoch
CHANCE = 6.0  # Standard errors of a mean correlation
SAME = 0.5  # Correlation of an epoch with the next
JUMPS = 3.0  # Standard errors of a skewness
DRAWS = 200  # Random orders that the skewness is compared with
SORTED = 0.5  # Where 1 is sorted and 0 a random order
RANGE = 0.5  # Of what the loss fell in all epochs: less does not matter


class Pattern(NamedTuple):
    """How the loss varies within an epoch.

    Args:
        same: Mean correlation of an epoch's variation with the next one's.
        same_error: Its standard error where orders are random.
        jumps: Skewness of the steps of the mean variation from batch to batch:
            above 0 where it rises at once and falls slowly, as it does when
            other examples come; 0 where batches differ at random.
        jumps_error: Its standard error for the same batches in random order.
        range: From the lowest to the highest of the mean variation, as a
            multiple of what the loss fell from the first epoch to the last.
    """

    same: float
    same_error: float
    jumps: float
    jumps_error: float
    range: float

    @property
    def repeats(self) -> list[float]:
        """How far it is beyond each threshold of one order in all epochs."""
        return [self.same / SAME, self.same / self.same_error / CHANCE]

    @property
    def margins(self) -> list[float]:
        """The same of blocks that differ, in one order."""
        return [
            *self.repeats,
            self.jumps / self.jumps_error / JUMPS,
            self.range / RANGE,
        ]


def pattern(run: Run) -> Pattern | None:
    """The `Pattern` of a run; `None` if it has too few epochs or batches."""
    each = epochs_of(run)
    if each is None:
        return None
    fall = abs(float(each[0].mean() - each[-1].mean()))
    each = each[1:]  # In the first, the loss falls most.
    variation = without_line(each)
    spread = variation.std(1, keepdims=True)
    if not (spread > 1e-6 * np.abs(each).mean()).all():
        return None
    alike = variation / spread
    count, size = alike.shape
    mean, usual = alike.mean(0), variation.mean(0)
    random = np.random.default_rng(0)
    draws = [skewness_of_steps(random.permutation(mean)) for _ in range(DRAWS)]
    return Pattern(
        float(np.mean(alike[1:] * alike[:-1])),
        1 / math.sqrt(size * (count - 1)),
        skewness_of_steps(mean),
        float(np.std(draws)),
        float(np.ptp(usual)) / fall if fall > 0 else math.inf,
    )


def skewness_of_steps(values: np.ndarray) -> float:
    """Of the differences of neighbours, the last and the first included.

    Example:

    >>> round(skewness_of_steps(np.array([3.0, 2.0, 1.0, 0.0])), 2)
    1.15
    """
    steps = np.diff(values, append=values[:1])
    return float(np.mean(steps**3) / np.mean(steps**2) ** 1.5)


def epochs_of(run: Run) -> np.ndarray | None:
    """Losses of whole epochs, float64 `[epochs, batches]`, or `None`."""
    size = run.steps_per_epoch
    if not size or size < BATCHES:
        return None
    epochs = (run.loss_steps - 1) // size
    _, place, counts = np.unique(
        epochs, return_inverse=True, return_counts=True
    )
    whole = counts == size
    if whole.sum() < EPOCHS:
        return None
    return run.loss[whole[place]].reshape(-1, size)


def without_line(values: np.ndarray) -> np.ndarray:
    """Each row without the straight line through it, `[rows, n]`.

    Example:

    >>> without_line(np.array([[1.0, 2.0, 3.0], [0.0, 3.0, 0.0]])).tolist()
    [[0.0, 0.0, 0.0], [-1.0, 2.0, -1.0]]
    """
    places = np.arange(values.shape[1]) - (values.shape[1] - 1) / 2
    slopes = values @ places / (places @ places)
    return values - values.mean(1, keepdims=True) - np.outer(slopes, places)


def judge(case: Case) -> list[Verdict]:
    """A list of one verdict, or none."""
    run = case.run
    if run.name or run.first_nonfinite is not None:
        return []
    found = pattern(run)
    repeats = found is not None and min(found.repeats) >= 1
    if case.task is not None:
        known_order = repeats or (found is None and not _shuffles(case.task))
        return _by_order(case, case.task) if known_order else []
    if found is None or min(found.margins) < 1:
        return []
    return [
        Verdict(
            NAME,
            confidence(*found.margins),
            run.span,
            {
                "correlation_of_epochs": found.same,
                "skewness_of_steps": found.jumps,
                "range": found.range,
            },
            "Within each epoch the loss takes the same course "
            f"(correlation {found.same:.2f} from epoch to epoch; a random "
            f"order has 0 +- {found.same_error:.2g}): it jumps and falls again "
            f"at the same places, by {found.range:.2g} times what it fell in "
            "all epochs. The examples come in one order, similar ones "
            "together.",
            ADVICE,
            changes=(Change("shuffle"),),
        )
    ]


def _shuffles(task: Task) -> bool:
    """Whether the order of the examples does not matter, or is random."""
    sample = task.sample
    return sample.is_shuffled or sample.steps_per_epoch in (None, 1)


def _by_order(case: Case, task: Task) -> list[Verdict]:
    """From the data, which are taken in the order in which they are."""
    order = task.order
    if order is None or order.sortedness < SORTED:
        return []
    margin = order.sortedness / order.error / CHANCE
    if margin < 1 or well_learned(task.answers):
        return []
    return [
        Verdict(
            NAME,
            confidence(margin),
            case.run.span,
            {"sortedness": order.sortedness},
            "The examples are sorted by their targets (1 is sorted, 0 a "
            f"random order: {order.sortedness:.2f} +- {order.error:.2g}), and "
            "each epoch takes them in this order: batches are of similar "
            "examples, and what is learned of the first is lost again with "
            "the last.",
            ADVICE,
            changes=(Change("shuffle"),),
        )
    ]


ADVICE = (
    "Shuffle: `fit(..., shuffle=True)` for arrays; `dataset.shuffle(n)` with "
    "n the number of all examples, before `batch`, for a tf.data.Dataset."
)

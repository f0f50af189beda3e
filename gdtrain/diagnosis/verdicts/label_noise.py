"""Labels that contradict those of all similar examples.

Trigger:
    With the model and its data, of a classifier: among the quarter of the
    examples whose {NEIGHBOURS} nearest neighbours agree most, {FLOOR:.0%} or
    more have another label than these, {ERRORS:g} standard errors above
    that for sure; and such labels are nearly as frequent there as elsewhere
    ({FLAT:g} times or more), as they are by chance and where classes overlap
    they are not.
Evidence:
    `share` of such labels, and its `standard_error`.
Confused with:
    Inputs that lack what sets the classes apart, which looks the same.
    "overfitting", which is what training on such labels leads to.
Advice:
    Look at the labels that are named. Until they are right, stop early, or
    use `label_smoothing`: a model that trains on learns them by heart.
Example:

>>> import keras, numpy as np, gdtrain
>>> keras.utils.set_random_seed(0)
>>> random = np.random.default_rng(0)
>>> y = np.arange(400) % 2
>>> x = random.normal(size=[400, 2]) + 6 * y[:, np.newaxis]
>>> y = np.where(random.random(400) < 0.2, 1 - y, y)  # One in five is wrong
>>> layers = [keras.Input([2]), keras.layers.Dense(1, "sigmoid")]
>>> model = gdtrain.Sequential(layers)
>>> optimizer = keras.optimizers.Adam(0.1)
>>> model.compile(optimizer, "binary_crossentropy", jit_compile=False)
>>> telemetry = gdtrain.callbacks.Telemetry()
>>> _ = model.fit(x, y, 100, 20, verbose=0, callbacks=[telemetry])
>>> print(gdtrain.diagnose(telemetry, model, x, y).verdict)
label noise (confidence ...
  ...
"""

import math
from typing import NamedTuple

import numpy as np

from gdtrain.diagnosis.case import Case
from gdtrain.diagnosis.learned import Answer
from gdtrain.diagnosis.verdict import Verdict, confidence

NAME = "label noise"

NEIGHBOURS = 15
PURE = 4  # A quarter of the examples: those whose neighbours agree most
FLOOR = 0.05  # Share of labels that others contradict
FLAT = 0.6  # Times as frequent as elsewhere, or more
ERRORS = 3.0  # Standard errors that it is above that for sure
SHOWN = 5


class Contradicted(NamedTuple):
    """Labels against those of neighbours, where these agree most.

    Where classes overlap, neighbours that agree are nearly always right.
    Labels that are wrong by chance are as frequent there as elsewhere.

    Args:
        share: Of the labels there that differ from most of the neighbours.
        error: Its standard error.
        elsewhere: The share of such labels among the others.
        chance: The share if labels had nothing to do with inputs.
        rows: The examples that are contradicted.
    """

    share: float
    error: float
    elsewhere: float
    chance: float
    rows: np.ndarray

    @property
    def margin(self) -> float:
        """How far it is above `FLOOR` for sure, as a multiple.

        0 where classes overlap, or inputs say little of labels.
        """
        overlap = self.share < FLAT * self.elsewhere
        if overlap or self.share > self.chance / 2:
            return 0.0
        return (self.share - ERRORS * self.error) / FLOOR


def contradicted(
    features: np.ndarray, labels: np.ndarray
) -> Contradicted | None:
    """Compares labels with those of the nearest examples.

    Args:
        features: Float64 `[n, m]`.
        labels: Class numbers, int `[n]`.

    Returns:
        `None` if examples are too few.
    """
    count = len(labels)
    if count < PURE * 2 * NEIGHBOURS or len(np.unique(labels)) < 2:
        return None
    axes = standardized(features)
    squares = (axes**2).sum(1)
    distances = squares[:, np.newaxis] + squares - 2 * axes @ axes.T
    np.fill_diagonal(distances, np.inf)
    near = np.argpartition(distances, NEIGHBOURS, 1)[:, :NEIGHBOURS]
    _, labels = np.unique(labels, return_inverse=True)  # From 0, without gaps
    shares = np.eye(labels.max() + 1)[labels]
    votes = shares[near].sum(1)
    purity = votes.max(1)
    # Of equal purity all or none, whatever their labels are
    is_pure = purity >= np.sort(purity)[-(count // PURE)]
    wrong = votes.argmax(1) != labels
    share = float(wrong[is_pure].mean())
    others = ~is_pure
    return Contradicted(
        share,
        math.sqrt(max(share * (1 - share), 1 / count) / is_pure.sum()),
        float(wrong[others].mean()) if others.any() else 0.0,
        1 - float(shares.mean(0).max()),
        np.flatnonzero(wrong & is_pure),
    )


def standardized(features: np.ndarray) -> np.ndarray:
    """Features of mean 0 and deviation 1, without constant ones."""
    varying = features[:, np.ptp(features, 0) > 0]
    return (varying - varying.mean(0)) / varying.std(0)


def judge(case: Case) -> list[Verdict]:
    """A list of one verdict, or none."""
    task, run = case.task, case.run
    if task is None or run.name or not task.entering:
        return []
    for answer in task.answers:
        labels = classes_of(answer)
        features = task.entering[0].values
        if labels is None or len(features) % len(labels):
            continue
        found = contradicted(features.reshape(len(labels), -1), labels)
        if found is not None and found.margin >= 1:
            return [_verdict(case, found)]
    return []


def classes_of(answer: Answer) -> np.ndarray | None:
    """The class number of each example, `[n]`; `None` without classes."""
    targets, loss = answer.targets, answer.output.loss
    if targets is None or loss is None:
        return None
    count = len(targets)
    if loss == "categorical_crossentropy" and targets.ndim == 2:
        return targets.argmax(1)
    is_one = loss in ("sparse_categorical_crossentropy", "binary_crossentropy")
    if not is_one or targets.size != count:
        return None
    numbers = targets.reshape(count).astype(np.int64)
    return numbers if (numbers == targets.reshape(count)).all() else None


def _verdict(case: Case, found: Contradicted) -> Verdict:
    assert case.task is not None  # Its data were looked at.
    rows = case.task.some_rows[found.rows[:SHOWN]]
    where = ""
    if case.task.sample.is_whole:
        where = f", as of the examples {', '.join(map(str, rows))}"
    return Verdict(
        NAME,
        confidence(found.margin),
        case.run.span,
        {"share": found.share, "standard_error": found.error},
        f"Where similar examples have the same label, {found.share:.0%} "
        f"(+- {found.error:.1%}) have another one: either these labels are "
        "wrong, or what sets them apart is missing in the inputs.",
        f"Look at such labels{where}. Until they are right, stop early, or "
        "use `label_smoothing`: a model that trains on learns them by heart.",
    )

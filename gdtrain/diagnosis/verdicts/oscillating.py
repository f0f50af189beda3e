"""Learning rate too large: descent jumps from side to side.

Trigger:
    In the last half of the steps, before a rate that decayed to nothing: the
    cosine of consecutive gradients is {TURNS:g} or less in a typical step, or
    loss or weights turn back at {ALTERNATES:.0%} of the steps; and that
    costs: the loss jumps by {HARMS:.0%} of the gain, or so much of it is to
    come. With the model: a smaller rate, tried for some steps, adds
    {rate_trials.ENOUGH:.0%} of the gain or more.
Evidence:
    `gradient_cosine`, or `alternation`, the share of steps that turn back;
    `learning_rate`; `stable_learning_rate` where it is known; or
    `share_of_gain`, what the trial adds.
Confused with:
    "noise floor": independent noise of batches turns back at two of three
    steps. Jumps alone are no trouble: descent at the edge of stability makes
    them, often at the best of all rates.
Advice:
    Halve the learning rate, or take {limits.SHARE:g} times the stable limit.
Example:

>>> import numpy as np, gdtrain
>>> from gdtrain.telemetry import StepTable
>>> curvature, weights = np.array([1.0, 0.001]), np.ones(2)
>>> before, rows = np.full(2, np.nan), []
>>> for _ in range(60):
...     gradient = curvature * weights
...     lengths = np.linalg.norm(gradient) * np.linalg.norm(before)
...     loss = curvature @ weights**2 / 2
...     rows.append([loss, gradient @ before / lengths, 1.99])
...     weights, before = weights - 1.99 * gradient, gradient
>>> names = ["loss", "gradient_cosine", "learning_rate"]
>>> print(gdtrain.diagnose(StepTable(range(1, 61), names, rows)))
learning rate too large: oscillating (confidence 0.62, steps 31 to 60)
  learning_rate 1.99: the gradient points back after each step (cosine -1).
  Try 1.
"""

import numpy as np

from gdtrain.diagnosis.case import Case
from gdtrain.diagnosis.limits import SHARE, is_plain, stable_limit
from gdtrain.diagnosis.run import Limit, Run
from gdtrain.diagnosis.trend import ROUNDS, Trend
from gdtrain.diagnosis.verdict import (
    CURVE,
    Verdict,
    as_text,
    confidence,
    rate_change,
)
from gdtrain.diagnosis.verdicts.nonfinite import is_broken

NAME = "learning rate too large: oscillating"


def alternation(values: np.ndarray) -> float:
    """Share of neighbouring differences that have opposite signs.

    1 for jumps back and forth, 2/3 for independent noise, 1/2 for a random
    walk, 0 for a smooth course.

    Args:
        values: Float64 `[n]`.

    Returns:
        A float; 0.0 for less than three values.

    Example:

    >>> alternation(np.array([5.0, 1.0, 4.0, 2.0, 3.0]))
    1.0
    """
    differences = np.diff(values)
    if len(differences) < 2:
        return 0.0
    return float(np.mean(differences[1:] * differences[:-1] < 0))


def swing(values: np.ndarray) -> float:
    """The amplitude of jumps back and forth, as a share of the values.

    Half the median second difference is the distance of two sides.

    Example:

    >>> swing(np.array([11.0, 9.0, 11.0, 9.0]))
    0.2
    """
    if len(values) < 3:
        return 0.0
    jumps = np.median(np.abs(np.diff(values, 2))) / 2
    return float(jumps / max(np.mean(np.abs(values)), 1e-300))


ALTERNATES = 0.9  # Of the differences; independent noise does at 2/3
SWINGS = 1e-4  # Of the length of the weights; float32 rounds at 6e-8
TURNS = -0.6  # Cosine; batches drawn without replacement reach -0.5
HARMS = 0.25  # Of the gain: jumps, or what is still to come
NEAR = 2.0  # Times the rate

Found = tuple[float, float | None]  # Margin over the threshold, and the value


def judge(case: Case) -> list[Verdict]:
    """Jumps back and forth that cost much: a list of one verdict, or none.

    Only of the part before a learning rate decayed to nothing. Jumps alone
    are no trouble: descent at the edge of stability makes them, and often
    at the best of all rates.
    """
    run = case.run.moving
    course = run.trend
    if is_broken(case.found) or course is None or run.learning_rate == 0:
        return []
    if case.rate_trials:
        if tried := case.rate_trials.decides_for("smaller"):
            return [tried.verdict(NAME, run.last_half, run.learning_rate)]
        if case.rate_trials.rules_out("smaller"):
            return []
    if run.gradient_is_rounding:
        return []
    rows = run.loss_rows[len(run.loss_rows) // 2 :]
    harm = _harm(run.values["loss"][rows], course) / HARMS
    signs: dict[str, Found] = {
        "gradient_cosine": _by_cosine(run, rows),
        "alternation": _by_swing(run, rows),
    }
    best = max(margin for margin, _ in signs.values())
    if min(best, harm) < 1:
        return []
    evidence = {
        name: value for name, (margin, value) in signs.items() if margin >= 1
    }
    return [
        _oscillating(run, confidence(best, harm, most=CURVE), rows, evidence)
    ]


def _harm(late: np.ndarray, course: Trend) -> float:
    """What the jumps may cost, as a share of the gain.

    Either the loss itself jumps by as much, or so much of it is to come; or
    it never came below its start.
    """
    if course.gain <= 0 or not course.ends_lower:
        return 1.0
    jumps = float(np.median(np.abs(np.diff(late, 2)))) / 4
    return max(jumps / course.gain, course.left)


def _by_cosine(run: Run, rows: np.ndarray) -> Found:
    """By the median cosine of consecutive gradients."""
    cosines = run.get("gradient_cosine")[rows]
    cosines = cosines[np.isfinite(cosines)]
    if len(cosines) < 4:
        return 0.0, None
    median = float(np.median(cosines))
    if median > TURNS:
        return 0.0, median
    return (1 + TURNS) / max(1 + median, 1e-3), median


def _by_swing(run: Run, rows: np.ndarray) -> Found:
    """By the share of steps at which the loss or the weights turn back."""
    series = [(run.values["loss"], ROUNDS)]  # It has no length of its own.
    series += [(one, SWINGS) for one in run.layers("weight_norm").values()]
    best = 0.0, 0.0
    for values, least in series:
        seen = values[rows]
        if not np.isfinite(seen).all() or len(seen) < 8:
            continue
        share = alternation(seen)
        margin = min((1 - ALTERNATES) / max(1 - share, 0.01), 10.0)
        if margin >= 1 and swing(seen) < least:
            margin = 0.0
        best = max(best, (margin, share))
    return best


def _oscillating(
    run: Run, sure: float, rows: np.ndarray, evidence: dict
) -> Verdict:
    """The verdict, with the limit if it can be known."""
    steps = int(run.steps[rows[0]]), int(run.steps[rows[-1]])
    rate = run.rate_in_force(rows[0], rows[-1])
    text, advice = _strongest(evidence), "Try half the learning rate."
    better = None
    if rate:
        evidence["learning_rate"] = rate
        text = f"learning_rate {rate:.3g}: {text}"
        better = rate / 2
        limit = _limit_of_jumps(run, rate, evidence)
        # It is of all data; where it is far off, that of small batches differs.
        if limit and limit.value < NEAR * rate:
            evidence["stable_learning_rate"] = limit.value
            text += f"; the stable limit is {limit.value:.3g} ({limit.source})"
            better = min(SHARE * limit.value, better)
        advice = f"Try {better:.2g}."
    changes = rate_change(better)
    return Verdict(
        NAME, sure, steps, evidence, as_text(text), advice, changes=changes
    )


def _limit_of_jumps(run: Run, rate: float, evidence: dict) -> Limit | None:
    """The limit of the learning rate, if it can be known."""
    measured = run.measured_limit(len(run.steps) - 1)
    if measured is not None:
        return measured
    norms = run.at_loss("gradient_norm")
    half = len(norms) // 2
    steps, norms = run.loss_steps[half:], norms[half:]
    if not is_plain(run):
        return None
    if not (norms > 0).all():
        return None
    # The gradient is proportional to the error, the loss to its square.
    factor = np.exp(2 * np.polyfit(steps, np.log(norms), 1)[0])
    return Limit(stable_limit(rate, factor), "from the jumps")


def _strongest(evidence: dict) -> str:
    """The strongest evidence, as part of a sentence."""
    if "gradient_cosine" in evidence:
        cosine = evidence["gradient_cosine"]
        return f"the gradient points back after each step (cosine {cosine:.2g})"
    return f"{evidence['alternation']:.0%} of the steps turn back"

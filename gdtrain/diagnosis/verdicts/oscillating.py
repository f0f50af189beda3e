"""Learning rate too large: descent jumps from side to side."""

import numpy as np

from gdtrain.diagnosis.case import Case
from gdtrain.diagnosis.limits import SHARE, is_plain, stable_limit
from gdtrain.diagnosis.run import Limit, Run
from gdtrain.diagnosis.trend import noise_of
from gdtrain.diagnosis.verdict import Verdict, as_text, confidence
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


def rebound(values: np.ndarray) -> float:
    """How far the last half rises above the least before, as a share.

    Of the fall from the first to the least of all; 0 for a descent that is
    monotone, and 0 if it is within 30 standard deviations of noise.

    Example:

    >>> rebound(np.array([9.0, 7.0, 5.0, 3.0, 1.0, 2.0, 3.0, 4.0]))
    0.375
    """
    lowest = np.minimum.accumulate(values)
    half = len(values) // 2
    rise = float(np.max(values[half:] - lowest[half:]))
    whole = float(values[0] - values.min())
    if whole <= 0 or rise < 30 * noise_of(values[half:]):
        return 0.0
    return rise / whole


ALTERNATES = 0.9  # Of the differences; independent noise does at 2/3
SWINGS = 1e-4  # Of the length of the weights; float32 rounds at 6e-8
TURNS = -0.6  # Cosine; batches drawn without replacement reach -0.5
REBOUNDS = 0.05  # Of the fall; full batches descend monotonically
NEAR = 2.0  # Times the rate

Found = tuple[float, float | None]  # Margin over the threshold, and the value


def judge(case: Case) -> list[Verdict]:
    """Jumps back and forth: a list of one verdict, or none.

    Only of the part before a learning rate decayed to nothing.
    """
    run = case.run.moving
    if is_broken(case.found) or run.trend is None or run.learning_rate == 0:
        return []
    rows = run.loss_rows[len(run.loss_rows) // 2 :]
    back = rebound(run.loss)
    signs: dict[str, Found] = {"rebound": (back / REBOUNDS, back)}
    if not run.gradient_is_rounding:
        signs["gradient_cosine"] = _by_cosine(run, rows)
        signs["alternation"] = _by_swing(run, rows)
    best = max(margin for margin, _ in signs.values())
    if best < 1:
        return []
    evidence = {
        name: value for name, (margin, value) in signs.items() if margin >= 1
    }
    return [_oscillating(run, confidence(best), rows, evidence)]


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
    series = [run.values["loss"], *run.layers("weight_norm").values()]
    best = 0.0, 0.0
    for values in series:
        seen = values[rows]
        if not np.isfinite(seen).all() or len(seen) < 8:
            continue
        share = alternation(seen)
        margin = min((1 - ALTERNATES) / max(1 - share, 0.01), 10.0)
        if swing(seen) < SWINGS:
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
    if rate:
        evidence["learning_rate"] = rate
        text = f"learning_rate {rate:.3g}: {text}"
        advice = f"Try {rate / 2:.2g}."
        limit = _limit_of_jumps(run, rate, evidence)
        # It is of all data; where it is far off, that of small batches differs.
        if limit and limit.value < NEAR * rate:
            evidence["stable_learning_rate"] = limit.value
            text += f"; the stable limit is {limit.value:.3g} ({limit.source})"
            advice = f"Try {min(SHARE * limit.value, rate / 2):.2g}."
    return Verdict(NAME, sure, steps, evidence, as_text(text), advice)


def _limit_of_jumps(run: Run, rate: float, evidence: dict) -> Limit | None:
    """The limit of the learning rate, if it can be known."""
    measured = run.measured_limit(len(run.steps) - 1)
    if measured is not None:
        return measured
    norms = run.at_loss("gradient_norm")
    half = len(norms) // 2
    steps, norms = run.loss_steps[half:], norms[half:]
    if set(evidence) <= {"rebound", "learning_rate"} or not is_plain(run):
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
    if "alternation" in evidence:
        return f"{evidence['alternation']:.0%} of the steps turn back"
    return f"the loss rises again by {evidence['rebound']:.0%} of its fall"

"""Learning rate too small.

Trigger:
    The loss falls steadily, by {FASTEST:.0%} of the gain in its fastest step
    at most, and {LEFT:.0%} of the gain or more is to come. Or the weights
    hardly moved: all updates together are at most {STILL:g} times as long as
    the weights, {SHORT:g} times where the loss still falls, as long where it
    has not begun to fall. With the model: a larger rate, tried for some
    steps, adds {rate_trials.ENOUGH:.0%} of the gain or more.
Evidence:
    `learning_rate`; `share_left` of the gain, `fastest_step`, `steps_needed`;
    or `path`, the length of all updates; or `share_of_gain`, what the trial
    adds.
Confused with:
    "not learning": before a loss has begun to fall, telemetry alone does not
    tell them apart. "converging", where steps are as long as they can be and
    more of them is all that it takes. "inputs not scaled", where no rate is
    large enough.
Advice:
    Ten times the learning rate, again and again until the loss falls within
    some steps; {limits.SHARE:g} times the stable limit where it is measured.
Example:

>>> import numpy as np, gdtrain
>>> from gdtrain.telemetry import StepTable
>>> n = np.arange(200)
>>> columns = np.stack([np.exp(-n / 500), np.full(200, 0.001)], 1)
>>> table = StepTable(n + 1, ["loss", "learning_rate"], columns)
>>> print(gdtrain.diagnose(table))
learning rate too small (confidence 0.78, steps 1 to 200)
  The loss fell from 1 to 0.688 in 200 steps; at this pace it needs about
    2,104 more to come to 1.21e-06.
  Try 0.01, ten times as much, and again until the loss falls within some
    steps.
"""

import math

import numpy as np

from gdtrain.diagnosis.case import Case
from gdtrain.diagnosis.limits import SHARE, against_limit
from gdtrain.diagnosis.run import Limit, Run
from gdtrain.diagnosis.trend import FALLS, Trend, last_quarters
from gdtrain.diagnosis.verdict import (
    CURVE,
    Change,
    Verdict,
    confidence,
    rate_change,
)
from gdtrain.diagnosis.verdicts import (
    dead,
    decayed,
    exploding,
    oscillating,
    overfitting,
    overshot,
)
from gdtrain.diagnosis.verdicts.nonfinite import is_broken

NAME = "learning rate too small"
# What a larger learning rate makes no better
NO_LARGER_RATE = {
    exploding.NAME,
    dead.NAME,
    decayed.NAME,
    oscillating.NAME,
    overfitting.NAME,
    overshot.NAME,
}

LEFT = 0.5  # Share of the gain that is still to come
FASTEST = 0.01  # Share of the gain, in the fastest step
# Length of the whole path, as a share of the weights
STILL = 0.1  # They are what they were
SHORT = 0.35  # Where the loss falls on
WHOLE = 1.0  # Where it has not fallen yet: no weight was replaced
LEFT_STILL = 0.2  # Share of the gain that is to come then
KEPT = 0.2  # Length of the last updates, as a share of the first
CLOSE = 0.01  # Share of the gain at which the level counts as reached

OR_CANNOT = (
    "So far the loss fell by less than batches differ. If that does not help, "
    "the network cannot learn this"
)


def judge(case: Case) -> list[Verdict]:
    """A list of one verdict, or none."""
    run = case.run
    if is_broken(case.found) or not NO_LARGER_RATE.isdisjoint(case.found):
        return []
    course = run.trend
    if course is None or run.learning_rate == 0:
        return []
    if case.rate_trials:
        if tried := case.rate_trials.decides_for("larger"):
            return [tried.verdict(NAME, run.span, run.learning_rate)]
        if case.rate_trials.rules_out("larger"):
            return []
    if course.jumped:  # Too small a rate throws no loss up.
        return []
    return _by_loss(case, course) or _by_path(case, course)


def _by_loss(case: Case, course: Trend) -> list[Verdict]:
    """From a loss that falls steadily and slowly."""
    run = case.run
    steps, loss = run.means
    even = run.trend_by_distance or course
    pace = fastest(loss, steps, course)
    falls = max(even.fall, even.drift) if even is course else even.fall
    if falls < FALLS or pace <= 0:
        return []
    margins = [even.left / LEFT, FASTEST / pace]
    if min(margins) < 1:
        return []
    evidence = {
        "learning_rate": run.usual_learning_rate,
        "share_left": even.left,
        "fastest_step": pace,
        "tends_to": even.tends_to,
    }
    done = run.span[1] - run.span[0] + 1
    text = (
        f"The {run.mean_loss} fell from {course.start:.4g} to "
        f"{course.end:.4g} in {done:,} steps"
    )
    if even is course:
        needed = evidence["steps_needed"] = steps_needed(steps, course)
        text += (
            f"; at this pace it needs about {needed:,.0f} more to come to "
            f"{course.tends_to:.3g}."
        )
    else:
        text += f"; {even.left:.0%} of the gain was still to come."
    # A share cannot be far beyond its threshold.
    sure = confidence(1 + 4 * (margins[0] - 1), margins[1], most=CURVE)
    return [_verdict(case, sure, evidence, text)]


def _by_path(case: Case, course: Trend) -> list[Verdict]:
    """From weights that hardly moved while the loss fell, or did not yet."""
    run = case.run
    path = path_length(run)
    if path == 0 or run.is_resumed or slowing(run) < KEPT:
        return []
    even = run.trend_by_distance or course
    if not course.ends_lower:
        still = WHOLE
    elif even.left > LEFT_STILL and max(even.fall, even.drift) > FALLS:
        still = SHORT
    elif fastest(run.means[1], run.means[0], course) < FASTEST:
        still = STILL
    else:
        return []
    if path > still:
        return []
    evidence = {"learning_rate": run.usual_learning_rate, "path": path}
    text = (
        f"All updates together are {path:.2g} times as long as the weights; "
        f"the loss is {course.end:.4g} after {course.start:.4g}."
    )
    sure = confidence(still / path, most=CURVE)
    return [_verdict(case, sure, evidence, text)]


def _verdict(case: Case, sure: float, evidence: dict, text: str) -> Verdict:
    """With a learning rate to try, if one is known."""
    run = case.run
    rate = run.usual_learning_rate
    limit = run.measured_limit(len(run.steps) - 1)
    if rate and limit:
        evidence["stable_learning_rate"] = limit.value
        text += f" {against_limit(rate, limit, digits=2)}."
    advice, change = _advice(run, rate, limit)
    if run.trend is not None and run.trend.gain < run.trend.noise:
        # As it does while labels of chance are learned by heart.
        sure = 0.5
        advice += f" {OR_CANNOT}: {case.what_decides}."
    return Verdict(NAME, sure, run.span, evidence, text, advice, changes=change)


def _advice(
    run: Run, rate: float | None, limit: Limit | None
) -> tuple[str, tuple[Change, ...]]:
    """A share of the limit where that is known, else ten times the rate."""
    again = ", and again until the loss falls within some steps."
    largest = run.learning_rate
    if not rate or not largest:
        return f"Try ten times the learning rate{again}", ()
    if limit and rate > SHARE * limit.value:
        return (
            "More than the limit is not stable: use momentum or Adam, or "
            "scale the inputs.",
            (),
        )
    if limit:
        better = SHARE * limit.value
        return (
            f"Try {better:.2g}, {SHARE:g} times the limit, and less if the "
            "loss then jumps with the batches.",
            rate_change(better),
        )
    changes = rate_change(10 * largest)
    if largest > 1.01 * rate:
        return (
            f"Try {10 * largest:.2g} for the largest, ten times as much "
            f"(half the steps had {rate:.2g} or less){again}",
            changes,
        )
    return f"Try {10 * rate:.2g}, ten times as much{again}", changes


def fastest(loss: np.ndarray, steps: np.ndarray, course: Trend) -> float:
    """The largest share of the gain in one step, by means over some steps.

    0 if there was nothing to gain.
    """
    whole = course.start - course.limit
    size = max(len(loss) // (8 if course.is_noisy else 50), 1)
    count = len(loss) // size
    if whole <= 0 or count < 2:
        return 0.0
    means, at = (
        np.array([part.mean() for part in np.array_split(values, count)])
        for values in (loss, steps)
    )
    return float(np.max(-np.diff(means) / np.diff(at)) / whole)


def steps_needed(steps: np.ndarray, course: Trend) -> float:
    """How many more steps until 1% of the gain is left, at this pace.

    Of an excess over `tends_to` that shrinks by a factor a step, from the
    middle of the last level on:

        steps = log(0.01 * (start - tends_to) / (end - tends_to)) / log(factor)

    For a line, the factor comes to (1 - learning_rate * lambda_min) ** 2.

    Args:
        steps: Of the losses, or means, that the course is of.
        course: A `Trend`.
    """
    excess = np.array(course.levels) - course.tends_to
    if excess[-1] <= 0 or excess[0] <= excess[-1]:
        return 0.0
    middles = last_quarters(steps).mean(1)
    between = float(middles[-1] - middles[0])
    rate = math.log(excess[0] / excess[-1]) / between
    wanted = CLOSE * (course.start - course.tends_to)
    done = steps[-1] - middles[-1]
    return max(float(math.log(excess[-1] / wanted) / rate - done), 0.0)


def path_length(run: Run) -> float:
    """Sum of updates over norms of weights, of the layer that moved most.

    Infinite ratios, of weights of zero, are ignored, and layers of which more
    than half are infinite. 0 if nothing was measured.
    """
    sums = []
    for values in run.layers("update_ratio").values():
        known = values[np.isfinite(values)]
        if len(known) >= np.sum(~np.isnan(values)) / 2:
            sums.append(float(known.mean() * (run.span[1] - run.span[0] + 1)))
    return max(sums, default=0.0)


def slowing(run: Run) -> float:
    """The length of updates in the last quarter, as a share of the first.

    For equal learning rates, where these are known. The largest of all
    layers: 0 where none moves any more.
    """
    found = [0.0]
    rates = run.get("learning_rate")
    rates = np.where(rates > 0, rates, np.nan)  # Not known, or no update
    for values in run.layers("update_ratio").values():
        even = values if np.isnan(rates).all() else values / rates
        known = even[np.isfinite(even)]
        if len(known) >= 4:
            quarters = np.array_split(known, 4)
            first, last = quarters[0].mean(), quarters[-1].mean()
            found.append(float(last / first) if first > 0 else 0.0)
    return max(found)

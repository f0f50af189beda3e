"""Learning rate too large: the loss grows."""

import dataclasses
import math

import numpy as np

from gdtrain.diagnosis.case import Case
from gdtrain.diagnosis.limits import (
    SHARE,
    Growth,
    against_limit,
    gradient_at,
    growth,
    is_plain,
    limit_by_gradient,
    limit_of_rise,
    next_growth,
    stable_limit,
    with_scale,
)
from gdtrain.diagnosis.run import Run
from gdtrain.diagnosis.trend import noise_of
from gdtrain.diagnosis.verdict import (
    Verdict,
    as_text,
    confidence,
    rate_change,
)

NAME = "learning rate too large: diverging"
ENDS_ABOVE = 1.5  # Times the first loss
ROSE = 10.0  # Times the lowest loss before
STAYS_UP = 0.7  # Of the first loss, after such a rise
THIRD = 1 / 3
LOST = 0.5  # Of the gain
SURE = 6.0  # Standard errors


def judge(case: Case) -> list[Verdict]:
    """A loss that grows: a list of one verdict, or none.

    Whatever else is found.
    """
    run = case.run
    if run.learning_rate == 0:
        return []
    raised = _above_zero(run)
    rise = growth(raised.loss, run.loss_steps)
    if rise is not None:
        margins = _margins(raised, rise)
        if min(margins) >= 1:
            found = _by_rise(run, rise, confidence(*margins))
            return [_with_tried_rate(one, case) for one in found]
    found = _by_last_finite_step(run)
    return [_with_tried_rate(one, case) for one in found]


def _with_tried_rate(verdict: Verdict, case: Case) -> Verdict:
    """With the rate that did best in trials, if that is another one."""
    if not case.rate_trials:
        return verdict
    [own] = [change.value for change in verdict.changes] or [None]
    tried = case.rate_trials.better_from_new(own)
    limit = verdict.evidence.get("stable_learning_rate", math.inf)
    if tried is None or tried.rate > limit:
        return verdict
    return dataclasses.replace(
        verdict,
        advice=f"Start again with {tried.rate:.2g}.",
        changes=rate_change(tried.rate),
    )


def _above_zero(run: Run) -> Run:
    """The run, raised to losses above 0 if there are others.

    A loss such as a log-likelihood has no zero of its own to be a multiple
    of. Its lowest becomes as large as the losses at the start are far from 0.
    """
    loss = run.loss
    lowest = loss.min(initial=1.0)
    far = np.abs(loss[loss != 0])
    if lowest > 0 or not len(far):
        return run
    early = float(np.median(np.abs(run.early_loss)))
    scale = max(early, -lowest) or far.min()
    loss = run.values["loss"] - lowest + scale
    return dataclasses.replace(run, values=run.values | {"loss": loss})


def _margins(run: Run, rise: Growth) -> list[float]:
    """How far it is beyond each threshold, as multiples of it."""
    loss, course = run.loss, run.trend
    if run.first_nonfinite is not None:
        # Few steps may be all there are. The last of them must be high.
        lowest = loss[: rise.rows[1] + 1].min()
        high = loss[-1] / (np.sqrt(rise.total) * lowest)
        return [rise.total / ROSE, high]
    half, size = len(loss) // 2, 1
    if course is not None and course.is_noisy:
        # A single batch of few examples may be far off.
        size = max(len(loss) // 64, 1)
    first = float(loss[:size].mean())
    if course is None:
        above = loss[-1] / first / ENDS_ABOVE
        return [above] if len(loss) > 3 else [above, loss[-1] / first / ROSE]
    noise = min(noise_of(loss[:half]), course.noise)
    above = course.end / (first + 3 * noise) / ENDS_ABOVE
    highest = np.convolve(loss, np.full(size, 1 / size), "valid").max()
    rose = max(float(highest) / first, course.end / course.least) / ROSE
    lost = 0.0 if run.name else _lost(run) / LOST
    return [max(above, min(rose, course.end / first / STAYS_UP), lost)]


def _lost(run: Run) -> float:
    """How much of the gain was lost again at the end, as a share of it.

    Of means over a sixteenth of the losses. 0 where that is within noise.
    """
    steps, loss = run.means
    size = max(len(loss) // 16, 1)
    means = np.convolve(loss, np.full(size, 1 / size), "valid")
    best = int(np.argmin(means))
    gain, rise = means[0] - means[best], means[-1] - means[best]
    noise = noise_of(loss[: best + size]) / np.sqrt(size)
    if gain <= 0 or rise < SURE * noise:
        return 0.0
    return float(rise / gain)


def _by_last_finite_step(run: Run) -> list[Verdict]:
    """From a step after which nothing is finite: a list of one, or none.

    By how much the next loss would grow follows from its loss and gradient.
    """
    end = run.first_nonfinite
    if end is None or not len(run.loss) or run.loss[-1] <= 0:
        return []
    row = int(run.loss_rows[-1])
    follows = run.steps[end] == run.steps[row] + 1
    rate, norm = run.rate_in_force(row, row), gradient_at(run, row)
    if not (follows and rate and norm and is_plain(run)):
        return []
    loss = float(run.loss[-1])
    limit = limit_by_gradient(loss, norm)
    factor = next_growth(rate, limit)
    if limit > rate or factor < ROSE:
        return []
    step = int(run.steps[row])
    evidence = {
        "loss_growth_a_step": factor,
        "learning_rate": rate,
        "stable_learning_rate": limit,
    }
    text = (
        f"learning_rate {rate:.3g} is {rate / limit:.3g} times the stable "
        f"limit, which is at most {limit:.3g} (from the loss {loss:.3g} and "
        f"the gradient {norm:.3g} of step {step:,}); such a step makes the "
        f"loss grow about {factor:.2g} times"
    )
    better = SHARE * limit
    advice = f"Try {better:.2g}, and less while it still grows."
    text, advice = with_scale(run, as_text(text), advice)
    sure, steps = confidence(factor / ROSE), (step, int(run.steps[end]))
    changes = rate_change(better)
    return [Verdict(NAME, sure, steps, evidence, text, advice, changes=changes)]


def _by_rise(run: Run, rise: Growth, sure: float) -> list[Verdict]:
    """A list of the verdict, with the limit if it can be known."""
    rows = run.loss_rows[list(rise.rows)]
    steps = int(run.steps[rows[0]]), int(run.steps[rows[1]])
    evidence = {"loss_growth": rise.total, "loss_growth_a_step": rise.factor}
    layer = _fastest_layer(run, *rows)
    where = f" along {layer}" if layer else ""
    in_all = f"{rise.total:.3g} times in all"
    if run.loss.min() <= 0:
        ends = run.loss[list(rise.rows)]
        in_all = f"from {ends[0]:.3g} to {ends[1]:.3g}"
    if rise.factor < 1.005:  # It would read "1 times a step".
        text = how = f"the loss grows {in_all}{where}"
    else:
        how = f"the loss grows {rise.factor:.3g} times a step{where}"
        text = f"{how}, {in_all}"
    # Its factor is of the last half of the rise.
    rate = run.rate_in_force(run.loss_rows[sum(rise.rows) // 2], rows[1])
    if rate:
        evidence["learning_rate"] = rate
        text = f"learning_rate {rate:.3g}: {text}"
    limit = limit_of_rise(run, rate, rise) if rate else None
    # It is of all data; where it is larger, that of small batches differs.
    if rate and limit and limit.value < rate:
        evidence["stable_learning_rate"] = limit.value
        text = f"{against_limit(rate, limit)}; {how}"
        better: float | None = min(SHARE * limit.value, rate / 2)
        advice = f"Try {better:.2g}."
        if limit.source.startswith("at most"):
            advice = f"{advice[:-1]}, and less while it still grows."
    else:
        advice, better = _without_limit(rate, rise.factor)
    text, advice = with_scale(run, as_text(text), advice)
    changes = rate_change(better)
    return [Verdict(NAME, sure, steps, evidence, text, advice, changes=changes)]


def _without_limit(
    rate: float | None, factor: float
) -> tuple[str, float | None]:
    """What to try where the limit is not known: a third, if that may do.

    Where the loss is multiplied by `factor` a step, plain descent needs
    `2 / (1 + sqrt(factor))` of the rate, and momentum no less. If that is far
    less than a third, how much less is not known.
    """
    if stable_limit(1.0, max(factor, 1.0)) < THIRD:
        return (
            "Divide the learning rate by ten, again and again until the loss "
            "falls; gdtrain.find_learning_rate looks for one that is stable.",
            rate / 10 if rate else None,
        )
    if not rate:
        return "Try a third of the learning rate.", None
    return f"Try {rate / 3:.2g}, and less while it still grows.", rate / 3


def _fastest_layer(run: Run, first: int, last: int) -> str | None:
    """The layer whose gradient grew most during the rise, if known."""
    norms = run.layers("gradient_norm")
    if len(norms) < 2:
        return next(iter(norms), None)

    def grown(values: np.ndarray) -> float:
        with np.errstate(all="ignore"):
            ratio = values[last] / values[first]
        return ratio if np.isfinite(ratio) else 0.0

    return max(norms, key=lambda layer: grown(norms[layer]))

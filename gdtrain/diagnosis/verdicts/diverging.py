"""Learning rate too large: the loss grows.

Trigger:
    The loss ends above its start by more than {SURE:g} standard errors of its
    noise and rises at least {ENDS_ABOVE:g} times as much in the second half
    as in the first; or, with batches, it came {ROSE:g} times as high as it
    varied before, and ends above its start; or it lost {LOST:.0%} of its gain
    again. Of few losses, or before one that is not finite: the last of them
    are high, {ROSE:g} times what the loss varied before. Of one loss and its
    gradient: a step of that length must make the loss grow {ROSE:g} times,
    and nothing is finite after it.
Evidence:
    `loss_growth` and `loss_growth_a_step`; `learning_rate`; and
    `stable_learning_rate`, the limit, where it was measured or follows from
    the growth.
Confused with:
    "exploding gradients", which are there before the first update;
    "overshot", where the loss is thrown up at first and stays; NaN in the
    data, of which "non-finite" says so.
Advice:
    Take {limits.SHARE:g} times the stable limit, or less; a third of the
    learning rate where the limit is not known.
    `gdtrain.find_learning_rate` looks for one.
Example:

>>> import keras, numpy as np, gdtrain
>>> x = np.linspace(0, 2, 100)
>>> line = keras.layers.Dense(1, kernel_initializer="zeros", name="line")
>>> model = gdtrain.Sequential([keras.Input([1]), line])
>>> optimizer = gdtrain.GradientDescent(0.7)
>>> model.compile(optimizer, "mse", jit_compile=False)
>>> telemetry = gdtrain.callbacks.Telemetry()
>>> y = 0.1 * x + 0.5
>>> _ = model.fit(x, y, 100, 40, verbose=0, callbacks=[telemetry])
>>> print(gdtrain.diagnose(telemetry))
learning rate too large: diverging (confidence ...
  ...
"""

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
from gdtrain.diagnosis.trend import moving_means, noise_of
from gdtrain.diagnosis.verdict import (
    Verdict,
    as_text,
    confidence,
    rate_change,
)

NAME = "learning rate too large: diverging"
ENDS_ABOVE = 1.5  # Times the rise of the first half, in the second
ROSE = 10.0  # Times what the loss varied before
THIRD = 1 / 3
LOST = 0.5  # Of the gain
SURE = 6.0  # Standard errors


def judge(case: Case) -> list[Verdict]:
    """A loss that grows: a list of one verdict, or none.

    Whatever else is found, but for data that are not finite.
    """
    run = case.run
    if run.learning_rate == 0 or (case.task and case.task.not_finite):
        return []
    rise = growth(run.loss, run.loss_steps)
    if rise is not None:
        margins = _margins(run, rise)
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


def _margins(run: Run, rise: Growth) -> list[float]:
    """How far it is beyond each threshold, as multiples of it.

    By differences of losses: what counts is by how much the loss rises
    against what it varied, and fell, before.
    """
    loss, course = run.loss, run.trend
    if course is None or run.first_nonfinite is not None:
        return _margins_of_few(loss, rise)
    half, size = len(loss) // 2, 1
    if course.is_noisy:
        # A single batch of few examples may be far off.
        size = max(len(loss) // 64, 1)
    first = float(loss[:size].mean())
    noise = min(noise_of(loss[:half]), course.noise)
    eighth = len(loss) // 8
    middle, end = (
        float(np.median(part))
        for part in (loss[half - eighth : half + eighth], loss[-eighth:])
    )
    later, earlier = end - middle, max(middle - first, 0.0)
    above = min(
        _times(end - first, SURE * noise),
        _times(later, ENDS_ABOVE * earlier),
    )
    highest = float(moving_means(loss, size).max())
    before = max(first - float(loss.min()), SURE * noise)
    rose = 0.0
    if course.is_noisy and course.end > first:
        rose = _times(highest - first, ROSE * before)
    lost = 0.0 if run.name else _lost(run) / LOST
    return [max(above, rose, lost)]


def _times(value: float, threshold: float) -> float:
    """A quotient; infinity over 0, 0 of what is not above 0."""
    if value <= 0:
        return 0.0
    return value / threshold if threshold > 0 else np.inf


def _margins_of_few(loss: np.ndarray, rise: Growth) -> list[float]:
    """The same of few losses, or before one that is not finite.

    They may be all there are. The last of them must be high.
    """
    first, last = rise.rows
    top = loss[last] - loss[first]
    high = (loss[-1] - loss[first]) / top / THIRD
    if len(loss) < 3:
        return [rise.total / ROSE, high]
    varied = max(
        loss[first + 1] - loss[first],
        SURE * noise_of(loss[: (len(loss) + 1) // 2]),
    )
    fell = loss[: first + 1].max() - loss[first]
    return [_times(top, ROSE * varied), _times(top, LOST * fell), high]


def _lost(run: Run) -> float:
    """How much of the gain was lost again at the end, as a share of it.

    Of means over a sixteenth of the losses. 0 where that is within noise.
    """
    steps, loss = run.means
    size = max(len(loss) // 16, 1)
    means = moving_means(loss, size)
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
    evidence = {"loss_growth_a_step": rise.factor}
    if rise.total < np.inf:
        evidence["loss_growth"] = rise.total
    layer = _fastest_layer(run, *rows)
    where = f" along {layer}" if layer else ""
    in_all = f"{rise.total:.3g} times in all"
    if rise.total == np.inf:
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

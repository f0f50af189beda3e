"""Learning rate too large: the loss grows."""

import dataclasses

import numpy as np

from gdtrain.insight.diagnosis import plain_descent
from gdtrain.insight.diagnosis.growth import growth, stable_limit
from gdtrain.insight.diagnosis.run import last_known
from gdtrain.insight.diagnosis.trend import noise_of, trend
from gdtrain.insight.diagnosis.verdict import (
    DIVERGING,
    Verdict,
    as_text,
    confidence,
)

ENDS_ABOVE = 1.5  # Times the first loss
ROSE = 10.0  # Times the lowest loss before
STAYS_UP = 0.7  # Of the first loss, after such a rise


def judge(run, course):
    """A loss that grows: a list of one verdict, or none.

    Args:
        run: A `Run`.
        course: Its `Trend`, or `None` if it is too short.
    """
    raised = _above_zero(run)
    if raised is not run and course is not None:
        course = trend(raised.loss, raised.means[1])
    rise = growth(raised.loss, run.loss_steps)
    if rise is None:
        return []
    margins = _margins(raised, course, rise)
    if min(margins) < 1:
        return []
    return [_diverging(run, rise, confidence(*margins))]


def _above_zero(run):
    """The run, raised to losses above 0 if there are others.

    A loss such as a log-likelihood has no zero of its own to be a multiple
    of. Its lowest becomes as large as the losses at the start are far from 0.
    """
    loss = run.loss
    lowest = loss.min(initial=1.0)
    far = np.abs(loss[loss != 0])
    if lowest > 0 or not len(far):
        return run
    early = float(np.median(np.abs(loss[: max(len(loss) // 8, 1)])))
    scale = max(early, -lowest) or far.min()
    values = run.values | {"loss": run.values["loss"] - lowest + scale}
    return dataclasses.replace(run, values=values)


def _margins(run, course, rise):
    """How far it is beyond each threshold, as multiples of it."""
    loss = run.loss
    if run.first_nonfinite is not None:
        # Few steps may be all there are. The last of them must be high.
        lowest = loss[: rise.rows[1] + 1].min()
        high = loss[-1] / (np.sqrt(rise.total) * lowest)
        return [rise.total / ROSE, high]
    first, half = float(loss[0]), len(loss) // 2
    if course is None:
        above = loss[-1] / first / ENDS_ABOVE
        return [above] if len(loss) > 3 else [above, loss[-1] / first / ROSE]
    noise = min(noise_of(loss[:half]), course.noise)
    above = course.end / (first + 3 * noise) / ENDS_ABOVE
    rose = max(float(loss.max()) / first, course.end / course.least) / ROSE
    return [max(above, min(rose, course.end / first / STAYS_UP))]


def _diverging(run, rise, sure):
    """The verdict, with the limit as it can be known."""
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
    advice = "Try a third of the learning rate."
    rate = run.rate_at(rows[1])
    if rate:
        evidence["learning_rate"] = rate
        text = f"learning_rate {rate:.3g}: {text}"
        advice = f"Try {rate / 3:.2g}, and less while it still grows."
        limit, source = _limit(run, rate, rise, rows)
        # Of all data; where that is larger, small batches have another.
        if limit and limit < rate:
            evidence["stable_learning_rate"] = limit
            text = (
                f"learning_rate {rate:.3g} is {rate / limit:.3g} times the "
                f"stable limit {limit:.3g} ({source}); {how}"
            )
            advice = f"Try {min(0.6 * limit, rate / 2):.2g}."
    return Verdict(DIVERGING, sure, steps, evidence, as_text(text), advice)


def _limit(run, rate, rise, rows):
    """The limit of the learning rate and how it was found, or Nones."""
    limits = run.get("stable_learning_rate")
    # Where the rise has carried the weights, the limit may be another.
    for row in rows:
        measured = last_known(limits, row)
        if measured:
            return measured, "measured"
    if plain_descent.is_plain(run) and rise.factor > 1:
        return stable_limit(rate, rise.factor), "from the growth of the loss"
    return None, None


def _fastest_layer(run, first, last):
    """The layer whose gradient grew most during the rise, if there are some."""
    norms = run.layers("gradient_norm")
    if len(norms) < 2:
        return next(iter(norms), None)

    def grown(values):
        with np.errstate(all="ignore"):
            ratio = values[last] / values[first]
        return ratio if np.isfinite(ratio) else 0.0

    return max(norms, key=lambda layer: grown(norms[layer]))

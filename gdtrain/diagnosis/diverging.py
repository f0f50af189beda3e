"""Learning rate too large: the loss grows."""

import dataclasses
import math
from typing import Any

import numpy as np

from gdtrain.diagnosis import plain_descent
from gdtrain.diagnosis.run import Limit
from gdtrain.diagnosis.scale import with_scale
from gdtrain.diagnosis.trend import (
    Growth,
    growth,
    noise_of,
    stable_limit,
    trend,
)
from gdtrain.diagnosis.verdict import DIVERGING, Verdict, as_text, confidence


def limit_by_gradient(loss: float, gradient_norm: float) -> float:
    """The most that the limit can be, from one loss and its gradient.

    Of a loss that is never below 0 and nowhere more curved than `sharpness`:

        gradient_norm ** 2 <= 2 * sharpness * loss
        limit = 2 / sharpness <= 4 * loss / gradient_norm ** 2

    It is the limit itself where the error lies along the sharpest direction
    of a quadratic loss, as it nearly does for inputs far from 0.

    Args:
        loss: The loss before the step, above 0.
        gradient_norm: The length of its gradient.

    Returns:
        A float; infinity for a gradient of 0.

    Example:

    >>> limit_by_gradient(8.0, 8.0)  # loss = 4 * w ** 2 / 2 at w = 2
    0.5

    References:
        Nesterov, Introductory Lectures on Convex Optimization, 2004, theorem
        2.1.5.
    """
    if gradient_norm == 0:
        return math.inf
    # One division at a time: the square of a large float64 is infinite.
    return 4 * (loss / gradient_norm) / gradient_norm


def limit_by_two_losses(
    loss: float, after: float, learning_rate: float, gradient_norm: float
) -> float:
    """The most that the limit can be, from the losses around one step.

    The sharpness along the step, of which there may be more elsewhere:

        moved = learning_rate * gradient_norm
        after = loss - moved * gradient_norm + sharpness * moved ** 2 / 2
        limit = 2 / sharpness

    Exact for a quadratic loss of one direction, whatever its least value.

    Args:
        loss: The loss before the step.
        after: The loss after it.
        learning_rate: Of the step.
        gradient_norm: The length of the gradient before the step.

    Returns:
        A float; infinity if the loss curves down or the gradient is 0.

    Example:

    >>> limit_by_two_losses(8.0 + 5, 72.0 + 5, 1.0, 8.0)  # 4 * w ** 2 / 2 + 5
    0.5
    """
    moved = learning_rate * gradient_norm
    if moved == 0:
        return math.inf
    bend = (after - loss) / moved + gradient_norm
    return moved / bend if bend > 0 else math.inf


def limit_of_step(
    learning_rate: float,
    loss: float,
    after: float | None,
    gradient_norm: float | None,
) -> float | None:
    """The least of what one step of plain descent tells of the limit.

    Args:
        learning_rate: Of the step, above 0.
        loss: The loss before it, above 0.
        after: The loss after it, or `None` if that is not finite.
        gradient_norm: Of the gradient before it, or `None` if not known.

    Returns:
        A float above 0, or `None` if nothing is known.

    Example:

    >>> limit_of_step(1.0, 8.0, 72.0, None)
    0.5
    """
    known = []
    if gradient_norm is not None:
        known.append(limit_by_gradient(loss, gradient_norm))
    if after is not None and after > loss:
        known.append(stable_limit(learning_rate, after / loss))
    if after is not None and gradient_norm is not None:
        known.append(
            limit_by_two_losses(loss, after, learning_rate, gradient_norm)
        )
    known = [limit for limit in known if 0 < limit < math.inf]
    return min(known, default=None)


def next_growth(learning_rate: float, limit: float) -> float:
    """By what factor a quadratic loss grows at the next step, at this limit.

        factor = (1 - 2 * learning_rate / limit) ** 2

    Example:

    >>> next_growth(1.0, 0.5)
    9.0
    """
    return (1 - 2 * learning_rate / limit) ** 2


def gradient_at(run: Any, row: int) -> float | None:
    """The length of the gradient at a row of a `Run`, if it is known."""
    norms = run.get("gradient_norm")
    if norms is None or not math.isfinite(norms[row]):
        return None
    return float(norms[row])


LONG = 1.0  # Times the weights: after such an update, little remains of them


def limit_of_rise(run: Any, rate: float, rise: Growth) -> Limit | None:
    """The limit that was exceeded, or `None` if it cannot be known.

    The one measured; else, of plain descent, the one that follows from how
    the loss grows. That holds for a quadratic loss. The loss of several
    layers is one only while they stay near their weights: beyond, the loss
    grows with the product of all layers, and only the beginning counts.

    Args:
        run: A `Run`.
        rate: The learning rate of the rise.
        rise: Of the run's losses.
    """
    first, last = run.loss_rows[list(rise.rows)]
    # Where the rise has carried the weights, the limit may be another. That
    # of a step is measured after it.
    for row in (first - 1, first, last):
        measured = run.measured_limit(row)
        if measured:
            return measured
    if not plain_descent.is_plain(run):
        return None
    end = rise.rows[1]
    if len(run.layers("weight_norm")) > 1:
        near = _near(run, first, last)
        end = int(np.searchsorted(run.loss_rows, near, "right")) - 1
    part = slice(rise.rows[0], end + 1)
    steps = run.loss_steps[part]
    if steps[-1] - steps[0] > 1:
        grown = growth(run.loss[part], steps)
        if grown is not None and grown.rows[1] - grown.rows[0] > 1:
            limit = stable_limit(rate, grown.factor)
            return Limit(limit, "from the growth of the loss")
    return _limit_of_first_step(run, rate, int(first), end > rise.rows[0])


def _limit_of_first_step(
    run: Any, rate: float, row: int, is_near: bool
) -> Limit | None:
    """From the step at a row, and the loss after it if that is near."""
    follows = row + 1 < len(run.steps) and (
        run.steps[row + 1] == run.steps[row] + 1
    )
    after = None
    if is_near and follows:
        after = float(run.values["loss"][row + 1])
    loss = float(run.values["loss"][row])
    limit = limit_of_step(rate, loss, after, gradient_at(run, row))
    if limit is None:
        return None
    source = "about" if after is not None else "at most"
    return Limit(limit, f"{source}, from step {int(run.steps[row]):,}")


def _near(run: Any, first: int, last: int) -> int:
    """The last row up to which no update was longer than its weights."""
    for row in range(int(first), int(last)):
        for ratios in run.layers("update_ratio").values():
            if LONG < ratios[row] < np.inf:  # Infinite if the weights were 0
                return row
    return int(last)


ENDS_ABOVE = 1.5  # Times the first loss
ROSE = 10.0  # Times the lowest loss before
STAYS_UP = 0.7  # Of the first loss, after such a rise
THIRD = 1 / 3


def judge(run, course):
    """A loss that grows: a list of one verdict, or none.

    Args:
        run: A `Run`.
        course: Its `Trend`, or `None` if it is too short.
    """
    if run.learning_rate == 0:
        return []
    raised = _above_zero(run)
    if raised is not run and course is not None:
        course = trend(raised.loss, raised.means[1])
    rise = growth(raised.loss, run.loss_steps)
    if rise is not None:
        margins = _margins(raised, course, rise)
        if min(margins) >= 1:
            return [_diverging(run, rise, confidence(*margins))]
    return _by_last_finite_step(run)


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


def _by_last_finite_step(run):
    """From a step after which nothing is finite: a list of one, or none.

    Its loss and gradient alone tell by how much the next loss would grow.
    """
    end = run.first_nonfinite
    if end is None or not len(run.loss) or run.loss[-1] <= 0:
        return []
    row = int(run.loss_rows[-1])
    follows = run.steps[end] == run.steps[row] + 1
    rate, norm = run.rate_in_force(row, row), gradient_at(run, row)
    if not (follows and rate and norm and plain_descent.is_plain(run)):
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
    advice = f"Try {0.6 * limit:.2g}, and less while it still grows."
    return [
        Verdict(
            DIVERGING,
            confidence(factor / ROSE),
            (step, int(run.steps[end])),
            evidence,
            *with_scale(run, as_text(text), advice),
        )
    ]


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
    # Its factor is of the last half of the rise.
    rate = run.rate_in_force(run.loss_rows[sum(rise.rows) // 2], rows[1])
    if rate:
        evidence["learning_rate"] = rate
        text = f"learning_rate {rate:.3g}: {text}"
    limit = limit_of_rise(run, rate, rise) if rate else None
    # Of all data; where that is larger, small batches have another.
    if limit and limit.value < rate:
        evidence["stable_learning_rate"] = limit.value
        text = (
            f"learning_rate {rate:.3g} is {rate / limit.value:.3g} times the "
            f"stable limit {limit.value:.3g} ({limit.source}); {how}"
        )
        advice = f"Try {min(0.6 * limit.value, rate / 2):.2g}."
        if limit.source.startswith("at most"):
            advice = f"{advice[:-1]}, and less while it still grows."
    else:
        advice = _without_limit(rate, rise.factor)
    return Verdict(
        DIVERGING,
        sure,
        steps,
        evidence,
        *with_scale(run, as_text(text), advice),
    )


def _without_limit(rate, factor):
    """What to try where the limit is not known: a third, if that may do.

    Where the loss is multiplied by `factor` a step, plain descent needs
    `2 / (1 + sqrt(factor))` of the rate, and momentum no less. If that is far
    less than a third, how much less depends on what is not known.
    """
    if stable_limit(1.0, max(factor, 1.0)) < THIRD:
        return (
            "Divide the learning rate by ten, again and again until the loss "
            "falls; gdtrain.find_learning_rate looks for one that is stable."
        )
    if not rate:
        return "Try a third of the learning rate."
    return f"Try {rate / 3:.2g}, and less while it still grows."


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

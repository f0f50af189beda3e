"""The stable limit of the learning rate, as a rise of the loss tells it."""

from typing import Any

import numpy as np

from gdtrain.insight.diagnosis import plain_descent
from gdtrain.insight.diagnosis.growth import Growth, growth, stable_limit
from gdtrain.insight.diagnosis.one_step import gradient_at, limit_of_step
from gdtrain.insight.diagnosis.run import Limit

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

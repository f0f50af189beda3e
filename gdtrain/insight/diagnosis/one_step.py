"""What a single step of plain descent tells of the stable learning rate."""

import math
from typing import Any

from gdtrain.insight.diagnosis.growth import stable_limit


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

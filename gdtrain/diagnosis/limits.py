"""The growth of a loss, and limits of the learning rate that follow from it."""

import dataclasses
import math

import numpy as np

from gdtrain.diagnosis.run import Limit, Run


@dataclasses.dataclass(frozen=True)
class Growth:
    """The rise of a loss from its lowest to its highest.

    Args:
        rows: `(first, last)` row of the rise.
        total: By what factor it rose; infinity if it began at 0 or below.
        factor: By what factor a step, late in the rise.
    """

    rows: tuple[int, int]
    total: float
    factor: float


def growth(loss: np.ndarray, steps: np.ndarray) -> Growth | None:
    """The largest rise, or `None` if there is none.

    Its factor is that of differences of losses, late in the rise, where what
    grows fastest prevails; where the loss is 0 does not matter:

        factor = (loss[c] - loss[b]) / (loss[b] - loss[a])

    for as many steps from a to b as from b to c. Of a rise from one loss to
    the next, it is the quotient of the two.

    Args:
        loss: Finite numbers, float64 `[n]`.
        steps: Their steps, int64 `[n]`; those in between are shared evenly.

    Returns:
        A `Growth`; `None`, too, for one step from a loss that is not above 0.

    Example:

    >>> found = growth(5 + 2.25 ** np.arange(40.0), np.arange(40))
    >>> found.rows, round(found.factor, 4)
    ((0, 39), 2.25)
    """
    if len(loss) < 2:
        return None
    lowest = np.minimum.accumulate(loss)
    last = int(np.argmax(loss - lowest))
    if loss[last] <= lowest[last]:
        return None
    first = int(np.flatnonzero(loss[: last + 1] == lowest[last])[-1])
    total = math.inf
    if loss[first] > 0:
        total = float(loss[last] / loss[first])
    size = (last - first) // 2
    middle = last - max(size, 1)
    late, early = loss[last], loss[middle]
    if size:
        late, early = late - loss[middle], early - loss[middle - size]
    elif total == math.inf:
        return None
    factor = 1.0
    if late > early > 0:
        steps_between = float(steps[last] - steps[middle])
        factor = float(np.exp2(np.log2(late / early) / steps_between))
    return Growth((first, last), total, factor)


def stable_limit(learning_rate: float, factor: float) -> float:
    """The limit of plain descent whose loss grows by a factor a step.

        error:  |1 - learning_rate * sharpness| a step; loss: its square
        sharpness = (1 + sqrt(factor)) / learning_rate
        limit = 2 / sharpness

    Exact for a quadratic loss.

    Example:

    >>> stable_limit(3.0, 4.0)  # sharpness 1: the error grows by 1 - 3
    2.0
    """
    return 2 * learning_rate / (1 + math.sqrt(factor))


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
    """The least of the limits that follow from one step of plain descent.

    Args:
        learning_rate: Of the step, above 0.
        loss: The loss before it; of one that is not above 0, less is known.
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
    if after is not None and after > loss > 0:
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


def gradient_at(run: Run, row: int) -> float | None:
    """The norm of the gradient at a row, if it is known."""
    norm = float(run.get("gradient_norm")[row])
    return norm if math.isfinite(norm) else None


SHARE = 0.6  # Of the stable limit, to stay clear of it
_REPLACES = 1.0  # Times the weights: such an update leaves little of them


def against_limit(rate: float, limit: Limit, digits: int = 3) -> str:
    """A learning rate as a multiple of its limit, in words."""
    times = f"{rate / limit.value:.{digits}g}"
    if times == "1":  # Which side of the limit it is on must be seen.
        times = f"{rate / limit.value:.5g}"
    return (
        f"learning_rate {rate:.3g} is {times} times the stable limit "
        f"{limit.value:.3g} ({limit.source})"
    )


def limit_of_rise(run: Run, rate: float, rise: Growth) -> Limit | None:
    """The limit that was exceeded, or `None` if it cannot be known.

    The one measured; else, of plain descent, the one that follows from how
    the loss grows. That holds for a quadratic loss. The loss of several
    layers is one only while they stay near their weights: beyond, the loss
    grows with the product of all layers, and only the beginning counts.

    Args:
        run: Plain descent or not.
        rate: The learning rate of the rise.
        rise: Of the run's losses.
    """
    first, last = run.loss_rows[list(rise.rows)]
    # The rise moves the weights to where the limit may differ. The limit of a
    # step is measured after it.
    for row in (first - 1, first, last):
        measured = run.measured_limit(row)
        if measured:
            return measured
    if not is_plain(run):
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
    run: Run, rate: float, row: int, is_near: bool
) -> Limit | None:
    """From the step at a row, and the loss after it if that is near."""
    losses, after = run.values["loss"], None
    if is_near and run.steps[row] + 1 in run.steps[row + 1 : row + 2]:
        after = float(losses[row + 1])
    limit = limit_of_step(
        rate, float(losses[row]), after, gradient_at(run, row)
    )
    if limit is None:
        return None
    source = "about" if after is not None else "at most"
    return Limit(limit, f"{source}, from step {int(run.steps[row]):,}")


def _near(run: Run, first: int, last: int) -> int:
    """The last row up to which no update was longer than its weights."""
    for row in range(int(first), int(last)):
        for ratios in run.layers("update_ratio").values():
            # Infinite if the weights were 0
            if _REPLACES < ratios[row] < np.inf:
                return row
    return int(last)


CLOSE = 0.01  # Norms are float32, and weights move little against their norm
FAR = 1e3  # Times the weights: after such an update, they are the update
_MULTIPLES = 2**16  # So many say what all do
_TOO_LONG = 10.0  # Times the weights: too large a rate alone may double them
SCALE_ADVICE = (
    "If inputs or targets are far from a size of 1, scale them: larger "
    "learning rates are stable then."
)


def step_multiple(run: Run) -> tuple[float, float] | None:
    """How many times as long a step is as plain descent's.

        multiple = norm(update) / (learning_rate * norm(gradient))

    1 for plain descent, unless clipped; for heavy ball 1 / (1 - momentum) on
    a slope; anything for optimizers that scale their steps.

    Returns:
        The median, and the relative deviation from it that a tenth of the
        measurements exceed; `None` if it cannot be known.
    """
    rates = run.get("learning_rate")
    gradients, ratios = run.layers("gradient_norm"), run.layers("update_ratio")
    weights = run.layers("weight_norm")
    shared = [name for name in ratios if name in weights and name in gradients]
    if not shared:
        return None
    rows = 1 + np.flatnonzero(np.diff(run.steps) == 1)
    rows = rows[:: max(len(shared) * len(rows) // _MULTIPLES, 1)]
    found = []
    for name in shared:
        # The norm after a step is the one before the next.
        with np.errstate(all="ignore"):
            moved = ratios[name][rows] * weights[name][rows - 1]
            found.append(moved / (rates[rows] * gradients[name][rows]))
            if ratios[name][0] > FAR:  # Infinite if the weights were 0
                first = rates[:1] * gradients[name][:1]
                found.append(weights[name][:1] / first)
    multiples = np.concatenate(found)
    multiples = multiples[np.isfinite(multiples) & (multiples > 0)]
    if not len(multiples):
        return None
    middle = float(np.median(multiples))
    deviation = np.quantile(np.abs(multiples / middle - 1), 0.9)
    return middle, float(deviation)


def is_plain(run: Run) -> bool | None:
    """Whether it is plain descent; `None` if that cannot be known."""
    found = step_multiple(run)
    if found is None:
        return None
    return abs(found[0] - 1) < CLOSE and found[1] < 0.1


def long_first_update(run: Run) -> tuple[str, float] | None:
    """The layer whose first update is the longest, if one is too long.

    Returns:
        `(layer, times)`: how many times as long as its weights the update
        is, infinity if these are 0. `None` if the first step is missing, or
        no update is far longer than the weights.
    """
    first = {
        layer: float(ratios[0])
        for layer, ratios in run.layers("update_ratio").items()
        if ratios[0] > _TOO_LONG
    }
    if run.is_resumed or not first:
        return None
    layer = max(first, key=first.__getitem__)
    return layer, first[layer]


def with_scale(run: Run, text: str, advice: str) -> tuple[str, str]:
    """A text and an advice, with what the first update adds to them."""
    found = long_first_update(run)
    if found is None:
        return text, advice
    layer, times = found
    how = f"is {times:.3g} times as long as its weights"
    if times == math.inf:
        how = "starts from weights of 0"
    return (
        f"{text} The first update of {layer} {how}.",
        f"{advice} {SCALE_ADVICE}",
    )

"""What the lengths of updates say: plain descent or not, and the scale."""

import math

import numpy as np

from gdtrain.diagnosis.run import Run

CLOSE = 0.01  # Norms are float32, and weights move little against their norm
FAR = 1e3  # Times the weights: after such an update, they are the update
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
    if rates is None or not shared:
        return None
    follows = np.diff(run.steps) == 1
    found = []
    for name in shared:
        # The norm after a step is the one before the next.
        with np.errstate(all="ignore"):
            moved = ratios[name][1:] * weights[name][:-1]
            plain = rates[1:] * gradients[name][1:]
            found.append((moved / plain)[follows])
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

"""What a first update that is far longer than the weights tells of the data."""

import math
from typing import Any

LONG = 10.0  # Times the weights: too large a rate alone may double them
ADVICE = (
    "If inputs or targets are far from a size of 1, scale them: larger "
    "learning rates are stable then."
)


def long_first_update(run: Any) -> tuple[str, float] | None:
    """The layer whose first update is the longest, if one is too long.

    Returns:
        `(layer, times)`: its name, and how many times as long as its weights
        the update is, infinity if these are 0. `None` if the first step is
        missing, or no update is far longer than the weights.
    """
    first = {
        layer: float(ratios[0])
        for layer, ratios in run.layers("update_ratio").items()
        if ratios[0] > LONG
    }
    if run.is_resumed or not first:
        return None
    layer = max(first, key=first.__getitem__)
    return layer, first[layer]


def with_scale(run: Any, text: str, advice: str) -> tuple[str, str]:
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
        f"{advice} {ADVICE}",
    )

"""What came out at one learning rate."""

from typing import Any, NamedTuple


class Run(NamedTuple):
    """What came out at one learning rate.

    Args:
        losses: The loss of each step, float32 `[steps]`.
        history: What `History` shows: lists of floats by name, one an epoch.
        weights: The trained weights, as `model.get_weights()` gives them.
    """

    losses: Any
    history: dict[str, list[float]]
    weights: list[Any]

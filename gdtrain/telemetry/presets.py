"""Sets of quantities by name."""

from gdtrain.telemetry.gradient_norm import GradientNorm
from gdtrain.telemetry.learning_rate import LearningRate
from gdtrain.telemetry.loss import Loss
from gdtrain.telemetry.nonfinite_count import NonfiniteCount
from gdtrain.telemetry.quantity import Quantity
from gdtrain.telemetry.update_ratio import UpdateRatio
from gdtrain.telemetry.weight_norm import WeightNorm

PRESETS = {
    "minimal": (Loss(), LearningRate()),
    "standard": (
        Loss(),
        LearningRate(),
        GradientNorm(),
        WeightNorm(),
        UpdateRatio(),
        NonfiniteCount(),
    ),
}


def resolve(quantities):
    """The quantities that a preset's name or a list stands for.

    Args:
        quantities: `"minimal"`, `"standard"`, or a list of quantities and of
            names of quantities.

    Returns:
        A tuple of `Quantity`.

    Raises:
        ValueError: if a name is unknown, or two quantities share a name.
        TypeError: if an entry is neither a quantity nor a name.

    Example:

    >>> resolve(["loss", GradientNorm()])
    (Loss(), GradientNorm())
    """
    if isinstance(quantities, str):
        if quantities not in PRESETS:
            raise ValueError(
                f"`quantities` must be one of {sorted(PRESETS)} or a list. "
                f"Received: quantities={quantities!r}. For a single quantity "
                f"write quantities=[{quantities!r}]."
            )
        return PRESETS[quantities]
    if not isinstance(quantities, (list, tuple)):
        raise TypeError(
            f"`quantities` must be one of {sorted(PRESETS)} or a list. "
            f"Received: quantities={quantities!r}."
        )
    resolved = tuple(_quantity(q) for q in quantities)
    names = [q.name for q in resolved]
    if len(set(names)) < len(names):
        raise ValueError(
            "`quantities` must have a name each. "
            f"Received quantities named {names}. Leave out the repeated one."
        )
    return resolved


def _quantity(entry):
    """One quantity from its name or itself."""
    known = {q.name: q for q in PRESETS["standard"]}
    if isinstance(entry, Quantity):
        return entry
    if isinstance(entry, str) and entry in known:
        return known[entry]
    message = (
        f"An entry of `quantities` must be one of {sorted(known)} or a "
        f"`gdtrain.telemetry.Quantity`. Received: {entry!r}."
    )
    if isinstance(entry, str):
        raise ValueError(message)
    if isinstance(entry, type):
        message += f" Write {entry.__name__}(), with parentheses."
    raise TypeError(message)

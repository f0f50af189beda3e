"""Sets of quantities by name."""

import inspect
from collections.abc import Sequence
from typing import Any

from gdtrain import telemetry
from gdtrain.telemetry.quantity import Quantity

_LEVELS = ("minimal", "standard", "full")
_QUANTITIES = [
    thing()
    for thing in (getattr(telemetry, name) for name in telemetry.__all__)
    if issubclass(thing, Quantity) and not inspect.isabstract(thing)
]

#: The quantities of each preset, which holds those of the smaller ones.
PRESETS: dict[str, tuple[Quantity, ...]] = {
    level: tuple(
        quantity.every(quantity.preset_every_steps)
        for quantity in _QUANTITIES
        if quantity.preset in _LEVELS[: place + 1]
    )
    for place, level in enumerate(_LEVELS)
}
_BY_NAME = {quantity.name: quantity for quantity in _QUANTITIES}


def resolve(
    quantities: str | Sequence[Quantity | str],
) -> tuple[Quantity, ...]:
    """The quantities of a preset or list.

    Args:
        quantities: `"minimal"`, `"standard"`, `"full"`, or a list of
            quantities and of names of quantities.

    Raises:
        ValueError: if a name is unknown, or two quantities share a name.
        TypeError: if an entry is neither a quantity nor a name.

    Example:

    >>> resolve(["loss", telemetry.GradientNorm()])
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
            f"Received: quantities named {names}. Leave out the repeated one."
        )
    return resolved


def _quantity(entry: Any) -> Quantity:
    """One quantity from its name or itself."""
    if isinstance(entry, Quantity):
        return entry
    if isinstance(entry, str) and entry in _BY_NAME:
        return _BY_NAME[entry]
    message = (
        f"An entry of `quantities` must be one of {sorted(_BY_NAME)} or a "
        f"`gdtrain.telemetry.Quantity`. Received: {entry!r}."
    )
    if isinstance(entry, str):
        raise ValueError(message)
    if isinstance(entry, type):
        message += f" Write {entry.__name__}(), with parentheses."
    raise TypeError(message)

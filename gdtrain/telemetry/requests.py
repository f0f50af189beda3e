"""Which quantities are requested, and which are measured together."""

import math
from collections.abc import Iterable
from typing import NamedTuple

from gdtrain.telemetry.quantity import BlockQuantity, Quantity

_NEVER = 2**30  # A cadence of so many steps; fits int32


class Request(NamedTuple):
    """A quantity that is to be measured.

    Args:
        quantity: The quantity; its own `every_steps` does not count.
        every_steps: It is measured at the multiples of this.
        stretchable: Whether it may be measured less often, to save time.
    """

    quantity: Quantity
    every_steps: int
    stretchable: bool


class RequestGroup(NamedTuple):
    """Quantities that are measured at the same steps.

    Args:
        quantities: The quantities.
        every_steps, stretchable: As in `Request`.
        looks_back: Whether they are measured at the step before as well.
    """

    quantities: tuple[Quantity, ...]
    every_steps: int
    stretchable: bool
    looks_back: bool

    @property
    def is_constant(self) -> bool:
        """Whether they are measured at every step, whatever the budget."""
        return self.every_steps == 1 and not self.stretchable

    def stride(self, stretch: float) -> int:
        """Every how many steps they are measured.

        Args:
            stretch: By what the cadence of stretchable quantities is
                multiplied; `math.inf` to measure none of them.
        """
        if not self.stretchable:
            return self.every_steps
        return int(min(self.every_steps * stretch, _NEVER))


def merged(requests: Iterable[Request]) -> tuple[Request, ...]:
    """Each quantity once, as often as the most frequent request needs it.

    Args:
        requests: Those of all callbacks.

    Raises:
        ValueError: if two different quantities share a name.
    """
    by_name: dict[str, Request] = {}
    for request in requests:
        name = request.quantity.name
        other = by_name.setdefault(name, request)
        if not other.quantity.is_like(request.quantity):
            raise ValueError(
                f"Two different quantities share the name {name!r}: "
                f"{other.quantity!r} and {request.quantity!r}. "
                "Give one of them another `name`."
            )
        by_name[name] = Request(
            request.quantity.every(1),
            math.gcd(other.every_steps, request.every_steps),
            other.stretchable and request.stretchable,
        )
    return tuple(by_name.values())


def groups(requests: Iterable[Request]) -> tuple[RequestGroup, ...]:
    """The quantities of steps, grouped by when they are measured.

    Args:
        requests: Of each quantity one, as `merged` returns them.

    Example:

    >>> from gdtrain.telemetry.loss import Loss
    >>> groups([Request(Loss(), 1, False)])[0].is_constant
    True
    """
    by_cadence: dict[tuple[int, bool, bool], list[Quantity]] = {}
    for quantity, every_steps, stretchable in requests:
        if not isinstance(quantity, BlockQuantity):
            key = every_steps, stretchable, quantity.looks_back
            by_cadence.setdefault(key, []).append(quantity)
    return tuple(
        RequestGroup(tuple(quantities), *key)
        for key, quantities in by_cadence.items()
    )

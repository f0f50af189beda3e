"""What is asked for, by all who listen, in groups of one cadence each."""

import math
from typing import NamedTuple

from gdtrain.telemetry.quantity import BlockQuantity, Quantity

NEVER = 2**30  # A cadence of so many steps; fits int32


class Asked(NamedTuple):
    """A quantity that is to be measured.

    Args:
        quantity: The quantity, whose own cadence is of no account.
        every_steps: At which steps: the multiples of this.
        stretchable: Whether it may be measured more seldom, to save time.
    """

    quantity: Quantity
    every_steps: int
    stretchable: bool


class Group(NamedTuple):
    """Quantities that are measured at the same steps.

    Args:
        quantities: A tuple.
        every_steps, stretchable: As in `Asked`.
        looks_back: Whether they are measured at the step before as well.
    """

    quantities: tuple[Quantity, ...]
    every_steps: int
    stretchable: bool
    looks_back: bool

    @property
    def is_constant(self):
        """Whether they are measured at every step, come what may."""
        return self.every_steps == 1 and not self.stretchable

    def stride(self, stretch):
        """Every how many steps they are measured.

        Args:
            stretch: How many times as seldom as asked for stretchable ones
                are measured; `math.inf` for not at all.
        """
        if not self.stretchable:
            return self.every_steps
        return int(min(self.every_steps * stretch, NEVER))


def merged(requests):
    """All requests as one: each quantity once, as often as anyone wants it.

    Args:
        requests: A list of `Asked`.

    Returns:
        A tuple of `Asked`.

    Raises:
        ValueError: if two different quantities share a name.
    """
    by_name: dict[str, Asked] = {}
    for request in requests:
        name = request.quantity.name
        other = by_name.setdefault(name, request)
        if not other.quantity.is_like(request.quantity):
            raise ValueError(
                f"Two different quantities share the name {name!r}: "
                f"{other.quantity!r} and {request.quantity!r}. "
                "Give one of them another `name`."
            )
        by_name[name] = Asked(
            request.quantity.every(1),
            math.gcd(other.every_steps, request.every_steps),
            other.stretchable and request.stretchable,
        )
    return tuple(by_name.values())


def groups(asked):
    """`Group`s of the quantities that are measured together, a tuple.

    Args:
        asked: What `merged` returned.

    Example:

    >>> from gdtrain.telemetry.loss import Loss
    >>> groups([Asked(Loss(), 1, False)])[0].is_constant
    True
    """
    by_cadence: dict[tuple, list[Quantity]] = {}
    for request in asked:
        if isinstance(request.quantity, BlockQuantity):
            continue
        key = (
            request.every_steps,
            request.stretchable,
            request.quantity.looks_back,
        )
        by_cadence.setdefault(key, []).append(request.quantity)
    return tuple(
        Group(tuple(quantities), *key) for key, quantities in by_cadence.items()
    )

"""Which quantities are requested, and which are due at a step."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from gdtrain.distributed import reports
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
        """Whether they are measured at every step, whatever that costs."""
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
                "Give one of them a `name` of its own."
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
    >>> groups([Request(Loss(), 1, False)])[0].quantities
    (Loss(),)
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


_RANGE = 2**30  # Step numbers within a program are modulo this, to be int32.


class StepClock(NamedTuple):
    """The number of a step and which groups are due, in a program.

    Args:
        step: The number of the step, an int32 scalar.
        strides: For each group of quantities that is not measured at every
            step, every how many it is, int32 `[groups]`; `None` if there is no
            such group, as what a loop is given costs each of its steps time.
        phases: For each of them, how many steps ago, modulo its stride, it
            was due last, int32 `[groups]`; or `None`.
        report: What this worker has to report; `None` in a single process.
        input_wait: Seconds that the batch of the step was waited for.
    """

    step: tf.Tensor
    strides: tf.Tensor | None
    phases: tf.Tensor | None
    report: reports.InGraph | None = None
    input_wait: float | tf.Tensor = 0.0

    @staticmethod
    def encode(
        step: int, strides: Sequence[int], sent: Sequence[int] = ()
    ) -> list[int]:
        """The clock of a step as integers, to be given to a program.

        Args:
            step: Its number, from 1.
            strides: For each group that is not constant, every how many steps
                it is measured.
            sent: What this worker reports to others, if there are any.

        Returns:
            `1 + 2 * groups` integers, and `sent`.
        """
        phases = (step % stride for stride in strides)
        return [step % _RANGE, *strides, *phases, *sent]

    @classmethod
    def decode(cls, vector: tf.Tensor, reports_to_others: bool) -> "StepClock":
        """The clock of what `encode` gave, as an int32 vector.

        Args:
            vector: It.
            reports_to_others: Whether it has `sent` at its end.
        """
        report = None
        if reports_to_others:
            report = reports.InGraph.begin(vector[-reports.SENT :])
            vector = vector[: -reports.SENT]
        groups = (vector.shape[0] - 1) // 2
        if not groups:
            return cls(vector[0], None, None, report)
        return cls(
            vector[0], vector[1 : 1 + groups], vector[1 + groups :], report
        )

    def after(self, steps: Any) -> "StepClock":
        """The time so many steps later."""
        phases = None if self.phases is None else self.phases + steps
        return self._replace(step=self.step + steps, phases=phases)

    def is_due(
        self, group: RequestGroup, groups: Sequence[RequestGroup]
    ) -> Any:
        """Whether a group is measured at this step.

        Args:
            group: The `RequestGroup`.
            groups: All groups of the step.

        Returns:
            `True` if that is known before the step, else a bool scalar.
        """
        # Python, which drives an eager step, knows no value of a branch that
        # is not taken; there, everything is measured and little of it shown.
        if group.is_constant or tf.executing_eagerly():
            return True
        assert self.strides is not None and self.phases is not None
        index = [one for one in groups if not one.is_constant].index(group)
        stride, phase = self.strides[index], self.phases[index]
        due = tf.equal(phase % stride, 0)
        if group.looks_back:
            due |= tf.equal((phase + 1) % stride, 0)
        return due


def when(
    due: Any, then: Callable[[], Any], otherwise: Callable[[], Any]
) -> Any:
    """`tf.cond`, except where the condition is known before the step."""
    return then() if due is True else tf.cond(due, then, otherwise)

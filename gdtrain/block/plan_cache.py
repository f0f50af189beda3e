"""What was compiled, by the plan that it serves and the model's settings."""

from collections.abc import Callable, Hashable, Iterator
from typing import Any, Generic, TypeVar

import keras

from gdtrain.data.plans import ArrayPlan
from gdtrain.data.protocols import BatchPlan
from gdtrain.descent import settings
from gdtrain.keras_bridge import layers

Made = TypeVar("Made")


class _Identity:
    """A hashable reference to an object, equal to those to the same object.

    Weights compare by their values, and an id may be used again once an
    object is gone; this keeps the object.

    Example:

    >>> one, other = [1], [1]
    >>> _Identity(one) == _Identity(one), _Identity(one) == _Identity(other)
    (True, False)
    """

    __slots__ = ("_thing",)

    def __init__(self, thing: Any) -> None:
        self._thing = thing

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Identity) and self._thing is other._thing

    def __hash__(self) -> int:
        return id(self._thing)


def settings_key(model: keras.Model) -> tuple[Hashable, ...]:
    """The settings of a model that its compiled steps depend on.

    Args:
        model: A `DescentTrainer`.
    """
    current = settings.of(model)
    return (
        model.run_eagerly,
        model.jit_compile,
        current.jit_compile,
        *current.own.values(),
        # A model that only predicts need not be compiled.
        _Identity(getattr(model, "optimizer", None)),
        *map(_Identity, layers.frozen_parts(model)),
    )


class PlanCache(Generic[Made]):
    """Makes something for each kind of plan, once.

    A data source of one batch of everything has a program for its size. A
    second one, of a different size, has a program for any size: a model that is
    given a few more examples each time is not traced each time.
    """

    def __init__(self) -> None:
        self._made: dict[tuple, Made] = {}
        self._families: set[tuple] = set()

    def __iter__(self) -> Iterator[Made]:
        """All that was made."""
        return iter(self._made.values())

    def get(
        self,
        plan: BatchPlan,
        circumstances: tuple[Hashable, ...],
        make: Callable[[], Made],
    ) -> Made:
        """What serves a plan.

        Args:
            plan: The plan of the data source; see `data.protocols`.
            circumstances: What else it depends on.
            make: Makes it.
        """
        key = plan.key, *circumstances
        family = plan.family, *circumstances
        if key not in self._made:
            if family in self._families and isinstance(plan, ArrayPlan):
                plan.take_any_size()
                key = plan.key, *circumstances
            self._families.add(family)
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

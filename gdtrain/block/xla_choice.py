"""Programs by what they serve, and whether XLA compiles them."""

import math
from typing import Any

from gdtrain.keras_bridge import layers


class Same:
    """A hashable reference to an object, equal to those to the same object.

    Weights compare by their values, and an id may be used again once an
    object is gone; this keeps the object.

    Example:

    >>> one, other = [1], [1]
    >>> Same(one) == Same(one), Same(one) == Same(other)
    (True, False)
    """

    __slots__ = ("_thing",)

    def __init__(self, thing):
        self._thing = thing

    def __eq__(self, other):
        return isinstance(other, Same) and self._thing is other._thing

    def __hash__(self):
        return id(self._thing)


def settings_of(model):
    """The settings of a model that its programs depend on, a hashable tuple.

    Args:
        model: A `DescentTrainer`.
    """
    return (
        model.run_eagerly,
        model.jit_compile,
        model.jit_compile_setting,
        model.microbatches,
        getattr(model, "global_clipnorm", None),
        Same(getattr(model, "optimizer", None)),
        *map(Same, layers.frozen_parts(model)),
    )


class Speed:
    """Seconds a step, from the blocks that have run.

    Example:

    >>> speed = Speed()
    >>> speed.add(steps=1, seconds=0.9)  # With compilation
    >>> speed.add(steps=1, seconds=0.001)
    >>> speed.steps_in(1.0)  # No more than 8 times as many as last time
    8
    >>> speed.add(steps=8, seconds=0.008)
    >>> speed.steps_in(0.02)
    20
    """

    _GROWTH = 8

    def __init__(self):
        self.first: Any = None  # Seconds of the first block, compiled then
        self.seconds_per_step: Any = None
        self.best = math.inf  # The least seconds a step of any block
        self.blocks = self.steps = 0  # But for the first block
        self._most = 1

    def add(self, steps, seconds):
        """Takes note of a block of steps."""
        if self.first is None:
            self.first = seconds
            return
        self.blocks += 1
        self.steps += steps
        # A block of few steps, such as what is left of a run, tells more of
        # the time around them.
        if steps >= self._most / 2:
            self.seconds_per_step = seconds / steps
            self.best = min(self.best, self.seconds_per_step)
            self._most = steps

    def seconds(self, steps):
        """How long so many steps take; infinite if that is not known."""
        if self.seconds_per_step is None:
            return math.inf
        return steps * self.seconds_per_step

    def steps_in(self, seconds):
        """How many steps to run in about so many seconds, at least 1."""
        if self.seconds_per_step is None:
            return 1
        steps = int(seconds / self.seconds_per_step)
        return max(1, min(steps, self._GROWTH * self._most))


class Programs:
    """Makes a program for each kind of plan.

    A feed of one batch of everything has a program for its very size. A
    second such feed, of another size, has one made for any size: models that
    are given a few more examples each time are not traced each time.
    """

    def __init__(self):
        self._made = {}
        self._families = set()

    def __iter__(self):
        """Those that were made."""
        return iter(self._made.values())

    def of(self, plan, circumstances, make):
        """The program that serves a plan.

        Args:
            plan: The plan of the feed; see `gdtrain.data`.
            circumstances: What else a program depends on, a tuple.
            make: Makes a program for a feed like this.
        """
        family = plan.family, *circumstances
        if (plan.key, *circumstances) not in self._made:
            if family in self._families:
                plan.take_any_size()
            self._families.add(family)
        key = plan.key, *circumstances
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

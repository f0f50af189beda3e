"""Observers of the steps of `fit`, and the budget of their time."""

import contextlib
import logging
import math
import statistics
from typing import Any

from gdtrain.common import failures
from gdtrain.telemetry import requests
from gdtrain.telemetry.quantity import BlockQuantity, Memory
from gdtrain.telemetry.step_table import BlockTable

_log = logging.getLogger("gdtrain")

_PAIRS = 5  # Trials without and with the measuring; the median counts.
_TRIAL = 0.1  # Seconds of each at least
_PAUSE = 50  # Times as long as the trials, until the next ones


class Budget:
    """Says how much more seldom than asked for to measure.

    It times steps without the stretchable quantities and with them, in turn,
    and stretches their cadences until they cost no more than allowed; again
    from time to time, as speeds change. Trials are training like any other.

    Args:
        share: Of the time of the steps without them; `None` for no limit.

    Example:

    >>> budget = Budget(0.05)
    >>> for _ in range(5):
    ...     assert budget.stretch == math.inf  # Without them, 1 ms a step
    ...     budget.add(steps=100, seconds=0.1)
    ...     assert budget.stretch == 1  # With them, 1.2 ms
    ...     budget.add(steps=100, seconds=0.12)
    >>> budget.stretch
    4
    """

    def __init__(self, share=None):
        self.share = share
        self._settled = 1
        self._on_trial = share is not None
        self._steps, self._seconds = 0, 0.0  # Of the trial that goes on
        self._without = None  # Seconds a step of the trial before
        self._ratios = []  # Of the trials with to those without
        self._spent = 0.0  # Seconds of the trials; then negative until again

    @property
    def stretch(self):
        """How many times as seldom: 1 or more, `math.inf` for not at all."""
        if not self._on_trial:
            return self._settled
        return math.inf if self._without is None else 1

    def add(self, steps, seconds):
        """Takes note of a block of steps, run with `stretch` as it was."""
        if self.share is None:
            return
        self._spent += seconds
        if not self._on_trial:
            self._on_trial = self._spent > 0
            return
        self._steps += steps
        self._seconds += seconds
        if self._seconds < _TRIAL:
            return
        each = self._seconds / self._steps
        self._steps, self._seconds = 0, 0.0
        if self._without is None:
            self._without = each
            return
        self._ratios.append(each / self._without)
        self._without = None
        if len(self._ratios) == _PAIRS:
            self._settle()

    def _settle(self):
        """Sets the stretch by what the trials showed."""
        cost = max(statistics.median(self._ratios) - 1.0, 0.0)
        before, self._settled = (
            self._settled,
            max(1, math.ceil(cost / self.share)),
        )
        self._ratios = []
        self._on_trial = False
        self._spent *= -_PAUSE
        if self._settled != before:
            _log.info(
                "budget=%g: what is measured beyond the standard quantities "
                "takes %.1f%% of the time of training as often as asked for; "
                "it is measured %d times as seldom now.",
                self.share,
                100 * cost,
                self._settled,
            )


class Observers:
    """Numbers the steps and tells whoever asked, in order.

    A step is an update; one that a loss-scaling optimizer skips counts too.

    An observer has `requests`, a list of `gdtrain.telemetry.requests.Asked`;
    `observe(table)`, called after each block with a `Table` whose values may
    still be on their way; and `close()`, called once when training ends,
    normally or by an exception. It may have `budget`, the share of training
    time that measuring what is stretchable may take; and `next_look(step)`,
    which gives the first step after `step` at whose end it must see the
    model, or `None`: a block ends there, and `observe` is called.

    It may steer: `before_step(model)` becomes part of the program of each
    step, ahead of it, and may set variables. It is hashable, and equal to
    another that does the same, so that programs can be kept. `steers` says
    whether it changes the learning rate within an epoch, that way or another.

    It may probe: `probe(step, seconds)` is called after each block with the
    number of its last step, whose weights the model has, and how long the
    block took. It returns numbers by name, `{}` for none, which all observers
    find in the table at that step. It changes neither the model nor any
    random state. `probe_names` are those that it may return.
    """

    def __init__(self):
        self.steps_done = 0
        self.memory = Memory()
        self._attached = []
        self._budget = Budget()
        self._parts = failures.Parts()

    @property
    def asked(self):
        """All that they want measured, a tuple of `Asked`.

        Raises:
            ValueError: if two different quantities share a name.
        """
        return requests.merged(
            [request for o in self._attached for request in o.requests]
        )

    @property
    def are_exact(self):
        """Whether one needs runs that come out the same, bit by bit."""
        return any(getattr(o, "is_exact", False) for o in self._attached)

    @property
    def are_guarding(self):
        """Whether one wants steps left out that are not finite."""
        return any(getattr(o, "guards", False) for o in self._attached)

    @property
    def are_steering(self):
        """Whether one changes the learning rate within an epoch."""
        return any(getattr(o, "steers", False) for o in self._attached)

    @property
    def before_step(self):
        """What is to be done before each step, a tuple of functions."""
        return tuple(
            o.before_step for o in self._attached if hasattr(o, "before_step")
        )

    @property
    def probe_names(self):
        """Names of numbers that come beside training, now and then."""
        return [
            name
            for observer in self._attached
            for name in getattr(observer, "probe_names", ())
        ]

    @property
    def stretch(self):
        """How many times as seldom stretchable quantities are measured."""
        return self._budget.stretch

    def attach(self, observer):
        """Adds an observer, if it is not there yet."""
        if observer not in self._attached:
            self._attached.append(observer)
            shares: list[Any] = [
                getattr(o, "budget", None) for o in self._attached
            ]
            share = min((s for s in shares if s is not None), default=None)
            if share != self._budget.share:
                self._budget = Budget(share)

    def begin(self, steps_done):
        """Goes on after at least so many steps, as in a loaded model."""
        self.steps_done = max(self.steps_done, steps_done)

    def steps_until_look(self):
        """How many steps until one must see the model; may be infinite."""
        looks = [
            o.next_look(self.steps_done)
            for o in self._attached
            if hasattr(o, "next_look")
        ]
        looks = [step for step in looks if step is not None]
        return min(looks, default=math.inf) - self.steps_done

    def observe(self, layout, rows, strides=None, seconds=math.nan):
        """Passes steps on.

        Args:
            layout: The `RowLayout` of the rows.
            rows: Float32 of shape `[steps, numbers]`.
            strides: By quantity, every how many steps it was measured.
            seconds: How long the steps took.
        """
        at_end = self._of_block(layout.examples(rows), seconds)
        first_step = self.steps_done + 1
        self.steps_done += rows.shape[0]
        with contextlib.ExitStack() as stack:
            # All of them hear of it even if one raises, or a probe does.
            table = BlockTable(first_step, layout, rows, strides, at_end)
            for observer in reversed(self._attached):
                stack.callback(observer.observe, table)
            table.at_end.update(self._probed(seconds))

    def _of_block(self, examples, seconds):
        """What quantities of a block found, `{name: (quantity, value)}`."""
        found: dict[str, tuple] = {}
        for request in self.asked:
            quantity = request.quantity
            if isinstance(quantity, BlockQuantity):
                with self._parts.alone(
                    f"The quantity {quantity.name!r} is left out",
                    "All else is measured, and training goes on.",
                ):
                    found |= {
                        name: (quantity.name, float(value))
                        for name, value in quantity.measure_block(
                            examples.sum(), seconds
                        ).items()
                    }
        return found

    def _probed(self, seconds):
        """What probes found, `{name: (quantity, value)}`, of no quantity."""
        return {
            name: (None, value)
            for observer in self._attached
            if hasattr(observer, "probe")
            for name, value in observer.probe(self.steps_done, seconds).items()
        }

    def time(self, steps, seconds):
        """Takes note of how long steps took, for the budget."""
        self._budget.add(steps, seconds)

    @contextlib.contextmanager
    def closed_at_end(self):
        """Closes, at the end, the observers attached in the meantime."""
        before = list(self._attached)
        try:
            yield
        finally:
            added = [o for o in self._attached if o not in before]
            self._attached = before
            with contextlib.ExitStack() as stack:
                # The stack closes all of them even if one raises.
                for observer in reversed(added):
                    stack.callback(observer.close)

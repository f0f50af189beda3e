"""What callbacks ask of the steps of `fit`, and how steps reach them."""

import contextlib
import dataclasses
import hashlib
import logging
import math
import statistics
from collections.abc import Callable, Hashable, Iterable, Iterator

import keras
import numpy as np
import tensorflow as tf

from gdtrain.common import failures
from gdtrain.common.explained import more
from gdtrain.distributed.reports import Reports
from gdtrain.distributed.workers import Workers
from gdtrain.loop.callback import Callback
from gdtrain.telemetry import requests
from gdtrain.telemetry.quantity import BlockQuantity
from gdtrain.telemetry.record import StepVariables
from gdtrain.telemetry.requests import Request, RequestGroup
from gdtrain.telemetry.row_layout import RowLayout
from gdtrain.telemetry.step_table import BlockTable

_log = logging.getLogger("gdtrain")

_PAIRS = 5  # Trials without and with the measuring; the median counts.
_TRIAL = 0.1  # Seconds of each at least
_PAUSE = 50  # Times as long as the trials, until the next ones


def check_alike(
    workers: Workers, callbacks: Iterable[keras.callbacks.Callback]
) -> None:
    """Refuses callbacks that are not the same on all workers.

    They decide how long blocks are, when training ends, and what a step
    computes: workers that differ in it would wait for each other.

    Args:
        workers: The processes that train together.
        callbacks: Those of this process; its progress bar does not count.

    Raises:
        ValueError: on each worker, if they differ.
    """
    if workers.count == 1:
        return
    bar = keras.callbacks.ProgbarLogger
    own = [_in_words(one) for one in callbacks if not isinstance(one, bar)]
    digest = hashlib.sha256(repr(own).encode()).digest()
    number = int.from_bytes(digest[:7], "big")
    each = zip(workers.names, workers.numbers(number), strict=True)
    others = [name for name, found in each if found != number]
    if others:
        raise ValueError(
            "`fit` must have the same callbacks on all workers. Received: "
            f"{', '.join(own)} on {workers.name}, and others on "
            f"{', '.join(others)}. Give them to all; in a callback of your "
            "own, do what only one worker is to do `if rank == 0`. TensorBoard "
            "and other writers of gdtrain write on the first worker only."
            + more("workers-differ")
        )


def _in_words(callback: keras.callbacks.Callback) -> str:
    """A callback with what it has measured."""
    measured = callback.requests if isinstance(callback, Callback) else []
    names = [f"{one.quantity.name}/{one.every_steps}" for one in measured]
    return type(callback).__name__ + (f"({', '.join(names)})" if names else "")


class Budget:
    """How much less often than requested to measure, to limit the cost.

    It times steps without the stretchable quantities and with them, in turn,
    and stretches their cadences until they cost no more than allowed; again
    from time to time, as speeds change. Trials are training like any other.

    Args:
        share: Of the time of steps without these quantities that they may
            take in addition; `None` for no limit.

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

    def __init__(self, share: float | None = None) -> None:
        self.share = share
        self._settled: float = 1
        self._on_trial = share is not None
        self._steps, self._seconds = 0, 0.0  # Of the current trial
        self._without: float | None = None  # Seconds a step of the last trial
        self._ratios: list[float] = []  # Of trials with to trials without
        self._spent = 0.0  # Seconds of the trials; negative until the next

    @property
    def stretch(self) -> float:
        """By what to multiply cadences: 1 or more, `math.inf` for never."""
        if not self._on_trial:
            return self._settled
        return math.inf if self._without is None else 1

    def add(self, steps: int, seconds: float) -> None:
        """Adds a block of steps, run with `stretch` as it was."""
        if self.share is None or not steps:
            return  # Only this worker knows how long no steps took.
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
            self._settle(self.share)

    def _settle(self, share: float) -> None:
        """Sets the stretch by what the trials showed."""
        cost = max(statistics.median(self._ratios) - 1.0, 0.0)
        before = self._settled
        self._settled = max(1, math.ceil(cost / share))
        self._ratios = []
        self._on_trial = False
        self._spent *= -_PAUSE
        if self._settled != before:
            _log.info(
                "budget=%g: measuring beyond the standard quantities takes "
                "%.1f%% of the time of training, as often as requested; from "
                "now on it is done %d times less often.",
                share,
                100 * cost,
                self._settled,
            )


@dataclasses.dataclass(frozen=True)
class BeforeStep:
    """A change of the model ahead of each step; equal by its key."""

    key: Hashable
    change: Callable[[keras.Model], None] = dataclasses.field(compare=False)

    def __call__(self, model: keras.Model) -> None:
        self.change(model)


@dataclasses.dataclass(frozen=True)
class Requirements:
    """What some callbacks together require of each step.

    Args:
        requests: Each quantity once, as often as any callback wants it.
        groups: The same, by cadence, as a step measures them.
        before_step: What happens ahead of each step.
        probe_names: Names of numbers that probes may return.
        deterministic, guards_steps: As in `Callback`, of any of them.
        sets_learning_rate: Whether the rate may change within an epoch.
        budget: The smallest share of time that any of them allows.
    """

    requests: tuple[Request, ...] = ()
    groups: tuple[RequestGroup, ...] = ()
    before_step: tuple[BeforeStep, ...] = ()
    probe_names: tuple[str, ...] = ()
    deterministic: bool = False
    guards_steps: bool = False
    sets_learning_rate: bool = False
    budget: float | None = None

    @classmethod
    def of(cls, callbacks: Iterable[Callback]) -> "Requirements":
        """Those of some callbacks.

        Raises:
            TypeError, ValueError: if their quantities cannot be used, or two
                different ones share a name.
        """
        callbacks = list(callbacks)
        asked = requests.merged([r for c in callbacks for r in c.requests])
        before_step = tuple(
            BeforeStep(c.before_step_key, c.before_step)
            for c in callbacks
            if c.before_step_key is not None
        )
        shares = [c.budget for c in callbacks if c.budget is not None]
        return cls(
            asked,
            requests.groups(asked),
            before_step,
            tuple(name for c in callbacks for name in c.probe_names),
            any(c.deterministic for c in callbacks),
            any(c.guards_steps for c in callbacks),
            bool(before_step) or any(c.sets_learning_rate for c in callbacks),
            min(shares, default=None),
        )


def own(callbacks: Iterable[keras.callbacks.Callback]) -> list[Callback]:
    """Those of some callbacks that are built on gdtrain's base class."""
    return [one for one in callbacks if isinstance(one, Callback)]


class Hooks:
    """Numbers the steps of a model, and passes them to its callbacks.

    A step is an update; one that a loss-scaling optimizer skips counts too.

    Args:
        workers: The processes that train the model; `None` for this one.

    Attributes:
        steps_done: Number of the last step; a second `fit` continues to count.
        step_variables: What quantities keep from step to step.
        budget: Of the time that measuring may take.
        reports: What the workers report to each other.
        required: What the registered callbacks require.
    """

    def __init__(self, workers: Workers | None = None) -> None:
        self.steps_done = 0
        self.step_variables = StepVariables()
        self.budget = Budget()
        self.reports = Reports(workers or Workers(tf.distribute.get_strategy()))
        self.required = Requirements()
        self._callbacks: list[Callback] = []
        self._parts = failures.FailureReporter()

    @contextlib.contextmanager
    def registered(
        self, callbacks: Iterable[keras.callbacks.Callback]
    ) -> Iterator["Hooks"]:
        """Passes steps to some callbacks as well, and closes them at the end.

        Those that are registered already, by an outer `fit` of the same
        model, stay so, and are closed by that.

        Raises:
            TypeError, ValueError: if what they require cannot be had.
        """
        outer, required = self._callbacks, self.required
        new = [one for one in own(callbacks) if one not in outer]
        self.required = Requirements.of([*outer, *new])
        self._callbacks = [*outer, *new]
        if new and self.required.budget != self.budget.share:
            self.budget = Budget(self.required.budget)
        for callback in new:
            callback._is_registered = True
        try:
            yield self
        except BaseException as error:
            for callback in new:
                callback.on_error(error)
            raise
        finally:
            self._callbacks, self.required = outer, required
            with contextlib.ExitStack() as stack:
                # The stack closes all of them even if one raises.
                for callback in reversed(new):
                    callback._is_registered = False
                    stack.callback(callback.close)

    @property
    def callbacks(self) -> tuple[Callback, ...]:
        """Those that steps are passed to."""
        return tuple(self._callbacks)

    def begin(self, steps_done: int) -> None:
        """Counts on from at least so many steps, as in a loaded model."""
        self.steps_done = max(self.steps_done, steps_done)

    def steps_until_sync(self) -> float:
        """How many steps until a callback must see the model; or infinite."""
        syncs = [one.next_sync(self.steps_done) for one in self._callbacks]
        return (
            min((step for step in syncs if step is not None), default=math.inf)
            - self.steps_done
        )

    def on_block(
        self,
        layout: RowLayout,
        rows: np.ndarray,
        strides: dict[str, int] | None = None,
        seconds: float = math.nan,
    ) -> None:
        """Passes the steps of a block to all callbacks, and has them probe.

        Args:
            layout: Which number of a row is what.
            rows: Float32 of shape `[steps, numbers]`.
            strides: By quantity, every how many steps it was measured.
            seconds: How long the steps took.
        """
        at_end = self._of_block(layout.examples(rows), seconds)
        first_step = self.steps_done + 1
        self.steps_done += rows.shape[0]
        with contextlib.ExitStack() as stack:
            # All of them get the block even if one raises, or a probe does.
            table = BlockTable(first_step, layout, rows, strides, at_end)
            for callback in reversed(self._callbacks):
                stack.callback(callback.on_block, table)
            for callback in self._callbacks:
                found = callback.probe(self.steps_done, seconds)
                table.at_end.update((k, (None, v)) for k, v in found.items())

    def _of_block(
        self, examples: np.ndarray, seconds: float
    ) -> dict[str, tuple[str | None, float]]:
        """What quantities of a block found, `{name: (quantity, value)}`."""
        found: dict[str, tuple[str | None, float]] = {}
        times = self.reports.take_times()
        for request in self.required.requests:
            quantity = request.quantity
            if isinstance(quantity, BlockQuantity):
                with self._parts.catch(
                    f"The quantity {quantity.name!r} is skipped",
                    "All else is measured, and training continues.",
                ):
                    numbers = quantity.measure_block(examples.sum(), seconds)
                    if times:
                        numbers = quantity.measure_workers(times) or numbers
                    found |= {
                        name: (quantity.name, float(value))
                        for name, value in numbers.items()
                    }
        return found

"""Advice tried on the user's model and data, which stay as they are."""

import contextlib
import dataclasses
import functools
import logging
import math
import re
import time
import warnings
from collections.abc import Iterable
from typing import Any, NamedTuple

import keras
import numpy as np

from gdtrain.diagnosis import trial_ways as ways
from gdtrain.diagnosis.task import Task
from gdtrain.diagnosis.trial_program import Programs, Variant
from gdtrain.diagnosis.trial_ways import Start, Way
from gdtrain.keras_bridge.optimizers import unwrapped
from gdtrain.state import fresh, variables
from gdtrain.state.preserved import preserved_model

#: Changes that continue a run: they are tried from its last weights. Others
#: from new ones: a smaller rate nearly always helps for some steps at the end
#: of a run, and a run that has it from the start may come less far.
CONTINUES = ("constant_learning_rate", "weight_decay")
#: After these, the last weights mean nothing.
STARTS_NEW = ("scale_inputs", "scale_targets", "from_logits", "shuffle")
_NO_RATE = 0.01  # Of the largest: steps at such a rate show nothing
_SECONDS = 2.0  # For all trials, where an epoch takes less
_PROBE = 8  # Steps that are timed
_SEED = 0  # Of new weights

_log = logging.getLogger("gdtrain")


@dataclasses.dataclass(frozen=True)
class Trial:
    """A training with and without changes, for some steps.

    All losses are of the same examples, without regularizers of weights; for
    other targets or another loss, in the units and by the loss that are right.

    Args:
        changes: What was changed.
        steps: How many steps were made, each way.
        start: `"last"` for the weights and the state of the optimizer at the
            end of the run, `"new"` for new ones.
        before: The loss before.
        without: The loss after steps without the changes.
        changed: The loss after steps with them; infinite where it is not
            finite.
        constant: The loss of the best constant output, if it is known.
    """

    changes: tuple[tuple[str, Any], ...]
    steps: int
    start: Start
    before: float
    without: float
    changed: float
    constant: float | None = None

    @property
    def share(self) -> float:
        """By how much the changes help, as a share of what is reached.

            gain = min(before, constant) - after
            (gain with - gain without) / larger size of both gains

        What starts above the loss of a constant, as of inputs that are far
        too large, has gained nothing until it comes below.

        From 2 to -2: 1 if without the changes the loss stays as it is, 0.5 if
        with them it falls twice as far, below 0 if they make it worse. A
        constant added to the loss and other units change nothing.
        """
        if self.changed == self.without:
            return 0.0
        if not math.isfinite(self.changed):
            return -1.0
        if not math.isfinite(self.without):
            return 1.0
        constant = math.inf if self.constant is None else self.constant
        start = float(np.fmin(self.before, constant))
        if not math.isfinite(start):
            return 1.0 if self.changed < self.without else -1.0
        gains = start - self.without, start - self.changed
        return (gains[1] - gains[0]) / max(map(abs, gains))

    def __str__(self) -> str:
        where = "" if self.start == "last" else " from new weights"
        way = "fell" if self.changed < self.before else "went"
        return (
            f"in a trial of {self.steps:,} steps{where} the loss {way} from "
            f"{self.before:.3g} to {self.changed:.3g}, in place of "
            f"{self.without:.3g}"
        )


class NotTried(NamedTuple):
    """Why something was not tried, in words."""

    reason: str


class Trials:
    """Trials of one task, which share programs and the time of an epoch.

    While open, the model may be anything; at the end it is as it was, with
    its optimizer, metrics and all random generators.

    Args:
        task: The model and its data.
        expected: How many trials share the time of one epoch, or two seconds
            if that is longer. Tracing programs, and new weights, take more.

    Example:

    >>> import gdtrain
    >>> model = gdtrain.Sequential([keras.Input([1]), keras.layers.Dense(1)])
    >>> model.compile(gdtrain.GradientDescent(1e-4), loss="mse")
    >>> x = np.linspace(-1, 1, 64)[:, np.newaxis]
    >>> with Trials(Task(model, x, 3 * x)) as trials:
    ...     found = trials.run([("learning_rate", 0.1)], steps=50)
    >>> found.changed < 0.5 * found.without, model.optimizer.iterations.numpy()
    (True, np.int64(0))
    """

    def __init__(self, task: Task, expected: int = 4) -> None:
        self._task = task
        self._expected = expected
        self._stack = contextlib.ExitStack()
        #: Why nothing can be tried, in words; `None` if it can.
        self.reason = _why_not(task)
        self._found: dict[Any, float] = {}

    def __enter__(self) -> "Trials":
        model = self._task.model
        if self.reason is None:
            try:
                _ = self._task.learning_rates  # As they were in the run
                self._stack.enter_context(preserved_model(model))
                sample = self._task.sample
                self._programs = Programs(model, sample.data, sample.batch_size)
                self._last = variables.KeptValues(
                    [v for some in variables.of(model).values() for v in some],
                    model.distribute_strategy,
                )
            except Exception as error:
                self.reason = _words(error)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def run(
        self,
        changes: Iterable[tuple[str, Any]],
        steps: int | None = None,
        start: Start | None = None,
    ) -> Trial | NotTried:
        """Trains with and without changes, on the same batches.

        Args:
            changes: Each a `Change`, or a pair of kind and value; followed
                together.
            steps: How many steps each way. Defaults to `None`: what the time
                allows, at most as many as the run had.
            start: `"last"` or `"new"`, as in `Trial`. Defaults to `None`:
                the last weights for changes that continue a run (a constant
                rate, less weight decay), and where there are no new ones. But
                new weights where the last loss is not finite or larger than
                with new ones, or the rate has decayed to nothing.

        Returns:
            A `Trial`, or `NotTried` with the reason.
        """
        if self.reason is not None:
            return NotTried(self.reason)
        # Whatever the model's own code raises, a diagnosis does not fail.
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Training has given them.
                pairs = tuple((kind, value) for kind, value in changes)
                return self._run(pairs, steps, start)
        except Exception as error:
            return NotTried(_words(error))
        finally:
            self._last.set_back()

    def loss(self, start: Start) -> float | None:
        """The loss that trials of `steps` steps start from; `None` if unknown.

        Args:
            start: `"last"` or `"new"`, as in `Trial`.
        """
        if self.reason is not None:
            return None
        try:
            rows = ways.seen(self._task, self.steps)
            return self._loss(start, rows, Variant())
        except Exception:
            # As in `run`: the model's own code may raise anything.
            _log.debug("A loss could not be computed:", exc_info=True)
            return None
        finally:
            self._last.set_back()

    def _run(
        self,
        changes: tuple[tuple[str, Any], ...],
        steps: int | None,
        start: Start | None,
    ) -> Trial:
        # Facts are of the last weights, so they are asked for first.
        changed = ways.changed(
            self._task, Way("last", self._task.sample.is_shuffled), changes
        )
        start = start or self._start(changes)
        steps = steps or self.steps
        changed = changed._replace(start=start)
        without = Way(start, self._task.sample.is_shuffled)
        # The loss that is right decides about both.
        variant = Variant(changed.variant.from_logits)
        rows = ways.seen(self._task, steps)
        before = self._loss(start, rows, variant)
        after = self._loss_after(without, steps, rows, variant)
        with_changes = self._loss_after(changed, steps, rows, variant)
        constant = self._task.constant_loss
        return Trial(
            changes, steps, start, before, after, with_changes, constant
        )

    def _start(self, changes: tuple[tuple[str, Any], ...]) -> Start:
        """Which weights to start from."""
        kinds = {kind for kind, _ in changes}
        try:
            self._new  # noqa: B018
        except ValueError:  # There are no new weights.
            if kinds & set(STARTS_NEW):
                raise
            return "last"
        if not kinds <= set(CONTINUES):
            return "new"
        if "constant_learning_rate" not in kinds:
            rates = ways.rates(self._task, Way("last", True), 1)
            if rates[0] < _NO_RATE * self._task.learning_rates.max():
                return "new"
        rows = ways.seen(self._task, 1)
        loss = self._loss("last", rows, Variant())
        # Also where it is not a number
        is_useful = loss <= self._loss("new", rows, Variant())
        return "last" if is_useful else "new"

    @functools.cached_property
    def steps(self) -> int:
        """How many steps a trial makes each way, if not given."""
        task, sample = self._task, self._task.sample
        way = Way("last", sample.is_shuffled)
        self._train(way, 2)  # Traced
        begin = _clocks()
        self._train(way, _PROBE)
        # Of a machine that is busy with other work, the time of this process
        a_step = float((_clocks() - begin).min()) / _PROBE
        total = max(sample.steps_per_epoch or 1, int(_SECONDS / a_step))
        share = total // (self._expected + 1)  # One without changes
        known = len(task.learning_rates)
        return max(min(share, known) if known > 1 else share, 1)

    @functools.cached_property
    def _new(self) -> list[fresh.Pair]:
        """New first values of weights and optimizer."""
        return fresh.first_values(self._task.model, _SEED)

    def _begin(self, start: Start) -> None:
        """Sets the model to a start."""
        self._last.set_back()
        if start == "new":
            for variable, value in self._new:
                variable.assign(value)

    def _train(self, way: Way, steps: int) -> None:
        """Trains from a start."""
        self._begin(way.start)
        sample = self._task.sample
        rows = ways.batches(
            sample.examples, sample.batch_size, steps, way.shuffled
        )
        data = ways.data(self._task, way.scales_inputs, way.scales_targets)
        self._programs.train(
            data,
            rows,
            ways.rates(self._task, way, steps),
            way.decay,
            way.variant,
        )

    def _loss_after(
        self, way: Way, steps: int, rows: np.ndarray, variant: Variant
    ) -> float:
        """The loss of some examples after training."""
        key = way, steps, variant
        if key not in self._found:
            self._train(way, steps)
            loss = self._programs.loss(
                ways.data(self._task, way.scales_inputs, False),
                rows,
                variant,
                ways.units(self._task) if way.scales_targets else None,
            )
            self._found[key] = loss if math.isfinite(loss) else math.inf
        return self._found[key]

    def _loss(self, start: Start, rows: np.ndarray, variant: Variant) -> float:
        """The loss of some examples at a start."""
        key = start, rows.size, variant
        if key not in self._found:
            self._begin(start)
            data = self._task.sample.data
            self._found[key] = self._programs.loss(data, rows, variant)
        return self._found[key]


def _why_not(task: Task) -> str | None:
    """Why nothing can be tried, in words; `None` if it can."""
    model = task.model
    if model.distribute_strategy.num_replicas_in_sync > 1:
        return "the model trains on several replicas"
    if len(variables.optimizers(model)) > 1:
        return "the model has several optimizers"
    inner = unwrapped(model.optimizer)
    several = keras.optimizers.MultiOptimizer
    if not isinstance(inner, keras.optimizers.Optimizer) or isinstance(
        inner, several
    ):
        return "the model has no optimizer of its own, or several"
    return None


def _clocks() -> np.ndarray:
    """Seconds of the clock, and those of this process."""
    return np.asarray([time.perf_counter(), time.process_time()])


def _words(error: Exception) -> str:
    """An error as a reason: its first sentence, or the line of it."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) > 1 and lines[0].startswith("Exception encountered"):
        del lines[0]  # By Keras; the reason follows.
    return lines[0] if lines else type(error).__name__

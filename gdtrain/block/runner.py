"""A batch that is at hand, as `train_on_batch` is given it."""

import itertools
import math
import numbers
import time
import warnings
from typing import Any

import keras
import tensorflow as tf

from gdtrain.block import rollback, xla_choice
from gdtrain.block.program import Program
from gdtrain.block.rollback import Watch
from gdtrain.block.xla_choice import Programs
from gdtrain.descent import replicas
from gdtrain.state import variables
from gdtrain.step.guard import Guard
from gdtrain.step.replicated_step import ReplicatedStep
from gdtrain.telemetry import clock


def batch_as_tensors(batch: Any) -> Any:
    """A batch as tensors of the dtypes that its arrays have; `None` stays.

    A step that runs eagerly gets what a compiled one gets. A list of numbers
    is one tensor, as the `y` of a batch, not a structure of scalars.

    Args:
        batch: A tuple `(x, y, sample_weight)`, each an array, a tensor, or a
            structure of these.

    Example:

    >>> batch = [[1, 2], [3, 4]], {"sign": [0.5]}, None
    >>> x, y, nothing = batch_as_tensors(batch)
    >>> x.shape.as_list(), y["sign"].dtype.name, nothing
    ([2, 2], 'float32', None)
    """
    return keras.tree.map_structure(
        _tensor, keras.tree.traverse(_array_of_numbers, batch)
    )


def _tensor(leaf: Any) -> Any:
    return leaf if leaf is None else tf.convert_to_tensor(leaf)


def _array_of_numbers(part: Any) -> Any:
    """A list of numbers as a tensor; `None` to look into what it has."""
    if not isinstance(part, list) or not part:
        return None
    if all(isinstance(n, numbers.Number) for n in keras.tree.flatten(part)):
        return tf.convert_to_tensor(part)
    return None


class Execution:
    """What `make_train_function` and `make_test_function` make.

    A program is made for each kind of feed, for each set of quantities that
    is asked for, so that training without telemetry pays nothing for it, and
    for each of the model's settings; see `gdtrain.block.xla_choice`.

    Args:
        model: A `DescentTrainer`, compiled.
        step_function: Its `train_step` or `test_step`.
        hooks: The `Hooks` that get every step; `None` where steps do not
            train.
    """

    def __init__(self, model, step_function, hooks=None):
        self._model = model
        self._step_function = step_function
        self._hooks = hooks
        self._programs = Programs()
        self._steps_on_batches = {}
        self._may_watch = {}  # By settings: whether to watch blocks
        self._still_steps = 0.0  # While none has moved a weight

    def program(self, feed):
        """The `Program` that runs a feed and measures what is asked for."""
        groups = self._groups()
        hooks = self._hooks
        is_exact = hooks is not None and hooks.required.deterministic
        current = xla_choice.settings_of(self._model)
        guard = self._guard(feed.plan, current)
        before = self._before()
        return self._programs.of(
            feed.plan,
            (current, groups, is_exact, guard, before),
            lambda: Program(
                self._model,
                self._step_function,
                feed.plan,
                groups,
                self._microbatches,
                may_choose=not is_exact,
                guard=guard,
                before=before,
            ),
        )

    @property
    def _microbatches(self):
        """Into how many micro-batches to split a batch."""
        return 1 if self._hooks is None else self._model.microbatches

    @property
    def variables(self):
        """Variables that traced steps were seen to use, in their order."""
        return [v for program in self._programs for v in program.variables]

    def steps_until_sync(self):
        """How many steps until a callback must see the model.

        A number of steps that was asked for is obeyed: it sees it afterwards.
        """
        if self._hooks is None or self._model.steps_setting != "auto":
            return math.inf
        return self._hooks.steps_until_sync()

    def run(self, program, feed, epoch, step, steps, most, left):
        """Runs steps of the `program` of a feed. See `Program.run`."""
        is_steady = program.is_steady
        moment, strides = self._time(program.groups)
        where = feed, epoch, step, steps, moment, most, left
        start = time.perf_counter()
        done, ends_epochs = program.run(*where)
        if not done.is_finite:
            self._may_watch[xla_choice.settings_of(self._model)] = is_steady = (
                False
            )
            program = self.program(feed)
            done, ends_epochs = program.run(*where)
        seconds = time.perf_counter() - start
        if self._hooks and is_steady and program.is_stretchable:
            self._hooks.budget.add(len(done.rows), seconds)
        self._observe(program.step, done.rows, strides, seconds)
        return done, ends_epochs

    def trace(self, feed, epoch, step, most):
        """Makes the program without running it; returns its step."""
        program = self.program(feed)
        moment, _ = self._time(program.groups)
        program.trace(feed, epoch, step, moment, most)
        return program.step

    def __call__(self, iterator):
        """Runs steps on batches that are at hand, as Keras calls it.

        Args:
            iterator: Yields batches; up to `model.steps_per_execution` are
                taken.

        Returns:
            What the last step returned.

        Raises:
            StopIteration: if there is no batch.
        """
        step = self._step_on_batch()
        logs = row = None
        with replicas.undivided_losses(self._model.distribute_strategy):
            for data in itertools.islice(
                iterator, self._model.steps_per_execution
            ):
                data = batch_as_tensors(data)
                if not (self._model.built or self._model.run_eagerly):
                    variables.build(self._model, data)  # See `training.train`
                moment, strides = self._time(step.groups)
                start = time.perf_counter()
                logs, row = step.run(data, clock.parse(tf.constant(moment)))
                rows = row.numpy()[None]
                seconds = time.perf_counter() - start
                self._observe(step, rows, strides, seconds)
        if row is None:
            raise StopIteration
        if not step.returns_scalars:
            return logs
        return step.layout.logs(row.numpy())

    def _step_on_batch(self):
        """The step on a batch that is at hand."""
        key = (
            self._groups(),
            xla_choice.settings_of(self._model),
            self._before(),
        )
        if key not in self._steps_on_batches:
            self._steps_on_batches[key] = ReplicatedStep(
                self._model,
                self._step_function,
                lambda batch: batch,
                key[0],
                self._microbatches,
                xla=self._model.jit_compile,
                before=key[-1],
            )
        return self._steps_on_batches[key]

    def _groups(self):
        """What callbacks want measured now."""
        if self._hooks is None:
            return ()
        return self._hooks.required.groups

    def _guard(self, plan, current):
        """How steps are kept finite on feeds of a plan, if they are."""
        if self._hooks is None or not self._hooks.required.guards_steps:
            return None
        if not plan.epochs_can_follow:  # Its steps cannot be run again.
            return Guard
        if current not in self._may_watch:
            self._may_watch[current] = rollback.serves(self._model)
        return Watch if self._may_watch[current] else Guard

    def _before(self):
        """What callbacks do before each step."""
        return () if self._hooks is None else self._hooks.required.before_step

    def _time(self, groups):
        """The time of the next step, and the strides of quantities by name."""
        if self._hooks is None:
            return clock.numbers(0, []), {}
        stretch = self._hooks.budget.stretch
        strides = [group.stride(stretch) for group in groups]
        by_name = {
            quantity.name: stride
            for group, stride in zip(groups, strides, strict=True)
            for quantity in group.quantities
        }
        return clock.numbers(self._hooks.steps_done + 1, strides), by_name

    def begin(self):
        """Begins to count steps that move no weight."""
        self._still_steps = 0.0

    def warn_if_still(self):
        """Warns if no weight has moved since `begin`."""
        if self._still_steps > 0:
            warnings.warn(
                f"No weight of {self._model.name} has moved in "
                f"{self._still_steps:.0f} steps: its `train_step` makes no "
                "update. Call `self.descend(tape, loss)` in it, or the "
                "`apply` of an optimizer.",
                stacklevel=2,
            )

    def _note_still(self, step, rows):
        """Counts steps that move no weight, until one does."""
        if step.layout.may_have_moved(rows):
            self._still_steps = -math.inf
        self._still_steps += len(rows)

    def _observe(self, step, rows, strides, seconds):
        if len(rows):
            self._note_still(step, rows)
        if self._hooks and len(rows):
            self._hooks.on_block(step.layout, rows, strides, seconds)

"""Runs steps in blocks, or one by one, and reports what they measured."""

import itertools
import logging
import math
import numbers
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from gdtrain.block import rollback
from gdtrain.block.block import BlockResult
from gdtrain.block.plan_cache import PlanCache, settings_key
from gdtrain.block.xla_choice import (
    BlockRequest,
    CompilerChoice,
    compiles_whole_blocks,
)
from gdtrain.common.explained import more
from gdtrain.data.protocols import BatchPlan, DataSource
from gdtrain.descent import replicas, settings
from gdtrain.distributed import membership
from gdtrain.distributed.reports import Reports, agreed_seconds
from gdtrain.distributed.workers import Workers
from gdtrain.keras_bridge import losses
from gdtrain.loop.hooks import Hooks, Requirements
from gdtrain.state import variables
from gdtrain.step.guard import StepCheck, StepGuard
from gdtrain.step.replicated_step import ReplicatedStep
from gdtrain.telemetry.requests import StepClock

_log = logging.getLogger("gdtrain")

_NOTHING = Requirements()


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


class BlockRunner:
    """What `make_train_function` and `make_test_function` make.

    A step is compiled for each kind of data source, for each set of requested
    quantities, so that training without telemetry pays nothing for it, and
    for each of the model's settings; see `settings_key`.

    Args:
        model: A `DescentTrainer`, compiled.
        method: `"train_step"` or `"test_step"`.
        hooks: The `Hooks` that get every step; `None` where steps do not
            train.
    """

    def __init__(
        self, model: keras.Model, method: str, hooks: Hooks | None = None
    ) -> None:
        self._model = model
        self._method = method
        self._hooks = hooks
        self._compiled: PlanCache[CompilerChoice] = PlanCache()
        self._steps_on_batches: dict[tuple, ReplicatedStep] = {}
        # By settings: whether blocks are rolled back rather than steps
        self._rolls_back: dict[tuple, bool] = {}
        self._still_steps = 0.0  # While none has moved a weight
        workers = Workers(model.distribute_strategy)
        self._reports = hooks.reports if hooks else Reports(workers)
        count = model.distribute_strategy.num_replicas_in_sync
        if hooks and count > 1 and model.jit_compile and workers.is_first:
            _log.warning(
                "XLA cannot compile a step of several replicas: %s runs as a "
                "graph on its %d replicas, as with jit_compile=False."
                + more("xla-refused"),
                model.name,
                count,
            )

    @property
    def _required(self) -> Requirements:
        """What callbacks require of each step now."""
        return self._hooks.required if self._hooks else _NOTHING

    def compiled_for(self, data_source: DataSource) -> CompilerChoice:
        """What runs a data source and measures what callbacks want now."""
        plan, model, required = data_source.plan, self._model, self._required
        key = settings_key(model)
        check = self._check(plan, key)

        def make() -> CompilerChoice:
            by_itself = not compiles_whole_blocks(model, plan)
            step = self._made_step(
                plan.take, settings.uses_xla(model) and by_itself, check
            )
            return CompilerChoice(
                model, step, plan, may_measure=not required.deterministic
            )

        needs = required.groups, required.before_step, required.deterministic
        return self._compiled.get(plan, (key, check, *needs), make)

    def _made_step(
        self,
        take: Callable[[Any], Any],
        xla: bool,
        check: type[StepCheck] | None = None,
    ) -> ReplicatedStep:
        """A step that does what callbacks require now; see `ReplicatedStep`."""
        chosen = settings.of(self._model)
        return ReplicatedStep(
            self._model,
            self._method,
            take,
            self._required.groups,
            chosen.microbatches if self._hooks else 1,
            xla and chosen.reproducible_workers is None,
            check,
            self._required.before_step,
        )

    @property
    def variables(self) -> list[tf.Variable]:
        """Variables that traced steps were seen to use, in their order."""
        return [v for compiled in self._compiled for v in compiled.variables]

    @property
    def random_operations(self) -> set[str]:
        """Kinds of operations that count their calls where nothing sees it.

        See `Block.random_operations`.
        """
        return set().union(*(c.random_operations for c in self._compiled))

    def run(
        self, compiled: CompilerChoice, request: BlockRequest
    ) -> tuple[BlockResult, ReplicatedStep]:
        """Runs steps by what `compiled_for` gave. See `CompilerChoice.run`.

        Returns:
            The result, and the step that ran, which differs after a rollback.
        """
        is_steady = compiled.is_steady
        clock, strides = self._clock(compiled.step)
        start = time.perf_counter()
        with membership.waiting():
            result = compiled.run(request, clock)
        if not result.is_finite:
            self._rolls_back[settings_key(self._model)] = is_steady = False
            compiled = self.compiled_for(request.data_source)
            with membership.waiting():
                result = compiled.run(request, clock)
        seconds = time.perf_counter() - start
        slots = compiled.step.layout.slots(result.rows)
        if slots.size:
            seconds = agreed_seconds(slots)
            self._reports.read(slots, is_steady)
        if self._hooks and is_steady and compiled.may_stretch:
            self._hooks.budget.add(len(result.rows), seconds)
        self._observe(compiled.step, result.rows, strides, seconds)
        return result, compiled.step

    def trace(self, request: BlockRequest) -> ReplicatedStep:
        """Compiles what runs a request, without running it; gives its step."""
        compiled = self.compiled_for(request.data_source)
        clock, _ = self._clock(compiled.step)
        compiled.trace(request, clock)
        return compiled.step

    def __call__(self, iterator: Iterator[Any]) -> Any:
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
                if self._lacks_variables:
                    variables.build(self._model, data)  # As `fit` does
                vector, strides = self._clock(step, within_block=False)
                clock = StepClock.decode(tf.constant(vector), False)
                start = time.perf_counter()
                with membership.waiting():
                    logs, row = step.run(data, clock)
                    rows = row.numpy()[None]
                seconds = time.perf_counter() - start
                if self._required.probe_names:  # Workers probe alike.
                    seconds = self._reports.workers.longest(seconds)
                self._observe(step, rows, strides, seconds)
        if row is None:
            raise StopIteration
        return step.layout.logs(row.numpy()) if step.returns_scalars else logs

    @property
    def _lacks_variables(self) -> bool:
        """Whether the step would make variables, and so be traced twice."""
        model = self._model
        if model.run_eagerly:
            return False
        return not model.built or (
            self._hooks is not None and not losses.are_metrics_built(model)
        )

    def _step_on_batch(self) -> ReplicatedStep:
        """The step on a batch that is at hand."""
        required, model = self._required, self._model
        key = settings_key(model), required.groups, required.before_step
        if key not in self._steps_on_batches:
            self._steps_on_batches[key] = self._made_step(
                lambda batch: batch, xla=settings.uses_xla(model)
            )
        return self._steps_on_batches[key]

    def _check(self, plan: BatchPlan, key: tuple) -> type[StepCheck] | None:
        """How steps on data sources of a plan are checked, if they are."""
        if not self._required.guards_steps:
            return None
        if not plan.epochs_can_follow:  # Its steps cannot be run again.
            return StepGuard
        if key not in self._rolls_back:
            self._rolls_back[key] = rollback.can_roll_back(self._model)
        return (
            rollback.OverwritableCheck if self._rolls_back[key] else StepGuard
        )

    def _clock(
        self, step: ReplicatedStep, within_block: bool = True
    ) -> tuple[list[int], dict[str, int]]:
        """The clock of the next step, and the strides of quantities by name."""
        sent: list[int] = []
        if step.reports_to_others and within_block:
            model = self._model
            sent = self._reports.sent(
                model.stop_training if self._hooks else model.stop_evaluating
            )
        if self._hooks is None:
            return StepClock.encode(0, [], sent), {}
        groups = step.groups
        stretch = self._hooks.budget.stretch
        strides = [group.stride(stretch) for group in groups]
        by_name = {
            quantity.name: stride
            for group, stride in zip(groups, strides, strict=True)
            for quantity in group.quantities
        }
        first = self._hooks.steps_done + 1
        varying = [
            stride
            for group, stride in zip(groups, strides, strict=True)
            if not group.is_constant
        ]
        return StepClock.encode(first, varying, sent), by_name

    def begin(self) -> None:
        """Begins a training."""
        self._reports.begin()

    def warn_if_still(self) -> None:
        """Warns if no step has moved a weight, in this `fit` or before."""
        if self._still_steps > 0:
            warnings.warn(
                f"No weight of {self._model.name} has moved in "
                f"{self._still_steps:.0f} steps: its `train_step` makes no "
                "update. Call `self.descend(tape, loss)` in it, or the "
                "`apply` of an optimizer." + more("no-update"),
                stacklevel=2,
            )

    def _observe(
        self,
        step: ReplicatedStep,
        rows: np.ndarray,
        strides: dict[str, int],
        seconds: float,
    ) -> None:
        """Reports steps that have run."""
        if not len(rows):
            return
        if step.layout.may_have_moved(rows):
            self._still_steps = -math.inf
        self._still_steps += len(rows)
        if self._hooks:
            self._hooks.on_block(step.layout, rows, strides, seconds)

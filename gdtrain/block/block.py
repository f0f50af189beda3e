"""A block: steps that run as one compiled program and bring back their rows."""

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import keras
import numpy as np
import tensorflow as tf

from gdtrain.block.rollback import BlockRollback
from gdtrain.block.traced_loop import EpochEnd, TracedLoop, clock_at
from gdtrain.data.plans import ArrayPlan, IteratorPlan
from gdtrain.data.protocols import BatchPlan, Inputs
from gdtrain.data.timed_plan import TimedPlan
from gdtrain.descent import replicas
from gdtrain.step.guard import HALTED
from gdtrain.step.replicated_step import ReplicatedStep
from gdtrain.telemetry.requests import StepClock


class BlockResult(NamedTuple):
    """What a block brings back.

    Args:
        logs: What the last step returned; `None` if that is all in its row.
        rows: Float32 `[steps, numbers]`.
        epoch_results: For each epoch that ended, the results of its metrics,
            float64 `[epochs, results]`; `None` if the program ends no epochs.
        halted: Whether the guard ended it.
        last_batch: The batch of the last step, if it was kept, else `None`.
        is_finite: Whether all of it was; if not, it was rolled back, and
            nothing of it is left.
    """

    logs: Any
    rows: np.ndarray
    epoch_results: np.ndarray | None
    halted: bool = False
    last_batch: Any = None
    is_finite: bool = True


class Block:
    """Steps over a data source, on all replicas, as one program.

    Args:
        model: A `DescentTrainer`, compiled.
        step: The step.
        plan: The plan of the data sources that it serves; see `gdtrain.data`.
        max_steps: For XLA, how many steps it may have; `None` for a graph.
    """

    def __init__(
        self,
        model: keras.Model,
        step: ReplicatedStep,
        plan: BatchPlan,
        max_steps: int | None = None,
    ) -> None:
        self.max_steps = max_steps
        self._model = model
        self._step = step
        self._plan = self._timed = plan
        if step.times_batches and isinstance(plan, IteratorPlan):
            self._timed = TimedPlan(plan)
        self._program: Any = None
        self._logs: Any = None  # As the step returns them
        self._ends_epochs = False
        self._rollback: BlockRollback | None = None
        #: Variables that the step was seen to read or write
        self.variables: list[tf.Variable] = []

    def run(
        self, block_inputs: Inputs, steps: int, clock: list[int]
    ) -> BlockResult:
        """Runs steps. Outside of eager mode, call `trace` before.

        Args:
            block_inputs: What the data source gives for these steps.
            steps: How many; fewer if there are no more batches.
            clock: Of the first step; see `StepClock.encode`.
        """
        if self._model.run_eagerly:
            return self._run_eagerly(block_inputs, steps, clock)
        rollback = self._rollback
        if rollback is not None:
            rollback.begin()
        verdicts, is_finite = None, False
        try:
            outputs, is_finite = self._program(
                block_inputs, tf.constant([steps, *clock])
            )
            if rollback is not None and not is_finite:
                verdicts = self._step.layout.verdicts(outputs.rows.numpy())
        except tf.errors.OpError:  # It may have failed at NaN.
            if rollback is None:
                raise
        if rollback is not None and not rollback.end(verdicts, is_finite):
            return BlockResult(None, np.zeros([0, 1]), None, is_finite=False)
        rows = outputs.rows.numpy()[: outputs.steps.numpy()]
        halted = self._has_halted(rows)
        ended = outputs.epochs.numpy() if self._ends_epochs else 0
        last = outputs.last_cursor
        has_last = halted and not isinstance(last, tuple)
        return BlockResult(
            self._packed(outputs.logs),
            rows,
            outputs.epoch_results.numpy()[:ended]
            if self._ends_epochs
            else None,
            halted,
            self._plan.fetch(None, last) if has_last else None,
        )

    def _has_halted(self, rows: Sequence[np.ndarray]) -> bool:
        """Whether the guard found that training must not continue."""
        return bool(self._step.check and len(rows)) and bool(
            self._step.layout.verdicts(rows[-1]) >= HALTED
        )

    def trace(self, block_inputs: Inputs, clock: list[int]) -> None:
        """Makes the program, with the variables that its step makes, once."""
        if self._program is not None or self._model.run_eagerly:
            return
        xla = self.max_steps is not None
        step, plan = self._step, self._timed
        signature = plan.signature(block_inputs, xla)
        numbers = tf.TensorSpec([len(clock)], tf.int32)

        def first(block_inputs: Inputs, clock: tf.Tensor) -> Any:
            opened = plan.open(block_inputs, xla)
            cursor = plan.first(opened)
            began = StepClock.decode(clock, step.reports_to_others)
            fetched = plan.fetch(opened, cursor)
            return step.run(fetched, clock_at(began, cursor), xla)

        with replicas.undivided_losses(self._model.distribute_strategy):
            # It shows what the step returns; the loop uses the same trace.
            for is_last in (False, True):
                traced = tf.function(
                    first, autograph=False
                ).get_concrete_function(signature, numbers)
                if is_last or not step.is_incomplete:
                    break
                # What the first trace has made is there before the second.
                step.forget_traces()
            self._logs, _ = traced.structured_outputs
            self.variables = _captured_variables(traced)
            self._program = tf.function(
                self._program_of(self._loop(xla)),
                autograph=False,
                jit_compile=xla or None,
            ).get_concrete_function(
                signature, tf.TensorSpec([1 + len(clock)], tf.int32)
            )

    def _loop(self, xla: bool) -> TracedLoop:
        """The loop over the traced step."""
        step = self._step
        end = None
        if self._plan.epochs_can_follow and step.returns_scalars:
            end = EpochEnd(
                self._model,
                step.origins.results,
                step.layout if step.rows_have_results else None,
            )
            end = end if end.can_be_compiled() else None
        self._ends_epochs = end is not None
        return TracedLoop(
            lambda fetched, clock: step.run(fetched, clock, xla),
            cast(ArrayPlan, self._timed),
            end,
            self._logs,
            step.layout,
            self.max_steps,
            step.check is not None and step.check.reverts_steps,
        )

    def _program_of(self, loop: TracedLoop) -> Any:
        """A function that runs the loop and says whether it was finite."""

        # Not a lambda: TensorFlow says where the operations of a function were
        # made only if its name is an identifier.
        def unchecked(block_inputs: Inputs, numbers: tf.Tensor) -> Any:
            return loop(block_inputs, numbers), True

        if self._step.check is None or self._step.check.reverts_steps:
            return unchecked
        rollback = self._rollback = BlockRollback(self._model)
        verdicts = self._step.layout.verdicts

        def checked(block_inputs: Inputs, numbers: tf.Tensor) -> Any:
            outputs = loop(block_inputs, numbers)
            return outputs, rollback.is_surely_finite(verdicts(outputs.rows))

        return checked

    def _run_eagerly(
        self, block_inputs: Inputs, steps: int, vector: list[int]
    ) -> BlockResult:
        """The loop over steps, when Python drives it."""
        first = StepClock.decode(
            tf.constant(vector), self._step.reports_to_others
        )
        plan = self._timed
        opened = plan.open(block_inputs, False)
        cursor = plan.first(opened)
        logs = fetched = None
        rows: list[np.ndarray] = []
        halted = False
        with replicas.undivided_losses(self._model.distribute_strategy):
            while len(rows) < steps and plan.has_batch(opened, cursor):
                fetched = plan.fetch(opened, cursor)
                clock = clock_at(first.after(len(rows)), cursor)
                logs, row = self._step.run(fetched, clock)
                rows.append(row.numpy())
                halted = self._has_halted(rows)
                if halted:
                    break  # Before the next batch is taken
                cursor = plan.advance(opened, cursor, len(rows) < steps)
        keeps_last = halted and not plan.epochs_can_follow
        last = fetched if keeps_last else None
        return BlockResult(logs, np.array(rows), None, halted, last)

    def operations(self) -> list[str]:
        """The kinds of the operations of a step, and of the loop around it."""
        library = self._program.graph.as_graph_def().library
        return [node.op for f in library.function for node in f.node_def]

    def random_operations(self) -> set[str]:
        """The kinds of the operations of `tf.random` in a step.

        They count their calls within TensorFlow's kernels, where nothing can
        read or set it. Those of generators and layers keep it in variables.
        """
        if self._program is None:
            return set()
        library = self._program.graph.as_graph_def().library
        return {
            node.op
            for function in library.function
            for node in function.node_def
            if "seed2" in node.attr and not node.op.endswith("Dataset")
        }

    def _packed(self, logs: list[tf.Tensor]) -> Any:
        """What the step returned, with the values of the last one."""
        rest = iter(logs)
        return keras.tree.map_structure(
            lambda leaf: next(rest) if tf.is_tensor(leaf) else leaf,
            self._logs,
        )


def _captured_variables(function: Any) -> list[tf.Variable]:
    """The variables that a traced function captures, in their order."""
    places = {id(one): i for i, one in enumerate(function.captured_inputs)}
    some = [v for v in function.variables if id(v.handle) in places]
    return sorted(some, key=lambda variable: places[id(variable.handle)])

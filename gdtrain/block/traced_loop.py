"""The loop over steps, as a graph: epochs, and within them batches."""

import logging
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from gdtrain.data.plans import ArrayPlan
from gdtrain.data.protocols import Inputs
from gdtrain.data.timed_plan import TimedCursor
from gdtrain.step.guard import HALTED
from gdtrain.step.provenance import MetricResult
from gdtrain.telemetry.requests import StepClock, when
from gdtrain.telemetry.row_layout import RowLayout

_log = logging.getLogger("gdtrain")


class EpochEnd:
    """What Keras does in Python between two epochs, as operations.

    Args:
        model: The model.
        results: The `MetricResult`s that its step returns, a list.
    """

    def __init__(self, model: keras.Model, results: list[MetricResult]) -> None:
        self._model = model
        self._results = results
        self.width = len(results)

    def reset_metrics(self) -> int:
        """Resets the metrics, as an epoch begins; may be in a `tf.cond`."""
        self._model.reset_metrics()
        return 0  # A branch must return something.

    def results(self) -> tf.Tensor:
        """Results of the metrics, float64 of as many."""
        if not self._results:
            return tf.zeros([0], tf.float64)
        return tf.stack(
            [tf.cast(result(), tf.float64) for result in self._results]
        )

    def can_be_compiled(self) -> bool:
        """Whether the metrics' own code can be traced.

        A metric of the user's may do in Python what no graph can, such as
        reading a value. Then epochs end between two programs.
        """

        def end() -> tf.Tensor:
            self.reset_metrics()
            return self.results()

        try:
            tf.function(end, autograph=False).get_concrete_function()
        except Exception as error:  # Whatever the user's code raises
            _log.info(
                "Blocks of steps end with the epoch, as the metrics of %s "
                "cannot be compiled: %s",
                self._model.name,
                error,
            )
            return False
        return True


class LoopOutputs(NamedTuple):
    """What the loop returns.

    Args:
        logs: What the last step returned, a list of tensors.
        rows: A row for each step, `[steps or max_steps, numbers]`.
        steps: How many steps there were.
        epoch_results: Results of the metrics, `[epochs or more, results]`.
        epochs: How many epochs ended.
        last_cursor: Of the last step, if its batch can be fetched only once
            and may have to be explained; else `()`.
    """

    logs: list[tf.Tensor]
    rows: tf.Tensor
    steps: Any
    epoch_results: Any
    epochs: Any
    last_cursor: Any


class _State(NamedTuple):
    """What the loop carries from step to step.

    Args:
        steps: How many are done.
        cursor: The position in the data.
        logs: What the last step returned, a list of tensors.
        rows: A row for each step, a `tf.TensorArray`.
        goes_on: Whether the guard, if there is one, lets training continue.
        last: The cursor of the last step, if it is to be kept.
    """

    steps: Any
    cursor: Any
    logs: list[tf.Tensor]
    rows: tf.TensorArray
    goes_on: Any
    last: Any


class _Run(NamedTuple):
    """What does not change within one run of the loop.

    Args:
        opened: What the plan's `open` gave.
        steps: How many steps to run.
        clock: Of the first step.
    """

    opened: Any
    steps: tf.Tensor
    clock: StepClock


class TracedLoop:
    """Steps over a data source. Its calls are traced into a program.

    Args:
        step: A function of a fetched batch and the clock: `(logs, row)`.
        plan: The batch plan: an `ArrayPlan` if its `epochs_can_follow`.
        end: An `EpochEnd`, or `None` if epochs end outside the program.
        logs: What a step returns, an example.
        layout: The `RowLayout` of a row.
        max_steps: For XLA, how many steps there may be; `None` for a graph.
        may_halt: Whether the verdict in a row may halt training.
    """

    def __init__(
        self,
        step: Callable[[Any, StepClock], tuple[Any, tf.Tensor]],
        plan: ArrayPlan,
        end: EpochEnd | None,
        logs: Any,
        layout: RowLayout,
        max_steps: int | None,
        may_halt: bool,
    ) -> None:
        self._step = step
        self._plan = plan
        self._end = end
        self._logs = _tensors(logs)
        self._layout = layout
        self._max_steps = max_steps
        self._may_halt = may_halt

    def __call__(self, block_inputs: Inputs, numbers: tf.Tensor) -> LoopOutputs:
        """Runs steps.

        Args:
            block_inputs: What the data source gives for these steps.
            numbers: How many, then the clock of the first, an int32 vector;
                see `StepClock.encode`.
        """
        steps = numbers[0]
        clock = StepClock.decode(numbers[1:], self._layout.workers > 0)
        plan = self._plan
        opened = plan.open(block_inputs, self._max_steps is not None)
        size = steps if self._max_steps is None else self._max_steps
        # The time in which the first batch is fetched counts.
        begins = [clock.report.began] if clock.report else []
        with tf.control_dependencies(begins):
            cursor = plan.first(opened)
        keeps_last = self._may_halt and not plan.epochs_can_follow
        state = _State(
            steps=0,
            cursor=cursor,
            goes_on=True,
            last=_bare(cursor) if keeps_last else (),
            logs=[tf.zeros(t.shape, t.dtype) for t in self._logs],
            rows=tf.TensorArray(
                tf.float32, size, element_shape=[self._layout.width]
            ),
        )
        run = _Run(opened, steps, clock)
        if not plan.epochs_can_follow:
            state = self._batches(run, state)
            rows = state.rows.stack()
            return LoopOutputs(state.logs, rows, state.steps, 0, 0, state.last)
        width = self._end.width if self._end else 0
        ends = tf.TensorArray(tf.float64, size, element_shape=[width])
        state, ended, ends = tf.while_loop(
            lambda state, ended, ends: self._has_more(run, state),
            lambda *carried: self._epoch(run, *carried),
            (state, 0, ends),
        )
        rows, ends = state.rows.stack(), ends.stack()
        return LoopOutputs(
            state.logs, rows, state.steps, ends, ended, state.last
        )

    def _has_more(self, run: _Run, state: _State) -> tf.Tensor:
        """Whether there is a step to be run, if there is a batch."""
        more = tf.less(state.steps, run.steps)
        return more & state.goes_on if self._may_halt else more

    def _epoch(
        self, run: _Run, state: _State, ended: Any, ends: tf.TensorArray
    ) -> tuple[_State, Any, tf.TensorArray]:
        """An epoch, or the requested part of it."""
        plan, end = self._plan, self._end
        if end:
            when(
                plan.starts_epoch(state.cursor),
                end.reset_metrics,
                lambda: 0,
            )
        if plan.has_one_batch:
            state = self._one(run, state)
        else:
            state = self._batches(run, state)
        if run.opened.uneven:
            state = tf.cond(
                self._has_more(run, state),
                lambda: self._one(run, state, last=True),
                lambda: state,
            )
        if end:
            ended, ends = when(
                plan.ends_epoch(run.opened, state.cursor),
                lambda: (ended + 1, ends.write(ended, end.results())),
                lambda: (ended, ends),
            )
        cursor = plan.next_epoch(run.opened, state.cursor)
        return state._replace(cursor=cursor), ended, ends

    def _batches(self, run: _Run, state: _State) -> _State:
        """The batches of an epoch, but for an uneven last."""
        return tf.while_loop(
            lambda state: (
                self._has_more(run, state)
                & self._plan.has_batch(run.opened, state.cursor)
            ),
            lambda state: (self._one(run, state),),
            (state,),
        )[0]

    def _one(self, run: _Run, state: _State, last: bool = False) -> _State:
        """One step."""
        batch = self._plan.fetch(run.opened, state.cursor, last)
        clock = clock_at(run.clock.after(state.steps), state.cursor)
        logs, row = self._step(batch, clock)
        # A batch is fetched after the update, never beside it: an error of
        # the data finds the weights whole.
        with tf.control_dependencies([row]):
            more = state.steps + 1 < run.steps
            goes_on = True
            if self._may_halt:
                goes_on = self._layout.verdicts(row) < HALTED
            cursor = self._plan.advance(
                run.opened,
                state.cursor,
                more & goes_on if self._may_halt else more,
            )
        return _State(
            state.steps + 1,
            cursor,
            _tensors(logs),
            state.rows.write(state.steps, row),
            goes_on,
            () if isinstance(state.last, tuple) else _bare(state.cursor),
        )


def clock_at(clock: StepClock, cursor: Any) -> StepClock:
    """The clock of a step, with what its cursor says of waiting."""
    if not isinstance(cursor, TimedCursor):
        return clock
    report = clock.report and clock.report._replace(waited=cursor.waited)
    return clock._replace(report=report, input_wait=cursor.input_wait)


def _bare(cursor: Any) -> Any:
    """A cursor as `fetch` of the block's own plan takes it."""
    return cursor.next if isinstance(cursor, TimedCursor) else cursor


def _tensors(structure: Any) -> list[tf.Tensor]:
    """The tensors in a structure that a step returned."""
    leaves = keras.tree.flatten(structure)
    return [leaf for leaf in leaves if tf.is_tensor(leaf)]

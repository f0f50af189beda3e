"""The loop over steps, as a graph: epochs, and within them batches."""

import logging
from collections.abc import Callable, Mapping
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

_IN_FLOAT32 = (tf.float32, tf.float16, tf.bfloat16)  # What it holds exactly


class EpochEnd:
    """What Keras does in Python between two epochs, as operations.

    Args:
        model: The model.
        results: The `MetricResult`s that its step returns, by name.
        layout: The `RowLayout` of the step, if rows have those results as
            they are after the step; else `None`.
    """

    def __init__(
        self,
        model: keras.Model,
        results: Mapping[str, MetricResult],
        layout: RowLayout | None,
    ) -> None:
        self._model = model
        self._results = results
        self._layout = layout
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
            [tf.cast(result(), tf.float64) for result in self._results.values()]
        )

    def can_be_compiled(self) -> bool:
        """Whether the metrics' own code can be traced.

        A metric of the user's may do in Python what no graph can, such as
        reading a value. Then epochs end between two programs.
        """

        def end() -> Any:
            self.reset_metrics()
            return [tf.convert_to_tensor(r()) for r in self._results.values()]

        try:
            traced = tf.function(end, autograph=False).get_concrete_function()
        except Exception as error:  # Whatever the user's code raises
            _log.info(
                "Blocks of steps end with the epoch, as the metrics of %s "
                "cannot be compiled: %s",
                self._model.name,
                error,
            )
            return False
        if any(t.dtype not in _IN_FLOAT32 for t in traced.outputs):
            self._layout = None
        return True

    @property
    def is_in_rows(self) -> bool:
        """Whether the results are those in the row of an epoch's last step."""
        return self._layout is not None

    def in_rows(self, rows: tf.Tensor) -> tf.Tensor:
        """The results in each of some rows, float64 `[rows, results]`."""
        assert self._layout is not None
        returned = self._layout.returned_values(rows)
        places = [self._layout.returned.index(name) for name in self._results]
        return tf.cast(tf.gather(returned, places, axis=1), tf.float64)


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

    In a graph each tensor of it costs four operations a step, and so does
    each that the loop only reads: what is not needed is `()`.

    Args:
        steps: How many are done.
        cursor: The position in the data; `()` if all batches are the same.
        logs: What the last step returned, a list of tensors.
        rows: A row for each step, a `tf.TensorArray`.
        ends: Results of the epochs that ended, a `tf.TensorArray`; `()` if
            they are in the rows.
        goes_on: Whether the guard lets training continue; `()` if there is
            none.
        last: The cursor of the last step, if it is to be kept.
    """

    steps: Any
    cursor: Any
    logs: list[tf.Tensor]
    rows: tf.TensorArray
    ends: Any
    goes_on: Any
    last: Any


class _Run(NamedTuple):
    """What does not change within one run of the loop.

    Args:
        opened: What the plan's `open` gave.
        first: The cursor of the first step.
        steps: How many steps to run.
        clock: Of the first step.
    """

    opened: Any
    first: Any
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
        plan, end = self._plan, self._end
        opened = plan.open(block_inputs, self._max_steps is not None)
        size = steps if self._max_steps is None else self._max_steps
        # The time in which the first batch is fetched counts.
        begins = [clock.report.began] if clock.report else []
        with tf.control_dependencies(begins):
            first = plan.first(opened)
        keeps_last = self._may_halt and not plan.epochs_can_follow
        state = _State(
            steps=0,
            cursor=() if plan.is_whole else first,
            goes_on=True if self._may_halt else (),
            last=_bare(first) if keeps_last else (),
            logs=[tf.zeros(t.shape, t.dtype) for t in self._logs],
            rows=tf.TensorArray(
                tf.float32, size, element_shape=[self._layout.width]
            ),
            ends=tf.TensorArray(tf.float64, size, element_shape=[end.width])
            if end and not end.is_in_rows
            else (),
        )
        run = _Run(opened, first, steps, clock)
        if not plan.epochs_can_follow:
            state = self._repeat(
                lambda state: (
                    self._has_more(run, state)
                    & plan.has_batch(opened, state.cursor)
                ),
                lambda state: self._one(run, state),
                state,
            )
            rows = state.rows.stack()
            return LoopOutputs(state.logs, rows, state.steps, 0, 0, state.last)
        state = self._repeat(
            self._goes_on
            if plan.has_one_batch
            else lambda state: self._has_more(run, state),
            lambda state: self._epoch(run, state),
            state,
            most=steps,
        )
        rows = state.rows.stack()
        results: Any = 0
        if end and end.is_in_rows:
            # Positions that were not reached come last, and do not count.
            ends = opened.steps * (tf.range(size, dtype=tf.int64) + 1)
            places = tf.minimum(ends - first.step, tf.cast(size, tf.int64)) - 1
            results = tf.gather(end.in_rows(rows), places)
        elif end:
            results = state.ends.stack()
        return LoopOutputs(
            state.logs,
            rows,
            state.steps,
            results,
            self._ended(run, state),
            state.last,
        )

    def _repeat(
        self,
        goes_on: Callable[[_State], tf.Tensor],
        body: Callable[[_State], _State],
        state: _State,
        most: Any = None,
    ) -> _State:
        """The state after `body` while `goes_on`, at most so many times."""
        return tf.while_loop(
            goes_on,
            lambda state: (body(state),),
            (state,),
            maximum_iterations=most,
        )[0]

    def _goes_on(self, state: _State) -> tf.Tensor:
        """Whether the guard, if there is one, lets training continue."""
        return state.goes_on if self._may_halt else tf.constant(True)

    def _has_more(self, run: _Run, state: _State) -> tf.Tensor:
        """Whether there is a step to be run, if there is a batch."""
        return tf.less(state.steps, run.steps) & self._goes_on(state)

    def _ended(self, run: _Run, state: _State) -> tf.Tensor:
        """How many epochs have ended."""
        done = run.first.step + tf.cast(state.steps, tf.int64)
        return tf.cast(done // run.opened.steps, tf.int32)

    def _epoch(self, run: _Run, state: _State) -> _State:
        """An epoch, or the requested part of it."""
        plan, end = self._plan, self._end
        cursor = self._cursor(run, state)
        if end:
            when(plan.starts_epoch(cursor), end.reset_metrics, lambda: 0)
        if plan.has_one_batch:
            state = self._one(run, state)
        else:
            left = tf.cast(plan.batches_left(run.opened, cursor), tf.int32)
            state = self._repeat(
                self._goes_on,
                lambda state: self._one(run, state),
                state,
                most=tf.minimum(left, run.steps - state.steps),
            )
        if run.opened.uneven:
            state = tf.cond(
                self._has_more(run, state),
                lambda: self._one(run, state, last=True),
                lambda: state,
            )
        cursor = self._cursor(run, state)
        if end and not end.is_in_rows:
            place = self._ended(run, state) - 1
            ends = when(
                plan.ends_epoch(run.opened, cursor),
                lambda: state.ends.write(place, end.results()),
                lambda: state.ends,
            )
            state = state._replace(ends=ends)
        if plan.is_whole:
            return state
        return state._replace(cursor=plan.next_epoch(run.opened, cursor))

    def _cursor(self, run: _Run, state: _State) -> Any:
        """The position in the data."""
        return run.first if self._plan.is_whole else state.cursor

    def _one(self, run: _Run, state: _State, last: bool = False) -> _State:
        """One step."""
        batch = self._plan.fetch(run.opened, self._cursor(run, state), last)
        clock = clock_at(run.clock.after(state.steps), state.cursor)
        logs, row = self._step(batch, clock)
        cursor: Any = ()
        goes_on: Any = ()
        # A batch is fetched after the update, never beside it: an error of
        # the data finds the weights whole.
        with tf.control_dependencies([row]):
            if self._may_halt:
                goes_on = self._layout.verdicts(row) < HALTED
            if not self._plan.is_whole:
                done = state._replace(steps=state.steps + 1, goes_on=goes_on)
                # Arrays need not be asked whether another batch is wanted.
                wanted = self._plan.epochs_can_follow or self._has_more(
                    run, done
                )
                cursor = self._plan.advance(run.opened, state.cursor, wanted)
        return _State(
            state.steps + 1,
            cursor,
            _tensors(logs),
            state.rows.write(state.steps, row),
            state.ends,
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

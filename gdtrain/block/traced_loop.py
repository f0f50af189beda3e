"""The loop over steps, as a graph: epochs, and within them batches."""

import logging
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from gdtrain.step import guard
from gdtrain.telemetry import clock

_log = logging.getLogger(__name__)


class EpochEnd:
    """What Keras does in Python between two epochs, as operations.

    Args:
        model: The model.
        results: The `MetricResult`s that its step returns, a list.
    """

    def __init__(self, model, results):
        self._model = model
        self._results = results
        self.width = len(results)

    def begin(self):
        """Resets the metrics."""
        self._model.reset_metrics()

    def results(self):
        """Results of the metrics, float64 of as many."""
        if not self._results:
            return tf.zeros([0], tf.float64)
        return tf.stack(
            [tf.cast(result(), tf.float64) for result in self._results]
        )

    def can_be_compiled(self):
        """Whether the metrics' own code can be traced.

        A metric of the user's may do in Python what no graph can, such as
        reading a value. Then epochs end between two programs.
        """

        def end():
            self.begin()
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


class Done(NamedTuple):
    """What the loop carries from step to step.

    Args:
        steps: How many are done.
        cursor: Where the feed is.
        logs: What the last step returned, a list of tensors.
        rows: A row for each step, a `tf.TensorArray`.
        goes_on: Whether the guard, if there is one, lets training go on.
        last: The cursor of the last step, if it is to be kept.
    """

    steps: Any
    cursor: Any
    logs: Any
    rows: Any
    goes_on: Any
    last: Any


class TracedLoop:
    """Steps over a feed. Its calls are traced into a program.

    Args:
        step: A function of a fetched batch and the clock: `(logs, row)`.
        plan: The plan of the feed; see `gdtrain.data`.
        end: An `EpochEnd`, or `None` if epochs end outside the program.
        logs: What a step returns, an example.
        layout: The `RowLayout` of a row.
        room: For XLA, how many steps there may be; `None` for a graph.
        guarded: Whether the verdict in a row may halt training.
    """

    def __init__(self, step, plan, end, logs, layout, room, guarded=False):
        self._step = step
        self._plan = plan
        self._end = end
        self._logs = tensors(logs)
        self._layout = layout
        self._room = room
        self._guarded = guarded
        self._clock: Any = None  # The time of the first step

    def __call__(self, source, numbers):
        """Runs steps.

        Args:
            source: The source of the feed.
            numbers: How many, and the time of the first, an int32 vector; see
                `gdtrain.telemetry.clock.numbers`.

        Returns:
            `(logs, rows, steps, ends, ended, last)`: what the last step
            returned, a list; `[steps or room, numbers]`; how many steps there
            were; results of epochs; how many epochs ended; and the cursor of
            the last step, if a batch can be had but once, to be explained.
        """
        steps = numbers[0]
        self._clock = clock.parse(numbers[1:])
        opened = self._plan.open(source, self._room is not None)
        room = steps if self._room is None else self._room
        cursor = self._plan.first(opened)
        keeps_last = self._guarded and not self._plan.epochs_can_follow
        done = Done(
            steps=0,
            cursor=cursor,
            goes_on=True,
            last=cursor if keeps_last else (),
            logs=[tf.zeros(t.shape, t.dtype) for t in self._logs],
            rows=tf.TensorArray(
                tf.float32, room, element_shape=[self._layout.width]
            ),
        )
        if not self._plan.epochs_can_follow:
            done = self._batches(opened, steps, done)
            return done.logs, done.rows.stack(), done.steps, 0, 0, done.last
        width = self._end.width if self._end else 0
        ends = tf.TensorArray(tf.float64, room, element_shape=[width])
        done, ended, ends = tf.while_loop(
            lambda done, ended, ends: self._has_more(steps, done),
            lambda *state: self._epoch(opened, steps, *state),
            (done, 0, ends),
        )
        rows, ends = done.rows.stack(), ends.stack()
        return done.logs, rows, done.steps, ends, ended, done.last

    def _has_more(self, steps, done):
        """Whether there is a step to be run, if there is a batch."""
        more = tf.less(done.steps, steps)
        return more & done.goes_on if self._guarded else more

    def _epoch(self, opened, steps, done, ended, ends):
        """An epoch, or what is wanted of it."""
        plan = self._plan
        if self._end:
            _when(
                plan.starts_epoch(done.cursor),
                lambda: (self._end.begin(), 0)[1],
                lambda: 0,
            )
        if plan.has_one_batch:
            done = self._one(opened, steps, done)
        else:
            done = self._batches(opened, steps, done)
        if plan.has_uneven_last(opened):
            done = tf.cond(
                self._has_more(steps, done),
                lambda: self._one(opened, steps, done, last=True),
                lambda: done,
            )
        if self._end:
            ended, ends = _when(
                plan.ends_epoch(opened, done.cursor),
                lambda: (ended + 1, ends.write(ended, self._end.results())),
                lambda: (ended, ends),
            )
        cursor = plan.next_epoch(opened, done.cursor)
        return done._replace(cursor=cursor), ended, ends

    def _batches(self, opened, steps, done):
        """The batches of an epoch, but for an uneven last."""
        return tf.while_loop(
            lambda done: (
                self._has_more(steps, done)
                & self._plan.has_batch(opened, done.cursor)
            ),
            lambda done: (self._one(opened, steps, done),),
            (done,),
        )[0]

    def _one(self, opened, steps, done, last=False):
        """One step."""
        batch = self._plan.fetch(opened, done.cursor, last)
        logs, row = self._step(batch, self._clock.after(done.steps))
        # A batch is fetched after the update, never beside it: an error of
        # the data finds the weights whole.
        with tf.control_dependencies([row]):
            more = done.steps + 1 < steps
            goes_on = True
            if self._guarded:
                goes_on = self._layout.verdicts(row) < guard.HALTS
            cursor = self._plan.advance(
                opened, done.cursor, more & goes_on if self._guarded else more
            )
        return Done(
            done.steps + 1,
            cursor,
            tensors(logs),
            done.rows.write(done.steps, row),
            goes_on,
            () if isinstance(done.last, tuple) else done.cursor,
        )


def tensors(structure):
    """The tensors in a structure that a step returned, a list."""
    leaves = keras.tree.flatten(structure)
    return [leaf for leaf in leaves if tf.is_tensor(leaf)]


def _when(condition, then, otherwise):
    """`tf.cond`, but for what is known while tracing."""
    if condition is True:
        return then()
    return tf.cond(condition, then, otherwise)

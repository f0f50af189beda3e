"""A block: steps that run as one compiled program and bring back their rows."""

from typing import Any, NamedTuple

import keras
import tensorflow as tf

from gdtrain.descent import replicas
from gdtrain.engine.epoch_end import EpochEnd


class Steps(NamedTuple):
    """What a block brings back.

    Args:
        logs: What the last step returned; `None` if that is all in its row.
        rows: Float32 `[steps, numbers]`.
        ends: For each epoch that ended, what `EpochEnd.results` gave,
            float64 `[epochs, 2 * names]`; `None` if that is not part of it.
    """

    logs: Any
    rows: Any
    ends: Any


class Done(NamedTuple):
    """What the loop carries from step to step.

    Args:
        steps: How many are done.
        cursor: Where the feed is.
        logs: What the last step returned, a list of tensors.
        rows: A row for each step, a `tf.TensorArray`.
    """

    steps: Any
    cursor: Any
    logs: Any
    rows: Any


class Block:
    """Steps over a feed, on all replicas, as one program.

    Args:
        model: A `DescentTrainer`, compiled.
        step: A `ReplicatedStep`.
        feed: What the batches come from; see `gdtrain.feeds`. The program
            serves all feeds of the same `key`.
        room: For XLA, how many steps it may have at most; `None` for a graph.
    """

    def __init__(self, model, step, feed, room=None):
        self.room = room
        self._xla = room is not None
        self._model = model
        self._step = step
        self._feed = feed
        self._end = None
        self._logs = None  # As the step returns them
        self._program = None

    @property
    def ends_epochs(self):
        """Whether it may go on from one epoch into the next."""
        return self._end is not None

    def __call__(self, source, steps):
        """Runs steps.

        Args:
            source: What the feed says to be the source of these steps.
            steps: How many; fewer if there are no more batches.

        Returns:
            `Steps`.
        """
        with replicas.undivided_losses(self._model.distribute_strategy):
            if self._model.run_eagerly:
                return self._eagerly(source, steps)
            logs, rows, done, ends, ended = self._compiled(source)(
                source, tf.constant(steps)
            )
        return Steps(
            self._packed(logs),
            rows.numpy()[: done.numpy()],
            self._end and ends.numpy()[: ended.numpy()],
        )

    def _eagerly(self, source, steps):
        opened = self._feed.open(source, False)
        cursor = self._feed.first(opened)
        logs = None
        rows: list[Any] = []
        while len(rows) < steps and self._feed.has_batch(opened, cursor):
            logs, row = self._step.run(self._feed.fetch(opened, cursor))
            rows.append(row.numpy())
            cursor = self._feed.advance(opened, cursor, len(rows) < steps)
        return Steps(logs, tf.stack(rows).numpy() if rows else [], None)

    def _compiled(self, source):
        """The program, traced when it is first needed."""
        if self._program is None:
            signature = self._feed.signature(source, self._xla)
            self._trace_step(signature)
            self._program = tf.function(
                self._loop, autograph=False, jit_compile=self._xla or None
            ).get_concrete_function(signature, tf.TensorSpec([], tf.int32))
        return self._program

    def _trace_step(self, signature):
        """Finds out what the step returns. Its trace is used by the loop."""

        def first(source):
            opened = self._feed.open(source, self._xla)
            cursor = self._feed.first(opened)
            return self._step.run(self._feed.fetch(opened, cursor))

        function = tf.function(first, autograph=False)
        logs, row = function.get_concrete_function(
            signature
        ).structured_outputs
        self._width = row.shape[0]
        self._logs = logs
        if self._feed.epochs_can_follow and self._step.returns_scalars:
            end = EpochEnd(self._model, self._step.returned)
            self._end = end if end.can_be_compiled() else None

    def _loop(self, source, steps):
        """The loop over steps, traced."""
        feed = self._feed
        opened = feed.open(source, self._xla)
        room = steps if self.room is None else self.room
        done = Done(
            steps=0,
            cursor=feed.first(opened),
            logs=[tf.zeros(t.shape, t.dtype) for t in _tensors(self._logs)],
            rows=tf.TensorArray(
                tf.float32, room, element_shape=[self._width]
            ),
        )
        if not feed.epochs_can_follow:
            done = self._batches(opened, steps, done)
            return done.logs, done.rows.stack(), done.steps, 0, 0
        width = 2 * self._end.width if self._end else 0
        ends = tf.TensorArray(tf.float64, room, element_shape=[width])
        done, ended, ends = tf.while_loop(
            lambda done, ended, ends: tf.less(done.steps, steps),
            lambda *state: self._epoch(opened, steps, *state),
            (done, 0, ends),
        )
        return done.logs, done.rows.stack(), done.steps, ends.stack(), ended

    def _batches(self, opened, steps, done):
        """The loop over the batches of an epoch, but for an uneven last."""

        def more(done):
            return tf.less(done.steps, steps) & self._feed.has_batch(
                opened, done.cursor
            )

        def one(done):
            return (self._one(opened, steps, done),)

        return tf.while_loop(more, one, (done,))[0]

    def _one(self, opened, steps, done, last=False):
        """One step."""
        batch = self._feed.fetch(opened, done.cursor, last)
        logs, row = self._step.run(batch)
        # A batch is fetched after the update, never beside it: an error of
        # the data finds the weights whole.
        with tf.control_dependencies([row]):
            more = done.steps + 1 < steps
            cursor = self._feed.advance(opened, done.cursor, more)
        return Done(
            done.steps + 1,
            cursor,
            _tensors(logs),
            done.rows.write(done.steps, row),
        )

    def _epoch(self, opened, steps, done, ended, ends):
        """An epoch, or what is wanted of it."""
        feed = self._feed
        if self._end:
            _when(
                feed.starts_epoch(done.cursor),
                lambda: (self._end.begin(), 0)[1],
                lambda: 0,
            )
        if feed.has_one_batch:
            done = self._one(opened, steps, done)
        else:
            done = self._batches(opened, steps, done)
        if feed.has_uneven_last(opened):
            done = tf.cond(
                tf.less(done.steps, steps),
                lambda: self._one(opened, steps, done, last=True),
                lambda: done,
            )
        if self._end:
            ended, ends = _when(
                feed.ends_epoch(opened, done.cursor),
                lambda: (ended + 1, ends.write(ended, self._end.results())),
                lambda: (ended, ends),
            )
        cursor = feed.next_epoch(done.cursor)
        return done._replace(cursor=cursor), ended, ends

    def _packed(self, tensors):
        """What the step returned, with the values of the last one."""
        rest = iter(tensors)
        return keras.tree.map_structure(
            lambda leaf: next(rest) if tf.is_tensor(leaf) else leaf,
            self._logs,
        )

    def _ends(self, room):
        """Where results of epochs that end are written to."""
        if self._end is None:
            return 0
        return tf.TensorArray(
            tf.float64, room, element_shape=[2 * self._end.width]
        )

    def _begin_epoch(self, opened, cursor):
        if self._end is not None:
            _when(
                self._feed.starts_epoch(opened, cursor),
                lambda: (self._end.begin(), 0)[1],
                lambda: 0,
            )

    def _end_epoch(self, opened, cursor, ended, ends):
        if self._end is None:
            return ended, ends
        return _when(
            self._feed.ends_epoch(opened, cursor),
            lambda: (ended + 1, ends.write(ended, self._end.results())),
            lambda: (ended, ends),
        )


def _when(condition, then, otherwise):
    """`tf.cond`, but for what is known while tracing."""
    if condition is True:
        return then()
    return tf.cond(condition, then, otherwise)


def _tensors(structure):
    """The tensors in a structure that a step returned."""
    leaves = keras.tree.flatten(structure)
    return [leaf for leaf in leaves if tf.is_tensor(leaf)]

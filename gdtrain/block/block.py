"""A block: steps that run as one compiled program and bring back their rows."""

from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from gdtrain.block.rollback import BlockWatch, Watch
from gdtrain.block.traced_loop import EpochEnd, TracedLoop
from gdtrain.descent import replicas
from gdtrain.step import guard
from gdtrain.telemetry import clock


class Steps(NamedTuple):
    """What a block brings back.

    Args:
        logs: What the last step returned; `None` if that is all in its row.
        rows: Float32 `[steps, numbers]`.
        ends: For each epoch that ended, what `EpochEnd.results` gave,
            float64 `[epochs, results]`; `None` if that is not part of it.
        halted: Whether the guard ended it.
        last: The batch of the last step, if it was kept, else `None`.
        is_finite: Whether it was; if not, nothing of it is left. Only what is
            watched may be so.
    """

    logs: Any
    rows: Any
    ends: Any
    halted: bool = False
    last: Any = None
    is_finite: bool = True


class Block:
    """Steps over a feed, on all replicas, as one program.

    Args:
        model: A `DescentTrainer`, compiled.
        step: A `ReplicatedStep`.
        plan: The plan of the feeds that it serves; see `gdtrain.data`.
        room: For XLA, how many steps it may have at most; `None` for a graph.
    """

    def __init__(self, model, step, plan, room=None):
        self.room = room
        self.ends_epochs = False  # Whether it may go on into the next epoch
        self._model = model
        self._step = step
        self._plan = plan
        self._logs = None  # As the step returns them
        self._program: Any = None
        #: Variables that the step was seen to read or write
        self.variables: list = []
        self._watch: Any = None  # A `BlockWatch`, if its steps have a `Watch`

    def __call__(self, source, steps, moment):
        """Runs steps.

        Args:
            source: What the feed says to be the source of these steps.
            steps: How many; fewer if there are no more batches.
            moment: Of the first step; see `gdtrain.telemetry.clock.numbers`.

        Returns:
            `Steps`.
        """
        with replicas.undivided_losses(self._model.distribute_strategy):
            if self._model.run_eagerly:
                return self._eagerly(source, steps, moment)
            self.trace(source, moment)
            try:
                (logs, rows, done, ends, ended, last), is_finite = (
                    self._program(source, tf.constant([steps, *moment]))
                )
            except tf.errors.OpError:
                if self._watch is None:
                    raise
                is_finite = False  # It may have failed at NaN.
        if not is_finite:
            self._watch.put_back()
            return Steps(None, np.zeros([0, 1]), None, is_finite=False)
        rows = rows.numpy()[: done.numpy()]
        halted = self._has_halted(rows)
        return Steps(
            self._packed(logs),
            rows,
            ends.numpy()[: ended.numpy()] if self.ends_epochs else None,
            halted,
            self._batch_at(last) if halted else None,
        )

    def _batch_at(self, cursor):
        """The batch at a cursor; `None` if none was kept."""
        if isinstance(cursor, tuple):
            return None
        return self._plan.fetch(None, cursor)

    def _has_halted(self, rows):
        """Whether the guard found that training must not go on."""
        return bool(self._step.guard and len(rows)) and bool(
            self._step.layout.verdicts(rows[-1]) >= guard.HALTS
        )

    def trace(self, source, moment):
        """Makes the program, with the variables that its step makes."""
        if self._program is None and not self._model.run_eagerly:
            with replicas.undivided_losses(self._model.distribute_strategy):
                self._program = self._traced(source, len(moment))

    def _eagerly(self, source, steps, moment):
        """The loop over steps, when Python drives it."""
        first = clock.parse(tf.constant(moment))
        opened = self._plan.open(source, False)
        cursor = self._plan.first(opened)
        logs = fetched = None
        rows: list[Any] = []
        while len(rows) < steps and self._plan.has_batch(opened, cursor):
            fetched = self._plan.fetch(opened, cursor)
            logs, row = self._step.run(fetched, first.after(len(rows)))
            rows.append(row.numpy())
            if self._has_halted(rows):
                break
            cursor = self._plan.advance(opened, cursor, len(rows) < steps)
        halted = self._has_halted(rows)
        keeps_last = halted and not self._plan.epochs_can_follow
        last = fetched if keeps_last else None
        return Steps(logs, np.array(rows), None, halted, last)

    def _traced(self, source, numbers):
        """The program, given so many numbers of the time."""
        xla = self.room is not None
        signature = self._plan.signature(source, xla)

        def step(fetched, clock):
            return self._step.run(fetched, clock, xla)

        def first(source, moment):
            opened = self._plan.open(source, xla)
            cursor = self._plan.first(opened)
            return step(self._plan.fetch(opened, cursor), clock.parse(moment))

        def traced_first():
            # Tells what the step returns; the loop uses the same trace of it.
            function = tf.function(first, autograph=False)
            return function.get_concrete_function(
                signature, tf.TensorSpec([numbers], tf.int32)
            )

        traced = traced_first()
        if self._step.is_incomplete:
            # What the first trace has made is there before the second.
            self._step.begin()
            traced = traced_first()
        self._logs, _ = traced.structured_outputs
        self.variables = _used(traced)
        end = None
        if self._plan.epochs_can_follow and self._step.returns_scalars:
            results = self._step.origins.results.values()
            end = EpochEnd(self._model, list(results))
            end = end if end.can_be_compiled() else None
        self.ends_epochs = end is not None
        loop = TracedLoop(
            step,
            self._plan,
            end,
            self._logs,
            self._step.layout,
            self.room,
            self._step.guard is guard.Guard,
        )

        return tf.function(
            self._watched(loop), autograph=False, jit_compile=xla or None
        ).get_concrete_function(
            signature, tf.TensorSpec([1 + numbers], tf.int32)
        )

    def _watched(self, loop):
        """A function that runs the loop and says whether it was finite."""

        # Not a lambda: TensorFlow says where the operations of a function were
        # made only if its name is an identifier.
        def unwatched(source, numbers):
            return loop(source, numbers), True

        if self._step.guard is not Watch:
            return unwatched
        watch = self._watch = BlockWatch(self._model)
        verdicts = self._step.layout.verdicts

        def program(source, numbers):
            watch.begin()
            done = loop(source, numbers)
            return done, watch.end(verdicts(done[1]))

        return program

    def used(self):
        """Names of the operations that the program uses, a set."""
        library = self._program.graph.as_graph_def().library
        return {node.op for f in library.function for node in f.node_def}

    def _packed(self, logs):
        """What the step returned, with the values of the last one."""
        rest = iter(logs)
        return keras.tree.map_structure(
            lambda leaf: next(rest) if tf.is_tensor(leaf) else leaf,
            self._logs,
        )


def _used(function):
    """The variables that a traced function captures, in their order."""
    places = {id(one): i for i, one in enumerate(function.captured_inputs)}
    some = [v for v in function.variables if id(v.handle) in places]
    return sorted(some, key=lambda variable: places[id(variable.handle)])

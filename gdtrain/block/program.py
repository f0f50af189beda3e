"""The program of a step over a feed: a graph, or compiled by XLA."""

import logging
import math
import time

import tensorflow as tf

from gdtrain.block.block import Block
from gdtrain.block.xla_choice import Speed
from gdtrain.step.replicated_step import ReplicatedStep

_log = logging.getLogger("gdtrain")

# XLA is tried when training by the graph takes this many times as long as it
# took to make the graph, which tells roughly how long XLA will take.
_WORTH_TRYING = 3
_TRIALS = 3  # Blocks each way; the best counts, the first warms up.
_TRIAL = 0.02  # Seconds that the graph would take for the steps of a trial
_HOPELESS = 3  # Times slower than the graph: one trial is enough
_ROOM = 2**12  # Steps that a block has room for under XLA


class Program:
    """Runs steps over all feeds that have one `key`.

    Args:
        model: A `DescentTrainer`, compiled.
        step_function: Its `train_step` or `test_step`.
        plan: The plan of the feeds.
        groups: The `Group`s of quantities to measure, a tuple.
        microbatches: Into how many micro-batches to split a batch.
        may_choose: Whether `jit_compile="auto"` may choose by the clock, which
            is never the same twice; else it is a graph.
        guard: `Guard`, `Watch` or `None`; see `ReplicatedStep`.
        before: What to do ahead of each step; see `Observers`.
    """

    def __init__(
        self,
        model,
        step_function,
        plan,
        groups,
        microbatches,
        may_choose=True,
        guard=None,
        before=(),
    ):
        # XLA compiles a block as a whole if its data are on the device; else
        # it compiles each step.
        whole = (
            plan.epochs_can_follow
            and not model.run_eagerly
            and model.distribute_strategy.num_replicas_in_sync == 1
        )
        asked = model.jit_compile_setting
        self._model = model
        self.groups = groups
        self.step = ReplicatedStep(
            model,
            step_function,
            plan.take,
            groups,
            microbatches,
            xla=model.jit_compile and not whole,
            guard=guard,
            before=before,
        )
        self._blocks = {}  # By their room, and by the size of the data
        self._uses_xla = asked is True and whole
        self._undecided = asked == "auto" and whole and may_choose
        self._on_trial = False
        self._graph, self._xla = Speed(), Speed()

    @property
    def is_stretchable(self):
        """Whether it may measure more seldom than asked for."""
        return any(group.stretchable for group in self.groups)

    @property
    def is_steady(self):
        """Whether its steps take the time that they will take."""
        return self.speed.first is not None and not self._on_trial

    @property
    def variables(self):
        """Variables that its step was seen to use."""
        blocks = self._blocks.values()
        return [variable for block in blocks for variable in block.variables]

    @property
    def speed(self):
        """How long steps take, the way they are run now."""
        return self._xla if self._uses_xla else self._graph

    def run(self, feed, epoch, step, steps, moment, most, left):
        """Runs steps.

        Args:
            feed: The feed.
            epoch, step: Where to begin.
            steps: How many.
            moment: Of the first; see `gdtrain.telemetry.clock.numbers`.
            most: How many it may be told to run at once.
            left: How many are left of the run, as far as that is known.

        Returns:
            `(done, ends_epochs)`: `gdtrain.block.block.Steps`, fewer than
            asked for if the data ran out or the program has no room for more,
            none if they were watched and not finite; and whether ends of
            epochs are among them.
        """
        if self._undecided and most > 1 and self._is_worth_trying(left):
            self._try_xla(feed, epoch, step, moment, most)
        if self._on_trial:
            # Fewer steps would tell of the time around them.
            enough = min(self._graph.steps_in(_TRIAL), most)
            self._uses_xla = steps >= enough
            if most == math.inf:  # Else so many were asked for
                steps = min(steps, enough)
        start = time.perf_counter()
        block = self._block(feed, most)
        steps = min(steps, block.room or steps)
        done = block(feed.source(epoch, step, steps, block.room), steps, moment)
        self.speed.add(len(done.rows), time.perf_counter() - start)
        if self._on_trial and self._uses_xla and done.is_finite:
            self._decide()
        return done, block.ends_epochs

    def trace(self, feed, epoch, step, moment, most):
        """Makes the program for a feed, without running it."""
        block = self._block(feed, most)
        block.trace(feed.source(epoch, step, 0, block.room), moment)

    def _block(self, feed, most):
        """The block that runs up to so many steps of a feed."""
        room = size = None
        if self._uses_xla:  # Which knows no array of any size
            room = int(min(_ROOM, most, feed.most_steps))
            size = feed.plan.examples
        if (room, size) not in self._blocks:
            self._blocks[room, size] = Block(
                self._model, self.step, feed.plan, room
            )
        return self._blocks[room, size]

    def _is_worth_trying(self, left):
        """Whether enough is done or to be done to pay for a trial of XLA."""
        graph = self._graph
        # The best, as a machine that does something else now and then must
        # not make the graph look slow.
        if graph.blocks < _TRIALS or graph.steps * graph.best < 2 * _TRIAL:
            return False
        if self._has_convolutions() and not _has_accelerator():
            return False
        seconds = (graph.steps + left) * graph.best
        return seconds > _WORTH_TRYING * graph.first

    def _has_convolutions(self):
        """Whether there are any. On a CPU, XLA is 5 to 100 times slower at
        them (TensorFlow 2.21), so that finding out would take long.
        """
        return any("Conv" in name for name in self._blocks[None, None].used())

    def _try_xla(self, feed, epoch, step, moment, most):
        """Compiles by XLA; the next steps run that way, to be timed."""
        self._undecided = False
        self._uses_xla = self._on_trial = True
        start = time.perf_counter()
        block = self._block(feed, most)
        nothing = feed.source(epoch, step, 0, block.room)
        try:
            block(nothing, 0, moment)
        except Exception as error:  # As many kinds as there are operations
            self._uses_xla = self._on_trial = False
            _log.warning(
                "XLA cannot compile %s, which goes on as a graph: %s",
                self._model.name,
                str(error).partition("\n")[0],
            )
        self._xla.add(0, time.perf_counter() - start)

    def _decide(self):
        """Keeps to the faster way, after some trials."""
        graph, xla = self._graph.best, self._xla.best
        if self._xla.blocks < _TRIALS and xla < _HOPELESS * graph:
            return
        self._on_trial = False
        self._uses_xla = xla < graph
        _log.info(
            'jit_compile="auto": %s. A step of %s takes %.1f microseconds by '
            "XLA and %.1f as a graph; XLA took %.1f s to compile.",
            "XLA" if self._uses_xla else "a graph",
            self._model.name,
            1e6 * xla,
            1e6 * graph,
            self._xla.first,
        )


def _has_accelerator():
    """Whether steps run on something else than a CPU."""
    return bool(tf.config.list_logical_devices("GPU"))

"""Runs blocks of a step as a graph or by XLA: as asked for, or the faster."""

import logging
import math
import time
from typing import NamedTuple

import keras
import tensorflow as tf

from gdtrain.block.block import Block, BlockResult
from gdtrain.common.explained import more
from gdtrain.data.protocols import BatchPlan, DataSource
from gdtrain.descent import settings
from gdtrain.distributed.reports import agreed_seconds
from gdtrain.step.replicated_step import ReplicatedStep

_log = logging.getLogger("gdtrain")

# What a graph spends on an operation beside its work, on a CPU of today. XLA
# saves nearly all of it; what it makes of the work itself is not known before
# it is tried.
_AROUND_OPERATION = 3.5e-7  # Seconds
_OF_WORK = 1 / 3  # Share of a step that it is hoped to save in any case
_WORTH_TRYING = 1  # How many times as much it is to save as compiling costs
_TRIALS = 3  # Blocks each way; the best counts, the first warms up.
_TRIAL = 0.02  # Seconds that the graph would take for the steps of a trial
_HOPELESS = 3  # Times slower than the graph: one trial is enough
_MAX_STEPS = 2**12  # That a block may have under XLA


class Speed:
    """Seconds a step, from the blocks that have run.

    Example:

    >>> speed = Speed()
    >>> speed.add(steps=1, seconds=0.9)  # With compilation
    >>> speed.add(steps=1, seconds=0.001)
    >>> speed.steps_in(1.0)  # No more than 8 times as many as last time
    8
    >>> speed.add(steps=8, seconds=0.008)
    >>> speed.steps_in(0.02)
    20
    """

    _GROWTH = 8

    def __init__(self) -> None:
        self.first: float | None = None  # Seconds of the first, with compiling
        self.seconds_per_step: float | None = None
        self.best = math.inf  # Seconds a step of the fastest block
        self.blocks = self.steps = 0  # But for the first block
        self._most = 1

    def add(self, steps: int, seconds: float) -> None:
        """Adds a block of steps."""
        if self.first is None:
            self.first = seconds
            return
        self.blocks += 1
        self.steps += steps
        # A block of few steps, such as the last of a fit, shows the time
        # around them rather than theirs.
        if steps >= self._most / 2:
            self.seconds_per_step = seconds / steps
            self.best = min(self.best, self.seconds_per_step)
            self._most = steps

    def seconds(self, steps: float) -> float:
        """How long so many steps take; infinite if that is not known."""
        if self.seconds_per_step is None:
            return math.inf
        return steps * self.seconds_per_step

    def steps_in(self, seconds: float) -> int:
        """How many steps to run in about so many seconds, at least 1."""
        if self.seconds_per_step is None:
            return 1
        steps = int(seconds / self.seconds_per_step)
        return max(1, min(steps, self._GROWTH * self._most))


class BlockRequest(NamedTuple):
    """Steps to run as one block.

    Args:
        data_source: The data.
        epoch, step: Where to begin.
        steps: How many.
        max_steps: How many may be asked for at once.
        steps_left: How many are left of the fit, as far as that is known.
    """

    data_source: DataSource
    epoch: int
    step: int
    steps: float
    max_steps: float
    steps_left: float


class CompilerChoice:
    """Runs blocks of a step over all data sources that have one plan.

    Args:
        model: A `DescentTrainer`, compiled.
        step: The step, which XLA may compile by itself.
        plan: The plan of the data sources.
        may_measure: Whether `jit_compile="auto"` may choose by measured
            times, which are never the same twice; else it is a graph.
    """

    def __init__(
        self,
        model: keras.Model,
        step: ReplicatedStep,
        plan: BatchPlan,
        may_measure: bool = True,
    ) -> None:
        chosen = settings.of(model)
        asked = chosen.jit_compile
        # XLA rounds a program by what else is in it.
        may_measure &= chosen.reproducible_workers is None
        is_whole = compiles_whole_blocks(model, plan)
        self._model = model
        self.step = step
        self._blocks: dict[tuple, Block] = {}  # By max_steps and size of data
        self._uses_xla = asked is True and is_whole
        self._undecided = asked == "auto" and is_whole and may_measure
        self._on_trial = False
        self._graph, self._xla = Speed(), Speed()

    @property
    def may_stretch(self) -> bool:
        """Whether it may measure less often than asked for."""
        return any(group.stretchable for group in self.step.groups)

    @property
    def is_steady(self) -> bool:
        """Whether its steps take the time that they will take."""
        return self.speed.first is not None and not self._on_trial

    @property
    def variables(self) -> list[tf.Variable]:
        """Variables that its step was seen to use."""
        blocks = self._blocks.values()
        return [variable for block in blocks for variable in block.variables]

    @property
    def random_operations(self) -> set[str]:
        """See `Block.random_operations`."""
        blocks = self._blocks.values()
        return set().union(*(block.random_operations() for block in blocks))

    @property
    def speed(self) -> Speed:
        """How long steps take, the way they are run now."""
        return self._xla if self._uses_xla else self._graph

    def run(self, request: BlockRequest, clock: list[int]) -> BlockResult:
        """Runs steps.

        Args:
            request: Which.
            clock: Of the first; see `StepClock.encode`.

        Returns:
            The result of fewer steps than asked for if the data ran out or
            the block may not have as many.
        """
        data_source, epoch, step, steps, max_steps, left = request
        if self._undecided and max_steps > 1 and self._is_worth_trying(left):
            self._try_xla(request, clock)
        if self._on_trial:
            # The time of fewer steps would be mostly that around them.
            enough = min(self._graph.steps_in(_TRIAL), max_steps)
            self._uses_xla = steps >= enough
            if max_steps == math.inf:  # Else so many were asked for
                steps = min(steps, enough)
        start = time.perf_counter()
        block = self._block(data_source, max_steps)
        count = int(min(steps, block.max_steps or steps))
        block_inputs = data_source.block_inputs(
            epoch, step, count, block.max_steps
        )
        block.trace(block_inputs, clock)
        result = block.run(block_inputs, count, clock)
        seconds = time.perf_counter() - start
        slots = self.step.layout.slots(result.rows)
        if slots.size:
            seconds = agreed_seconds(slots)
        self.speed.add(len(result.rows), seconds)
        if self._on_trial and self._uses_xla and result.is_finite:
            self._decide()
        return result

    def trace(self, request: BlockRequest, clock: list[int]) -> Block:
        """The block for a request, compiled but not run."""
        block = self._block(request.data_source, request.max_steps)
        nothing = request.data_source.block_inputs(
            request.epoch, request.step, 0, block.max_steps
        )
        block.trace(nothing, clock)
        return block

    def _block(self, data_source: DataSource, max_steps: float) -> Block:
        """The block that runs up to so many steps of a data source."""
        limit = size = None
        if self._uses_xla:  # Which knows no array of any size
            limit = int(min(_MAX_STEPS, max_steps, data_source.most_steps))
            size = data_source.plan.examples
        if (limit, size) not in self._blocks:
            self._blocks[limit, size] = Block(
                self._model, self.step, data_source.plan, limit
            )
        return self._blocks[limit, size]

    def _is_worth_trying(self, left: float) -> bool:
        """Whether enough is done or to be done to pay for a trial of XLA."""
        graph = self._graph
        # The best, as a machine that does something else now and then must
        # not make the graph look slow.
        if graph.blocks < _TRIALS or graph.steps * graph.best < 2 * _TRIAL:
            return False
        operations = self._blocks[None, None].operations()
        if not tf.config.list_logical_devices("GPU"):
            # On a CPU, XLA is 5 to 100 times slower at convolutions
            # (TensorFlow 2.21), so that finding out would take long.
            if any("Conv" in name for name in operations):
                return False
        saved = max(
            min(graph.best, _AROUND_OPERATION * len(operations)),
            _OF_WORK * graph.best,
        )
        costs = graph.first or 0.0  # To make the graph, and roughly to compile
        return (graph.steps + left) * saved > _WORTH_TRYING * costs

    def _try_xla(self, request: BlockRequest, clock: list[int]) -> None:
        """Compiles by XLA; the next steps run that way, to be timed."""
        self._undecided = False
        self._uses_xla = self._on_trial = True
        start = time.perf_counter()
        try:
            block = self.trace(request, clock)
            data_source, epoch, step, *_ = request
            block.run(
                data_source.block_inputs(epoch, step, 0, block.max_steps),
                0,
                clock,
            )
        except Exception as error:  # As many kinds as there are operations
            self._uses_xla = self._on_trial = False
            _log.warning(
                "XLA cannot compile %s, which runs as a graph instead: %s"
                + more("xla-refused"),
                self._model.name,
                str(error).partition("\n")[0],
            )
        self._xla.add(0, time.perf_counter() - start)

    def _decide(self) -> None:
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


def compiles_whole_blocks(model: keras.Model, plan: BatchPlan) -> bool:
    """Whether XLA compiles a block as a whole; else it compiles each step.

    It does if the data are on the device.
    """
    return (
        plan.epochs_can_follow
        and not model.run_eagerly
        and model.distribute_strategy.num_replicas_in_sync == 1
    )

"""A queue of blocks that have run, taken slice by slice by the epoch loop."""

import math
import os
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from gdtrain.block.block import BlockResult
from gdtrain.block.xla_choice import BlockRequest
from gdtrain.common.explained import more
from gdtrain.common.signals import Interrupts
from gdtrain.data.protocols import DataSource
from gdtrain.distributed import reports
from gdtrain.loop.pacing import Pace
from gdtrain.loop.slices import LogSlice, PassedEpochs, Slices
from gdtrain.step.replicated_step import ReplicatedStep


class EpochMeans:
    """Example-weighted means of scalars, for epochs that end anywhere.

        mean = sum over steps (examples * value) / sum (examples)

    in float64. Of columns that are `states`, the value of the last step that
    has examples is given instead.

    Example:

    >>> means = EpochMeans()
    >>> examples, values = np.array([4, 2, 4]), np.array([[1.0], [4], [5]])
    >>> means.add(examples, values, lengths=[2, 1])  # An epoch, and one begun
    array([[2.]])
    >>> means.so_far()
    array([5.])
    """

    def __init__(self) -> None:
        #: Of the epoch that has begun, examples first; a state to save
        self.sums: np.ndarray | None = None

    def add(
        self,
        examples: np.ndarray,
        values: np.ndarray,
        lengths: Sequence[int],
        states: Sequence[int] = (),
    ) -> np.ndarray:
        """Adds steps.

        Args:
            examples: How many each step had, `[steps]`.
            values: The scalars of each, `[steps, scalars]`.
            lengths: How many of the steps are in each epoch; the last is one
                that has not ended, and may be of length 0.
            states: Indices of those scalars of which the last value counts.

        Returns:
            Means of the epochs that ended, `[epochs, scalars]`.
        """
        examples = np.asarray(examples, np.float64)[:, np.newaxis]
        values = np.asarray(values, np.float64)
        weighted = np.concatenate([examples, values * examples], 1)
        sums = np.zeros([len(lengths), weighted.shape[1]])
        present = np.asarray(lengths) > 0
        starts = (np.cumsum(lengths) - np.asarray(lengths, int))[present]
        sums[present] = np.add.reduceat(weighted, starts, axis=0)
        if self.sums is not None:
            sums[0] += self.sums
        if states:
            self._keep_last(sums, examples, values, lengths, list(states))
        self.sums = sums[-1]
        return _means(sums[:-1])

    def _keep_last(
        self,
        sums: np.ndarray,
        examples: np.ndarray,
        values: np.ndarray,
        lengths: Sequence[int],
        states: list[int],
    ) -> None:
        """Makes the last value of some scalars the mean that comes out."""
        ends = np.cumsum(lengths)
        for epoch, (count, end) in enumerate(zip(lengths, ends, strict=True)):
            counted = np.flatnonzero(examples[end - count : end])
            if len(counted):
                last = values[end - count + counted[-1], states]
            elif epoch == 0 and self.sums is not None:
                last = _means(self.sums)[states]
            else:
                continue
            weighted = sums[epoch, 1:]  # A view
            weighted[states] = last * sums[epoch, 0]

    def so_far(self) -> np.ndarray | None:
        """Means of the epoch that has begun, `[scalars]`; ends it."""
        sums, self.sums = self.sums, None
        return None if sums is None else _means(sums)


def _means(sums: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        return sums[..., 1:] / sums[..., :1]


def function_of(model: keras.Model, mode: str) -> Any:
    """What runs steps; a new one if a callback has compiled the model.

    Args:
        model: A `DescentTrainer`.
        mode: `"train"`, `"test"` or `"predict"`, for `train_function` etc.
    """
    if getattr(model, f"{mode}_function") is None:
        getattr(model, f"make_{mode}_function")()
    return getattr(model, f"{mode}_function")


class BlockQueue:
    """Runs blocks, which may be ahead of what callbacks have seen.

    Args:
        data_source: The data.
        pace: How many steps of which model and mode a block has.
    """

    def __init__(self, data_source: DataSource, pace: Pace) -> None:
        self.model = pace.model
        self.data_source = data_source
        self._pace = pace
        self._slices = Slices()
        self._means = EpochMeans()
        self._names: tuple[str, ...] | None = None  # Of what it means
        self._logs: Any = {}  # What the last step returned
        self._step: ReplicatedStep | None = None  # That ran last
        self._spans_epochs = False  # Whether blocks end epochs
        self._ran_out = False  # The data, in this epoch
        self._workers = self.model._step_hooks.reports.workers
        self._is_stopped = False  # On all of several workers
        self._process = os.getpid()
        self._interrupts = Interrupts()
        self.block_steps = 1  # Of the last block, were it not to end early
        self.last_batch: Any = None  # Of the step that the guard halted at

    @property
    def is_idle(self) -> bool:
        """Whether callbacks have seen all steps that have run."""
        return not self._slices

    def get_state(self) -> dict[str, Any]:
        """What is known of the epoch that has begun."""
        logs = self._logs
        # Others than a dict of numbers are known again after the next block.
        known = self._step is not None and self._step.returns_scalars
        return {"sums": self._means.sums, "logs": logs if known else {}}

    def set_state(self, state: dict[str, Any]) -> None:
        """Continues from what `get_state` gave, with an empty queue."""
        self._slices = Slices()
        self._means.sums = state["sums"]
        self._names = None
        self._logs = dict(state["logs"])
        self._spans_epochs = self._ran_out = self._is_stopped = False

    def stops(self, asked: bool) -> bool:
        """Whether to stop here, on all workers alike.

        Of several workers, all know with the next block, or with the end of
        the epoch, that a callback of one has asked to.

        Args:
            asked: Whether a callback of this worker has.
        """
        return self._is_stopped if self._workers.count > 1 else asked

    def stop(self) -> None:
        """Has `stops` say so at once; to be called on all workers alike."""
        self._is_stopped = True

    def agree_to_stop(self, asked: bool) -> None:
        """Has all workers stop as an epoch ends, if a callback of one asked to.

        It waits for all of them, if callbacks see each epoch.
        """
        if self._workers.count > 1 and self._pace.sync != "never":
            self._is_stopped = self._workers.any(asked)

    @property
    def random_operations(self) -> set[str]:
        """See `gdtrain.loop.block_runner.BlockRunner`."""
        return function_of(self.model, self._pace.mode).random_operations

    def trace(self, epoch: int, step: int) -> None:
        """Compiles the block, with its variables, without running it."""
        runner = function_of(self.model, self._pace.mode)
        self._step = runner.trace(self._request(epoch, step, 0, 0))

    def has_next(self, epoch: int, step: int) -> bool:
        """Whether there is a slice that begins there."""
        if self._slices or self._ran_out:
            return bool(self._slices)
        return self.data_source.has_batch(epoch, step)

    def pop(self) -> LogSlice | None:
        """The next slice; `None` if the data ran out."""
        return self._slices.pop() if self._slices else None

    def pop_epochs(self) -> PassedEpochs:
        """The epochs that have run to their end, but for the last slice.

        To be called between two epochs.
        """
        return self._slices.pop_epochs()

    def raise_interrupt(self) -> None:
        """Raises a Ctrl-C that came in the last block."""
        self._interrupts.raise_pending()

    def begin_epoch(self) -> None:
        """Resets the metrics, unless the program does."""
        self._ran_out = False
        if not self._spans_epochs and not self._slices:
            self.model.reset_metrics()

    def epoch_logs(self) -> Any:
        """What `History` shows of an epoch that is broken off or just over.

        Of a step that returns no dict, what it returned last.
        """
        means = None if self._step is None else self._means.so_far()
        if self._step is None or means is None:
            return {}
        if not isinstance(self._logs, dict):
            return self._logs
        names, results = self._step.layout.returned, self._step.origins.results
        named = dict(zip(names, means.tolist(), strict=True))
        return {
            name: results[name]() if name in results else named.get(name, value)
            for name, value in self._logs.items()
        }

    def fill(self, epoch: int, step: int, is_last: bool = False) -> None:
        """Runs a block if the queue is empty, unless the data ran out.

        Args:
            epoch, step: Where it begins.
            is_last: Whether it is known to be the last one: then no more
                steps are run than an execution has.
        """
        if self._slices or self._ran_out:
            return
        self._check_process()
        self._interrupts.raise_pending()
        runner = function_of(self.model, self._pace.mode)
        compiled = runner.compiled_for(self.data_source)
        if self._spans_epochs and compiled.step is not self._step:
            # It has yet to be seen whether it resets metrics by itself.
            self._spans_epochs = False
            if step == 0:
                self.model.reset_metrics()
        source, length = self.data_source, self.data_source.steps_per_epoch
        steps = min(
            self._pace.steps(
                compiled.speed, length, epoch, step, self._spans_epochs
            ),
            source.most_steps,
            (self._pace.fixed_steps or 1) if is_last else math.inf,
        )
        self.block_steps = int(steps)
        left = self._pace.steps_left(length, epoch, step)
        with self._interrupts.held_back():
            # Not asked again: each of several workers has a pace of its own.
            result, self._step = runner.run(
                compiled, self._request(epoch, step, steps, left)
            )
            self._spans_epochs = result.epoch_results is not None
            self.last_batch = result.last_batch
            self._ran_out = (
                not source.plan.epochs_can_follow
                and len(result.rows) < steps
                and not result.halted
            )
            if len(result.rows):
                slots = self._step.layout.slots(result.rows)
                self._is_stopped = bool(
                    slots.size and reports.asked_to_stop(slots)
                )
                self._slices = self._sliced(result, self._step, step)

    def _request(
        self, epoch: int, step: int, steps: float, left: float
    ) -> BlockRequest:
        max_steps = self._pace.fixed_steps or math.inf
        return BlockRequest(
            self.data_source, epoch, step, steps, max_steps, left
        )

    def _check_process(self) -> None:
        """Refuses to train in a forked process."""
        if os.getpid() != self._process:
            raise RuntimeError(
                "Training must continue in the process that began it. "
                f"Received: process {os.getpid()}, forked from process "
                f"{self._process}, which continues by itself. End a forked "
                "process by `os._exit`." + more("forked-process")
            )

    def _sliced(
        self, result: BlockResult, step: ReplicatedStep, first: int
    ) -> Slices:
        """Cuts the steps of a block into epochs, and those into slices.

        Args:
            result: The block.
            step: The step that ran.
            first: Which step of its epoch the block began with.
        """
        names = step.layout.returned
        if self._names not in (None, names):
            # The model was compiled within an epoch; this is a new sum.
            self._means = EpochMeans()
        self._names = names
        ended = 0 if result.epoch_results is None else len(result.epoch_results)
        length = self.data_source.steps_per_epoch
        lengths = [length or 0] * ended
        if ended:
            lengths[0] -= first
        lengths.append(len(result.rows) - sum(lengths))
        examples, values = _counting(step, result.rows)
        states = [names.index(name) for name in step.origins.states]
        means = self._means.add(examples, values, lengths, states)
        if ended:
            of_metrics = [names.index(name) for name in step.origins.results]
            means[:, of_metrics] = result.epoch_results
        by_name = dict(zip(names, means.T.tolist(), strict=True))
        return Slices(
            lengths,
            # In the order in which Keras's callbacks get them
            dict(sorted(by_name.items())),
            self._logs_of(result, step),
            self._pace.max_slice,
            self._pace.fixed_steps,
        )

    def _logs_of(
        self, result: BlockResult, step: ReplicatedStep
    ) -> Callable[[int], Any]:
        """A function that gives what a step of a block returned."""
        self._logs = result.logs
        if step.returns_scalars:
            layout = step.layout
            self._logs = dict.fromkeys(layout.returned)
            return lambda index: layout.logs(result.rows[index])
        return lambda index: result.logs


def _counting(
    step: ReplicatedStep, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Examples and scalars of steps; zeros for those that were reverted."""
    layout = step.layout
    examples, values = layout.examples(rows), layout.returned_values(rows)
    if step.check is None:
        return examples, values
    counts = ~(layout.verdicts(rows) > 0)
    return np.where(counts, examples, 0), np.where(counts[:, None], values, 0)

"""Steps that have run, handed out slice by slice, with the logs of epochs."""

import collections
import os
from typing import Any, NamedTuple

import numpy as np

from gdtrain.common.signals import Interrupts
from gdtrain.step.provenance import Origins


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

    def __init__(self):
        self._sums = None  # Of the epoch that has begun; examples first

    def add(self, examples, values, lengths, states=()):
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
        lengths = np.asarray(lengths)
        present = lengths > 0
        starts = (np.cumsum(lengths) - lengths)[present]
        sums[present] = np.add.reduceat(weighted, starts, axis=0)
        if self._sums is not None:
            sums[0] += self._sums
        if states:
            self._keep_last(sums, examples, values, lengths, list(states))
        self._sums = sums[-1]
        return _means(sums[:-1])

    def _keep_last(self, sums, examples, values, lengths, states):
        """Makes the last value of some scalars the mean that comes out."""
        ends = np.cumsum(lengths)
        for epoch, (count, end) in enumerate(zip(lengths, ends, strict=True)):
            counted = np.flatnonzero(examples[end - count : end])
            if len(counted):
                last = values[end - count + counted[-1], states]
            elif epoch == 0 and self._sums is not None:
                last = _means(self._sums)[states]
            else:
                continue
            weighted = sums[epoch, 1:]  # A view
            weighted[states] = last * sums[epoch, 0]

    def get_state(self):
        """The sums of the epoch that has begun, or `None`."""
        return self._sums

    def set_state(self, state):
        """Goes on from what `get_state` gave."""
        self._sums = state

    def so_far(self):
        """Means of the epoch that has begun, `[width]`; starts anew."""
        sums, self._sums = self._sums, None
        return None if sums is None else _means(sums)


def _means(sums):
    with np.errstate(invalid="ignore"):
        return sums[..., 1:] / sums[..., :1]


def logs_of_epoch(logs: Any, origins: Origins, means: dict[str, float]) -> Any:
    """The logs of an epoch, from those of its last step.

    Args:
        logs: What the last step returned; passed on if it is no dict.
        origins: Where the scalars in it come from.
        means: Means over the epoch, or last values of states, by name.

    Returns:
        A dict with the keys of `logs`.
    """
    if not isinstance(logs, dict):
        return logs
    return {
        name: origins.results[name]()
        if name in origins.results
        else means.get(name, value)
        for name, value in logs.items()
    }


class Section(NamedTuple):
    """Steps of one epoch, as callbacks hear of them.

    Args:
        steps: How many.
        counted: How many an execution counts for, whether or not it has as
            many, as in Keras.
        logs: A function that gives what the last of them returned.
        epoch_logs: What `History` shows of the epoch that ends with them;
            `None` if it does not, or if that is still to be found out.
    """

    steps: int
    counted: int
    logs: Any
    epoch_logs: Any


class Ahead:
    """Runs blocks, which may run ahead of what is handed out.

    Args:
        model: A `DescentTrainer`, compiled.
        made: Returns the `Execution` that runs the steps. It is asked before
            each block, as callbacks may have a new one made.
        feed: The feed.
        pace: The `Pace`.
        horizon: Given an epoch, says how many epochs, with it, end before
            something in Python must see the model, and how many are left.
    """

    def __init__(self, model, made, feed, pace, horizon):
        self._model = model
        self._made = made
        self._feed = feed
        self._pace = pace
        self._horizon = horizon
        self._ready: collections.deque = collections.deque()
        self._means = EpochMeans()
        self._names: tuple[str, ...] | None = None  # Of what it means
        self._logs = {}  # What the last step returned
        self._step: Any = None  # The `ReplicatedStep` that ran last
        self._spans = False
        self._ran_out = False  # The data, in this epoch
        self._process = os.getpid()
        self._interrupts = Interrupts()
        self.last_batch: Any = None  # Of the step that the guard halted at

    @property
    def is_idle(self):
        """Whether all steps that have run were handed out."""
        return not self._ready

    def get_state(self):
        """What it knows of the epoch that has begun."""
        logs = self._logs
        # Others than a dict of numbers are known again after the next block.
        known = self._step is not None and self._step.returns_scalars
        return {"sums": self._means.get_state(), "logs": logs if known else {}}

    def set_state(self, state):
        """Goes on from what `get_state` gave, with nothing handed out."""
        self._ready.clear()
        self._means.set_state(state["sums"])
        self._names = None
        self._logs = dict(state["logs"])
        self._spans = self._ran_out = False

    def trace(self, epoch, step):
        """Has the program made, with its variables, without running it."""
        self._step = self._made().trace(
            self._feed, epoch, step, self._pace.most
        )

    def has_next(self, epoch, step):
        """Whether there is a section that begins there."""
        if self._ready or self._ran_out:
            return bool(self._ready)
        return self._feed.has_batch(epoch, step)

    def next(self, epoch, step, is_last=False):
        """The section that begins there; `None` if the data ran out.

        Args:
            epoch, step: Where.
            is_last: Whether it is known to be the last one: then no more
                steps are run than an execution has.
        """
        if not self._ready and not self._ran_out:
            self._run(epoch, step, is_last)
        return self._ready.popleft() if self._ready else None

    def end(self):
        """Raises a Ctrl-C that came in the last block."""
        self._interrupts.raise_pending()

    def begin_epoch(self):
        """Resets the metrics, unless the program does."""
        self._ran_out = False
        if not self._spans and not self._ready:
            self._model.reset_metrics()

    def epoch_logs(self):
        """What `History` shows of an epoch that is broken off or just over."""
        if self._step is None:
            return {}
        means = self._means.so_far()
        if means is None:
            return {}
        names = self._step.layout.returned
        named = dict(zip(names, means.tolist(), strict=True))
        return logs_of_epoch(self._logs, self._step.origins, named)

    def _run(self, epoch, step, is_last):
        """Runs the next block."""
        if os.getpid() != self._process:
            raise RuntimeError(
                "Training must go on in the process that began it. Received: "
                f"process {os.getpid()}, forked from process {self._process}, "
                "which goes on by itself. End a forked process by `os._exit`."
            )
        self._interrupts.raise_pending()
        in_epoch = until_seen = left = None
        length = self._feed.steps_per_epoch
        if length is not None:
            epochs_until_seen, epochs_left = self._horizon(epoch)
            in_epoch = until_seen = length - step
            left = in_epoch + (epochs_left - 1) * length
        execution = self._made()
        program = execution.program(self._feed)
        if self._spans and program.step is not self._step:
            # It has yet to be seen whether it resets metrics by itself.
            self._spans = False
            if step == 0:
                self._model.reset_metrics()
        if self._spans and self._pace.may_span_epochs(program.speed, length):
            until_seen = in_epoch + (epochs_until_seen - 1) * length
        steps = self._pace.steps(program.speed, in_epoch, until_seen)
        until_look = execution.steps_until_sync()
        steps = min(steps, self._feed.most_steps, until_look)
        if is_last:
            steps = min(steps, self._pace.counted or 1)
        with self._interrupts.held_back():
            done, self._spans = execution.run(
                program,
                self._feed,
                epoch,
                step,
                steps,
                self._pace.most,
                left or 0,
            )
            self._step = program.step
            # Whoever asks again would, on several workers, ask alone: each
            # has a pace of its own.
            self.last_batch = done.last
            self._ran_out = (
                not self._feed.plan.epochs_can_follow
                and len(done.rows) < steps
                and not done.halted
            )
            if len(done.rows):
                self._cut(done, in_epoch, length)

    def _cut(self, done, in_epoch, length):
        """Cuts what a block brought into epochs, and those into sections."""
        names = self._step.layout.returned
        if self._names not in (None, names):
            # The model was compiled within an epoch; this is a new sum.
            self._means = EpochMeans()
        self._names = names
        lengths, epoch_logs = [len(done.rows)], []
        ended = 0 if done.ends is None else len(done.ends)
        if ended:
            lengths = [in_epoch] + [length] * (ended - 1)
            lengths.append(len(done.rows) - sum(lengths))
        origins = self._step.origins
        examples, values = self._counting(done.rows)
        means = self._means.add(
            examples,
            values,
            lengths,
            [names.index(name) for name in origins.states],
        )
        if ended:
            shown = means.copy()
            of_metrics = [names.index(name) for name in origins.results]
            shown[:, of_metrics] = done.ends
            # In the order in which Keras's callbacks get them
            by_name = np.argsort(names)
            names = sorted(names)
            epoch_logs = [
                dict(zip(names, values))
                for values in shown[:, by_name].tolist()
            ]
        last, piece = 0, self._pace.piece
        for count, logs in zip(lengths, [*epoch_logs, None], strict=True):
            while count:
                steps = min(count, piece)
                count -= steps
                last += steps
                self._ready.append(
                    Section(
                        steps,
                        self._pace.counted or steps,
                        self._logs_at(done, last - 1),
                        None if count else logs,
                    )
                )

    def _counting(self, rows):
        """Examples and scalars of steps; zeros for those that were left out."""
        layout = self._step.layout
        examples, values = layout.examples(rows), layout.returned_values(rows)
        if not self._step.guard:
            return examples, values
        counts = ~(layout.verdicts(rows) > 0)
        return np.where(counts, examples, 0), np.where(
            counts[:, None], values, 0
        )

    def _logs_at(self, done, index):
        """A function that gives what a step returned."""
        self._logs = done.logs
        if self._step.returns_scalars:
            layout = self._step.layout
            self._logs = dict.fromkeys(layout.returned)
            return lambda: layout.logs(done.rows[index])
        return lambda: done.logs

"""What the workers of a training report to each other, in each step.

A step of several processes adds up a vector over all replicas. In it, each
worker has a slot of its own, so that all of them read the reports of all in the
row of the same step, and decide alike: how long blocks are, when to save and
when to stop. It takes no collective operation more.

| number of a slot | what |
|---|---|
| signal | the number of the signal that the worker received; 0 for none |
| due | 1 if a checkpoint is due by its clock |
| stop | 1 if a callback of it has asked to stop |
| between | seconds between its last block and this one |
| examples | its examples in this step |
| elapsed | seconds from the beginning of the block |
| waited | seconds in the all-reduce of gradients of this step, and in the one \
that says whether any worker has a batch |
"""

import logging
import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from gdtrain.common.explained import more
from gdtrain.distributed.workers import Workers

_log = logging.getLogger("gdtrain")

WIDTH = 7  # Numbers of a slot
SENT = 4  # Those of them that Python gives, as integers
_MOST = 2**31 - 1  # Microseconds in an int32

_SECONDS = 1.0  # That are looked at together
_EXCESS = 0.25  # A straggler takes so much longer than the others for a step,
_SHARE = 0.1  # and they wait so much of their time.


class InGraph(NamedTuple):
    """What a worker has to report, in a program.

    Args:
        sent: What `Reports.sent` gave, int32 `[SENT]`.
        began: When the block began, a float64 scalar of seconds.
        waited: Seconds in which the batch of the step was waited for.
    """

    sent: tf.Tensor
    began: tf.Tensor
    waited: tf.Tensor

    @classmethod
    def begin(cls, sent: tf.Tensor) -> "InGraph":
        """At the beginning of a block."""
        return cls(sent, tf.timestamp(), tf.zeros(()))

    def slots(
        self, workers: int, examples: tf.Tensor, waited: float | tf.Tensor
    ) -> tf.Tensor:
        """This replica's part of the sum: zeros but for its worker's slot.

        Args:
            workers: How many there are, each with as many replicas.
            examples: How many examples the replica has, float32.
            waited: How many seconds its gradients were being reduced.

        Returns:
            Float32 `[workers * WIDTH]`.
        """
        context = tf.distribute.get_replica_context()
        replica = tf.cast(context.replica_id_in_sync_group, tf.int32)
        each = context.num_replicas_in_sync // workers
        # What is the same for all replicas of a worker is that of the first.
        is_first = tf.cast(replica % each == 0, tf.float32)
        *asked, between = tf.unstack(tf.cast(self.sent, tf.float32))
        waited = self.waited + waited
        with tf.control_dependencies([waited]):
            elapsed = tf.cast(tf.timestamp() - self.began, tf.float32)
        own = [*asked, between / 1e6, elapsed, waited]
        own = [is_first * number for number in own]
        own.insert(SENT, examples)
        slot = tf.one_hot(replica // each, workers)[:, tf.newaxis]
        return tf.reshape(slot * tf.stack(own), [-1])


class Times(NamedTuple):
    """What the workers did in a block, an array `[workers]` of each.

    Args:
        names: Their names.
        examples: How many examples each had.
        seconds: How long the block took, with what Python did before it.
        waiting: For how much of that a worker waited for others: what it
            reported, beyond that of the worker which came last.

    Example:

    >>> of_first = [0, 0, 0, 0, 8, 2.0, 1.5]
    >>> of_second = [0, 0, 0, 0, 8, 2.0, 0.5]
    >>> names = "worker-0", "worker-1"
    >>> times = Times.of(names, np.array([[of_first, of_second]]))
    >>> times.waiting.tolist(), times.examples_per_second.tolist()
    ([1.0, 0.0], [8.0, 4.0])
    """

    names: Sequence[str]
    examples: np.ndarray
    seconds: np.ndarray
    waiting: np.ndarray

    @classmethod
    def of(cls, names: Sequence[str], slots: np.ndarray) -> "Times":
        """Those in the slots of the steps of a block.

        Args:
            names: Of the workers.
            slots: `[steps, workers, WIDTH]`.
        """
        slots = np.asarray(slots, np.float64)
        between, examples, elapsed, waited = np.moveaxis(slots, -1, 0)[3:]
        waiting = waited - waited.min(1, keepdims=True)
        seconds = between[-1] + elapsed[-1]
        return cls(names, examples.sum(0), seconds, waiting.sum(0))

    @property
    def working(self) -> np.ndarray:
        """Seconds in which a worker did not wait for others."""
        return np.maximum(self.seconds - self.waiting, 1e-9)

    @property
    def examples_per_second(self) -> np.ndarray:
        """As many as a worker would have if it waited for nobody."""
        return self.examples / self.working

    def __add__(self, other: "Times") -> "Times":  # type: ignore[override]
        return Times(self.names, *map(np.add, self[1:], other[1:]))


class Stragglers:
    """Says in the log which worker the others wait for, if that changes.

    It looks at a second of training at a time, and believes what it sees twice:
    a pause of one worker now and then, as for a checkpoint, is none.

    Example:

    >>> stragglers, each = Stragglers(), np.array([8, 8])
    >>> slow = Times(["one", "two"], each, np.array([2, 2]), np.array([1.5, 0]))
    >>> stragglers.add(slow), stragglers.add(slow), stragglers.add(slow)
    (None, 'two', 'two')
    """

    def __init__(self) -> None:
        self._times: Times | None = None  # Of the second that has begun
        self._last: int | None = None  # What the last one showed
        self._known: int | None = None  # What is logged

    def add(self, times: Times) -> str | None:
        """Adds a block; returns the name of the straggler, if there is one."""
        if self._times is not None:
            times += self._times
        self._times = times
        if times.seconds.min() >= _SECONDS:
            self._times = None
            found = self._found(times)
            if found == self._last and found != self._known:
                self._known = found
                self._log(times)
            self._last = found
        return None if self._known is None else times.names[self._known]

    def _found(self, times: Times) -> int | None:
        """The place of a straggler."""
        slowest = int(times.working.argmax())
        ratio, share = self._compared(times, slowest)
        # One that is known stays so until it is much better.
        enough = 0.5 if slowest == self._known else 1.0
        is_slow = ratio - 1 >= enough * _EXCESS and share >= enough * _SHARE
        return slowest if is_slow else None

    def _compared(self, times: Times, slowest: int) -> tuple[float, float]:
        """How many times as long it works, and how long the others wait."""
        working, share = times.working, times.waiting / times.seconds
        ratio = working[slowest] / np.median(np.delete(working, slowest))
        return float(ratio), float(np.delete(share, slowest).mean())

    def _log(self, times: Times) -> None:
        if self._known is None:
            _log.info("No worker is much slower than the others any more.")
            return
        ratio, share = self._compared(times, self._known)
        _log.warning(
            "The worker %s is slower than the others: it takes %.1f times as "
            "long for a step, and they wait for it %.0f%% of the time."
            + more("slow-worker"),
            times.names[self._known],
            ratio,
            100 * share,
        )


class Reports:
    """What this worker reports with its blocks, and what all of them agreed.

    Args:
        workers: The processes that train together.

    Attributes:
        workers: The processes that train together.
        signal, due: What some worker reported with the last block.

    Example:

    >>> reports = Reports(Workers(tf.distribute.get_strategy()))
    >>> reports.send(signal=15, due=False)
    >>> reports.sent(stop=True)[:3]
    [15, 0, 1]
    >>> reports.read(np.zeros([1, 2, WIDTH]))  # Nobody knew of it yet.
    >>> reports.signal
    0
    """

    def __init__(self, workers: Workers) -> None:
        self.signal, self.due = 0, False
        self._own = [0, 0]
        self._read_at: float | None = None
        self._times: Times | None = None  # Of the last block
        self.workers = workers
        self._stragglers = Stragglers()

    def send(self, signal: int | None, due: bool) -> None:
        """Sets what the next block reports."""
        self._own = [signal or 0, int(due)]

    def begin(self) -> None:
        """Begins a training: no block came before the next one."""
        self.signal, self.due = 0, False
        self.send(0, False)
        self._read_at = None

    def sent(self, stop: bool) -> list[int]:
        """What the block that begins now reports, `SENT` integers.

        Args:
            stop: Whether a callback of this worker has asked to stop.
        """
        between = 0.0
        if self._read_at is not None:
            between = time.perf_counter() - self._read_at
        return [*self._own, int(stop), min(int(1e6 * between), _MOST)]

    def read(self, slots: np.ndarray, is_steady: bool = False) -> None:
        """Reads what all workers reported in a block.

        Args:
            slots: Of its steps, `[steps, workers, WIDTH]`.
            is_steady: Whether it took the time that such blocks take.
        """
        self._read_at = time.perf_counter()
        self.signal = int(slots[-1, :, 0].max())
        self.due = bool(slots[-1, :, 1].any())
        self._times = Times.of(self.workers.names, slots)
        if is_steady and self.workers.is_first:
            self._stragglers.add(self._times)

    def take_times(self) -> Times | None:
        """What the workers did in the last block, once."""
        times, self._times = self._times, None
        return times


def agreed_seconds(slots: np.ndarray) -> float:
    """How long a block took, the same number on all workers.

    That of the worker that began last, which waited for none at its beginning.

    Args:
        slots: Of its steps, `[steps, workers, WIDTH]`.
    """
    return float(slots[-1, :, 5].min())


def asked_to_stop(slots: np.ndarray) -> bool:
    """Whether a callback of some worker had asked to stop before a block.

    Args:
        slots: Of its steps, `[steps, workers, WIDTH]`.
    """
    return bool(slots[-1, :, 2].any())

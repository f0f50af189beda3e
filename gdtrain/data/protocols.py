"""Data sources, in Python, and batch plans, within a program.

A data source is what `fit` makes of its data. Its batch plan is the part that
is traced into a program; it depends on no data, so that one program serves
all sources whose plans have the same `key`. The two meet at each block: the
source gives the `block_inputs` that the plan makes batches of.
"""

import contextlib
import math
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

Structure = Any  # Nested tuples, lists and dicts
Inputs = Any  # What a plan makes batches of; its kind of `NamedTuple`
Opened = Any  # What stays the same from step to step of a block
Cursor = Any  # The position of a block
Fetched = Any  # A batch before it is split among replicas
Position = dict[str, Any]


class BatchPlan(Protocol):
    """How a program makes batches. All methods but `signature` are traced.

    A program calls `open` and `first` once for each block, `has_batch`,
    `fetch` and `advance` for each step, and `take` on each replica.

    Attributes:
        key: What programs depend on: plans with equal keys share programs.
        family: The key without the size of a batch of everything.
        examples: How many examples an epoch has; `None` if unknown.
        epochs_can_follow: Whether a block may continue into the next epoch,
            and its steps may be run again. Then it is an `ArrayPlan`.
        is_whole: Whether each batch is all examples, as they are.
    """

    key: str
    family: str
    examples: int | None = None
    epochs_can_follow: bool = False
    is_whole: bool = False

    def signature(self, block_inputs: Inputs, static: bool) -> Any:
        """What a program is traced for.

        Args:
            block_inputs: Those of a block.
            static: Whether sizes of data must be known, as XLA needs it.
        """
        return block_inputs

    def open(self, block_inputs: Inputs, static: bool) -> Opened:
        """What stays the same from step to step; see `signature`."""
        return block_inputs

    def first(self, opened: Opened) -> Cursor:
        """The cursor at the first step of a block."""

    def has_batch(self, opened: Opened, cursor: Cursor) -> tf.Tensor:
        """Whether there is a batch, apart from an uneven last one."""

    def fetch(
        self, opened: Opened, cursor: Cursor, last: bool = False
    ) -> Fetched:
        """What `take` makes a batch of.

        Args:
            opened, cursor: Where.
            last: Whether it is the uneven last batch of an epoch.
        """

    def advance(self, opened: Opened, cursor: Cursor, wanted: Any) -> Cursor:
        """The cursor at the next step, if that is `wanted`, a bool."""

    def take(self, fetched: Fetched) -> Structure:
        """A batch, or this replica's part of it."""
        return fetched


class DataSource(Protocol):
    """Where the batches of a fit come from.

    Attributes:
        plan: The batch plan of the next block.
        steps_per_epoch: `None` while unknown; it may change with
            `begin_epoch`.
        most_steps: The most steps of a block; may be infinite.
        batch_spec: A structure of `tf.TensorSpec`, of a batch before it is
            split among replicas.
    """

    batch_spec: Structure

    @property
    def plan(self) -> BatchPlan: ...

    @property
    def steps_per_epoch(self) -> int | None: ...

    @property
    def most_steps(self) -> float:
        return math.inf

    def begin_epoch(self, epoch: int, step: int) -> None:
        """Begins an epoch, or continues it with a step."""
        return None

    def has_batch(self, epoch: int, step: int) -> bool:
        """Whether there is a batch for this step."""
        return True

    def block_inputs(
        self, epoch: int, step: int, steps: int, room: int | None = None
    ) -> Inputs:
        """The inputs of a block.

        Args:
            epoch, step: Where it begins; the steps of an epoch count from 0.
            steps: How many steps it has.
            room: How many steps a program is compiled for by XLA. Defaults
                to `steps`.
        """

    def explained(self) -> contextlib.AbstractContextManager[None]:
        """While open, why data cannot be read is said by their own error.

        TensorFlow's error, which a block ends with, has it as text.
        """
        return contextlib.nullcontext()

    def end_epoch(self, steps: int, ran_out: bool) -> None:
        """Ends an epoch.

        Args:
            steps: How many steps it had.
            ran_out: Whether it ended for want of data.
        """
        return None

    def batch(
        self, epoch: int, step: int
    ) -> tuple[Structure, np.ndarray] | None:
        """A past batch, and the indices of its examples; `None` if gone."""
        return None

    def array_at(self, path: Sequence[Any]) -> Any:
        """The whole array at a path of the batch; `None` if there is none."""
        return None

    def fingerprint(self) -> dict[str, Any]:
        """What other data differ in; see `gdtrain.data.data_fingerprint`."""

    def position(self) -> Position:
        """The position between two blocks, beside (epoch, step).

        Raises:
            NoPosition: if it could not be restored.
        """

    def moved(
        self, position: Position | None, step: int, workers_differ: bool
    ) -> Position | None:
        """The position here of what others saved, for `go_to`.

        Args:
            position: What `position` returned where there was another number
                of replicas.
            step: Where it was in the epoch.
            workers_differ: Whether there was another number of processes, too.

        Raises:
            NoPosition: if the order of examples would differ.
        """
        return position

    def go_to(self, epoch: int, step: int, position: Position | None) -> None:
        """Goes to a position, which may come from an earlier process.

        Args:
            epoch, step: Where.
            position: What `position` returned there; may be `None` at the
                start of an epoch.

        Raises:
            NoPosition: if the data cannot be set there.
        """
        return None

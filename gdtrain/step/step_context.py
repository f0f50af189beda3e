"""What one step of one replica knows while it is traced or runs eagerly."""

import contextlib
import dataclasses
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from gdtrain.common import compilation
from gdtrain.common.explained import more
from gdtrain.descent import replicas
from gdtrain.descent.gradients import add_share as add_share
from gdtrain.descent.virtual_workers import VirtualWorkers
from gdtrain.step.guard import StepCheck
from gdtrain.step.measurer import Measurer, Update
from gdtrain.telemetry.row_layout import Column


class StepContext:
    """One step of one replica, while it is traced or runs eagerly.

    Args:
        measurer: The `Measurer` of the step; `None` to measure nothing.
        microbatches: How many micro-batches share one update.
        guard: The guard of the step, or `None`.
        workers: The virtual workers of the step, one for each micro-batch;
            `None` for none.
    """

    def __init__(
        self,
        measurer: Measurer | None = None,
        microbatches: int = 1,
        guard: StepCheck | None = None,
        workers: VirtualWorkers | None = None,
    ) -> None:
        self.measurer = measurer or Measurer()
        self.model = self.measurer.model
        self.examples = self.measurer.examples
        self.tape_record = TapeRecord()
        self.is_updating = False  # Whether an optimizer moves weights now
        # Whether a step without a known update moved any weight
        self.has_moved: tf.Tensor | None = None
        self.microbatches = microbatches
        self._guard = guard
        self.workers = workers
        self.descents = 0  # Updates in this micro-batch
        self._names: set[str | None] = set()  # Of updates by `descend`
        # Of others: by optimizer's name and weights
        self._own_names: dict[tuple, str] = {}
        self._seen = 0  # Micro-batches seen, with this one
        self._total: list[Any] | None = None
        #: Seconds in the all-reduce of gradients, if others are to know
        self.waited: Any = 0.0

    @property
    def updates_now(self) -> bool:
        """Whether this is the micro-batch that completes the update."""
        return self.microbatches == 1 or self._seen == self.microbatches

    @contextlib.contextmanager
    def microbatch(self, share: float | tf.Tensor) -> Iterator[None]:
        """Surrounds the forward and backward pass of one micro-batch.

        Args:
            share: Its share of the batch's examples.
        """
        self._seen += 1
        self.measurer.share = share
        self.descents = 0
        # In turn: in parallel they would need the memory of all.
        total = self.workers.latest if self.workers else self._total or ()
        with tf.control_dependencies(_present(total)):
            yield
            self.measurer.end_microbatch()

    def check_descended(self) -> None:
        """Refuses a `train_step` whose update cannot wait for the last part.

        Raises:
            RuntimeError: if a batch is split, and the step made no update.
        """
        if self.split and not self.descents:
            raise RuntimeError(
                f"`compile({self.split})` needs a `train_step` that calls "
                "`self.descend(tape, loss)`, which waits for the last part of "
                "a batch. This one moves the weights otherwise. Call "
                "`self.descend` in it, or leave out that argument."
                + more("parts-of-a-batch")
            )

    @property
    def split(self) -> str:
        """The argument of `compile` that splits a batch; `""` for none."""
        if self.workers is not None:
            return f"reproducible_workers={self.workers.count}"
        if self.microbatches > 1:
            return f"microbatches={self.microbatches}"
        return ""

    def begin_descent(self, name: str | None) -> None:
        """Counts an update of this step, and checks that its name is unique.

        Raises:
            ValueError: if it is a second one without a name of its own, or
                with micro-batches.
        """
        self._count_update()
        if self.descents > 1 and (name is None or None in self._names):
            raise ValueError(
                "Several updates in one step need a name each, under which "
                "their telemetry appears. Write for example "
                "`self.descend(tape, loss, weights, name='generator')`."
                + more("train-step")
            )
        self._names.add(name)

    def begin_own_update(
        self, optimizer_name: str, weights: list[keras.Variable]
    ) -> str:
        """Counts an update that the step makes without `descend`.

        Args:
            optimizer_name: The name of its optimizer.
            weights: What it moves, a list.

        Returns:
            The update's name: that of the optimizer, with a number if it
            moves other weights as well.

        Raises:
            ValueError: if it is a second one, with micro-batches; or with
                reproducible workers.
        """
        if self.workers is not None:
            raise ValueError(
                f"With {self.split}, a `train_step` must call "
                "`self.descend(tape, loss)`. Received: one that calls the "
                f"`apply` of {optimizer_name!r}, which adds up gradients over "
                "replicas in an order of its own. Replace `apply` by "
                "`self.descend`." + more("parts-of-a-batch")
            )
        self._count_update()
        moved = optimizer_name, *map(id, weights)
        if moved not in self._own_names:
            others = [key for key in self._own_names if key[0] == moved[0]]
            number = f"_{len(others) + 1}" if others else ""
            self._own_names[moved] = f"{optimizer_name}{number}"
        return self._own_names[moved]

    def _count_update(self) -> None:
        self.descents += 1
        if self.descents > 1 and self.split:
            raise ValueError(
                "A step with several updates cannot be split into parts that "
                f"run in turn. Received: {self.split}. Compile without it."
                + more("parts-of-a-batch")
            )

    def measured(self) -> list[tuple[list[Column], tf.Tensor]]:
        """What was measured: a list of `(columns, vector)`.

        The names of an update's numbers begin with the update's name. An
        update without `descend` needs none if it is the only one.
        """
        names = {name for name, _ in self.measurer.measured}
        own = set(self._own_names.values())
        found = []
        for (name, _), (columns, vector) in self.measurer.measured.items():
            alone = name in own and len(names) == 1
            if name is not None and not alone:
                columns = [
                    dataclasses.replace(column, name=f"{name}/{column.name}")
                    for column in columns
                ]
            found.append((columns, vector))
        return found

    def mean_over_microbatches(
        self, loss: tf.Tensor | None, gradients: list[Any]
    ) -> list[Any]:
        """The mean over the micro-batches seen so far.

        Args:
            loss, gradients: This micro-batch's loss and list of gradients;
                `None` stays.

        Returns:
            A list of the loss and the gradients; complete when `updates_now`.
            Those of virtual workers are added by `mean_over_replicas`.
        """
        self.measurer.add_gradients(gradients)
        tensors = [loss, *gradients]
        if self.workers is not None:
            self.workers.add(tensors)
            return tensors
        if self.microbatches == 1:
            return tensors
        self._total = add_share(self._total, tensors, self.measurer.share)
        return self._total

    def mean_over_replicas(self, tensors: list[Any]) -> list[Any]:
        """The mean of tensors over replicas, weighted by their examples.

        Those of virtual workers are what `mean_over_microbatches` received.
        """
        workers = self.workers
        if workers is not None:
            return self._timed(tensors, lambda _: workers.mean())
        return self._sealed(
            self._timed(
                tensors, lambda some: replicas.mean(some, self.examples)
            )
        )

    def sum_over_replicas(self, gradients: list[Any]) -> list[Any]:
        """The sum over replicas of what an optimizer would add up."""
        return self._sealed(self._timed(gradients, replicas.sums))

    def _timed(
        self, tensors: list[Any], reduce: Callable[[list[Any]], list[Any]]
    ) -> list[Any]:
        """What `reduce` makes of tensors, timed if others are to know."""
        clock = self.measurer.clock
        if clock is None or clock.report is None or compilation.by_xla():
            return reduce(tensors)
        with tf.control_dependencies(_present(tensors)):
            begin = tf.timestamp()
        with tf.control_dependencies([begin]):
            tensors = [None if t is None else tf.identity(t) for t in tensors]
        reduced = reduce(tensors)
        with tf.control_dependencies(_present(reduced)):
            self.waited += tf.cast(tf.timestamp() - begin, tf.float32)
        return reduced

    def _sealed(self, tensors: list[Any]) -> list[Any]:
        """Tensors that XLA rounds equally whether or not they are measured."""
        zero = self._zero
        if zero is None:
            return tensors
        return [compilation.sealed(tensor, zero) for tensor in tensors]

    def seal(
        self, variables: list[keras.Variable], before: list[tf.Tensor]
    ) -> None:
        """Makes XLA round variables equally with and without a guard.

        XLA rounds a moving average differently if it may be reset at the end
        of the step (seen in TensorFlow 2.21 for CPUs). So it always may.

        Args:
            variables: Float variables that the step has moved.
            before: A tensor for each: its value before the step.
        """
        zero = self._zero
        if zero is None:
            return
        for variable, value in zip(variables, before, strict=True):
            now = compilation.sealed(tf.convert_to_tensor(variable), zero)
            variable.assign(tf.where(zero > 0, value, now))

    @property
    def _zero(self) -> tf.Tensor | None:
        """0, which XLA cannot know; `None` where XLA does not compile."""
        clock = self.measurer.clock
        if clock is None or not compilation.by_xla():
            return None
        return tf.cast(clock.step < 0, tf.int32)

    def check_loss(self, loss: tf.Tensor | None) -> None:
        """Shows the guard the loss of the update that comes next."""
        if self._guard is not None:
            self._guard.note_loss(loss)

    @contextlib.contextmanager
    def measuring(self, made: Update) -> Iterator[None]:
        """Surrounds the optimizer's step of an update, and measures it."""
        outer, self.is_updating = self.is_updating, True
        try:
            with self.measurer.around(made):
                yield
        finally:
            self.is_updating = outer


def _present(tensors: Iterable[Any]) -> list[Any]:
    return [tensor for tensor in tensors if tensor is not None]


class _State(threading.local):  # MirroredStrategy: a thread for each replica
    context: StepContext | None = None


_state = _State()


@contextlib.contextmanager
def entered(context: StepContext) -> Iterator[StepContext]:
    """While open, `current` gives `context` in this thread."""
    outer, _state.context = _state.context, context
    try:
        yield context
    finally:
        _state.context = outer


def inside() -> StepContext | None:
    """The context of the step that this thread is in; `None` outside."""
    return _state.context


def current() -> StepContext:
    """The context of the step that this thread is in.

    Outside any step, as in a loop of the user's own, a new one: a step by
    itself that measures nothing.
    """
    return _state.context or StepContext()


class GradientCall(NamedTuple):
    """One call of `tape.gradient`.

    Args:
        target: What was differentiated.
        sources: With respect to what, a flat list.
        found: The gradients, a flat list.
        values: Values of the sources at the time; `None` if they were not
            asked for, or if some are no variables.
    """

    target: Any
    sources: list[Any]
    found: list[Any]
    values: list[Any] | None


_VARIABLES = keras.Variable, tf.Variable, tf.distribute.DistributedValues


class TapeRecord:
    """What the tapes and loss scales of one step were asked for."""

    def __init__(self) -> None:
        self.calls: list[GradientCall] = []
        self._unscaled: list[tuple[Any, Any]] = []  # (scaled loss, loss)

    def add_call(
        self, target: Any, sources: Any, found: Any, keep_values: bool
    ) -> None:
        """Remembers a call of `tape.gradient`."""
        sources = keras.tree.flatten(sources)
        values = None
        if keep_values and all(isinstance(s, _VARIABLES) for s in sources):
            values = [tf.identity(source) for source in sources]
        found = keras.tree.flatten(found)
        self.calls.append(GradientCall(target, sources, found, values))

    def add_scaled_loss(self, loss: Any, scaled: Any) -> None:
        """Remembers a loss that was scaled against underflow of float16."""
        self._unscaled.append((scaled, loss))

    def loss_of(self, gradient: list[Any], weights: list[Any]) -> Any:
        """The loss that gradients belong to, a scalar; `None` if unknown.

        That of the call which returned them; if they were changed since, that
        of the last call for the same weights.
        """
        given = {id(g) for g in gradient if g is not None}
        moved = {id(weight) for weight in weights}
        calls = self.calls[::-1]
        same = [c for c in calls if given & {id(g) for g in c.found}]
        alike = [c for c in calls if moved <= {id(s) for s in c.sources}]
        return self.loss(next(iter(same or alike), None))

    def loss(self, call: GradientCall | None) -> Any:
        """The loss of a call of `tape.gradient`, without any loss scale."""
        if call is None:
            return None
        target = call.target
        for scaled, loss in self._unscaled:
            if scaled is target:
                target = loss
        parts = [tf.convert_to_tensor(t) for t in keras.tree.flatten(target)]
        if not parts or not all(t.dtype.is_floating for t in parts):
            return None
        return tf.add_n([tf.reduce_mean(tf.cast(t, tf.float32)) for t in parts])

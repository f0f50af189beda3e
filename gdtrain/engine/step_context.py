"""What `descend` finds out about the step it is called in."""

import contextlib
import threading
import warnings

import tensorflow as tf

from gdtrain.descent import microbatches
from gdtrain.telemetry.record import Record, layer_of, learning_rates

_state = threading.local()  # MirroredStrategy: a thread for each replica


class StepContext:
    """One step of one replica, while it is traced or runs eagerly.

    Args:
        quantities: The quantities to measure, a tuple.
        examples: How many examples this replica's part of the batch has.
        microbatches: How many micro-batches share one update.
    """

    def __init__(self, quantities=(), examples=1, microbatches=1):
        self.quantities = quantities
        self.examples = examples
        self.microbatches = microbatches
        self.measured = {}  # Column name -> (scalar, quantity's name)
        self.descents = 0  # Calls of `descend` in this micro-batch
        self._graph = _graph()
        self._names = set()
        self._seen = 0  # Micro-batches seen, with this one
        self._share = 1.0
        self._total = None

    @property
    def updates_now(self):
        """Whether this is the micro-batch that completes the update."""
        return self.microbatches == 1 or self._seen == self.microbatches

    @contextlib.contextmanager
    def microbatch(self, share):
        """Surrounds the forward and backward pass of one micro-batch.

        Args:
            share: Its share of the batch's examples.
        """
        self._seen += 1
        self._share = share
        self.descents = 0
        # One after another: in parallel they would need the memory of all.
        before = [t for t in self._total or () if t is not None]
        with tf.control_dependencies(before):
            yield
        if self.microbatches > 1 and not self.descents:
            raise RuntimeError(
                f"`compile(microbatches={self.microbatches})` needs a "
                "`train_step` that calls `self.descend(tape, loss)`, which "
                "waits for the last micro-batch. This one updates the weights "
                "by itself. Call `self.descend` in it, or leave out "
                "`microbatches`."
            )

    def begin_descent(self, name):
        """Counts an update of this step, and checks that it can be told apart.

        Raises:
            ValueError: if it is a second one without a name of its own, or
                with micro-batches.
        """
        self.descents += 1
        if self.descents > 1 and self.microbatches > 1:
            raise ValueError(
                "A step with several updates cannot be split into "
                f"micro-batches. Received: microbatches={self.microbatches}. "
                "Compile with microbatches=1."
            )
        if self.descents > 1 and (name is None or None in self._names):
            raise ValueError(
                "Several updates in one step need a name each, under which "
                "their telemetry appears. Write for example "
                "`self.descend(tape, loss, weights, name='generator')`."
            )
        self._names.add(name)

    def mean_so_far(self, tensors):
        """The mean over the micro-batches seen so far.

        Args:
            tensors: A list of this micro-batch's tensors; `None` stays.

        Returns:
            A list like it; complete when `updates_now`.
        """
        if self.microbatches == 1:
            return tensors
        self._total = microbatches.add(self._total, tensors, self._share)
        return self._total

    @contextlib.contextmanager
    def measuring(self, name, model_name, loss, gradients, weights, optimizer):
        """Surrounds one update, and measures the quantities of it.

        Args:
            name: The update's name, put in front of each; `None` for none. An
                update later in the step under the same name takes its place.
            model_name: The model's name.
            loss, gradients, weights, optimizer: Of the update.
        """
        if not self.quantities or not self._can_measure(name):
            yield
            return
        rates = learning_rates(optimizer)
        before = [tf.identity(weight) for weight in weights]
        yield
        record = Record(
            loss=loss,
            learning_rates=rates,
            gradients=[
                tf.zeros_like(old) if g is None else tf.convert_to_tensor(g)
                for g, old in zip(gradients, before, strict=True)
            ],
            weights_before=before,
            weights_after=[tf.convert_to_tensor(w) for w in weights],
            layers=[layer_of(weight, model_name) for weight in weights],
        )
        prefix = "" if name is None else f"{name}/"
        for quantity in self.quantities:
            for column, scalar in quantity.measure(record).items():
                self.measured[prefix + column] = (scalar, quantity.name)

    def _can_measure(self, name):
        """Whether what is measured now can leave the step; warns if not."""
        if _graph() is self._graph:
            return True
        warnings.warn(
            f"The update {name or ''} is made within tf.cond or a loop, from "
            "which its telemetry cannot leave. The update itself is made. To "
            "see it, call `descend` in every step.",
            stacklevel=4,
        )
        return False


def _graph():
    """The graph that is being traced; `None` when running eagerly."""
    if tf.executing_eagerly():
        return None
    return tf.compat.v1.get_default_graph()


@contextlib.contextmanager
def entered(context):
    """While open, `current` gives `context` in this thread."""
    outer = getattr(_state, "context", None)
    _state.context = context
    try:
        yield context
    finally:
        _state.context = outer


def current():
    """The context of the step that this thread is in.

    Outside any step, as in a loop of the user's own, a new one: a step by
    itself that measures nothing.
    """
    context = getattr(_state, "context", None)
    if context is not None:
        return context
    return StepContext()

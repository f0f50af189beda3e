"""What `descend` finds out about the step it is called in."""

import contextlib
import threading

import tensorflow as tf

from gdtrain import compilation
from gdtrain.descent import microbatches, replicas
from gdtrain.engine.measuring import Measuring

_state = threading.local()  # MirroredStrategy: a thread for each replica


class StepContext:
    """One step of one replica, while it is traced or runs eagerly.

    Args:
        telemetry: The `Measuring` of the step; `None` to measure nothing.
        examples: How many examples this replica's part of the batch has.
        microbatches: How many micro-batches share one update.
        guard: The `Guard` of the step, or `None`.
    """

    def __init__(
        self, telemetry=None, examples=1, microbatches=1, guard=None
    ):
        self.telemetry = telemetry or Measuring()
        self.examples = examples
        self.microbatches = microbatches
        self._guard = guard
        self.descents = 0  # Calls of `descend` in this micro-batch
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
            self.telemetry.notes.begin_microbatch(share)
            yield
            self.telemetry.notes.end_microbatch()
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

    def mean_over_microbatches(self, loss, gradients):
        """The mean over the micro-batches seen so far.

        Args:
            loss, gradients: This micro-batch's loss and list of gradients;
                `None` stays.

        Returns:
            A list of the loss and the gradients; complete when `updates_now`.
        """
        self.telemetry.notes.note_gradients(gradients)
        tensors = [loss, *gradients]
        if self.microbatches == 1:
            return tensors
        self._total = microbatches.add(self._total, tensors, self._share)
        return self._total

    def mean_over_replicas(self, tensors):
        """The mean of tensors over replicas, weighted by their examples."""
        means = replicas.mean(tensors, self.examples)
        if not self._is_by_xla:
            return means
        # Who looks at gradients must not change what becomes of them.
        return [compilation.sealed(mean, self._zero) for mean in means]

    def seal(self, variables, before):
        """Keeps variables from coming out otherwise where they are guarded.

        XLA rounds a moving average otherwise if it may be set back in the end
        (seen in TensorFlow 2.21 for CPUs). So it always may.

        Args:
            variables: Float variables that the step has moved.
            before: A tensor for each: its value before the step.
        """
        if not self._is_by_xla:
            return
        for variable, value in zip(variables, before, strict=True):
            now = compilation.sealed(
                tf.convert_to_tensor(variable), self._zero
            )
            variable.assign(tf.where(self._zero > 0, value, now))

    @property
    def _is_by_xla(self):
        return compilation.by_xla() and self.telemetry.clock is not None

    @property
    def _zero(self):
        """0, which XLA cannot know."""
        return tf.cast(self.telemetry.clock.step < 0, tf.int32)

    def measuring(self, name, model, loss, gradients, weights, optimizer):
        """Surrounds one update: measures it, and shows it to the guard.

        Args:
            name: The update's name; `None` for none.
            model: The model.
            loss, gradients, weights, optimizer: Of the update.
        """
        if self._guard is not None:
            self._guard.look(loss, gradients, optimizer)
        return self.telemetry.update(
            name, model, loss, gradients, weights, optimizer, self.examples
        )


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

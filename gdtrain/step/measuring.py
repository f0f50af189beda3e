"""Measures the updates of one step on one replica."""

import contextlib
import dataclasses
import warnings

import tensorflow as tf

from gdtrain.descent import replicas
from gdtrain.descent.optimizers import learning_rates
from gdtrain.step.activation_tap import BatchNotes
from gdtrain.telemetry import measurement
from gdtrain.telemetry.clock import when
from gdtrain.telemetry.layer_names import layer_of
from gdtrain.telemetry.record import Record
from gdtrain.telemetry.row_layout import Column


class RepeatedLoss:
    """Repeats the forward pass of a step, leaving no trace.

    With the same random numbers, and moving averages as they were before it.

    Args:
        model: A `DescentTrainer`.
    """

    def __init__(self, model):
        self._model = model
        self._parts = []
        self._before = []

    def begin(self, parts):
        """Remembers how things are before the step.

        Args:
            parts: The batch in micro-batches, a list of `(part, share)`.
        """
        self._parts = parts
        self._before = self._state()

    def __call__(self):
        """The mean loss of the micro-batches, a float32 scalar."""
        now = self._state()
        self._set(self._before)
        loss = sum(
            tf.math.multiply_no_nan(
                tf.cast(self._model.loss_again(part), tf.float32),
                tf.cast(share, tf.float32),
            )
            for part, share in self._parts
        )
        self._set(now)
        return loss

    def _state(self):
        """What a forward pass may change: `(variable, value)` of each."""
        model = self._model
        variables = {
            id(variable): variable
            for variable in (
                *model.non_trainable_variables,
                *model.metrics_variables,
            )
        }
        return [(v, tf.identity(v)) for v in variables.values()]

    def _set(self, state):
        for variable, value in state:
            variable.assign(value)


class Measuring:
    """What is measured in one step, while it is traced or runs eagerly.

    Args:
        groups: The `Group`s of quantities to measure, a tuple.
        clock: The `Clock` of the step.
        memory: The `Memory` of the model's quantities.
        repeated_loss: A `RepeatedLoss`; `None` if a step cannot be repeated.
    """

    def __init__(self, groups=(), clock=None, memory=None, repeated_loss=None):
        self.measured = {}  # By update and group: (columns, vector)
        self._groups = groups
        self.clock = clock
        self._memory = memory
        self._repeated_loss = None
        if any(
            "loss_after" in quantity.needs
            for group in groups
            for quantity in group.quantities
        ):
            self._repeated_loss = repeated_loss
        self._graph = current_graph()
        self.notes = BatchNotes(self._if_due, self._graph)

    def begin(self, parts):
        """Begins the step.

        Args:
            parts: The batch in micro-batches, a list of `(part, share)`.
        """
        if self._repeated_loss is not None:
            self._repeated_loss.begin(parts)

    @contextlib.contextmanager
    def update(
        self, name, model, loss, gradients, weights, optimizer, examples
    ):
        """Surrounds one update, and measures the quantities of it.

        Args:
            name: The update's name; `None` for none. An update later in the
                step under the same name takes its place.
            model: The model.
            loss, gradients, weights, optimizer: Of the update.
            examples: How many examples this replica has.
        """
        if not self._groups or not self._can_measure(name):
            yield
            return
        rates = learning_rates(optimizer)
        before = [tf.identity(weight) for weight in weights]
        yield
        self.note(
            name, model, loss, gradients, weights, before, rates, examples
        )

    @property
    def can_note(self):
        """Whether anything is to be measured, and can be here."""
        return bool(self._groups) and self.is_outermost

    def note(
        self, name, model, loss, gradients, weights, before, rates, examples
    ):
        """Measures an update that has been made.

        Args:
            name, model, loss, gradients, weights, examples: As in `update`;
                `loss` is `None` if it is not known.
            before: What the weights were before it.
            rates: Its learning rates by name; none if there is no optimizer.
        """
        layers = [layer_of(weight, model.name) for weight in weights]
        # Other weights, as after a layer was frozen, have a memory of theirs.
        kept_by = (name, *layers)
        record = Record(
            loss=loss,
            learning_rates=rates,
            gradients=[
                tf.zeros_like(old) if g is None else tf.convert_to_tensor(g)
                for g, old in zip(gradients, before, strict=True)
            ],
            weights_before=before,
            weights_after=[tf.convert_to_tensor(w) for w in weights],
            layers=layers,
            weights=before if self._graph is None else weights,
            step=self.clock.step,
            keep=lambda key, initial: self._memory.keep(
                (key, kept_by), initial
            ),
            parts=self.notes.parts(examples, model.microbatches),
            activations=self.notes.activations(examples),
            loss_after=self._loss_after(examples),
        )
        for index, group in enumerate(self._groups):
            self.measured[name, index] = self._measure(index, group, record)

    def _measure(self, index, group, record):
        """Measures a group, if it is due: `(columns, vector)`."""
        # What a record works out within tf.cond is for that branch alone.
        record = dataclasses.replace(record)
        columns: list[Column] = []

        def numbers():
            found, vector = measurement.measure(group.quantities, record)
            columns[:] = found
            return vector

        due = self.clock.is_due(index, group)
        return columns, _or_zeros(due, numbers)

    def _if_due(self, need, numbers):
        """`numbers()` if a quantity is due that needs it, else zeros.

        Returns:
            A vector; `None` if no quantity ever needs it.
        """
        due = [
            self.clock.is_due(index, group)
            for index, group in enumerate(self._groups)
            if any(need in quantity.needs for quantity in group.quantities)
        ]
        if not due:
            return None
        if any(one is True for one in due):
            return numbers()
        return _or_zeros(tf.reduce_any(tf.stack(due)), numbers)

    def _loss_after(self, examples):
        """The loss of the batch after the update; `None` if unknown."""
        if self._repeated_loss is None:
            return None
        loss = self._if_due(
            "loss_after", lambda: self._repeated_loss()[tf.newaxis]
        )
        return replicas.mean([loss], examples)[0][0]

    @property
    def is_outermost(self):
        """Whether what is made now can leave the step."""
        return current_graph() is self._graph

    def _can_measure(self, name):
        """Whether what is measured now can leave the step; warns if not."""
        if self.is_outermost:
            return True
        warnings.warn(
            f"The update {name or ''} is made within tf.cond, a loop or a "
            "tf.function of its own, from which its telemetry cannot leave. "
            "The update itself is made. To see it, make it in the "
            "`train_step` itself, at every step.",
            stacklevel=4,
        )
        return False


def _or_zeros(due, numbers):
    """A vector, or zeros in its place where it is not due."""
    size: list[int] = []

    def then():
        vector = numbers()
        size[:] = vector.shape
        return vector

    return when(due, then, lambda: tf.zeros(size))


def current_graph():
    """The graph that is being traced; `None` when running eagerly."""
    if tf.executing_eagerly():
        return None
    return tf.compat.v1.get_default_graph()

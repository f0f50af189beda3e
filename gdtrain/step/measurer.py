"""Measures the updates of one step on one replica."""

import contextlib
import dataclasses
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from gdtrain.descent import replicas, settings
from gdtrain.descent.optimizers import learning_rates
from gdtrain.keras_bridge import losses
from gdtrain.step.batch_tap import BatchTap
from gdtrain.telemetry import measurement
from gdtrain.telemetry.record import Record, StepVariables
from gdtrain.telemetry.requests import RequestGroup, StepClock, when
from gdtrain.telemetry.row_layout import Column, layer_of


class Update(NamedTuple):
    """An update of some weights.

    Args:
        name: Its name; `None` where a step has but one.
        model: The model.
        loss: Its loss, a scalar; `None` if it is not known.
        gradients: A tensor for each weight, before clipping; `None` where the
            loss does not depend on it.
        weights: The weights.
        optimizer: The Keras optimizer; `None` if there is none.
    """

    name: str | None
    model: keras.Model
    loss: tf.Tensor | None
    gradients: list[Any]
    weights: list[Any]
    optimizer: keras.optimizers.Optimizer | None


_Parts = Sequence[tuple[Any, Any]]  # Micro-batches, each with its share
_State = list[tuple[tf.Variable, tf.Tensor]]


class _RepeatedLoss:
    """Repeats the forward pass of a step, leaving no trace.

    With the same random numbers, and moving averages as they were before it.

    Args:
        model: A `DescentTrainer`.
    """

    def __init__(self, model: keras.Model) -> None:
        self._model = model
        self._parts: _Parts = ()
        self._before: _State = []

    def begin(self, parts: _Parts) -> None:
        """Remembers how things are before the step.

        Args:
            parts: The batch in micro-batches, a list of `(part, share)`.
        """
        self._parts = parts
        self._before = self._state()

    def __call__(self) -> tf.Tensor:
        """The mean loss of the micro-batches, a float32 scalar."""
        now = self._state()
        self._set(self._before)
        loss = sum(
            tf.math.multiply_no_nan(
                tf.cast(self._loss(part), tf.float32),
                tf.cast(share, tf.float32),
            )
            for part, share in self._parts
        )
        self._set(now)
        return loss

    def _loss(self, part: Any) -> tf.Tensor:
        """The loss of a micro-batch, as the default `train_step` finds it."""
        model = self._model
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(part)
        y_pred = model(x, training=True)
        return losses.compute_loss(model, x, y, y_pred, sample_weight)

    def _state(self) -> _State:
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

    def _set(self, state: _State) -> None:
        for variable, value in state:
            variable.assign(value)


class Measurer:
    """What is measured in one step, while it is traced or runs eagerly.

    Args:
        groups: The `RequestGroup`s of quantities to measure, a tuple.
        clock: The `StepClock` of the step.
        step_variables: The `StepVariables` of the model's quantities.
        model: A `DescentTrainer`, whose loss after the step can be measured
            if it has the default `train_step`.
        parts: The batch in micro-batches, a list of `(part, share)`.
    """

    def __init__(
        self,
        groups: tuple[RequestGroup, ...] = (),
        clock: StepClock | None = None,
        step_variables: StepVariables | None = None,
        model: keras.Model | None = None,
        parts: _Parts = (),
    ) -> None:
        #: By update and group: (columns, vector)
        self.measured: dict[tuple, tuple[list[Column], tf.Tensor]] = {}
        self._groups = groups
        self.clock = clock
        self._step_variables = step_variables
        self._repeated_loss = None
        needs = {n for g in groups for q in g.quantities for n in q.needs}
        if "loss_after" in needs and model and model._uses_default_step:
            self._repeated_loss = _RepeatedLoss(model)
            self._repeated_loss.begin(parts)
        self._graph = current_graph()
        self.tap = BatchTap(self._if_due, self._graph)

    @contextlib.contextmanager
    def around(self, made: Update, examples: Any) -> Iterator[None]:
        """Surrounds the optimizer's step of an update, and measures it.

        An update later in the step under the same name takes its place.

        Args:
            made: The update.
            examples: How many examples this replica has.
        """
        if not self._groups or not self._can_measure(made.name):
            yield
            return
        rates = learning_rates(made.optimizer)
        before = [tf.identity(weight) for weight in made.weights]
        yield
        self.measure(made, before, rates, examples)

    @property
    def can_measure(self) -> bool:
        """Whether anything is to be measured, and can be here."""
        return bool(self._groups) and self._is_outermost

    def measure(
        self,
        made: Update,
        before: list[tf.Tensor],
        rates: dict[str, tf.Tensor],
        examples: Any,
    ) -> None:
        """Measures an update that has been made.

        Args:
            made: The update.
            before: What the weights were before it.
            rates: Its learning rates by name; none if there is no optimizer.
            examples: How many examples this replica has.
        """
        name, model, loss, gradients, weights, _ = made
        layers = [layer_of(weight, model.name) for weight in weights]
        # Other weights, as after a layer was frozen, have other variables.
        kept_by = (name, *layers)
        assert self.clock is not None and self._step_variables is not None
        keep = self._step_variables.keep
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
            keep=lambda key, initial: keep((key, kept_by), initial),
            gradient_parts=self.tap.gradient_parts(
                examples, settings.of(model).microbatches
            ),
            activations=self.tap.activations(examples),
            loss_after=self._loss_after(examples),
        )
        for index, group in enumerate(self._groups):
            due = self.clock.is_due(index, group)
            self.measured[name, index] = _measure_group(due, group, record)

    def _if_due(
        self, need: str, numbers: Callable[[], tf.Tensor]
    ) -> tf.Tensor | None:
        """`numbers()` if a quantity is due that needs it, else zeros.

        Returns:
            A vector; `None` if no quantity ever needs it.
        """
        clock = self.clock
        if clock is None:
            return None
        due = [
            clock.is_due(index, group)
            for index, group in enumerate(self._groups)
            if any(need in quantity.needs for quantity in group.quantities)
        ]
        if not due:
            return None
        if any(one is True for one in due):
            return numbers()
        return _or_zeros(tf.reduce_any(tf.stack(due)), numbers)

    def _loss_after(self, examples: Any) -> tf.Tensor | None:
        """The loss of the batch after the update; `None` if unknown."""
        repeated = self._repeated_loss
        if repeated is None:
            return None
        loss = self._if_due("loss_after", lambda: repeated()[tf.newaxis])
        return replicas.mean([loss], examples)[0][0]

    @property
    def _is_outermost(self) -> bool:
        """Whether what is made now can leave the step."""
        return current_graph() is self._graph

    def _can_measure(self, name: str | None) -> bool:
        """Whether what is measured now can leave the step; warns if not."""
        if self._is_outermost:
            return True
        warnings.warn(
            f"The update {name or ''} is made within tf.cond, a loop or a "
            "tf.function of its own, from which its telemetry cannot leave. "
            "The update itself is made. To see it, make it in the "
            "`train_step` itself, at every step.",
            stacklevel=4,
        )
        return False


def _measure_group(
    due: Any, group: RequestGroup, record: Record
) -> tuple[list[Column], tf.Tensor]:
    """Measures a group, if it is due: `(columns, vector)`."""
    # What a record works out within tf.cond is for that branch alone.
    record = dataclasses.replace(record)
    columns: list[Column] = []

    def numbers() -> tf.Tensor:
        found, vector = measurement.measure(group.quantities, record)
        columns[:] = found
        return vector

    vector = _or_zeros(due, numbers)
    return columns, vector


def _or_zeros(due: Any, numbers: Callable[[], tf.Tensor]) -> tf.Tensor:
    """A vector, or zeros in its place where it is not due."""
    size: list[int] = []

    def then() -> tf.Tensor:
        vector = numbers()
        size[:] = vector.shape
        return vector

    return when(due, then, lambda: tf.zeros(size))


def current_graph() -> Any:
    """The graph that is being traced; `None` when running eagerly."""
    if tf.executing_eagerly():
        return None
    return tf.compat.v1.get_default_graph()

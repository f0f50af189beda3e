"""Measures the updates of one step on one replica."""

import contextlib
import dataclasses
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from gdtrain.common.explained import more
from gdtrain.descent import gradients, replicas, settings
from gdtrain.descent.optimizers import learning_rates
from gdtrain.keras_bridge import losses
from gdtrain.telemetry import activations, measurement, norms
from gdtrain.telemetry.record import GradientParts, Record, StepVariables
from gdtrain.telemetry.requests import RequestGroup, StepClock, when
from gdtrain.telemetry.row_layout import Column, layer_of

Parts = Sequence[tuple[Any, Any]]  # Micro-batches, each with its share
_State = list[tuple[tf.Variable, tf.Tensor]]


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


class Measurer:
    """Measures the updates of one step, while it is traced or runs eagerly.

    On the way to them it taps outputs of layers and gradients of
    micro-batches, if quantities need them.

    Args:
        groups: The `RequestGroup`s of quantities to measure, a tuple.
        clock: The `StepClock` of the step.
        step_variables: The `StepVariables` of the model's quantities.
        model: The model whose step it is; `None` outside of `fit`.
        parts: The batch in micro-batches, a list of `(part, share)`.
        examples: How many examples this replica's part of the batch has.
    """

    def __init__(
        self,
        groups: tuple[RequestGroup, ...] = (),
        clock: StepClock | None = None,
        step_variables: StepVariables | None = None,
        model: keras.Model | None = None,
        parts: Parts = (),
        examples: Any = 1,
    ) -> None:
        #: By update and group: (columns, vector)
        self.measured: dict[tuple, tuple[list[Column], tf.Tensor]] = {}
        self.clock = clock
        self._groups, self._step_variables = groups, step_variables
        self.model, self._parts, self.examples = model, parts, examples
        #: The graph of the step; `None` when running eagerly
        self.graph = current_graph()
        #: Share of the batch's examples that the micro-batch has
        self.share: float | tf.Tensor = 1.0
        # By layer: its outputs since the last summary
        self._outputs: dict[str, list[tf.Tensor]] = {}
        # (share, `Activations`) of each micro-batch
        self._summaries: list[tuple[Any, activations.Activations]] = []
        # (share, squared norm of its gradient)
        self._squares: list[tuple[Any, tf.Tensor]] = []
        # What a forward pass may change, as it was before the step; `None` if
        # the step is not to be repeated, or cannot be.
        self._before: _State | None = None
        needs = {n for g in groups for q in g.quantities for n in q.needs}
        if "loss_after" in needs and model and model._uses_default_step:
            self._before = _state(model)

    def add_output(self, layer: str, output: Any) -> None:
        """Keeps an output of a layer.

        Args:
            layer: The layer's name.
            output: A tensor; any other than of floats, or from within a loop,
                is passed over.
        """
        if (
            isinstance(output, tf.Tensor)
            and output.dtype.is_floating
            and output.shape.rank
            and output.shape.rank > 1
            and output.shape[-1]
            and getattr(output, "graph", None) is self.graph
        ):
            self._outputs.setdefault(layer, []).append(output)

    def end_microbatch(self) -> None:
        """Sums up the outputs of layers in the micro-batch."""
        outputs, self._outputs = self._outputs, {}
        if not outputs:
            return
        layers: list[activations.Activations] = []

        def numbers() -> tf.Tensor:
            layers.append(activations.summarize(outputs))
            return layers[-1].pack()

        packed = self._if_due("activations", numbers)
        if packed is not None:
            self._summaries.append((self.share, layers[-1].unpack(packed)))

    def add_gradients(self, gradients: list[Any]) -> None:
        """Keeps the squared norm of the gradient of the micro-batch."""
        present = [g for g in gradients if g is not None]
        squares = self._if_due(
            "gradient_parts",
            lambda: tf.reduce_sum(norms.squared_norms(present), keepdims=True),
        )
        if squares is not None:
            self._squares.append((self.share, squares))

    @contextlib.contextmanager
    def around(self, made: Update) -> Iterator[None]:
        """Surrounds the optimizer's step of an update, and measures it.

        An update later in the step under the same name takes its place.
        """
        if not self.can_measure:
            if self._groups:
                warnings.warn(
                    f"The update {made.name or ''} is made within tf.cond, a "
                    "loop or a tf.function of its own, from which its "
                    "telemetry cannot leave. The update itself is made. To "
                    "see it, make it in the `train_step` itself, at every "
                    "step." + more("quantity-skipped"),
                    stacklevel=3,
                )
            yield
            return
        rates = learning_rates(made.optimizer)
        before = [tf.identity(weight) for weight in made.weights]
        yield
        self.measure(made, before, rates)

    @property
    def can_measure(self) -> bool:
        """Whether anything is to be measured, and can leave the step here."""
        return bool(self._groups) and current_graph() is self.graph

    def measure(
        self,
        made: Update,
        before: list[tf.Tensor],
        rates: dict[str, tf.Tensor],
    ) -> None:
        """Measures an update that has been made.

        Args:
            made: The update.
            before: What the weights were before it.
            rates: Its learning rates by name; none if there is no optimizer.
        """
        name, model, loss, gradient, weights, _ = made
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
                for g, old in zip(gradient, before, strict=True)
            ],
            weights_before=before,
            weights_after=[tf.convert_to_tensor(w) for w in weights],
            layers=layers,
            weights=before if self.graph is None else weights,
            step=self.clock.step,
            keep=lambda key, initial: keep((key, kept_by), initial),
            gradient_parts=self._gradient_parts(),
            activations=self._activations(),
            loss_after=self._loss_after(),
            input_wait=self.clock.input_wait,
        )
        for index, group in enumerate(self._groups):
            due = self.clock.is_due(group, self._groups)
            self.measured[name, index] = _measure_group(due, group, record)

    def _gradient_parts(self) -> GradientParts | None:
        """`GradientParts` of the batch; `None` if batches have but one."""
        parts, self._squares = self._squares, []
        if not parts or (settings.of(self.model).parts * replicas.count() == 1):
            return None
        squares = sum(
            tf.math.multiply_no_nan(square, tf.cast(share, tf.float32))
            for share, square in parts
        )
        of_replica = tf.cast(self.examples, tf.float32)
        count = sum(
            tf.cast(tf.cast(share, tf.float32) * of_replica > 0, tf.float32)
            for share, _ in parts
        )
        (squares,) = replicas.mean([squares], self.examples)
        return GradientParts(
            replicas.total(self.examples), replicas.total(count), squares[0]
        )

    def _activations(self) -> activations.Activations | None:
        """`Activations` of the batch; `None` if there are none."""
        self.end_microbatch()
        noted, self._summaries = self._summaries, []
        if len(noted) * replicas.count() <= 1:
            return noted[0][1] if noted else None

        def mean(lists: list[list[tf.Tensor]]) -> list[tf.Tensor]:
            total = None
            for (share, _), tensors in zip(noted, lists, strict=True):
                total = gradients.add_share(total, tensors, share)
            return replicas.mean(total or [], self.examples)

        return activations.merge([each for _, each in noted], mean)

    def _loss_after(self) -> tf.Tensor | None:
        """The loss of the batch after the update; `None` if unknown.

        The forward pass is repeated, with the same random numbers and moving
        averages as before, and leaves no trace.
        """
        model, before = self.model, self._before
        if model is None or before is None:
            return None

        def numbers() -> tf.Tensor:
            now = _state(model)
            _assign(before)
            loss = sum(
                tf.math.multiply_no_nan(
                    tf.cast(_default_loss(model, part), tf.float32),
                    tf.cast(share, tf.float32),
                )
                for part, share in self._parts
            )
            _assign(now)
            return loss[tf.newaxis]

        loss = self._if_due("loss_after", numbers)
        return replicas.mean([loss], self.examples)[0][0]

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
            clock.is_due(group, self._groups)
            for group in self._groups
            if any(need in quantity.needs for quantity in group.quantities)
        ]
        if not due:
            return None
        if any(one is True for one in due):
            return numbers()
        return _or_zeros(tf.reduce_any(tf.stack(due)), numbers)


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


def _default_loss(model: keras.Model, part: Any) -> tf.Tensor:
    """The loss of a micro-batch, as the default `train_step` finds it."""
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(part)
    y_pred = model(x, training=True)
    return losses.compute_loss(model, x, y, y_pred, sample_weight)


def _state(model: keras.Model) -> _State:
    """What a forward pass may change: `(variable, value)` of each."""
    some = *model.non_trainable_variables, *model.metrics_variables
    variables = {id(variable): variable for variable in some}
    return [(v, tf.identity(v)) for v in variables.values()]


def _assign(state: _State) -> None:
    for variable, value in state:
        variable.assign(value)


def _or_zeros(due: Any, numbers: Callable[[], tf.Tensor]) -> tf.Tensor:
    """A vector, or zeros in its place where it is not due."""
    size: list[int] = []

    def then() -> tf.Tensor:
        vector = numbers()
        size[:] = vector.shape
        return vector

    return when(due, then, lambda: tf.zeros(size))


def current_graph() -> tf.Graph | None:
    """The graph that is being traced; `None` when running eagerly."""
    if tf.executing_eagerly():
        return None
    return tf.compat.v1.get_default_graph()

"""What some quantities need of a batch, collected within a step."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from gdtrain.descent import gradients, replicas, settings
from gdtrain.keras_bridge import losses
from gdtrain.telemetry import activations, norms
from gdtrain.telemetry.record import GradientParts
from gdtrain.telemetry.requests import RequestGroup, StepClock, when

Parts = Sequence[tuple[Any, Any]]  # Micro-batches, each with its share
_State = list[tuple[tf.Variable, tf.Tensor]]


class BatchTap:
    """Taps outputs of layers, gradients and the loss, in a replica's step.

    Args:
        groups: The `RequestGroup`s of quantities to measure.
        clock: The `StepClock` of the step; `None` outside of `fit`.
        model: The model; `None` outside of `fit`.
        parts: The batch in micro-batches, a list of `(part, share)`.
        examples: How many examples this replica has.
    """

    def __init__(
        self,
        groups: Sequence[RequestGroup],
        clock: StepClock | None,
        model: keras.Model | None,
        parts: Parts,
        examples: Any,
    ) -> None:
        self._groups, self._clock = groups, clock
        self._model, self._parts, self._examples = model, parts, examples
        #: The graph of the step; `None` when running eagerly
        self.graph = current_graph()
        self._share: float | tf.Tensor = 1.0
        # By layer: its outputs since the last summary
        self._outputs: dict[str, list[tf.Tensor]] = {}
        # (share, `Activations`) of each micro-batch
        self._activations: list[tuple[Any, activations.Activations]] = []
        # (share, squared norm of its gradient)
        self._squares: list[tuple[Any, tf.Tensor]] = []
        # What a forward pass may change, as it was before the step; `None` if
        # the step is not to be repeated, or cannot be.
        self._before: _State | None = None
        needs = {n for g in groups for q in g.quantities for n in q.needs}
        if "loss_after" in needs and model and model._uses_default_step:
            self._before = _state(model)

    def begin_microbatch(self, share: float | tf.Tensor) -> None:
        """Begins a micro-batch that has a share of the batch's examples."""
        self.end_microbatch()
        self._share = share

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
            self._activations.append((self._share, layers[-1].unpack(packed)))

    def add_gradients(self, gradients: list[Any]) -> None:
        """Keeps the squared norm of the gradient of the micro-batch."""
        present = [g for g in gradients if g is not None]
        squares = self._if_due(
            "gradient_parts",
            lambda: tf.reduce_sum(norms.squared_norms(present), keepdims=True),
        )
        if squares is not None:
            self._squares.append((self._share, squares))

    def gradient_parts(self) -> GradientParts | None:
        """`GradientParts` of the batch; `None` if batches have but one."""
        parts, self._squares = self._squares, []
        if not parts or (
            settings.of(self._model).microbatches * replicas.count() == 1
        ):
            return None
        squares = sum(
            tf.math.multiply_no_nan(square, tf.cast(share, tf.float32))
            for share, square in parts
        )
        of_replica = tf.cast(self._examples, tf.float32)
        count = sum(
            tf.cast(tf.cast(share, tf.float32) * of_replica > 0, tf.float32)
            for share, _ in parts
        )
        (squares,) = replicas.mean([squares], self._examples)
        return GradientParts(
            replicas.total(self._examples), replicas.total(count), squares[0]
        )

    def activations(self) -> activations.Activations | None:
        """`Activations` of the batch; `None` if there are none."""
        self.end_microbatch()
        noted, self._activations = self._activations, []
        if len(noted) * replicas.count() <= 1:
            return noted[0][1] if noted else None

        def mean(lists: list[list[tf.Tensor]]) -> list[tf.Tensor]:
            total = None
            for (share, _), tensors in zip(noted, lists, strict=True):
                total = gradients.add_share(total, tensors, share)
            return replicas.mean(total or [], self._examples)

        return activations.merge([each for _, each in noted], mean)

    def loss_after(self) -> tf.Tensor | None:
        """The loss of the batch after the update; `None` if unknown.

        The forward pass is repeated, with the same random numbers and moving
        averages as before, and leaves no trace.
        """
        model, before = self._model, self._before
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
        return replicas.mean([loss], self._examples)[0][0]

    def _if_due(
        self, need: str, numbers: Callable[[], tf.Tensor]
    ) -> tf.Tensor | None:
        """`numbers()` if a quantity is due that needs it, else zeros.

        Returns:
            A vector; `None` if no quantity ever needs it.
        """
        clock = self._clock
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
        return or_zeros(tf.reduce_any(tf.stack(due)), numbers)


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


def or_zeros(due: Any, numbers: Callable[[], tf.Tensor]) -> tf.Tensor:
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

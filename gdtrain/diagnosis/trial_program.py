"""The programs of trials: training steps, and the loss of some examples."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from gdtrain.diagnosis import outputs
from gdtrain.keras_bridge import layers, losses, optimizers
from gdtrain.keras_bridge.optimizers import unwrapped
from gdtrain.state import variables
from gdtrain.step import step_context


class Variant(NamedTuple):
    """What a program of training steps depends on.

    Args:
        from_logits: Of the losses; `None` for as they are.
    """

    from_logits: bool | None = None


#: For each output, `(unit, mean)` of targets that were standardized
Units = list[tuple[np.ndarray, np.ndarray]]


class Programs:
    """Trains a model for some steps, and computes its loss.

    All learning rates and strengths of weight decay share a program.

    Args:
        model: A `DescentTrainer`, compiled and built.
        data: All examples, a structure of tensors `[n, ...]`.
        batch_size: How many of them make a batch.
    """

    def __init__(self, model: keras.Model, data: Any, batch_size: int) -> None:
        self._model = model
        self._rate = tf.Variable(0.0, trainable=False)
        self._decay = tf.Variable(1.0, trainable=False)
        self._programs: dict[Any, Callable] = {}
        self._losses: dict[bool, Any] = {}  # By `from_logits`
        spec = keras.tree.map_structure(
            lambda leaf: _spec(leaf, batch_size), data
        )
        made_before = unwrapped(model.optimizer).iterations.numpy() > 0
        is_ready = variables.build(model, spec) or made_before
        # A loop in a program can make no variables.
        self._in_graph = is_ready and not model.run_eagerly
        # New moving averages tell little after some steps.
        self._in_training = any(
            isinstance(layer, keras.layers.BatchNormalization)
            for layer in layers.all_layers(model)
        )

    def train(
        self,
        data: Any,
        rows: np.ndarray,
        rates: np.ndarray,
        decay: float,
        variant: Variant,
    ) -> None:
        """Makes as many steps as there are rates.

        Args:
            data: A structure of tensors `[n, ...]`.
            rows: Of the examples of each batch, int `[steps, batch]`.
            rates: The learning rates, `[steps]`.
            decay: By what weight decay and regularizers are multiplied.
            variant: What else is changed.
        """
        self._decay.assign(decay)

        def step(batch: Any, rate: tf.Tensor) -> tf.Tensor:
            self._rate.assign(rate)
            with self._changed(variant):
                strategy = self._model.distribute_strategy
                strategy.run(self._model.train_step, args=(batch,))
            return tf.zeros(())

        self._run(("train", variant), step, data, rows, rates)

    def loss(
        self,
        data: Any,
        rows: np.ndarray,
        variant: Variant,
        units: Units | None = None,
    ) -> float:
        """The mean loss of examples, without regularizers of weights.

        Of a model with its own `train_step`, the loss that it descends; else
        that of `compute_loss`, with batch normalization as in training.

        Args:
            data: A structure of tensors `[n, ...]`.
            rows: Of the examples of each part, int `[parts, size]`.
            variant: Whose losses are computed.
            units: If outputs are to be multiplied by a unit and a mean to be
                added. Defaults to `None`.
        """
        self._decay.assign(0.0)

        def part(batch: Any, _: tf.Tensor) -> tf.Tensor:
            with self._changed(variant):
                strategy = self._model.distribute_strategy
                return strategy.run(self._loss_of, args=(batch, units))

        key = "loss", variant.from_logits, units is not None
        zeros = np.zeros(len(rows), np.float32)
        return self._run(key, part, data, rows, zeros) / len(rows)

    def _run(
        self,
        key: Any,
        function: Callable[[Any, tf.Tensor], tf.Tensor],
        data: Any,
        rows: np.ndarray,
        numbers: np.ndarray,
    ) -> float:
        """The sum of a function over batches, each with a number."""
        if not self._in_graph:
            if key not in self._programs:
                self._programs[key] = (
                    function
                    if self._model.run_eagerly
                    else tf.function(function, autograph=False)
                )
            total = 0.0
            for some, number in zip(rows, numbers, strict=True):
                batch = _gathered(data, some)
                number = tf.constant(number, tf.float32)
                total += float(self._programs[key](batch, number))
            return total
        specs = keras.tree.map_structure(lambda leaf: _spec(leaf), data)
        traced = str((key, rows.shape[1:], specs))
        if traced not in self._programs:
            self._programs[traced] = tf.function(
                lambda data, rows, numbers: _sum(function, data, rows, numbers),
                autograph=False,
            ).get_concrete_function(
                specs,
                tf.TensorSpec([None, *rows.shape[1:]], tf.int32),
                tf.TensorSpec([None], tf.float32),
            )
        return float(
            self._programs[traced](
                data,
                tf.constant(rows, tf.int32),
                tf.constant(numbers, tf.float32),
            )
        )

    def _loss_of(self, batch: Any, units: Units | None) -> tf.Tensor:
        """The loss of a batch."""
        model = self._model
        if not model._uses_default_step:
            seen = _LossOnly()
            with step_context.entered(seen):
                model.train_step(batch)
            if len(seen.losses) != 1:
                raise ValueError(
                    "its `train_step` has no loss of its own that it gives to "
                    "`descend`, once a step"
                )
            return tf.cast(seen.losses[0], tf.float32)
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)
        y_pred = model(x, training=self._in_training)
        if units is not None:
            flat = [
                one * tf.cast(unit, one.dtype) + tf.cast(mean, one.dtype)
                for one, (unit, mean) in zip(
                    keras.tree.flatten(y_pred), units, strict=True
                )
            ]
            y_pred = keras.tree.pack_sequence_as(y_pred, flat)
        loss = losses.compute_loss(
            model, x, y, y_pred, sample_weight, self._in_training
        )
        return tf.cast(loss, tf.float32)

    @contextlib.contextmanager
    def _changed(self, variant: Variant) -> Iterator[None]:
        """While open, a step of the model is one of the trial."""
        model, inner = self._model, unwrapped(self._model.optimizer)
        with contextlib.ExitStack() as stack:
            stack.enter_context(
                optimizers.replaced_learning_rate(inner, _Given(self._rate))
            )
            if inner.weight_decay:
                stack.enter_context(
                    _attribute(
                        inner, "weight_decay", inner.weight_decay * self._decay
                    )
                )
            for variable in model.trainable_variables:
                if variable.regularizer is not None:
                    stack.enter_context(self._regularized(variable))
            if variant.from_logits is not None:
                loss = self._losses.get(variant.from_logits)
                if loss is None:
                    loss = losses.changed_losses(
                        model,
                        lambda one: outputs.with_logits(
                            one, bool(variant.from_logits)
                        ),
                    )
                    self._losses[variant.from_logits] = loss
                stack.enter_context(losses.losses_set(model, loss))
            yield

    @contextlib.contextmanager
    def _regularized(self, variable: keras.Variable) -> Iterator[None]:
        """While open, a regularizer is multiplied by the trial's factor."""
        before = variable.regularizer

        def changed(weight: Any) -> tf.Tensor:
            found = tf.convert_to_tensor(before(weight))
            return found * tf.cast(self._decay, found.dtype)

        variable.regularizer = changed
        try:
            yield
        finally:
            variable.regularizer = before


class _Given(keras.optimizers.schedules.LearningRateSchedule):
    """Gives what a variable says."""

    def __init__(self, rate: tf.Variable) -> None:
        self.rate = rate

    def __call__(self, step: Any) -> tf.Tensor:
        return tf.convert_to_tensor(self.rate)

    def get_config(self) -> dict:
        """Empty: it is not saved."""
        return {}


class _LossOnly(step_context.StepContext):
    """A step that computes its loss and makes no update.

    Attributes:
        losses: Those that `descend` was given.
    """

    def __init__(self) -> None:
        super().__init__()
        self.losses: list[Any] = []

    @property
    def updates_now(self) -> bool:
        """Never."""
        return False

    def mean_over_microbatches(
        self, loss: tf.Tensor | None, gradients: list[Any]
    ) -> list[Any]:
        """Notes the loss."""
        self.losses.append(loss)
        return [loss, *gradients]


def _sum(
    function: Callable[[Any, tf.Tensor], tf.Tensor],
    data: Any,
    rows: tf.Tensor,
    numbers: tf.Tensor,
) -> tf.Tensor:
    """The sum of a function over batches, one after the other."""

    def add(place: tf.Tensor, total: tf.Tensor) -> tuple:
        found = function(_gathered(data, rows[place]), numbers[place])
        return place + 1, total + found

    return tf.while_loop(
        lambda place, _: place < tf.shape(rows)[0],
        add,
        (0, 0.0),
        parallel_iterations=1,
    )[1]


def _gathered(data: Any, rows: Any) -> Any:
    """Some examples."""
    return keras.tree.map_structure(
        lambda leaf: None if leaf is None else tf.gather(leaf, rows), data
    )


def _spec(leaf: Any, length: int | None = None) -> Any:
    """The spec of an array, with another length if one is given."""
    if leaf is None:
        return None
    shape = [length or leaf.shape[0], *leaf.shape[1:]]
    return tf.TensorSpec(shape, leaf.dtype)


@contextlib.contextmanager
def _attribute(owner: Any, name: str, value: Any) -> Iterator[None]:
    """While open, an object has another attribute, past `__setattr__`."""
    attributes = vars(owner)
    missing = object()
    before = attributes.get(name, missing)
    attributes[name] = value
    try:
        yield
    finally:
        if before is missing:
            del attributes[name]
        else:
            attributes[name] = before

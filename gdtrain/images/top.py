"""The top of a backbone, trained with a head on activations at a cut."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from gdtrain.images.activations import Blocks, Cut
from gdtrain.keras_bridge import optimizers
from gdtrain.model import Model
from gdtrain.optimizers import GradientDescent
from gdtrain.schedules import OneCycle


@keras.saving.register_keras_serializable(package="gdtrain")
class DepthwiseRates(GradientDescent):
    """Gradient descent with a rate of its own for some weights.

        w <- w - factor * learning_rate * gradient

    Args:
        factors: By the path of a weight; those of other weights are 1.
        **kwargs: As in `gdtrain.GradientDescent`.

    Example:

    >>> low, high = keras.Variable(1.0, name="low"), keras.Variable(1.0)
    >>> optimizer = DepthwiseRates({low.path: 0.5}, learning_rate=0.2)
    >>> optimizer.apply([1.0, 1.0], [low, high])
    >>> round(float(low), 3), round(float(high), 3)
    (0.9, 0.8)
    """

    def __init__(self, factors: dict[str, float], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.factors = dict(factors)

    def build(self, variables: list[keras.Variable]) -> None:
        """Finds the factor of each weight."""
        self._factors = [self.factors.get(v.path, 1.0) for v in variables]
        super().build(variables)

    def update_step(
        self,
        gradient: tf.Tensor | tf.IndexedSlices,
        variable: keras.Variable,
        learning_rate: Any,
    ) -> None:
        """Moves one weight, at its own rate."""
        factor = optimizers.slot(self, self._factors, variable)
        super().update_step(gradient, variable, factor * learning_rate)

    def get_config(self) -> dict[str, Any]:
        """The arguments of an equal optimizer."""
        return {**super().get_config(), "factors": self.factors}


@keras.saving.register_keras_serializable(package="gdtrain")
class Repeated(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule that starts again after so many steps.

    Args:
        schedule: What is repeated.
        steps: How long it is.
        first_step: The step at which it starts.

    Example:

    >>> rate = Repeated(lambda step: 10 - step, steps=3, first_step=1)
    >>> [int(rate(step)) for step in range(1, 6)]
    [10, 9, 8, 10, 9]
    """

    def __init__(self, schedule: Any, steps: int, first_step: int = 0) -> None:
        super().__init__()
        self.schedule, self.steps = schedule, steps
        self.first_step = first_step

    def __call__(self, step: int | tf.Tensor) -> tf.Tensor:
        """The learning rate at a step."""
        return self.schedule((step - self.first_step) % self.steps)

    def get_config(self) -> dict[str, Any]:
        """The arguments of an equal schedule."""
        return {
            "schedule": keras.saving.serialize_keras_object(self.schedule),
            "steps": self.steps,
            "first_step": self.first_step,
        }


@dataclasses.dataclass(frozen=True)
class Training:
    """How a top is trained.

    Args:
        learning_rate: Of the head, at its largest.
        decay: The rate of a block is this share of that of the one above it.
        momentum: As in `gdtrain.GradientDescent`.
        epochs: How often each view of a photo is learned from.
        batch_size: How many photos a step learns from.
        batch_normalization: `"inference"` for the averages that were learned
            before, `"train"` for those of each batch.
    """

    learning_rate: float = 0.01
    decay: float = 0.7
    momentum: float = 0.9
    epochs: int = 4
    batch_size: int = 32
    batch_normalization: str = "inference"


class Top:
    """The top of a backbone with a head: activations to logits.

    It is trained several times, each time from the same weights, by one
    compiled program. Its blocks are trained in place.

    Args:
        parts: The backbone.
        classes: The number of classes.
        training: How it is trained.
        examples: How many there are in an epoch.
        first_step, first_epoch: How many the same run has behind it.
    """

    def __init__(
        self,
        parts: Cut,
        classes: int,
        training: Training,
        *,
        examples: int,
        first_step: int = 0,
        first_epoch: int = 0,
    ) -> None:
        self.training, self._blocks = training, parts.blocks
        self._first_step, self._first_epoch = first_step, first_epoch
        self._steps = training.epochs * math.ceil(
            examples / training.batch_size
        )
        head = keras.layers.Dense(classes, name="head", dtype="float32")
        outputs = head(parts.top.output)
        self.model = Model(parts.top.input, outputs, name="top")
        self._before = self.model.get_weights()
        factors = _unfrozen(parts.blocks, training)
        #: Names of the layers that are trained, besides the head
        self.trained = [
            layer.name for layer in parts.top.layers if layer.trainable_weights
        ]
        rate = OneCycle(training.learning_rate, self._steps)
        self.model.compile(
            DepthwiseRates(
                factors,
                learning_rate=Repeated(rate, self._steps, first_step),
                momentum=training.momentum,
            ),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            weighted_metrics=["accuracy"],
            jit_compile=False,  # Compiling takes longer than training.
            global_clipnorm=1.0,
        )
        optimizer = self.model.optimizer
        optimizer.build(self.model.trainable_variables)
        # In half precision, a scale of the loss is among them.
        self._optimizer_before = [v.numpy() for v in optimizer.variables]

    def fit(
        self,
        x: np.ndarray,
        y: np.ndarray,
        sample_weight: np.ndarray,
        *,
        kernel: np.ndarray,
        bias: np.ndarray,
        repetition: int = 0,
        callbacks: Sequence[keras.callbacks.Callback] = (),
        **arguments: Any,
    ) -> dict[str, list[float]]:
        """Trains from the weights of the backbone and those of a head.

        Args:
            x: Activations `[n, ...]`.
            y: Labels, int `[n]`.
            sample_weight: How much each counts, `[n]`.
            kernel, bias: The head to start from.
            repetition: How many trainings came before this one: the order of
                examples follows from it.
            callbacks: For `keras.Model.fit`.
            **arguments: Others of `keras.Model.fit`.

        Returns:
            The numbers of each epoch, by name.
        """
        # That of a user may have epochs of other fits, too.
        history = keras.callbacks.History()
        self.model.set_weights([*self._before[:-2], kernel, bias])
        optimizer = self.model.optimizer
        for variable, value in zip(
            optimizer.variables, self._optimizer_before, strict=True
        ):
            variable.assign(value)
        optimizer.iterations.assign(self._first_step + repetition * self._steps)
        self.model.fit(
            x,
            y,
            sample_weight=sample_weight,
            batch_size=self.training.batch_size,
            initial_epoch=self._first_epoch,
            epochs=self._first_epoch + self.training.epochs,
            callbacks=[history, *callbacks],
            **arguments,
        )
        return history.history

    def undo(self) -> None:
        """Freezes the backbone, with the weights that it had."""
        self.model.set_weights(self._before)
        for block in self._blocks:
            for layer in block:
                layer.trainable = False


def _unfrozen(blocks: Blocks, training: Training) -> dict[str, float]:
    """Unfreezes layers, and returns factors of rates by path of weight."""
    factors = {}
    frozen = (keras.layers.BatchNormalization,)
    for depth, block in enumerate(blocks, 1):
        for layer in block:
            layer.trainable = (
                training.batch_normalization == "train"
                or not isinstance(layer, frozen)
            )
            for weight in layer.trainable_weights:
                factors[weight.path] = training.decay**depth
    return factors

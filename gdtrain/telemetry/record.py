"""What is known of an update, for quantities to measure."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import tensorflow as tf

from gdtrain.telemetry.step_variables import StepVariables


class GradientParts(NamedTuple):
    """The gradients that the gradient of a step is the mean of.

    There is one for each micro-batch on each replica.

    Args:
        examples: How many examples they have together, a float32 scalar.
        count: How many of them have any, a float32 scalar.
        squared_norm: The mean of their squared norms, weighted by their
            examples, a float32 scalar.
    """

    examples: tf.Tensor
    count: tf.Tensor
    squared_norm: tf.Tensor


class Activations(NamedTuple):
    """Numbers of the outputs of layers, over a batch or part of it.

    A feature is an entry of the last axis of an output: a unit of a dense
    layer, a channel of a convolution.

    Args:
        layers: Names of the layers.
        means, variances: Over all entries of a layer's output, float32
            `[layers]`.
        alive: For each layer a float32 vector `[features]`: 1 where any entry
            of the feature is not zero, else 0.
    """

    layers: list[str]
    means: tf.Tensor
    variances: tf.Tensor
    alive: list[tf.Tensor]

    def pack(self) -> tf.Tensor:
        """All numbers as one vector."""
        return tf.concat([self.means, self.variances, *self.alive], 0)

    def unpack(self, vector: tf.Tensor) -> "Activations":
        """Numbers of a vector that `pack` made, for the same layers."""
        count = len(self.layers)
        sizes = [count, count, *(alive.shape[0] for alive in self.alive)]
        means, variances, *alive = tf.split(vector, sizes)
        return Activations(self.layers, means, variances, alive)


@dataclasses.dataclass(frozen=True)
class Record:
    """One update of the weights. Its tensors are equal on all replicas.

    Args:
        loss: The loss before the update, a scalar: the mean over
            micro-batches and replicas. `None` if it is unknown, in a step
            whose gradients are not made by `tf.GradientTape`.
        learning_rates: The learning rate of this update, a float32 scalar,
            under the name `""`; for an optimizer made of several, each under
            its name; empty for a step that moves its weights without any.
        gradients: A tensor for each weight, before clipping; means over
            micro-batches and replicas, without any loss scale. Zeros for a
            weight that the loss does not depend on.
        weights_before: A tensor for each weight: its value before the update.
        weights_after: A tensor for each weight: its value after the update.
        layers: For each weight, the name of its layer.
        weights: For each weight, what gives its value before the first step
            when it is read outside the graph, as `initial` of `keep` does.
        step: The number of the update modulo 2 ** 30, an int32 scalar.
        keep: `keep(name, initial)` returns variables in which a quantity
            keeps values from one step to the next; see
            `gdtrain.telemetry.step_variables.StepVariables.keep`.
        gradient_parts: For quantities that need them: `GradientParts`, or
            `None` if the batch has only one.
        activations: For quantities that need `"activations"`: the
            `Activations` of the forward pass, or `None` if there are none.
        loss_after: For quantities that need `"loss_after"`: the loss of the
            same batch after the update, a scalar, or `None` if the step
            cannot be repeated.

    Example:

    >>> record = Record(
    ...     weights_before=[tf.constant(1.0)], weights_after=[tf.constant(0.5)]
    ... )
    >>> float(record.updates[0])
    -0.5
    """

    loss: tf.Tensor | None = None
    learning_rates: Mapping[str, tf.Tensor] = dataclasses.field(
        default_factory=dict
    )
    gradients: Sequence[tf.Tensor] = ()
    weights_before: Sequence[tf.Tensor] = ()
    weights_after: Sequence[tf.Tensor] = ()
    layers: Sequence[str] = ()
    weights: Sequence[tf.Tensor | tf.Variable] = ()
    step: tf.Tensor | None = None
    keep: Callable[..., list[tf.Variable]] = dataclasses.field(
        default_factory=lambda: StepVariables().keep
    )
    gradient_parts: GradientParts | None = None
    activations: Activations | None = None
    loss_after: tf.Tensor | None = None

    @functools.cached_property
    def updates(self) -> list[tf.Tensor]:
        """What was added to each weight, float32."""
        return [
            tf.cast(after, tf.float32) - tf.cast(before, tf.float32)
            for after, before in zip(
                self.weights_after, self.weights_before, strict=True
            )
        ]

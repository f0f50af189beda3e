"""The record of an update, from which quantities measure."""

import dataclasses
import functools
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

#: The values of variables, by `repr` of their key.
State = Mapping[str, Iterable[np.ndarray]]


class StepVariables:
    """Variables of the quantities of one model, made when first used.

    They are no part of the model: weights and saved files do not have them;
    a checkpoint does.

    Example:

    >>> variables = StepVariables()
    >>> (count,) = variables.keep("count", lambda: [0])
    >>> _ = count.assign_add(5)
    >>> (again,) = variables.keep("count", lambda: [0])
    >>> int(again)
    5
    """

    def __init__(self) -> None:
        self._kept: dict[Hashable, list[tf.Variable]] = {}
        self._restored: State = {}  # For variables that are not made yet

    def keep(
        self, key: Hashable, initial: Callable[[], Iterable[Any]]
    ) -> list[tf.Variable]:
        """Variables that hold values from one step to the next.

        Args:
            key: Whose they are, for example a tuple of strings.
            initial: Returns their first values, when they are made.

        Returns:
            The variables made before under the same key, if they have the
            same shapes; else new ones.
        """
        with tf.init_scope():  # Out of the graph that is being traced
            values = [tf.convert_to_tensor(value) for value in initial()]
            restored = self._restored.get(repr(key))
            if restored and _shapes(restored) == _shapes(values):
                values = [tf.convert_to_tensor(value) for value in restored]
            kept = self._kept.get(key)
            if kept is None or _shapes(kept) != _shapes(values):
                kept = [tf.Variable(v, trainable=False) for v in values]
                self._kept[key] = kept
        return kept

    def get_state(self) -> dict[str, list[np.ndarray]]:
        """The values of all variables."""
        return {
            repr(key): [variable.numpy() for variable in kept]
            for key, kept in self._kept.items()
        }

    def set_state(self, state: State) -> None:
        """Sets values, also of variables that are yet to be made.

        Args:
            state: What `get_state` returned.
        """
        self._restored = state
        for key, kept in self._kept.items():
            values = state.get(repr(key), kept)
            for variable, value in zip(kept, values, strict=True):
                variable.assign(value)

    @property
    def variables(self) -> dict[Hashable, list[tf.Variable]]:
        """All of them by key."""
        return dict(self._kept)


def _shapes(values: Iterable[Any]) -> list[Any]:
    return [value.shape for value in values]


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

    But for `input_wait`, which is of each worker.

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
            `gdtrain.telemetry.record.StepVariables.keep`.
        gradient_parts: For quantities that need them: `GradientParts`, or
            `None` if the batch has only one.
        activations: For quantities that need `"activations"`: the
            `Activations` of the forward pass, or `None` if there are none.
        loss_after: For quantities that need `"loss_after"`: the loss of the
            same batch after the update, a scalar, or `None` if the step
            cannot be repeated.
        input_wait: For quantities that need `"input_wait"`: seconds that this
            worker waited for the batch, a scalar.

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
    input_wait: float | tf.Tensor = 0.0

    @functools.cached_property
    def updates(self) -> list[tf.Tensor]:
        """What was added to each weight, float32."""
        return [
            tf.cast(after, tf.float32) - tf.cast(before, tf.float32)
            for after, before in zip(
                self.weights_after, self.weights_before, strict=True
            )
        ]

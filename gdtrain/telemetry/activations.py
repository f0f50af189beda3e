"""Means, deviations and dead units of the outputs of layers."""

from typing import Any, NamedTuple

import tensorflow as tf

from gdtrain.telemetry.quantity import Parts, Quantity
from gdtrain.telemetry.skipped import say_left_out


class Activations(NamedTuple):
    """Numbers of the outputs of layers, over a batch or part of it.

    A feature is what the last axis of an output counts: a unit of a dense
    layer, a channel of a convolution.

    Args:
        layers: Names of the layers.
        means, variances: Over all entries of a layer's output, float32
            `[layers]`.
        alive: For each layer a float32 vector `[features]`: 1 where any entry
            of the feature is not zero, else 0.
    """

    layers: list[str]
    means: Any
    variances: Any
    alive: list[Any]

    def pack(self):
        """All numbers as one vector."""
        return tf.concat([self.means, self.variances, *self.alive], 0)

    def unpack(self, vector):
        """Numbers of a vector that `pack` made, for the same layers."""
        count = len(self.layers)
        sizes = [count, count, *(alive.shape[0] for alive in self.alive)]
        means, variances, *alive = tf.split(vector, sizes)
        return Activations(self.layers, means, variances, alive)


def summarize(outputs):
    """`Activations` of a forward pass.

    Args:
        outputs: A dict from a layer's name to a list of its outputs, float
            tensors `[batch, ..., features]`, one for each call.
    """
    flat = {
        layer: tf.concat([_by_feature(tensor) for tensor in tensors], 0)
        if len(tensors) > 1
        else _by_feature(tensors[0])
        for layer, tensors in outputs.items()
    }
    means = [tf.reduce_mean(tensor) for tensor in flat.values()]
    variances = [
        tf.reduce_mean(tf.math.squared_difference(tensor, mean))
        for tensor, mean in zip(flat.values(), means, strict=True)
    ]
    alive = [
        tf.cast(tf.reduce_any(tf.not_equal(tensor, 0), 0), tf.float32)
        for tensor in flat.values()
    ]
    return Activations(list(flat), tf.stack(means), tf.stack(variances), alive)


def merge(parts, mean):
    """`Activations` of a batch from those of its parts.

        mean = mean of the means
        variance = mean of (variance + (its mean - mean) ** 2)

    Args:
        parts: A list of `Activations` of the same layers.
        mean: Takes a list of lists of tensors, one for each part, and returns
            the list of their means, weighted by examples.
    """
    first = parts[0]
    means, *alive = mean([[part.means, *part.alive] for part in parts])
    (variances,) = mean(
        [
            [part.variances + tf.math.square(part.means - means)]
            for part in parts
        ]
    )
    alive = [tf.cast(tf.greater(a, 0), tf.float32) for a in alive]
    return Activations(first.layers, means, variances, alive)


def _by_feature(tensor):
    """An output as float32 `[entries, features]`."""
    return tf.reshape(tf.cast(tensor, tf.float32), [-1, tensor.shape[-1]])


class ActivationMean(Quantity):
    """Mean over all entries of a layer's output.

        activation_mean/<layer> = mean over examples, places and features

    Of layers with weights, and of layers that are activations.

    Cost: one pass over the activations, shared by the quantities of
    activations.

    References:
        Glorot and Bengio, AISTATS 2010, section 3.

    Example:

    >>> ActivationMean().name
    'activation_mean'
    """

    name = "activation_mean"
    needs = frozenset({"activations"})

    def measure(self, record):
        """`Parts` by layer; nothing if no layer was seen."""
        if record.activations is None:
            say_left_out(self.name, "no layer was called in the step")
            return {}
        return {
            self.name: Parts(
                record.activations.layers, record.activations.means
            )
        }


class ActivationDeviation(Quantity):
    """Standard deviation over all entries of a layer's output.

        activation_deviation/<layer> = sqrt(mean((activation - mean) ** 2))

    Of layers with weights, and of layers that are activations. Where it
    shrinks from layer to layer, the signal is lost; where it grows, it
    explodes.

    Cost: one pass over the activations, shared by the quantities of
    activations.

    References:
        Glorot and Bengio, AISTATS 2010, section 3; He et al., ICCV 2015,
        arXiv:1502.01852, section 2.2.

    Example:

    >>> ActivationDeviation().name
    'activation_deviation'
    """

    name = "activation_deviation"
    needs = frozenset({"activations"})

    def measure(self, record):
        """`Parts` by layer; nothing if no layer was seen."""
        if record.activations is None:
            say_left_out(self.name, "no layer was called in the step")
            return {}
        return {
            self.name: Parts(
                record.activations.layers,
                tf.sqrt(record.activations.variances),
            )
        }


class DeadFraction(Quantity):
    """Share of a layer's features that are zero for a whole batch.

        dead_fraction/<layer> = mean over features of
                                (all activations of the feature are 0)

    A feature is a unit of a dense layer, a channel of a convolution: what the
    last axis of the output counts. Of layers with weights, and of layers that
    are activations. A unit with `relu` that is dead in every batch gets no
    gradient any more, as after too large a step.

    Cost: one pass over the activations, shared by the quantities of
    activations.

    References:
        Lu et al., Dying ReLU and Initialization, 2019, arXiv:1903.06733.

    Example:

    >>> DeadFraction().name
    'dead_fraction'
    """

    name = "dead_fraction"
    needs = frozenset({"activations"})

    def measure(self, record):
        """`Parts` by layer; nothing if no layer was seen."""
        if record.activations is None:
            say_left_out(self.name, "no layer was called in the step")
            return {}
        shares = [tf.reduce_mean(1.0 - a) for a in record.activations.alive]
        return {self.name: Parts(record.activations.layers, tf.stack(shares))}

"""Means, deviations and dead features of the outputs of layers."""

import abc
from collections.abc import Callable, Mapping, Sequence

import tensorflow as tf

from gdtrain.telemetry.quantity import Measured, Quantity, Scalars
from gdtrain.telemetry.record import Activations, Record


def summarize(outputs: Mapping[str, Sequence[tf.Tensor]]) -> Activations:
    """`Activations` of a forward pass.

    Args:
        outputs: By a layer's name, its outputs, float tensors `[batch, ...,
            features]`, one for each call.

    Example:

    >>> found = summarize({"relu": [tf.constant([[0.0, 1.0], [0.0, 3.0]])]})
    >>> float(found.means[0]), float(found.variances[0])
    (1.0, 1.5)
    >>> found.alive[0].numpy().tolist()
    [0.0, 1.0]
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


def merge(
    parts: Sequence[Activations],
    mean: Callable[[list[list[tf.Tensor]]], list[tf.Tensor]],
) -> Activations:
    """`Activations` of a batch from those of its parts.

        mean = mean of the means
        variance = mean of (variance + (its mean - mean) ** 2)

    Args:
        parts: `Activations` of the same layers.
        mean: Takes a list of tensors for each part, and returns the list of
            their means, weighted by examples.
    """
    means, *alive = mean([[part.means, *part.alive] for part in parts])
    (variances,) = mean(
        [
            [part.variances + tf.math.square(part.means - means)]
            for part in parts
        ]
    )
    alive = [tf.cast(tf.greater(a, 0), tf.float32) for a in alive]
    return Activations(parts[0].layers, means, variances, alive)


def _by_feature(tensor: tf.Tensor) -> tf.Tensor:
    """An output as float32 `[entries, features]`."""
    return tf.reshape(tf.cast(tensor, tf.float32), [-1, tensor.shape[-1]])


class _ActivationQuantity(Quantity):
    """A number of the outputs of each layer.

    Of layers with weights, and of layers that are activations.
    """

    preset_every_steps = 10
    needs = frozenset({"activations"})

    @abc.abstractmethod
    def of(self, activations: Activations) -> tf.Tensor:
        """A number for each layer, `[layers]`."""

    def measure(self, record: Record) -> Measured:
        """By layer; nothing if no layer was called."""
        activations = record.activations
        if activations is None:
            return self.skip("no layer was called in the step")
        return {self.name: Scalars(activations.layers, self.of(activations))}


class ActivationMean(_ActivationQuantity):
    """Mean over all entries of a layer's output.

        activation_mean/<layer> = mean over examples, places and features

    Of layers with weights, and of layers that are activations. Far from 0
    against the deviation, a layer passes on an offset that slows descent; a
    mean that moves for long shows that the layers before it still change.

    Columns: `activation_mean/<layer>`

    Unit: that of activations.

    Cost: one pass over the activations, shared by the quantities of
    activations.

    References:
        Glorot and Bengio, AISTATS 2010, section 3.

    Example:

    >>> from gdtrain.telemetry.measurement import evaluate
    >>> seen = summarize({"relu": [tf.constant([[0.0, 1.0], [0.0, 3.0]])]})
    >>> evaluate(ActivationMean(), activations=seen)
    {'activation_mean/relu': 1.0}
    """

    name = "activation_mean"

    def of(self, activations: Activations) -> tf.Tensor:
        """The mean of each layer."""
        return activations.means


class ActivationDeviation(_ActivationQuantity):
    """Standard deviation over all entries of a layer's output.

        activation_deviation/<layer> = sqrt(mean((activation - mean) ** 2))

    Of layers with weights, and of layers that are activations. Where it
    shrinks from layer to layer, the signal is lost; where it grows, it
    explodes.

    Columns: `activation_deviation/<layer>`

    Unit: that of activations.

    Cost: one pass over the activations, shared by the quantities of
    activations.

    References:
        Glorot and Bengio, AISTATS 2010, section 3; He et al., ICCV 2015,
        arXiv:1502.01852, section 2.2.

    Example:

    >>> from gdtrain.telemetry.measurement import evaluate
    >>> seen = summarize({"relu": [tf.constant([[0.0, 4.0]])]})
    >>> evaluate(ActivationDeviation(), activations=seen)
    {'activation_deviation/relu': 2.0}
    """

    name = "activation_deviation"

    def of(self, activations: Activations) -> tf.Tensor:
        """The standard deviation of each layer."""
        return tf.sqrt(activations.variances)


class DeadFraction(_ActivationQuantity):
    """Share of a layer's features that are zero for a whole batch.

        dead_fraction/<layer> = mean over features of
                                (all activations of the feature are 0)

    A feature is a unit of a dense layer, a channel of a convolution: an entry
    of the last axis of the output. Of layers with weights, and of layers that
    are activations. A unit with `relu` that is dead in every batch gets no
    gradient any more, as after too large a step.

    Columns: `dead_fraction/<layer>`

    Unit: none, from 0 to 1.

    Cost: one pass over the activations, shared by the quantities of
    activations.

    References:
        Lu et al., Dying ReLU and Initialization, 2019, arXiv:1903.06733.

    Example:

    >>> from gdtrain.telemetry.measurement import evaluate
    >>> seen = summarize({"relu": [tf.constant([[0.0, 1.0], [0.0, 3.0]])]})
    >>> evaluate(DeadFraction(), activations=seen)
    {'dead_fraction/relu': 0.5}
    """

    name = "dead_fraction"

    def of(self, activations: Activations) -> tf.Tensor:
        """The share of each layer."""
        shares = [tf.reduce_mean(1.0 - alive) for alive in activations.alive]
        return tf.stack(shares)

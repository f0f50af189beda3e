"""Faults of initial weights and of layers on top of each other."""

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import gdtrain
from tests.zoo.bench import Bench
from tests.zoo.planted import names
from tests.zoo.planted.edited import hidden_activation
from tests.zoo.planted.fault import (
    COSTS,
    Fault,
    Pair,
    guess,
    has_labels,
    has_numbers,
    has_values,
    is_binary,
)
from tests.zoo.planted.model_faults import with_layers
from tests.zoo.training import Examples, Training

Change = Callable[[keras.Model], None]


def with_weights(training: Training, change: Change) -> Training:
    """The training from other first weights."""

    def build() -> keras.Model:
        model = training.build()
        change(model)
        return model

    return dataclasses.replace(training, build=build)


def times(factor: float, *, last: bool = False) -> Change:
    """All kernels times a factor, those of the last layer if `last`."""

    def change(model: keras.Model) -> None:
        for kernel in _kernels(model)[: None if last else -1]:
            kernel.assign(factor * kernel)

    return change


def _kernels(model: keras.Model) -> list[Any]:
    return [w for w in model.trainable_variables if len(w.shape) > 1]


def _rectified(model: keras.Model) -> list[keras.Layer]:
    """Layers with relu as their activation."""
    relu = keras.activations.relu
    return [
        one for one in model.layers[:-1]
        if getattr(one, "activation", None) is relu and hasattr(one, "bias")
    ]  # fmt: skip


def _killed(which: int) -> Fault:
    """Biases of a relu layer so low that it is never above 0."""

    def change(model: keras.Model) -> None:
        bias = _rectified(model)[which].bias
        bias.assign(bias - 50.0)

    def fits(training: Training, data: Examples) -> bool:
        return len(_rectified(training.build())) > which

    def is_there(pair: Pair) -> bool:
        """It is 0 for all examples, at the end as well; which costs."""
        model = pair.spoiled.model
        layer = _rectified(model)[which]
        values = keras.Model(model.inputs, layer.output)(pair.clean.x)
        return not np.any(values) and pair.lost >= COSTS

    return Fault(
        names.DEAD,
        lambda training: with_weights(training, change), fits, is_there,
    )  # fmt: skip


def gradients(bench: Bench, seed: int, data: Examples) -> list[float]:
    """Norms of the gradients of kernels at the first weights, in order."""
    keras.utils.set_random_seed(seed)
    model = bench.training.build()
    x, y = keras.tree.map_structure(tf.convert_to_tensor, (data.x, data.y))
    with tf.GradientTape() as tape:
        loss = bench.model.compute_loss(x, y, model(x, training=False))
    found = tape.gradient(loss, [kernel.value for kernel in _kernels(model)])
    return [float(tf.norm(g)) if g is not None else 0.0 for g in found]


def _vanish(pair: Pair) -> bool:
    """From the last layer to the first, gradients shrink 1,000 times.

    With the healthy layers they do not shrink 30 times. And it costs.
    """
    seed = pair.planted.seed
    spoiled = gradients(pair.spoiled, seed, pair.clean)
    healthy = gradients(pair.healthy, seed, pair.clean)
    return (
        spoiled[0] <= 1e-3 * spoiled[-1]
        and healthy[0] >= healthy[-1] / 30
        and pair.lost >= COSTS
    )


def _explode(pair: Pair) -> bool:
    """The first gradient is 100 times the healthy one, or more. It costs."""
    seed = pair.planted.seed
    spoiled = np.linalg.norm(gradients(pair.spoiled, seed, pair.clean))
    healthy = np.linalg.norm(gradients(pair.healthy, seed, pair.clean))
    return not spoiled <= 100 * healthy and not pair.lost < COSTS


def _is_deep(training: Training, data: Examples) -> bool:
    model = training.build()
    return (
        has_numbers(data)
        and len(_kernels(model)) > 4
        and len(_kernels(model))
        == sum(hasattr(layer, "kernel") for layer in model.layers)
    )


def _deep(activation: str, factor: float) -> Fault:
    def plant(training: Training) -> Training:
        other = with_layers(training, hidden_activation(activation))
        return with_weights(other, times(factor))

    return Fault(names.VANISHING, plant, _is_deep, _vanish)


def _large(factor: float) -> Fault:
    return Fault(
        names.EXPLODING,
        lambda training: with_weights(training, times(factor)),
        lambda training, data: len(_kernels(training.build())) > 2, _explode,
        compare_rates=True,
    )  # fmt: skip


def _is_stuck(pair: Pair) -> bool:
    """No better than guessing; but in ten times as many steps it learns."""
    data = pair.clean
    if pair.planted.end < 0.95 * guess(data):
        return False
    training = pair.spoiled.training
    longer = Bench(dataclasses.replace(training, steps=10 * training.steps))
    long = longer.train(pair.planted.rate, pair.planted.seed)
    return long.end < 0.5 * guess(data)


def _has_a_saddle(training: Training, data: Examples) -> bool:
    """Two layers or more: with all weights at 0, kernels have no gradient.

    Optimizers that scale their steps leave at once.
    """
    known = (
        has_labels(data)
        or is_binary(data)
        or (has_values(data) and training.loss == "mse")
    )
    descends = (gdtrain.GradientDescent, keras.optimizers.SGD)
    return (
        known
        and isinstance(training.optimizer(0.1), descends)
        and len(_kernels(training.build())) > 1
    )


def _saddle(factor: float) -> Fault:
    return Fault(
        names.PLATEAU,
        lambda training: with_weights(training, times(factor, last=True)),
        _has_a_saddle, _is_stuck, compare_rates=True,
    )  # fmt: skip


FAULTS: dict[str, Fault] = {
    "dead first relu": _killed(0),
    "dead second relu": _killed(1),
    "dead third relu": _killed(2),
    "sigmoid in all layers": _deep("sigmoid", 1.0),
    "sigmoid in all layers, weights x 0.3": _deep("sigmoid", 0.3),
    "sigmoid in all layers, weights x 0.1": _deep("sigmoid", 0.1),
    "hard sigmoid in all layers": _deep("hard_sigmoid", 1.0),
    "weights x 4": _large(4.0),
    "weights x 10": _large(10.0),
    "weights x 100": _large(100.0),
    "weights x 0.01": _saddle(0.01),
    "weights x 0.0001": _saddle(1e-4),
    "weights x 1e-8": _saddle(1e-8),
    "weights x 1e-16": _saddle(1e-16),
}

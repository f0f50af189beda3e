"""Overfitting, and losses that are not finite."""

import dataclasses
import functools
from typing import Any

import keras
import numpy as np

from tests.zoo.planted import names
from tests.zoo.planted.data_faults import is_nonfinite
from tests.zoo.planted.edited import last_activation
from tests.zoo.planted.fault import (
    Fault,
    Pair,
    has_labels,
    has_numbers,
    has_values,
    is_binary,
)
from tests.zoo.planted.model_faults import with_layers
from tests.zoo.training import Examples, Training

FEW = 24


def _few(noise: float) -> Fault:
    """Few examples with noise; the others are held."""

    def plant(training: Training) -> Training:
        @functools.lru_cache(8)
        def draw(seed: int) -> Examples:
            x, y, held = training.draw(seed)
            random = np.random.default_rng([19, seed])
            if y.dtype.kind == "f" and not is_binary(Examples(x, y)):
                y = y + noise * y.std() * random.normal(size=y.shape)
                y = y.astype("float32")
            half = (FEW + len(y)) // 2
            return Examples(x[:FEW], y[:FEW], (x[FEW:half], y[FEW:half]))

        batch = min(training.batch_size or FEW, FEW)
        return dataclasses.replace(training, draw=draw, batch_size=batch)

    def fits(training: Training, data: Examples) -> bool:
        """Labels have no noise of this kind; they are tried once."""
        return has_values(data) or (
            noise < 1 and (has_labels(data) or is_binary(data))
        )

    return Fault(names.OVERFITTING, plant, fits, _rises)


def _rises(pair: Pair) -> bool:
    """On yet other examples, the loss ends 25% above its least or more."""
    few = pair.spoiled.training.draw(pair.planted.seed)
    x, y, _ = pair.clean
    half = (FEW + len(y)) // 2
    others = few._replace(held=(x[half:], y[half:]))
    again = pair.spoiled.train(
        pair.planted.rate, pair.planted.seed, data=others
    )
    risk = again.history["val_loss"]
    return risk[-1] >= 1.25 * min(risk) and again.end < 0.5 * again.first


def poisson_by_hand(y: Any, outputs: Any) -> Any:
    """Of outputs that may be negative, whose logarithm is NaN."""
    return keras.ops.mean(outputs - y * keras.ops.log(outputs))


def crossentropy_by_hand(y: Any, outputs: Any) -> Any:
    """Without Keras's epsilon: infinite where an output is exactly 0."""
    y = keras.ops.reshape(keras.ops.cast(y, "int32"), [-1])
    chosen = keras.ops.one_hot(y, outputs.shape[-1]) * keras.ops.log(outputs)
    return -keras.ops.mean(keras.ops.sum(chosen, -1))


def root_of_squares(y: Any, outputs: Any) -> Any:
    """Of errors less their own mean: a root of a negative number."""
    return keras.ops.mean(keras.ops.sqrt(outputs - y))


@keras.saving.register_keras_serializable(package="zoo")
class Logarithm(keras.layers.Layer):
    """The logarithm of what comes in: NaN of negative numbers."""

    def call(self, inputs: Any) -> Any:
        return keras.ops.log(inputs)


@keras.saving.register_keras_serializable(package="zoo")
class Standardize(keras.layers.Layer):
    """Less the mean of the batch, over its deviation: 0 / 0 of a constant."""

    def call(self, inputs: Any) -> Any:
        low = keras.ops.mean(inputs, 0, keepdims=True)
        return (inputs - low) / keras.ops.std(inputs - low, 0, keepdims=True)


def _values(training: Training, data: Examples) -> bool:
    return has_values(data)


def _labels(training: Training, data: Examples) -> bool:
    return has_labels(data) and hasattr(
        training.build().layers[-1], "activation"
    )


def _constant_feature(training: Training) -> Training:
    """Standardized in the model, with a feature that never varies."""

    @functools.lru_cache(8)
    def draw(seed: int) -> Examples:
        data = training.draw(seed)
        x = data.x.copy()
        x[..., 0] = 1.0
        return data._replace(x=x)

    def build() -> keras.Model:
        model = training.build()
        inputs = keras.Input(model.inputs[0].shape[1:])
        return type(model)(inputs, model(Standardize()(inputs)))

    return dataclasses.replace(training, draw=draw, build=build)


#: The logarithm of an output without bounds: either is a right name.
_LOGARITHM = (names.OUTPUT,)

FAULTS: dict[str, Fault] = {
    "24 examples": _few(0.7),
    "24 noisy examples": _few(1.5),
    "logarithm of negative outputs": Fault(
        names.NONFINITE,
        lambda training: dataclasses.replace(training, loss=poisson_by_hand),
        _values, is_nonfinite, also=_LOGARITHM,
    ),
    "root of a negative error": Fault(
        names.NONFINITE,
        lambda training: dataclasses.replace(training, loss=root_of_squares),
        _values, is_nonfinite,
    ),
    "logarithm of 0": Fault(
        names.NONFINITE,
        lambda training: with_layers(
            training, last_activation("relu"), loss=crossentropy_by_hand
        ),
        _labels, is_nonfinite, also=_LOGARITHM,
    ),
    "0 / 0 of a constant feature": Fault(
        names.NONFINITE, _constant_feature,
        lambda training, data: has_numbers(data) and data.x.ndim == 2,
        is_nonfinite,
    ),
}  # fmt: skip

"""Faults of the model: output and loss, weight decay, what cannot move."""

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

import gdtrain
from tests.zoo.planted import names
from tests.zoo.planted.data_faults import learns_nothing
from tests.zoo.planted.edited import (
    Edit,
    edited,
    frozen,
    hidden_activation,
    last_activation,
    one_unit,
    regularized,
)
from tests.zoo.planted.fault import (
    COSTS,
    Fault,
    Pair,
    has_labels,
    has_values,
    is_binary,
    takes_logits,
)
from tests.zoo.training import Examples, Training


@keras.saving.register_keras_serializable(package="zoo")
class Decision(keras.layers.Layer):
    """The sign of what comes in, whose gradient is 0 everywhere."""

    def call(self, inputs: Any) -> Any:
        return keras.ops.sign(inputs)


def with_layers(
    training: Training,
    edit: Edit,
    *,
    tail: Callable[[Any], Any] = lambda outputs: outputs,
    loss: Any = None,
) -> Training:
    """The training with other layers, and another loss unless `None`."""

    def build() -> keras.Model:
        inputs, outputs = edited(training.build(), edit)
        return gdtrain.Model(inputs, tail(outputs))

    return dataclasses.replace(
        training, build=build, loss=loss or training.loss
    )


def _reshaped(outputs: Any) -> Any:
    """As it is, by a layer: Keras sees no softmax there, and mends nothing.

    Keras 3 takes the logits of a softmax that is the last operation, where the
    loss is to take logits.
    """
    return keras.layers.Reshape(outputs.shape[1:])(outputs)


def _crossentropy(data_is_binary: bool, from_logits: bool) -> Any:
    if data_is_binary:
        return keras.losses.BinaryCrossentropy(from_logits=from_logits)
    return keras.losses.SparseCategoricalCrossentropy(from_logits=from_logits)


def _is_dense(training: Training) -> bool:
    """Whether the last layer has an activation of its own."""
    return hasattr(training.build().layers[-1], "activation")


def _labels(training: Training, data: Examples) -> bool:
    return has_labels(data) and _is_dense(training)


def _binary(training: Training, data: Examples) -> bool:
    return is_binary(data) and _is_dense(training)


def _twice(binary: bool) -> Callable[[Training], Training]:
    """Softmax or sigmoid, and a loss that applies it again."""
    activation = "sigmoid" if binary else "softmax"
    return lambda training: with_layers(
        training, last_activation(activation), tail=_reshaped,
        loss=_crossentropy(binary, True),
    )  # fmt: skip


def _never(binary: bool) -> Callable[[Training], Training]:
    """Logits, and a loss that takes them for probabilities."""
    return lambda training: with_layers(
        training, last_activation(None), loss=_crossentropy(binary, False)
    )


def cannot_be_low(pair: Pair) -> bool:
    """The loss of perfect outputs is a quarter of the first, or more."""
    y = pair.clean.y
    perfect = np.eye(y.max() + 1)[y] if has_labels(pair.clean) else y
    least = pair.loss(pair.spoiled, perfect.astype("float32"))
    return least >= COSTS * pair.planted.first


def _costs(pair: Pair) -> bool:
    """A quarter of the gain, outputs being read as they are meant."""
    outputs = pair.spoiled.model(
        pair.spoiled.training.draw(pair.planted.seed).x, training=False
    )
    if not takes_logits(pair.healthy.training):
        is_one = outputs.shape[-1] == 1
        turn = keras.ops.sigmoid if is_one else keras.ops.softmax
        outputs = turn(outputs)
    lost = pair.loss(pair.healthy, outputs) - pair.without.end
    return lost >= COSTS * (pair.without.first - pair.without.end)


def _values(beyond: float) -> Callable[[Training, Examples], bool]:
    """A fifth of targets is below this, or further from 0 if positive."""

    def fits(training: Training, data: Examples) -> bool:
        if not has_values(data) or not _is_dense(training):
            return False
        out = data.y < 0 if beyond == 0 else np.abs(data.y) > beyond
        return bool(np.mean(out) >= 0.2)

    return fits


def _last(activation: str) -> Callable[[Training], Training]:
    return lambda training: with_layers(training, last_activation(activation))


#: Softmax over one unit is 1, whatever comes in: no gradient at all.
_ONE_UNIT = (names.NOTHING_MOVES,)
#: A relu whose outputs are all 0 is both.
_RELU = (names.DEAD, names.NOTHING_MOVES)


def _decoupled(strength: float) -> Callable[[Training], Training]:
    """The optimizer with weight decay."""

    def plant(training: Training) -> Training:
        def optimizer(rate: Any) -> keras.optimizers.Optimizer:
            made = training.optimizer(rate)
            made.weight_decay = strength
            return made

        return dataclasses.replace(training, optimizer=optimizer)

    return plant


def _moves_nothing(pair: Pair) -> bool:
    """All weights that can be trained are at the end what they were."""
    keras.utils.set_random_seed(pair.planted.seed)
    new = pair.spoiled.training.build()
    count = len(new.trainable_variables) or len(new.variables)
    now = pair.spoiled.model.trainable_variables or pair.spoiled.model.variables
    return count == len(now) and all(
        np.array_equal(start, end)
        for start, end in zip(
            map(np.asarray, new.trainable_variables or new.variables),
            map(np.asarray, now), strict=True,
        )
    )  # fmt: skip


def _one_output(training: Training, data: Examples) -> bool:
    return isinstance(data.y, np.ndarray)


def _after(layer: Callable[[], keras.Layer]) -> Callable[[Training], Training]:
    return lambda training: with_layers(
        training, lambda config, is_last: config,
        tail=lambda outputs: layer()(outputs),
    )  # fmt: skip


FAULTS: dict[str, Fault] = {
    "softmax twice": Fault(
        names.OUTPUT, _twice(False), _labels, cannot_be_low
    ),
    "sigmoid twice": Fault(
        names.OUTPUT, _twice(True), _binary, cannot_be_low
    ),
    "logits as probabilities": Fault(
        names.OUTPUT, _never(False), _labels, _costs
    ),
    "logits as probabilities, binary": Fault(
        names.OUTPUT, _never(True), _binary, _costs
    ),
    "softmax over one unit": Fault(
        names.OUTPUT,
        lambda training: with_layers(
            training, one_unit("softmax"), tail=_reshaped,
            loss=_crossentropy(True, False),
        ),
        _binary, lambda pair: bool(np.ptp(_outputs(pair)) == 0),
        also=_ONE_UNIT,
    ),
    "relu for negative targets": Fault(
        names.OUTPUT, _last("relu"), _values(0), also=_RELU
    ),
    "sigmoid for negative targets": Fault(
        names.OUTPUT, _last("sigmoid"), _values(0)
    ),
    "tanh for targets beyond 1": Fault(
        names.OUTPUT, _last("tanh"), _values(1)
    ),
    "weight decay 1": Fault(
        names.DECAY, _decoupled(1.0)
    ),
    "weight decay 10": Fault(
        names.DECAY, _decoupled(10.0)
    ),
    "L2 of 0.1": Fault(
        names.DECAY,
        lambda training: with_layers(training, regularized(0.1)),
    ),
    "L2 of 1": Fault(
        names.DECAY,
        lambda training: with_layers(training, regularized(1.0)),
    ),
    "frozen": Fault(
        names.NOTHING_MOVES,
        lambda training: with_layers(training, frozen),
        is_there=_moves_nothing,
    ),
    "sign of the output": Fault(
        names.NOTHING_MOVES,
        _after(Decision), _one_output, _moves_nothing,
    ),
    "output x 0": Fault(
        names.NOTHING_MOVES,
        _after(lambda: keras.layers.Rescaling(0.0)), _one_output,
        _moves_nothing,
    ),
    "rate 0": Fault(
        names.NOTHING_MOVES,
        lambda training: training, is_there=_moves_nothing, rates=("zero",),
    ),
    "linear": Fault(
        names.NOT_LEARNING,
        lambda training: with_layers(training, hidden_activation("linear")),
        lambda training, data: has_labels(data) or is_binary(data),
        learns_nothing, rates=("own",),
    ),
}  # fmt: skip


def _outputs(pair: Pair) -> np.ndarray:
    x = pair.spoiled.training.draw(pair.planted.seed).x
    return np.asarray(pair.spoiled.model(x, training=False))

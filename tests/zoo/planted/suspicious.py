"""Healthy trainings that look as if something were wrong."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

import gdtrain
from tests.zoo.bench import Bench
from tests.zoo.planted import spoiled
from tests.zoo.planted.edited import last_activation, regularized
from tests.zoo.planted.fault import (
    Fault,
    Pair,
    always,
    guess,
    has_labels,
    has_numbers,
    has_values,
    is_binary,
    with_data,
)
from tests.zoo.planted.layer_faults import times, with_weights
from tests.zoo.planted.model_faults import with_layers
from tests.zoo.sweep import HEALTHY, steadiness
from tests.zoo.training import Examples, Training

#: What costs more than this share of the gain is not harmless.
HARMLESS = 0.1


def _is_steady(pair: Pair) -> bool:
    """It neither rose nor ended unstable, by means of tenths of its losses."""
    gain = pair.planted.first - pair.planted.end
    return not steadiness(pair.planted, gain)


def is_harmless(pair: Pair) -> bool:
    """It costs next to nothing of the healthy gain, and is steady."""
    return pair.lost <= HARMLESS and _is_steady(pair)


def _as_low(pair: Pair) -> bool:
    """All losses are within 10% of the healthy gain of the healthy end."""
    gain = pair.without.first - pair.without.end
    losses = [part.mean() for part in np.array_split(pair.planted.loss, 10)]
    return max(losses) <= pair.without.end + HARMLESS * gain and (
        pair.lost <= HARMLESS
    )


def _is_learned(pair: Pair) -> bool:
    """The loss is at most 30% of that of guessing, and steady."""
    data = pair.spoiled.training.draw(pair.planted.seed)
    return pair.planted.end <= 0.3 * guess(data) and _is_steady(pair)


def _healthy(
    plant: Callable[[Training], Training],
    fits: Callable[[Training, Examples], bool] = always,
    is_there: Callable[[Pair], bool] = is_harmless,
    **options: Any,
) -> Fault:
    return Fault(HEALTHY, plant, fits, is_there, **options)


def _small_last(model: keras.Model) -> None:
    """Outputs near 0 at the start, and small gradients of all before."""
    kernel = model.layers[-1].kernel
    kernel.assign(0.01 * kernel)


def _one_output(training: Training, data: Examples) -> bool:
    return isinstance(data.y, np.ndarray)


def _has_kernel(training: Training, data: Examples) -> bool:
    return hasattr(training.build().layers[-1], "kernel")


def _with_loss(change: Callable[[Any], Any]) -> Callable[[Training], Training]:
    """Another loss, a function of the one before."""

    def plant(training: Training) -> Training:
        original = keras.losses.get(training.loss)

        def loss(y: Any, outputs: Any) -> Any:
            return change(keras.ops.mean(original(y, outputs)))

        return dataclasses.replace(training, loss=loss)

    return plant


def _likelihood(deviation: float) -> Callable[[Any], Any]:
    """Negative log-likelihood of a normal distribution: below 0 in the end."""
    constant = float(np.log(deviation * np.sqrt(2 * np.pi)))
    return lambda squares: squares / (2 * deviation**2) + constant


def _mse(training: Training, data: Examples) -> bool:
    return has_values(data) and training.loss == "mse"


def _trained_before(
    share: float, noise: float = 0.0, *, last_alone: bool = False
) -> Callable[[Training], Training]:
    """From weights of a training before, by Adam, on the data of seed 0.

    Args:
        share: Of that training's 2,000 steps.
        noise: Added to the weights, in their deviations.
        last_alone: Whether only the last layer is trained further.
    """

    def plant(training: Training) -> Training:
        before = dataclasses.replace(
            training, optimizer=keras.optimizers.Adam, batch_size=64,
            schedule=keras.optimizers.schedules.CosineDecay,
            steps=int(2000 * share),
        )  # fmt: skip

        @functools.cache
        def weights() -> list[np.ndarray]:
            random = np.random.default_rng(23)
            return [
                w + noise * w.std() * random.normal(size=w.shape)
                for w in Bench(before).train(0.01, 0).weights
            ]

        def build() -> keras.Model:
            model = training.build()
            model.set_weights(weights())
            for layer in model.layers[:-1]:
                layer.trainable = not last_alone
            return model

        return dataclasses.replace(
            training, draw=lambda seed: training.draw(0), build=build
        )

    return plant


def _imbalanced(training: Training) -> Training:
    """Nine in ten of the examples of the last class are left out."""

    @functools.lru_cache(8)
    def draw(seed: int) -> Examples:
        x, y, _ = training.draw(seed)
        rare = (y == y.max()).reshape(-1)
        keep = ~rare | (np.cumsum(rare) % 10 == 1)
        return Examples(x[keep], y[keep])

    return dataclasses.replace(training, draw=draw)


@keras.saving.register_keras_serializable(package="zoo")
class Reversal(keras.layers.Layer):
    """What comes in goes out; its gradient comes back with the other sign."""

    def call(self, inputs: Any) -> Any:
        return 2 * keras.ops.stop_gradient(inputs) - inputs


def _two_players(training: Training) -> Training:
    """A second head guesses at random labels; the body learns to deceive it.

    As in a generative adversarial network, one loss does not fall.
    """

    @functools.lru_cache(8)
    def draw(seed: int) -> Examples:
        x, y, _ = training.draw(seed)
        random = np.random.default_rng([29, seed])
        label = random.integers(0, 2, (len(y), 1)).astype("float32")
        return Examples(x, {"main": y, "other": label})

    def build() -> keras.Model:
        model = training.build()
        features = Reversal()(model.layers[-1].input)
        other = keras.layers.Dense(1, "sigmoid", name="other")(features)
        return gdtrain.Model(
            model.input, {"main": model.output, "other": other}
        )

    loss = {"main": training.loss, "other": "binary_crossentropy"}
    return dataclasses.replace(training, draw=draw, build=build, loss=loss)


def _with_dropout(training: Training) -> Training:
    """Dropout of 10% before the last layer."""

    def build() -> keras.Model:
        model = training.build()
        before = model.layers[-1].input
        outputs = model.layers[-1](keras.layers.Dropout(0.1)(before))
        return gdtrain.Model(model.inputs, outputs)

    return dataclasses.replace(training, build=build)


def _scheduled(schedule: Callable[..., Any]) -> Callable[[Training], Training]:
    return lambda training: dataclasses.replace(training, schedule=schedule)


def _warmed(share: float) -> Callable[[Any, int], Any]:
    """From 0 up to the rate in this share of the steps, and stays there."""
    return lambda peak, steps: keras.optimizers.schedules.PolynomialDecay(
        peak * 1e-3, max(int(share * steps), 2), peak
    )


def _longer(times_as_many: int) -> Callable[[Training], Training]:
    return lambda training: dataclasses.replace(
        training, steps=times_as_many * training.steps
    )


def _tiny(batch: int) -> Callable[[Training], Training]:
    return lambda training: dataclasses.replace(training, batch_size=batch)


def _is_constant(training: Training, data: Examples) -> bool:
    return training.schedule == "constant"


def _with_numbers(training: Training, data: Examples) -> bool:
    return has_numbers(data)


def _few_of_the_last(training: Training, data: Examples) -> bool:
    return has_labels(data) or is_binary(data)


def _softmax(training: Training, data: Examples) -> bool:
    last = training.build().layers[-1]
    return has_labels(data) and hasattr(last, "activation")


SUSPICIOUS: dict[str, Fault] = {
    "small last layer": _healthy(
        lambda training: with_weights(training, _small_last), _has_kernel
    ),
    "weights x 0.5": _healthy(
        lambda training: with_weights(training, times(0.5))
    ),
    "loss + 100": _healthy(_with_loss(lambda loss: loss + 100.0), _one_output),
    "loss - 3": _healthy(_with_loss(lambda loss: loss - 3.0), _one_output),
    "loss x 0.001": _healthy(
        _with_loss(lambda loss: loss * 0.001), _one_output, rates=("own",)
    ),
    "log-likelihood": _healthy(
        _with_loss(_likelihood(0.1)), _mse, rates=("own",)
    ),
    "batches of 2": _healthy(_tiny(2), rates=("own",)),
    "warm-up of a third": _healthy(_scheduled(_warmed(0.3)), _is_constant),
    "finished cosine": _healthy(
        _scheduled(
            lambda peak, steps: keras.optimizers.schedules.CosineDecay(
                peak, int(0.8 * steps)
            )
        ),
        _is_constant,
    ),
    "4 times as long": _healthy(_longer(4), _is_constant),
    "fine-tuning": _healthy(_trained_before(0.2, 0.05), is_there=_as_low),
    "at the minimum": _healthy(_trained_before(1.0), is_there=_as_low),
    "last layer alone": _healthy(
        _trained_before(0.5, 0.05, last_alone=True), _one_output, _as_low
    ),
    "one class is rare": _healthy(
        _imbalanced, _few_of_the_last, _is_learned, rates=("own",)
    ),
    "two players": _healthy(
        _two_players, _one_output, read=lambda outputs: outputs["main"]
    ),
    "dropout": _healthy(_with_dropout, _one_output),
    "softmax that Keras mends": _healthy(
        lambda training: with_layers(
            training, last_activation("softmax"),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        ),
        _softmax,
    ),
    "inputs x 3": _healthy(
        lambda training: with_data(
            training, lambda data, seed: spoiled.scaled(data, 3.0)
        ),
        _with_numbers, rates=("own",),
    ),
    "L2 of 0.0001": _healthy(
        lambda training: with_layers(training, regularized(1e-4))
    ),
}  # fmt: skip

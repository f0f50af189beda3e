"""A compiled model that is trained again and again from new weights."""

import math
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

import gdtrain
from tests.zoo.training import Examples, Training


class Trained(NamedTuple):
    """What a training came to.

    Args:
        rate: Its largest learning rate.
        seed: Of data, weights and order.
        first, end: Loss of all training data, by the first weights and by the
            last; infinity if it is not finite.
        telemetry: A `gdtrain.callbacks.Telemetry`.
        history: A dict of lists.
        weights, optimizer: Values at the end, lists of arrays, in the order of
            `model.get_weights()` and `model.optimizer.variables`.
        silent: Whether, at the end, a layer puts out 0 whatever comes in;
            `False` unless it was asked, see `Bench.is_silent`.
    """

    rate: float
    seed: int
    first: float
    end: float
    telemetry: Any
    history: dict[str, list[float]]
    weights: list[np.ndarray]
    optimizer: list[np.ndarray]
    silent: bool = False

    @property
    def loss(self) -> np.ndarray:
        """The loss of each step, float64 `[n]`."""
        return np.asarray(self.telemetry["loss"], np.float64)


def loss_of_all(model: keras.Model, x: Any, y: Any) -> float:
    """The loss of all examples, infinity if it is not finite."""
    x, y = keras.tree.map_structure(tf.convert_to_tensor, (x, y))
    loss = float(model.compute_loss(x, y, model(x, training=False)))
    return loss if math.isfinite(loss) else math.inf


class Bench:
    """Trains a model that is compiled once: tracing is the dearest part.

    Args:
        training: What is trained.
    """

    def __init__(self, training: Training) -> None:
        self.training = training
        self.peak = keras.Variable(0.1, trainable=False)
        constant = training.schedule == "constant"
        self.model = training.compiled(0.1 if constant else self.peak)
        variables = self.model.optimizer.variables
        self._unused = [variable.numpy() for variable in variables]

    def train(
        self,
        rate: float,
        seed: int,
        *,
        data: Examples | None = None,
        order: int | None = None,
    ) -> Trained:
        """Trains from the start.

        Args:
            rate: The largest learning rate.
            seed: Of data and weights.
            data: `None` for those of the seed.
            order: The seed of the order; `None` for the same seed.
        """
        data = data or self.training.draw(seed)
        model = self._restart(rate, seed)
        keras.utils.set_random_seed(seed if order is None else order)
        telemetry = gdtrain.callbacks.Telemetry("standard")
        first = loss_of_all(model, data.x, data.y)
        count = len(keras.tree.flatten(data.x)[0])
        batch = self.training.batch_size or count
        numbers = model.fit(
            data.x, data.y, batch_size=batch,
            epochs=-(-self.training.steps // -(-count // batch)),
            shuffle=self.training.shuffle, verbose=0, callbacks=[telemetry],
            validation_data=data.held, validation_batch_size=4096,
        ).history  # fmt: skip
        history = {name: [float(v) for v in numbers[name]] for name in numbers}
        state = [variable.numpy() for variable in model.optimizer.variables]
        end = loss_of_all(model, data.x, data.y)
        weights = model.get_weights()
        return Trained(
            rate, seed, first, end, telemetry, history, weights, state
        )

    def is_silent(self, run: Trained) -> bool:
        """Whether a layer puts out 0 for all examples, at the end of a run."""
        layers = self.model.layers
        each = keras.Model(self.model.inputs, [one.output for one in layers])
        self.model.set_weights(run.weights)
        outputs = each(keras.tree.flatten(self.training.draw(run.seed).x))
        return any(not np.any(one) for one in keras.tree.flatten(outputs))

    def _restart(self, rate: float, seed: int) -> keras.Model:
        """The model as new: weights of a seed, state of the optimizer."""
        model = self.model
        keras.utils.set_random_seed(seed)
        new = self.training.build()
        for variable, start in zip(
            model.variables, new.variables, strict=False
        ):
            assert variable.shape == start.shape
            variable.assign(start)
        for variable, value in zip(
            model.optimizer.variables, self._unused, strict=True
        ):
            variable.assign(value)
        if self.training.schedule == "constant":
            model.optimizer.learning_rate = rate
        self.peak.assign(rate)
        model._step_hooks.steps_done = 0
        return model

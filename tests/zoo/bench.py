"""A compiled model that is trained again and again from new weights."""

from typing import Any, NamedTuple

import keras
import numpy as np

import gdtrain


class Specimen(NamedTuple):
    """A training whose state of health is known.

    Args:
        label: The verdict that is right, by how it was made.
        kind: Which model, data and optimizer, in words.
        seed: What it was drawn with.
        telemetry: Its numbers, an object as `gdtrain.diagnose` takes it.
        history: A dict of epochs' numbers, or `None`.
    """

    label: str
    kind: str
    seed: int
    telemetry: Any
    history: dict | None = None


class Bench:
    """Trains a model that is compiled once: tracing is the dearest part.

    Args:
        kind: What is compiled, in words.
        build: Makes the model, given a base class.
        optimizer: A Keras optimizer.
        loss: As `compile` takes it.
        batch_size: In examples; `None` for all of them.
        quantities: As `Telemetry` takes them.
    """

    def __init__(
        self,
        kind,
        build,
        optimizer,
        *,
        loss="mse",
        batch_size=None,
        quantities="standard",
    ):
        self.kind, self.build, self.batch_size = kind, build, batch_size
        self.quantities = quantities
        self.model = build(gdtrain.Sequential)
        self.model.compile(optimizer, loss=loss, jit_compile=False)

    def initial(self, seed, change=None):
        """First weights of a seed, a list of arrays.

        Args:
            seed: An integer.
            change: Takes the list of arrays and returns another.
        """
        keras.utils.set_random_seed(seed)
        weights = self.build(keras.Sequential).get_weights()
        return change(weights) if change else weights

    def loss(self, data):
        """The loss of all data at once, by the weights as they are now."""
        x, y = data
        outputs = self.model(x, training=True)
        return float(self.model.compute_loss(x, y, outputs))

    def train(self, data, rate, steps, *, seed, change=None, validation=None):
        """Trains from the start.

        Args:
            data: `(x, y)`.
            rate: The learning rate.
            steps: About how many; whole epochs.
            seed: Of weights and order.
            change: As in `initial`.
            validation: `(x, y)`, or `None`.

        Returns:
            `(telemetry, history)`: a `Telemetry` callback and a dict.
        """
        x, y = data
        batch = self.batch_size or len(x)
        model = self.model
        model.set_weights(self.initial(seed, change))
        for variable in model.optimizer.variables:
            variable.assign(np.zeros(variable.shape, variable.dtype))
        model.optimizer.learning_rate = rate
        model._step_hooks.steps_done = 0
        telemetry = gdtrain.callbacks.Telemetry(self.quantities)
        history = model.fit(
            x, y, batch_size=batch, epochs=max(steps // -(-len(x) // batch), 1),
            verbose=0, callbacks=[telemetry], validation_data=validation,
            validation_batch_size=None if validation is None else 4096,
        )  # fmt: skip
        return telemetry, history.history

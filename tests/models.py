"""Small models and data that several tests use."""

import keras
import numpy as np

import gdtrain


def regression_data(examples=45, features=3):
    """Points `x` `[n, features]` and a linear target `y` `[n, 1]`."""
    x = np.random.default_rng(0).uniform(-1, 1, (examples, features))
    y = x @ np.arange(1.0, features + 1)[:, np.newaxis] + 0.5
    return x.astype("float32"), y.astype("float32")


def classification_data(examples=48):
    """Points `x` `[n, 4]` and labels `y` `[n]` of 3 classes."""
    random = np.random.default_rng(1)
    x = random.normal(size=(examples, 4)).astype("float32")
    return x, np.argmax(x[:, :3], axis=1)


def network(base=gdtrain.Sequential, *middle, seed=0):
    """A 3-4-1 network with the same start for every `base`."""
    keras.utils.set_random_seed(seed)
    return base(
        [
            keras.Input([3]),
            keras.layers.Dense(4, activation="tanh", name="hidden"),
            *middle,
            keras.layers.Dense(1, name="output"),
        ],
        name="network",
    )


def line(base=gdtrain.Model, w=0.0, b=-1.0):
    """The lecture's line, y = w * x + b."""

    class Line(base):
        def __init__(self):
            super().__init__(name="line")
            constant = keras.initializers.Constant
            self.w = self.add_weight(name="w", initializer=constant(w))
            self.b = self.add_weight(name="b", initializer=constant(b))

        def call(self, x):
            return self.w * x + self.b

    return Line()


def distance(one, other):
    """Largest difference between two lists of weights, relative to size."""
    return max(
        float(np.max(np.abs(a - b)) / max(np.max(np.abs(b)), 1e-12))
        for a, b in zip(one, other, strict=True)
    )

"""Prints fingerprints, which are the same in each process that runs this."""

import json
import types

import keras
import numpy as np
import tensorflow as tf

import gdtrain
from gdtrain.state import fingerprint

FACTOR = 0.5
RATES = {"first": {"second": keras.optimizers.Adam(0.25)}}
CHOSEN = {"relu", "tanh", "elu", "selu"}
X = np.arange(12, dtype="float32").reshape(4, 3)


def scaled(x):
    return FACTOR * x if len(CHOSEN) > 2 else x


class Feed:
    """In the place of a data source."""

    @staticmethod
    def fingerprint():
        return {}


class First:
    """A class in a set, whose order depends on addresses."""


class Second(First):
    pass


class Third(First):
    pass


class Own(gdtrain.Model):
    """A model with parts in many places."""

    def __init__(self):
        super().__init__()
        self.body = keras.Sequential(
            [keras.layers.Lambda(scaled), keras.layers.Dense(2)]
        )
        self.flip = keras.layers.RandomFlip()  # Draws a seed
        self.more = types.SimpleNamespace(
            names=CHOSEN, table=X, kinds={First, Second, Third}
        )

    def call(self, x):
        return self.body(x)

    def train_step(self, data):
        RATES["first"]["second"].learning_rate.assign(0.125)
        return {"loss": tf.zeros(()), "chosen": {1, 2, 3} & CHOSEN}


def described():
    inputs = keras.Input([3])
    hidden = keras.layers.Dense(2, activation=lambda x: x * FACTOR)(inputs)
    functional = gdtrain.Model(inputs, keras.ops.relu(hidden) + 1.0)
    functional.compile("adam", lambda y, p: FACTOR * (y - p), ["mae"])
    own = Own()
    own.compile("sgd", keras.losses.Huber(), metrics={"out": CHOSEN})
    slices = tf.data.Dataset.from_tensor_slices({"a": X, "b": X})
    arguments = {
        "shuffle": True,
        "validation_data": slices.shuffle(3).map(lambda x: scaled(x["a"])),
    }
    return [
        fingerprint.of(model, Feed, arguments) for model in (functional, own)
    ]


if __name__ == "__main__":
    print(json.dumps(described()))

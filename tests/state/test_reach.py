"""What a step uses is found, wherever a user keeps it."""

import dataclasses
import functools
import itertools
import types
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import gdtrain
from gdtrain.state import variables

X = np.ones([4, 2], "float32")


@dataclasses.dataclass
class Holder:
    held: Any


class Slotted:
    __slots__ = ("held",)

    def __init__(self, held):
        self.held = held


class Registry:
    """A class that is used as a place."""

    held: Any = None


class Closed(keras.Model):
    def __init__(self, held):
        super().__init__()
        self.places = Holder({"deep": [held]})


def registered(held):
    Registry.held = held
    return Registry


def closure(held):
    return lambda: held


def read_again_and_again(held):
    """A place that only the program can tell."""
    return itertools.repeat(held)


PLACES = {
    "namespace": lambda held: types.SimpleNamespace(held=held),
    "dict of dicts": lambda held: {"one": {"two": held}},
    "dataclass": Holder,
    "slots": Slotted,
    "class": registered,
    "closure": closure,
    "method": lambda held: Holder(held).__eq__,
    "partial": lambda held: functools.partial(max, held),
    "list in a namespace": lambda held: types.SimpleNamespace(all=[held]),
    "sub-model": Closed,
    "default": lambda held: lambda x=held: x,
}


@pytest.mark.parametrize("place", PLACES)
def test_what_a_place_holds_is_found(place):
    model = gdtrain.Sequential([keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    held = {
        "optimizer": keras.optimizers.Adam(),
        "metric": keras.metrics.Mean(),
        "other": tf.Variable(0.0),
        "weight": keras.layers.Dense(1),
    }
    held["weight"].build([None, 2])
    generators = (
        keras.random.SeedGenerator(1),
        tf.random.Generator.from_seed(1),
    )
    model.apart = PLACES[place]({**held, "generators": generators})
    found = variables.of(model)
    for kind in ("optimizer", "metric", "weight"):
        for variable in held[kind].variables:
            assert sum(variable is one for one in found[kind]) == 1
    for one in (held["other"], *(each.state for each in generators)):
        every = [variable for kind in found for variable in found[kind]]
        assert sum(one is variable for variable in every) == 1


SHARED = types.SimpleNamespace()


class Hidden(gdtrain.Model):
    """A step that uses what is kept in many places."""

    def __init__(self, adam, count):
        super().__init__()
        self.body = keras.layers.Dense(1)
        self.head = keras.layers.Dense(1)
        self.apart = {"by": types.SimpleNamespace(sgd=None)}
        self.adam = closure(adam)
        self.count = read_again_and_again(count)

    def call(self, x):
        return self.head(self.body(x))

    def train_step(self, data):
        x, y = data
        with tf.GradientTape(persistent=True) as tape:
            noise = SHARED.noise.normal([1], dtype="float32")
            loss = tf.reduce_mean((self(x + 0.1 * noise) - y) ** 2)
            loss *= 1.0 + 0.1 * tf.cast(next(self.count), "float32")
        for layer, optimizer in (
            (self.body, self.adam()),
            (self.head, self.apart["by"].sgd),
        ):
            weights = layer.trainable_variables
            optimizer.apply(tape.gradient(loss, weights), weights)
        next(self.count).assign_add(1.0)
        SHARED.mean.update_state(loss)
        return {"loss": loss, "mean": SHARED.mean.result()}


def hidden():
    SHARED.noise = tf.random.Generator.from_seed(2)
    SHARED.mean = keras.metrics.Mean()
    model = Hidden(keras.optimizers.Adam(0.01), tf.Variable(0.0))
    model.apart["by"].sgd = keras.optimizers.SGD(0.01, momentum=0.9)
    model.compile("sgd", jit_compile=False)
    return model


def left_by(folder, steps=None):
    """What a run leaves that is stopped after some steps."""

    class Stopping(gdtrain.callbacks.Callback):
        def on_position(self, run):
            if steps is not None and run.steps_done >= steps:
                backup.wait()
                raise InterruptedError

    keras.utils.set_random_seed(1)
    model = hidden()
    backup = gdtrain.callbacks.BackupAndRestore(folder, every_steps=2)
    history = model.fit(
        *(np.ones([8, 2]), np.ones([8, 1])),
        batch_size=2,
        epochs=2,
        verbose=0,
        callbacks=[backup, Stopping()],
    )
    found = variables.of(model)
    values = [np.asarray(v).tobytes() for k in found for v in found[k]]
    return history.history, values, {k: len(v) for k, v in found.items()}


def test_a_step_that_uses_hidden_things_is_gone_on_with_exactly(tmp_path):
    whole = left_by(tmp_path / "whole")
    # Of a compiled optimizer that is not used, Adam, and one with momentum
    assert whole[2]["optimizer"] == 2 + 2 + 2 * 2 + 2 + 2
    assert whole[2]["other"] == 2  # The count and the generator
    with pytest.raises(InterruptedError):
        left_by(tmp_path / "parts", steps=6)
    assert left_by(tmp_path / "parts") == whole


def test_what_replicas_share_is_found_once(two_replicas):
    with two_replicas.scope():
        model = gdtrain.Sequential([keras.Input([2]), keras.layers.Dense(1)])
        model.compile("sgd", "mse")
        count = tf.Variable(
            0.0,
            trainable=False,
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )
        model.apart = types.SimpleNamespace(count=count)
    step = model.train_step

    def counting(data):
        count.assign_add(1.0)
        return step(data)

    model.train_step = counting
    model.fit(X, X[:, :1], verbose=0)
    assert count.numpy() == 1
    found = variables.of(model)
    assert [one is count for one in found["other"]] == [True]
    assert len(found["weight"]) == 2

"""New first values: of all kinds of layers, and nothing else changes."""

import keras
import numpy as np
import pytest

import gdtrain
from gdtrain.state import fresh
from tests.state.test_preserved_model import assert_equal, everything

layers = keras.layers


def mixed():
    keras.utils.set_random_seed(7)
    given = keras.Input([8, 4])
    parts = [
        layers.LSTM(5)(given),
        layers.Bidirectional(layers.GRU(3))(given),
        layers.Flatten()(layers.MultiHeadAttention(2, 3)(given, given)),
        layers.Flatten()(layers.SeparableConv1D(4, 3)(given)),
        layers.Flatten()(layers.BatchNormalization()(given)),
        layers.PReLU()(layers.Flatten()(given)),
    ]
    joined = layers.Concatenate()(parts)
    model = gdtrain.Model(given, layers.Dense(2)(joined))
    model.compile("nadam", "mse")
    return model


def test_they_are_as_a_new_model_has_them():
    model = mixed()
    x = np.random.default_rng(0).normal(size=[32, 8, 4]).astype(np.float32)
    model.optimizer.build(model.trainable_variables)
    first = [v.numpy() for v in (*model.variables, *model.optimizer.variables)]
    model.fit(x, x[:, 0, :2], verbose=0)
    before = everything(model)
    values = {id(v): value for v, value in fresh.first_values(model)}
    assert_equal(everything(model), before)
    for variable, value in zip(
        (*model.variables, *model.optimizer.variables), first, strict=True
    ):
        if "seed" in variable.path:
            continue
        new = values[id(variable)]
        assert new.shape == value.shape, variable.path
        if len(np.unique(value)) > 8:  # Random, with the same spread
            assert not np.array_equal(new, value)
            assert 0.5 < new.std() / value.std() < 2, variable.path
        else:
            np.testing.assert_array_equal(new, value)


def test_what_is_not_trained_stays():
    frozen = layers.Dense(3)
    model = gdtrain.Sequential(
        [keras.Input([2]), layers.Normalization(), frozen, layers.Dense(1)]
    )
    frozen.trainable = False
    model.compile("sgd", "mse")
    model.optimizer.build(model.trainable_variables)
    changed = [v.path for v, _ in fresh.first_values(model)]
    assert sum("dense" in path for path in changed) == 2
    assert not any("normalization" in path for path in changed)


def test_a_layer_that_has_no_config_is_named():
    class Scaled(gdtrain.Model):
        def __init__(self, size):
            super().__init__()
            self.scale = self.add_weight(shape=[size.value])

        def call(self, x):
            return x * self.scale

    size = type("Size", (), {"value": 2})
    model = Scaled(size)
    model.compile("sgd", "mse")
    model(np.ones([1, 2]))
    model.optimizer.build(model.trainable_variables)
    with pytest.raises(ValueError, match="scaled"):
        fresh.first_values(model)

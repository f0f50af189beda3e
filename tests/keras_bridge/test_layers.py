"""What the bridge does with the calls of layers and their dtypes."""

import keras
import numpy as np

from gdtrain.keras_bridge import layers

X = np.ones([2, 3], "float32")


class BuildsWithin(keras.layers.Layer):
    """Has no layers within before its first call."""

    def build(self, shape):
        self.inner = keras.layers.Dense(1, name="inner")
        self.inner.build(shape)

    def call(self, x):
        return self.inner(x)


def model():
    inputs = keras.Input([3])
    hidden = keras.layers.Dense(2, name="hidden")(inputs)
    outputs = keras.ops.tanh(keras.layers.Flatten(name="flat")(hidden))
    return keras.Model(inputs, outputs, name="model")


def test_outputs_of_layers_with_weights_are_observed():
    network, found = model(), []
    with layers.observe_outputs(network, lambda *call: found.append(call)):
        network(X)
    network(X)
    [(layer, output)] = found
    assert layer.name == "hidden" and output.shape == (2, 2)


def test_layer_that_makes_layers_when_it_is_built_is_not_observed():
    network, found = keras.Sequential([BuildsWithin(name="outer")]), []
    with layers.observe_outputs(network, lambda *call: found.append(call)):
        network(X)
    assert found == []


def test_calls_of_layers_and_plain_operations_are_observed():
    network, names = model(), []
    with layers.observe_calls(network, lambda op, *_: names.append(op.name)):
        network(X)
    hidden, flat, tanh, outer = names[-4:]
    assert (hidden, flat, outer) == ("hidden", "flat", "model")
    assert "tanh" in tanh


def test_half_precision_is_set_back():
    layer = keras.layers.Dense(1, dtype="mixed_bfloat16")
    with layers.compute_in_float32(layer):
        assert layer(X).dtype == "float32"
    assert layer(X).dtype == "bfloat16"

"""What layers put out: means, deviations and dead features."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import gdtrain
from tests import models
from tests.telemetry import twin

OF_ACTIVATIONS = ["activation_mean", "activation_deviation", "dead_fraction"]
LAYERS = keras.layers


def observed(model, x, y, microbatches=1, batch=8, **arguments):
    """What was measured while a model trained: a `Telemetry`."""
    model.compile("sgd", "mse", microbatches=microbatches, **arguments)
    telemetry = gdtrain.callbacks.Telemetry(OF_ACTIVATIONS)
    model.fit(
        x, y, batch_size=batch, shuffle=False, verbose=0, callbacks=[telemetry]
    )
    return telemetry


@pytest.mark.parametrize("microbatches", [1, 2])
def test_activations_are_those_of_their_twin(microbatches):
    model = models.network()
    x, y = models.regression_data(13)  # Parts of 2 and 3, then of 1 and 2
    steps = twin.train(
        model.get_weights(), x, y, batch=5, rate=0.01, momentum=0.0
    )
    telemetry = observed(model, x, y, microbatches, batch=5)
    assert len(telemetry.names) == 3 * 2
    assert all("call" not in vars(layer) for layer in model.layers)
    for layer in ("hidden", "output"):
        outputs = [step.activations[layer] for step in steps]
        for name, number in (
            ("activation_mean", np.mean),
            ("activation_deviation", np.std),
            ("dead_fraction", lambda output: 0.0),
        ):
            np.testing.assert_allclose(
                telemetry[f"{name}/{layer}"],
                [number(output) for output in outputs],
                rtol=1e-5,
                atol=1e-6,  # A mean of numbers of both signs, of size 1
            )


def units():
    """Four units for `x`: dead, dead but for x > 1, alive, negative alive."""
    model = gdtrain.Sequential(
        [
            keras.Input([1]),
            LAYERS.Dense(4, activation="relu", name="units"),
            LAYERS.Dense(1, kernel_initializer="zeros", name="sum"),
        ]
    )
    model.layers[0].set_weights(
        [np.array([[1.0, 1, 1, -1]]), np.array([-9.0, -1, 0, 0])]
    )
    return model


@pytest.mark.parametrize("microbatches", [1, 2])
def test_dead_units_are_counted_over_the_whole_batch(microbatches):
    x = np.array([[0.5], [-0.5], [0.7], [2.0]] + [[0.5], [-0.5]] * 2)
    telemetry = observed(units(), x, 0 * x[:, :1], microbatches, batch=4)
    # In the first batch, the second unit is alive for the last example alone.
    assert telemetry["dead_fraction/units"].tolist() == [0.25, 0.5]
    assert telemetry["dead_fraction/sum"].tolist() == [1.0, 1.0]


def test_a_dead_channel_of_a_convolution_is_counted():
    model = gdtrain.Sequential(
        [
            keras.Input([4, 4, 1]),
            LAYERS.Conv2D(4, 2, activation="relu", name="filters"),
            LAYERS.GlobalAveragePooling2D(name="pooling"),
            LAYERS.Dense(1, name="output"),
        ]
    )
    kernels = np.zeros([2, 2, 1, 4])
    kernels[0, 0, 0] = [1, -1, 1, 1]  # The second has no positive input.
    model.layers[0].set_weights([kernels, np.array([0, 0, -0.5, 0])])
    x = np.zeros([2, 4, 4, 1])
    x[1, 1, 1] = 1  # One pixel of one picture brings a channel to life.
    telemetry = observed(model, x, np.zeros([2, 1]))
    assert telemetry["dead_fraction/filters"].tolist() == [0.25]
    total = 1 + 0.5 + 1  # Over 2 pictures of 3 x 3 places and 4 channels
    assert telemetry["activation_mean/filters"] == pytest.approx(total / 72)
    assert "dead_fraction/pooling" not in telemetry.names


def test_activation_layers_without_weights_are_seen():
    model = gdtrain.Sequential(
        [
            keras.Input([1]),
            LAYERS.Dense(2, name="linear", use_bias=False),
            LAYERS.ReLU(name="rectified"),
            LAYERS.Dense(1, name="output"),
        ]
    )
    model.layers[0].set_weights([np.array([[1.0, -1.0]])])
    telemetry = observed(model, np.ones([4, 1]), np.ones([4, 1]))
    assert telemetry["activation_mean/linear"] == pytest.approx([0.0])
    assert telemetry["activation_mean/rectified"] == pytest.approx([0.5])
    assert telemetry["activation_deviation/rectified"] == pytest.approx([0.5])
    assert telemetry["dead_fraction/rectified"] == pytest.approx([0.5])


def test_a_shared_layer_is_seen_at_each_call():
    left, right = keras.Input([1]), keras.Input([1])
    shared = LAYERS.Dense(2, activation="relu", name="shared")
    joined = LAYERS.Concatenate()([shared(left), shared(right)])
    model = gdtrain.Model([left, right], LAYERS.Dense(1, name="output")(joined))
    shared.set_weights([np.array([[1.0, -1.0]]), np.zeros(2)])
    ones = np.ones([4, 1])
    telemetry = observed(model, [ones, -3 * ones], ones)
    # 1 and 0 for the left, 0 and 3 for the right: neither unit is dead.
    assert telemetry["dead_fraction/shared"].tolist() == [0.0]
    assert telemetry["activation_mean/shared"].tolist() == [1.0]
    assert telemetry["activation_deviation/shared"] == pytest.approx(
        np.std([1, 0, 0, 3])
    )


def test_layers_of_nested_models_go_by_their_path():
    inner = models.network(keras.Sequential)
    model = gdtrain.Sequential([keras.Input([3]), inner], name="outer")
    x, y = models.regression_data(8)
    hidden, output = twin.forward(inner.get_weights(), x)
    telemetry = observed(model, x, y)
    assert telemetry["activation_mean/network/hidden"] == pytest.approx(
        [hidden.mean()], rel=1e-5
    )
    assert telemetry["activation_deviation/network/output"] == pytest.approx(
        [output.std()], rel=1e-5
    )
    assert len(telemetry.names) == 3 * 2


class OwnStep(gdtrain.Model):
    """A step of a user's own, which calls a layer by itself."""

    def __init__(self):
        super().__init__()
        self.unit = LAYERS.Dense(1, kernel_initializer="ones", name="unit")

    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((self.unit(x) - y) ** 2)
        self.descend(tape, loss)
        return {"loss": loss}


@pytest.mark.parametrize("eagerly", [False, True])
def test_layers_in_a_step_of_ones_own_are_seen(eagerly):
    model = OwnStep()
    model.unit.build([None, 1])
    x = np.array([[1.0], [3.0]])
    telemetry = observed(model, x, x, run_eagerly=eagerly)
    assert telemetry["activation_mean/unit"].tolist() == [2.0]
    assert telemetry["activation_deviation/unit"].tolist() == [1.0]
    assert telemetry["dead_fraction/unit"].tolist() == [0.0]


NAMED = {
    "flat": lambda: models.network(),
    # Its layers have no weights until the first step is traced.
    "not built": lambda: gdtrain.Sequential(
        [LAYERS.Dense(2, name="first"), LAYERS.Dense(1, name="second")]
    ),
    "nested": lambda: gdtrain.Sequential(
        [keras.Input([3]), models.network(keras.Sequential)], name="outer"
    ),
    "functional": lambda: gdtrain.from_keras(models.network(keras.Sequential)),
}


@pytest.mark.parametrize("kind", NAMED)
def test_layers_are_called_as_those_of_gradients(kind):
    model = NAMED[kind]()
    model.compile("sgd", "mse")
    telemetry = gdtrain.callbacks.Telemetry(
        ["gradient_norm", "activation_mean"]
    )
    x, y = models.regression_data(8)
    model.fit(x, y, verbose=0, callbacks=[telemetry])
    named = {
        quantity: {
            name.partition("/")[2]
            for name in telemetry.names
            if name.startswith(f"{quantity}/")
        }
        for quantity in ("gradient_norm", "activation_mean")
    }
    assert named["activation_mean"] == named["gradient_norm"]


class TwoUpdates(gdtrain.Model):
    """Two updates in a step, each after a call of the layer."""

    def __init__(self):
        super().__init__()
        self.unit = LAYERS.Dense(
            1, kernel_initializer="ones", use_bias=False, name="unit"
        )

    def train_step(self, data):
        x, y = data
        for name in ("one", "two"):
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean((self.unit(x) - y) ** 2)
            self.descend(tape, loss, name=name)
        return {"last": loss}


def test_each_update_of_a_step_has_the_activations_before_it():
    model = TwoUpdates()
    model.compile(gdtrain.GradientDescent(0.25))
    telemetry = gdtrain.callbacks.Telemetry(["activation_mean", "loss"])
    x = np.ones([4, 1])
    model.fit(x, 0 * x, verbose=0, callbacks=[telemetry])
    found = {name: telemetry[name].tolist() for name in telemetry.names}
    assert found == {
        "one/activation_mean/unit": [1.0],
        "one/loss": [1.0],
        "two/activation_mean/unit": [0.5],
        "two/loss": [0.25],
        "last": [0.25],
    }


@pytest.mark.parametrize("eagerly", [False, True])
def test_recurrent_layers_are_seen_as_a_whole(eagerly):
    model = gdtrain.Sequential(
        [
            keras.Input([5, 2]),
            LAYERS.LSTM(3, name="recurrent"),
            LAYERS.Dense(1, name="output"),
        ]
    )
    random = np.random.default_rng(0)
    x = random.normal(size=(4, 5, 2)).astype("float32")
    output = model.layers[0](x).numpy()
    telemetry = observed(model, x, np.ones([4, 1]), run_eagerly=eagerly)
    assert telemetry["activation_mean/recurrent"] == pytest.approx(
        [output.mean()], rel=1e-5
    )
    assert len(telemetry.names) == 3 * 2


def test_integers_and_vectors_are_passed_over():
    class Odd(LAYERS.Layer):
        """Has a weight, and puts out a vector without features."""

        def build(self, shape):
            self.scale = self.add_weight(name="scale", initializer="ones")

        def call(self, x):
            return tf.reduce_sum(x * self.scale, 1)

    model = gdtrain.Sequential([keras.Input([3]), Odd(name="odd")])
    x, y = models.regression_data(8)
    model.compile("sgd", keras.losses.MeanSquaredError())
    telemetry = gdtrain.callbacks.Telemetry(["loss", *OF_ACTIVATIONS])
    model.fit(x, y[:, 0], verbose=0, callbacks=[telemetry])
    assert telemetry.names == ["loss"]

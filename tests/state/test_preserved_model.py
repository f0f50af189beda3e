"""After a model was tried out, it goes on as if nothing had been."""

import random

import keras
import numpy as np
import pytest
import tensorflow as tf

import gdtrain
from gdtrain.keras_bridge import randomness
from gdtrain.state import variables
from gdtrain.state.preserved import preserved_model
from tests import models


def network(optimizer="adam"):
    """A network in which everything moves: also dropout and averages."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    model = models.network(
        gdtrain.Sequential, layers.BatchNormalization(), layers.Dropout(0.3)
    )
    model.compile(optimizer, loss="mse", metrics=["mae"])
    return model


def train(model, epochs=2, **arguments):
    x, y = models.regression_data()
    arguments = {"verbose": 0, "validation_split": 0.2} | arguments
    return model.fit(x, y, batch_size=8, epochs=epochs, **arguments)


def everything(model):
    """All values of a model and of random generators, as arrays."""
    arrays = [
        value
        for some in variables.of(model).values()
        for value in variables.values(some, model.distribute_strategy)
    ]
    generators = [
        np.asarray(random.getstate()[1]),
        np.random.get_state()[1],
        tf.random.get_global_generator().state.numpy(),
    ]
    return arrays + generators


def assert_equal(some, others):
    for one, other in zip(some, others, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.mostly_long("KeyboardInterrupt")
@pytest.mark.parametrize("error", [None, KeyboardInterrupt])
def test_everything_is_as_before_however_it_ends(error):
    model = network()
    train(model)
    before = everything(model)
    kept = {key: vars(model)[key] for key in ("history", "train_function")}
    done = model._step_hooks.steps_done
    try:
        with preserved_model(model):
            train(model)
            model.optimizer.learning_rate = 7.0
            model.stop_training = True
            random.random(), np.random.rand()
            tf.random.get_global_generator().normal([])
            assert model._step_hooks.steps_done == 2 * done
            if error:
                raise error
    except KeyboardInterrupt as raised:
        assert type(raised) is error
    assert_equal(everything(model), before)
    assert vars(model)["history"] is kept["history"]
    assert vars(model)["train_function"] is kept["train_function"]
    assert not model.stop_training
    assert model._step_hooks.steps_done == done


def test_training_goes_on_as_if_nothing_had_been():
    model, other = network(), network()
    results = []
    for one, tries in ((model, True), (other, False)):
        keras.utils.set_random_seed(3)
        history = [train(one).history]
        if tries:
            with preserved_model(one):
                train(one, epochs=3)
                one.evaluate(*models.regression_data(), verbose=0)
                keras.random.normal([1])
        history.append(train(one).history)
        results.append((history, everything(one), keras.random.normal([3])))
    (history, values, noise), (history_2, values_2, noise_2) = results
    assert history == history_2
    assert_equal(values, values_2)
    np.testing.assert_array_equal(noise, noise_2)


def test_a_model_that_was_never_trained_begins_as_if_nothing_had_been():
    results = []
    for tries in (True, False):
        model = network(gdtrain.GradientDescent(0.1, momentum=0.9))
        keras.utils.set_random_seed(3)
        if tries:
            with preserved_model(model):
                train(model)
            assert "history" not in vars(model)
            assert randomness.global_random_generator() is None
            metrics = [v.numpy() for v in model.metrics_variables]
            assert metrics and not np.any(metrics)
        results.append((train(model).history, everything(model)))
    assert results[0][0] == results[1][0]
    assert_equal(results[0][1], results[1][1])


def test_states_of_recurrent_layers_are_as_before():
    layers = [keras.layers.SimpleRNN(2, stateful=True), keras.layers.Dense(1)]
    model = gdtrain.Sequential([keras.Input([3, 1], batch_size=9), *layers])
    model.compile("sgd", loss="mse")
    x, y = models.regression_data()
    model.fit(x, y, batch_size=9, verbose=0)
    (state,) = layers[0].states
    before = state.numpy()
    with preserved_model(model):
        model.fit(x, y, batch_size=9, verbose=0)
        assert not np.array_equal(state.numpy(), before)
    np.testing.assert_array_equal(state.numpy(), before)
    assert np.any(before)


def test_callbacks_of_a_fit_get_no_steps_of_the_test():
    class TestsWithin(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            with preserved_model(self.model):
                train(self.model)

    model = network()
    telemetry = gdtrain.callbacks.Telemetry()
    train(model, epochs=2, callbacks=[telemetry, TestsWithin()])
    assert telemetry.steps.tolist() == list(range(1, 11))
    plain = gdtrain.callbacks.Telemetry()
    train(network(), epochs=2, callbacks=[plain])
    np.testing.assert_array_equal(telemetry["loss"], plain["loss"])


def test_optimizers_of_the_user_are_set_back_too():
    class Two(gdtrain.Model):
        def __init__(self):
            super().__init__()
            self.layer = keras.layers.Dense(1)
            self.layer.build([None, 3])
            self.built = True
            self.other = keras.optimizers.Adam(0.1)

        def call(self, x):
            return self.layer(x)

        def train_step(self, data):
            x, y = data
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean((self(x) - y) ** 2)
            self.descend(tape, loss, optimizer=self.other)
            return {"loss": loss}

    model = Two()
    model.compile("sgd")
    with preserved_model(model):
        x, y = models.regression_data()
        model.fit(x, y, verbose=0)
        moments = [np.abs(v.numpy()).max() for v in model.other.variables]
        assert min(moments) > 0
    values = {v.name: v.numpy() for v in model.other.variables}
    assert values.pop("learning_rate") == np.float32(0.1)
    assert not any(np.any(value) for value in values.values())

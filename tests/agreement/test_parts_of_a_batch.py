"""k micro-batches against one batch, and two replicas against one."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import gdtrain
from gdtrain.common.explained import more
from tests import models

# 45 examples in batches of 8: five full ones and a last one of 5, which
# neither 2 replicas nor 2, 3 or 4 micro-batches divide evenly.
BATCH = 8


def train(strategy=None, optimizer=None, middle=(), **compile_arguments):
    """Weights, history and telemetry of two epochs."""
    strategy = strategy or tf.distribute.get_strategy()
    with strategy.scope():
        model = models.network(gdtrain.Sequential, *middle)
        model.layers[0].kernel_regularizer = keras.regularizers.L2(0.01)
        model.compile(
            optimizer() if optimizer else gdtrain.GradientDescent(0.1),
            "mse",
            metrics=["mae"],
            **compile_arguments,
        )
    x, y = models.regression_data()
    weight = np.linspace(0.5, 1.5, len(x))
    telemetry = gdtrain.callbacks.Telemetry()
    history = model.fit(
        x,
        y,
        batch_size=BATCH,
        epochs=2,
        sample_weight=weight,
        shuffle=False,
        validation_data=(x, y),
        callbacks=[telemetry],
        verbose=0,
    )
    return model.get_weights(), history.history, telemetry


def assert_same_training(one, other):
    """Same weights, history and telemetry but for rounding in float32."""
    assert models.distance(one[0], other[0]) < 1e-6
    for key, values in other[1].items():
        np.testing.assert_allclose(one[1][key], values, rtol=1e-6, err_msg=key)
    assert one[2].names == other[2].names
    for name in other[2].names:
        np.testing.assert_allclose(
            one[2][name], other[2][name], rtol=1e-5, atol=1e-6, err_msg=name
        )


OPTIMIZERS = {
    "descent": lambda: gdtrain.GradientDescent(0.1),
    "momentum": lambda: gdtrain.GradientDescent(0.05, momentum=0.9),
    "adam": lambda: keras.optimizers.Adam(0.01),
    "clipnorm": lambda: keras.optimizers.SGD(0.1, clipnorm=0.1),
    "clipvalue": lambda: keras.optimizers.SGD(0.1, clipvalue=0.1),
    "global_clipnorm": lambda: keras.optimizers.SGD(0.1, global_clipnorm=0.1),
}


@pytest.fixture(scope="module")
def whole_batches():
    return train()


# The last batch has 5 examples for 7 micro-batches: two are empty.
@pytest.mark.mostly_long("7")
@pytest.mark.parametrize("microbatches", [2, 3, 4, 7])
def test_micro_batches_train_as_one_batch(whole_batches, microbatches):
    assert_same_training(train(microbatches=microbatches), whole_batches)


def test_micro_batches_of_a_compiled_step_train_as_one_batch():
    x, y = models.regression_data()
    weights = []
    for microbatches in (1, 3):
        model = models.network()
        model.compile(
            gdtrain.GradientDescent(0.1),
            "mse",
            microbatches=microbatches,
            jit_compile=True,
        )
        model.fit(x, y, batch_size=8, shuffle=False, verbose=0)
        weights.append(model.get_weights())
    assert models.distance(*weights) < 1e-6


def test_schedules_count_updates_and_not_micro_batches():
    schedule = keras.optimizers.schedules.ExponentialDecay(1.0, 8, 0.5)
    model = models.network()
    model.compile(gdtrain.GradientDescent(schedule), "mse", microbatches=4)
    x, y = models.regression_data(16)
    telemetry = gdtrain.callbacks.Telemetry()
    model.fit(x, y, batch_size=8, verbose=0, callbacks=[telemetry])
    assert int(model.optimizer.iterations.numpy()) == 2
    assert telemetry.steps.tolist() == [1, 2]
    np.testing.assert_allclose(
        telemetry["learning_rate"], [1.0, 0.5 ** (1 / 8)], rtol=1e-6
    )


@pytest.mark.long
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_two_replicas_train_as_one(two_replicas, optimizer):
    make = OPTIMIZERS[optimizer]
    assert_same_training(train(two_replicas, make), train(None, make))


def test_two_replicas_with_everything_train_as_one(two_replicas):
    arguments = {"microbatches": 2, "global_clipnorm": 0.2}
    assert_same_training(
        train(two_replicas, steps_per_execution=4, **arguments),
        train(**arguments),
    )


def test_two_replicas_run_as_a_graph_where_xla_is_asked_for(
    two_replicas, caplog
):
    x, y = np.ones([4, 1]), np.full([4, 1], 3.0)
    with two_replicas.scope():
        dense = keras.layers.Dense(1, kernel_initializer="zeros")
        model = gdtrain.Sequential([keras.Input([1]), dense])
        model.compile(gdtrain.GradientDescent(0.25), "mse", jit_compile=True)
    history = model.fit(x, y, epochs=2, verbose=0)
    assert history.history["loss"] == [9, 0]
    assert model.train_on_batch(x, y) == 0
    assert model.predict(x, verbose=0).tolist() == [[3]] * 4
    assert caplog.messages == [
        "XLA cannot compile a step of several replicas: sequential runs as a "
        "graph on its 2 replicas, as with jit_compile=False."
        + more("xla-refused")
    ]


def test_dropout_and_batch_statistics_leave_replicas_equal(two_replicas):
    middle = [keras.layers.BatchNormalization(), keras.layers.Dropout(0.3)]
    with two_replicas.scope():
        model = models.network(gdtrain.Sequential, *middle)
        model.compile("adam", "mse")
    x, y = models.regression_data()
    start = model.get_weights()
    model.fit(x, y, batch_size=BATCH, epochs=2, verbose=0)
    assert models.distance(model.get_weights(), start) > 1e-3
    for weight in model.weights:
        local = two_replicas.experimental_local_results(weight.value)
        copies = [copy.numpy() for copy in local]
        for copy in copies[1:]:
            np.testing.assert_array_equal(copies[0], copy, weight.path)


class OneLayer(gdtrain.Model):
    """A linear layer that starts from zeros, built at once."""

    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(1, kernel_initializer="zeros")
        self.dense.build((None, 3))

    def call(self, x):
        return self.dense(x)


def test_keras_losses_in_a_step_of_ones_own_count_the_same(two_replicas):
    """The mean by hand, a Keras loss object and `compute_loss` all agree."""

    class ByHand(OneLayer):
        def loss_of(self, x, y, y_pred):
            return tf.reduce_mean(tf.square(y - y_pred))

        def train_step(self, data):
            x, y = data
            with tf.GradientTape() as tape:
                loss = self.loss_of(x, y, self(x))
            self.descend(tape, loss)
            return {"loss": loss}

    class LossObject(ByHand):
        def loss_of(self, x, y, y_pred):
            return keras.losses.MeanSquaredError()(y, y_pred)

    class ComputeLoss(ByHand):
        def loss_of(self, x, y, y_pred):
            return self.compute_loss(x, y, y_pred)

    x, y = models.regression_data()
    results = []
    for kind in (ByHand, LossObject, ComputeLoss):
        for strategy in (tf.distribute.get_strategy(), two_replicas):
            with strategy.scope():
                model = kind()
                model.compile(gdtrain.GradientDescent(0.1), "mse")
            history = model.fit(
                x, y, batch_size=BATCH, shuffle=False, verbose=0
            )
            results.append((model.get_weights(), history.history["loss"]))
    for weights, loss in results[1:]:
        assert models.distance(weights, results[0][0]) < 1e-6
        np.testing.assert_allclose(loss, results[0][1], rtol=1e-6)


def test_optimizer_called_by_hand_still_gets_a_keras_loss_divided(
    two_replicas,
):
    """A step written for `keras.Model`: the optimizer adds up gradients."""

    class Legacy(OneLayer):
        def train_step(self, data):
            x, y = data
            with tf.GradientTape() as tape:
                loss = self.compute_loss(x, y, self(x))
            gradients = tape.gradient(loss, self.trainable_variables)
            self.optimizer.apply(gradients, self.trainable_variables)
            return {"loss": loss}

    x, y = models.regression_data(48)
    results = []
    for strategy in (tf.distribute.get_strategy(), two_replicas):
        with strategy.scope():
            model = Legacy()
            model.compile(gdtrain.GradientDescent(0.1), "mse")
        history = model.fit(x, y, batch_size=8, shuffle=False, verbose=0)
        results.append((model.get_weights(), history.history["loss"]))
    assert models.distance(results[1][0], results[0][0]) < 1e-6
    np.testing.assert_allclose(results[1][1], results[0][1], rtol=1e-6)

"""Updates that a step makes without `descend` are known all the same."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import gdtrain
from tests import models

X, Y = models.regression_data(24)
QUANTITIES = ["loss", "learning_rate", "gradient_norm", "update_norm"]


class Own(gdtrain.Model):
    """A line whose step is written as Keras's guides write it."""

    def __init__(self, way="apply"):
        super().__init__()
        self.way = way
        self.line = keras.layers.Dense(1, name="line")

    def build(self, shape):
        self.line.build(shape)

    def call(self, x):
        return self.line(x)

    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            loss = self.compute_loss(y=y, y_pred=self(x, training=True))
            scaled = self.optimizer.scale_loss(loss)
        weights = self.trainable_variables
        if self.way == "descend":
            self.descend(tape, loss)
        if self.way in ("descend", "nothing"):
            return {"mse": loss}
        gradients = tape.gradient(scaled, weights)
        if self.way == "apply":
            self.optimizer.apply(gradients, weights)
        elif self.way == "without weights":
            self.optimizer.build(weights)
            self.optimizer.apply(gradients)
        elif self.way == "apply_gradients":
            self.optimizer.apply_gradients(zip(gradients, weights))
        elif self.way == "changed":
            halves = [0.5 * g for g in gradients]
            self.optimizer.apply(halves, weights)
        elif self.way == "by hand":
            for weight, gradient in zip(weights, gradients, strict=True):
                weight.assign_sub(0.1 * gradient)
        elif self.way == "on condition":
            steps = self.optimizer.iterations
            tf.cond(
                steps >= 0,
                lambda: (self.optimizer.apply(gradients, weights), 0)[1],
                lambda: 0,
            )
        return {"mse": loss}


def trained(way, *, quantities=QUANTITIES, strategy=None, **compiled):
    """`(telemetry, weights)` of three steps, the last of fewer examples."""
    keras.utils.set_random_seed(3)
    compiled = {
        "optimizer": keras.optimizers.SGD(0.1, momentum=0.5),
        "jit_compile": False,
    } | compiled
    with (strategy or tf.distribute.get_strategy()).scope():
        model = Own(way)
        model.build([None, X.shape[1]])
        model.compile(loss="mse", **compiled)
    telemetry = quantities and gdtrain.callbacks.Telemetry(quantities)
    callbacks = [telemetry] if quantities else []
    model.fit(
        X, Y, batch_size=10, shuffle=False, verbose=0, callbacks=callbacks
    )
    return telemetry, model.get_weights()


def columns(telemetry):
    return {name: telemetry[name] for name in telemetry.names}


WAYS = ["apply", "apply_gradients", "without weights"]
COMPILED = {
    "graph": {},
    "xla": {"jit_compile": True},
    "eager": {"run_eagerly": True},
    "clipped": {"global_clipnorm": 0.01},
    "microbatches": {"microbatches": 3},
    "loss scale": {
        "optimizer": lambda: keras.optimizers.LossScaleOptimizer(
            keras.optimizers.SGD(0.1)
        )
    },
}


def made(compiled):
    """Arguments of `compile`, of which functions make the values."""
    return {k: v() if callable(v) else v for k, v in compiled.items()}


@pytest.mark.mostly_long("graph", "eager", "microbatches")
@pytest.mark.parametrize("compiled", COMPILED.values(), ids=list(COMPILED))
def test_update_by_apply_is_that_of_descend(compiled):
    """In all that is measured and in the weights, to the bit."""
    expected, weights = trained("descend", **made(compiled))
    found, own = trained("apply", **made(compiled))
    assert set(QUANTITIES) <= set(found.names)
    for name, values in columns(expected).items():
        np.testing.assert_array_equal(values, found[name], err_msg=name)
    for one, other in zip(weights, own, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.mostly_long("apply_gradients", "without weights")
@pytest.mark.parametrize("way", WAYS)
def test_all_ways_to_call_an_optimizer_are_known(way):
    expected, weights = trained("descend")
    found, own = trained(way)
    for name, values in columns(expected).items():
        np.testing.assert_array_equal(values, found[name], err_msg=name)
    np.testing.assert_array_equal(weights[0], own[0])


@pytest.mark.mostly_long("compiled0")
@pytest.mark.parametrize("compiled", [{}, {"jit_compile": True}])
def test_observing_an_own_update_changes_nothing(compiled):
    _, watched = trained("apply", quantities="standard", **compiled)
    _, alone = trained("apply", quantities=None, **compiled)
    for one, other in zip(watched, alone, strict=True):
        np.testing.assert_array_equal(one, other)


def test_own_update_is_clipped_to_the_norm_that_was_asked_for():
    clipped, _ = trained(
        "apply", optimizer=keras.optimizers.SGD(0.1), global_clipnorm=0.01
    )
    assert (clipped["gradient_norm"] > 0.1).all()  # Before clipping
    # A difference of weights of size 1, to 6e-8 each
    np.testing.assert_allclose(clipped["update_norm"], 0.001, rtol=1e-3)


def test_own_update_on_two_replicas_is_that_on_one(two_replicas):
    """Equal parts; the mean over replicas is what is clipped."""
    compiled = {"global_clipnorm": 0.1}

    def run(strategy):
        keras.utils.set_random_seed(3)
        with strategy.scope():
            model = Own("apply")
            model.build([None, X.shape[1]])
            model.compile(
                keras.optimizers.SGD(0.1), "mse", jit_compile=False, **compiled
            )
        telemetry = gdtrain.callbacks.Telemetry(QUANTITIES)
        model.fit(
            X, Y, batch_size=12, shuffle=False, verbose=0, callbacks=[telemetry]
        )
        parts = [
            strategy.experimental_local_results(weight.value)
            for weight in model.weights
        ]
        return telemetry, [[p.numpy() for p in part] for part in parts]

    one, weights = run(tf.distribute.get_strategy())
    two, parts = run(two_replicas)
    for name, values in columns(one).items():
        np.testing.assert_allclose(values, two[name], rtol=1e-5, err_msg=name)
    for (weight,), (first, second) in zip(weights, parts, strict=True):
        np.testing.assert_array_equal(first, second)
        np.testing.assert_allclose(weight, first, rtol=1e-5, atol=1e-7)


def test_loss_of_gradients_that_were_changed_is_found_by_their_weights():
    changed, _ = trained("changed")
    first, _ = trained("apply")
    assert changed["loss"][0] == first["loss"][0]
    np.testing.assert_allclose(
        changed["gradient_norm"][0], first["gradient_norm"][0] / 2, rtol=1e-6
    )


def test_update_without_an_optimizer_is_seen_by_what_moved(caplog):
    by_hand, weights = trained("by hand")
    sgd, same = trained("apply", optimizer=keras.optimizers.SGD(0.1))
    for name in ("loss", "gradient_norm", "update_norm"):
        np.testing.assert_allclose(by_hand[name], sgd[name], rtol=1e-5)
    np.testing.assert_allclose(weights[0], same[0], rtol=1e-5)
    assert "learning_rate" not in by_hand.names


def test_what_cannot_be_measured_is_said_by_name(caplog):
    with pytest.warns(UserWarning, match="has moved"):
        found, _ = trained("nothing", quantities=["gradient_norm"])
    assert "gradient_norm" not in found.names
    assert "gradient_norm of own" in caplog.text


def test_update_within_a_condition_is_made_and_a_warning_given():
    with pytest.warns(UserWarning, match="within tf.cond"):
        found, weights = trained("on condition")
    _, same = trained("apply")
    np.testing.assert_array_equal(weights[0], same[0])
    assert "gradient_norm" not in found.names


def test_step_that_moves_no_weight_is_warned_of():
    with pytest.warns(UserWarning, match="has moved in 3 steps"):
        trained("nothing", quantities=None)


def test_step_that_makes_its_weights_and_no_update_is_warned_of():
    """Of weights made in a step it is unknown whether that step moved them."""

    class Unbuilt(gdtrain.Model):
        def __init__(self):
            super().__init__(name="unbuilt")
            self.line = keras.layers.Dense(1)

        def train_step(self, data):
            x, y = data
            return {"loss": keras.ops.mean((self.line(x) - y) ** 2)}

    model = Unbuilt()
    model.compile("sgd")
    x, y = models.regression_data(12)
    with pytest.warns(UserWarning, match="unbuilt has moved in 3 steps"):
        model.fit(x, y, batch_size=4, verbose=0)


@pytest.mark.parametrize("way", ["descend", "apply", "by hand"])
def test_step_that_moves_weights_is_not_warned_of(way, recwarn):
    trained(way, quantities=None)
    assert not [w for w in recwarn if "moved" in str(w.message)]


class OneWeight(gdtrain.Model):
    """Has arrived after one step at learning rate 0.5: no later one moves."""

    def __init__(self):
        super().__init__()
        self.w = self.add_weight(initializer="zeros")

    def train_step(self, data):
        with tf.GradientTape() as tape:
            loss = (self.w - 1.0) ** 2
        self.w.assign_sub(0.5 * tape.gradient(loss, self.w))
        return {"loss": loss}


def test_weights_that_have_arrived_are_not_warned_of(recwarn):
    model = OneWeight()
    model.compile()
    for _ in range(2):
        model.fit(np.zeros([4, 1]), batch_size=4, epochs=3, verbose=0)
    assert model.w.numpy() == 1
    assert not [w for w in recwarn if "moved" in str(w.message)]


class TwoNetworks(gdtrain.Model):
    """Two networks against each other, with an optimizer each."""

    def __init__(self):
        super().__init__()
        self.first = keras.Sequential(
            [keras.Input([X.shape[1]]), keras.layers.Dense(2)], name="first"
        )
        self.second = keras.Sequential(
            [keras.Input([2]), keras.layers.Dense(1)], name="second"
        )

    def compile(self, first_optimizer, second_optimizer, **kwargs):
        super().compile(**kwargs)
        self.first_optimizer = first_optimizer
        self.optimizers = {"other": second_optimizer}

    def train_step(self, data):
        x, _ = data
        with tf.GradientTape(persistent=True) as tape:
            score = tf.reduce_mean(self.second(self.first(x)) ** 2)
            rival = tf.reduce_mean((1 - self.second(self.first(x))) ** 2)
        for loss, network, optimizer in (
            (score, self.first, self.first_optimizer),
            (rival, self.second, self.optimizers["other"]),
        ):
            weights = network.trainable_weights
            optimizer.apply(tape.gradient(loss, weights), weights)
        return {"score": score, "rival": rival}


def test_several_updates_have_the_names_of_their_optimizers():
    model = TwoNetworks()
    model.compile(keras.optimizers.SGD(0.1), keras.optimizers.Adam(0.02))
    telemetry = gdtrain.callbacks.Telemetry(QUANTITIES)
    model.fit(X, Y, batch_size=8, verbose=0, callbacks=[telemetry])
    for prefix, name, rate in (
        ("first_optimizer", "score", 0.1),
        ("other", "rival", 0.02),
    ):
        np.testing.assert_array_equal(
            telemetry[f"{prefix}/loss"], telemetry[name]
        )
        np.testing.assert_allclose(telemetry[f"{prefix}/learning_rate"], rate)
        assert (telemetry[f"{prefix}/gradient_norm"] > 0).all()


def test_classes_are_as_they_were_after_a_fit():
    optimizer = keras.optimizers.SGD.apply, keras.optimizers.Adam.scale_loss
    tape = tf.GradientTape.gradient
    trained("apply")
    assert tf.GradientTape.gradient is tape
    assert optimizer == (
        keras.optimizers.SGD.apply,
        keras.optimizers.Adam.scale_loss,
    )


def test_optimizer_class_with_an_apply_of_its_own_is_known():
    class Doubling(keras.optimizers.SGD):
        def apply(self, grads, trainable_variables=None):
            doubled = [2 * g for g in grads]
            super().apply(doubled, trainable_variables)

    found, weights = trained("apply", optimizer=Doubling(0.1))
    same, expected = trained("apply", optimizer=keras.optimizers.SGD(0.2))
    np.testing.assert_allclose(weights[0], expected[0], rtol=1e-6)
    np.testing.assert_allclose(found["loss"], same["loss"], rtol=1e-6)

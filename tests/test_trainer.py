"""Steps of one's own, and what `compile` and `descend` refuse."""

import inspect
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

import gdtrain
from gdtrain.descent import settings
from tests import models

X, Y = models.regression_data(40)


class Adversarial(gdtrain.Model):
    """Two networks, two optimizers, a gradient penalty, its own metrics.

    As in Keras's guides: `compile` passes nothing on, `train_step` gets a
    bare tensor and applies the optimizers itself.
    """

    def __init__(self, descends):
        super().__init__()
        self.descends = descends
        self.generator = keras.Sequential(
            [keras.Input([2]), keras.layers.Dense(3)], name="generator"
        )
        self.discriminator = keras.Sequential(
            [keras.Input([3]), keras.layers.Dense(4), keras.layers.Dense(1)],
            name="discriminator",
        )
        self.d_metric = keras.metrics.Mean(name="d_loss")

    def compile(self, d_optimizer, g_optimizer, **kwargs):
        super().compile(**kwargs)
        self.d_optimizer, self.g_optimizer = d_optimizer, g_optimizer

    @property
    def metrics(self):
        return [self.d_metric]

    def move(self, tape, loss, network, optimizer):
        weights = network.trainable_weights
        if self.descends:
            self.descend(tape, loss, weights, optimizer, name=network.name)
        else:
            optimizer.apply(tape.gradient(loss, weights), weights)

    def train_step(self, real):
        noise = tf.ones([tf.shape(real)[0], 2])
        with tf.GradientTape() as tape:
            fake = self.generator(noise)
            with tf.GradientTape() as inner:
                inner.watch(real)
                score = self.discriminator(real)
            slope = inner.gradient(score, real)
            penalty = tf.reduce_mean((tf.norm(slope, axis=1) - 1) ** 2)
            d_loss = tf.reduce_mean(self.discriminator(fake) - score) + penalty
        self.move(tape, d_loss, self.discriminator, self.d_optimizer)
        with tf.GradientTape() as tape:
            fake_score = self.discriminator(self.generator(noise))
            g_loss = -tf.reduce_mean(fake_score)
        self.move(tape, g_loss, self.generator, self.g_optimizer)
        self.d_metric.update_state(d_loss)
        return {"d_loss": self.d_metric.result(), "g_loss": g_loss}


def train_adversarial(descends, **compile_arguments):
    keras.utils.set_random_seed(2)
    model = Adversarial(descends)
    model.compile(
        keras.optimizers.Adam(0.01),
        gdtrain.GradientDescent(0.1),
        **compile_arguments,
    )
    telemetry = gdtrain.callbacks.Telemetry()
    history = model.fit(
        X, batch_size=10, shuffle=False, verbose=0, callbacks=[telemetry]
    )
    return model, history.history, telemetry


def test_two_optimizers_in_a_step_have_telemetry_under_their_names():
    model, history, telemetry = train_adversarial(descends=True)
    assert telemetry.steps.tolist() == [1, 2, 3, 4]
    for name in (
        "discriminator/loss",
        "generator/gradient_norm",
        "generator/learning_rate",
        "discriminator/update_ratio/discriminator/dense_1",
        "g_loss",
    ):
        assert np.isfinite(telemetry[name]).all(), name
    np.testing.assert_allclose(telemetry["generator/loss"], telemetry["g_loss"])
    assert history["g_loss"] == pytest.approx(
        [telemetry["g_loss"].mean()], rel=1e-6
    )
    assert history["d_loss"] == pytest.approx(
        [telemetry["discriminator/loss"].mean()], rel=1e-5
    )


def test_step_that_applies_optimizers_itself_trains_the_same():
    descended, history, told = train_adversarial(descends=True)
    legacy, legacy_history, telemetry = train_adversarial(descends=False)
    np.testing.assert_allclose(
        models.distance(legacy.get_weights(), descended.get_weights()),
        0,
        atol=1e-6,
    )
    for name, values in history.items():
        assert legacy_history[name] == pytest.approx(values), name
    for name, network in (
        ("d_optimizer", "discriminator"),
        ("g_optimizer", "generator"),
    ):
        for quantity in ("loss", "gradient_norm", "learning_rate"):
            np.testing.assert_allclose(
                telemetry[f"{name}/{quantity}"],
                told[f"{network}/{quantity}"],
                rtol=1e-5,
            )
    assert telemetry.steps.tolist() == [1, 2, 3, 4]


def test_two_optimizers_train_two_replicas_as_one(two_replicas):
    """Stock Keras fails to trace such a model on several replicas."""
    results = []
    for strategy in (tf.distribute.get_strategy(), two_replicas):
        keras.utils.set_random_seed(2)
        with strategy.scope():
            model = Adversarial(descends=True)
            model.compile(
                keras.optimizers.Adam(0.01), gdtrain.GradientDescent(0.1)
            )
            model.call = model.discriminator
        model.fit(X, batch_size=10, shuffle=False, verbose=0)
        results.append(model.get_weights())
    assert models.distance(*results) < 1e-6


def test_several_updates_in_a_step_must_have_names():
    class Nameless(Adversarial):
        def move(self, tape, loss, network, optimizer):
            self.descend(tape, loss, network.trainable_weights, optimizer)

    model = Nameless(descends=True)
    model.compile(keras.optimizers.Adam(), keras.optimizers.Adam())
    with pytest.raises(ValueError, match="need a name each"):
        model.fit(X, verbose=0)
    weights = model.get_weights()
    assert all(np.isfinite(w).all() for w in weights)


def test_several_updates_in_a_step_refuse_micro_batches():
    with pytest.raises(ValueError, match="cannot be split"):
        train_adversarial(descends=True, microbatches=2)


def test_several_updates_without_descend_refuse_micro_batches():
    with pytest.raises(ValueError, match="cannot be split"):
        train_adversarial(descends=False, microbatches=2)


def test_step_that_moves_weights_by_hand_refuses_micro_batches():
    class ByHand(Adversarial):
        def move(self, tape, loss, network, optimizer):
            for weight in network.trainable_weights:
                weight.assign_add(0.0 * weight)

    model = ByHand(descends=False)
    model.compile("sgd", "sgd", microbatches=2)
    with pytest.raises(RuntimeError, match="Call `self.descend`"):
        model.fit(X, verbose=0)


class Mean(gdtrain.Model):
    """Learns the mean of its data; what its step returns is set outside."""

    def __init__(self, returned=lambda model, loss: {"loss": loss}):
        super().__init__()
        self.returned = returned
        self.mean = self.add_weight(name="mean", initializer="zeros")
        self.unused = self.add_weight(name="unused", initializer="ones")

    def loss_of(self, x):
        return tf.reduce_mean((x - self.mean) ** 2)

    def train_step(self, x):
        with tf.GradientTape() as tape:
            loss = self.loss_of(x)
        self.descend(tape, loss, [self.mean])
        return self.returned(self, loss)

    def test_step(self, x):
        return {"loss": self.loss_of(x), "count": tf.shape(x)[0]}


DATA = np.array([1.0, 2.0, 3.0, 4.0, 10.0], "float32")


def mean_model(returned=None, learning_rate=0.0, **compile_arguments):
    model = Mean(returned) if returned else Mean()
    model.compile(gdtrain.GradientDescent(learning_rate), **compile_arguments)
    return model


def test_history_is_the_mean_weighted_by_examples():
    history = mean_model().fit(DATA, batch_size=2, shuffle=False, verbose=0)
    # Batches of 2, 2 and 1: (2 * 2.5 + 2 * 12.5 + 1 * 100) / 5.
    assert history.history["loss"] == pytest.approx([26.0])


@pytest.mark.parametrize("steps_per_execution", [1, 2, 10])
def test_history_holds_scalars_beside_the_loss(steps_per_execution):
    model = mean_model(
        lambda model, loss: {"loss": loss, "twice": 2 * loss, "one": 1},
        steps_per_execution=steps_per_execution,
    )
    history = model.fit(
        DATA, batch_size=2, epochs=2, shuffle=False, verbose=0
    ).history
    assert history["loss"] == pytest.approx([26.0, 26.0])
    assert history["twice"] == pytest.approx([52.0, 52.0])
    assert history["one"] == [1.0, 1.0]


def test_validation_with_a_step_of_ones_own_shows_what_it_returns():
    model = mean_model()
    history = model.fit(
        DATA, batch_size=2, validation_data=DATA, verbose=0
    ).history
    assert history["val_loss"] == pytest.approx([26.0])
    result = model.evaluate(DATA, batch_size=5, verbose=0, return_dict=True)
    assert result == pytest.approx({"loss": 26.0, "count": 5.0})


def test_evaluation_inside_an_epoch_leaves_its_means_alone():
    model = mean_model()

    class Evaluate(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.evaluate(DATA * 100, verbose=0)

    history = model.fit(
        DATA, batch_size=2, shuffle=False, verbose=0, callbacks=[Evaluate()]
    )
    assert history.history["loss"] == pytest.approx([26.0])


def test_epoch_that_was_interrupted_leaves_nothing_in_the_next():
    model = mean_model()

    class Interrupt(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        model.fit(DATA * 9, verbose=0, callbacks=[Interrupt()])
    history = model.fit(DATA, verbose=0).history
    assert history["loss"] == pytest.approx([26.0])


def test_own_metric_is_the_result_of_the_metric():
    class WithMetric(Mean):
        def __init__(self):
            super().__init__()
            self.largest = keras.metrics.Sum(name="total")

        def train_step(self, x):
            logs = super().train_step(x)
            self.largest.update_state(x)
            return {**logs, "total": self.largest.result()}

    model = WithMetric()
    model.compile(gdtrain.GradientDescent(0.0))
    history = model.fit(DATA, batch_size=2, epochs=2, verbose=0).history
    assert history["total"] == [20.0, 20.0]


def test_compiled_metrics_that_a_step_never_updates_do_no_harm():
    model = mean_model(metrics=["mae"])
    assert model.fit(DATA, verbose=0).history["loss"] == pytest.approx([26.0])


def test_step_that_returns_nothing_useful_trains():
    for returned in (lambda m, loss: {}, lambda m, loss: {"name": "text"}):
        model = mean_model(returned, learning_rate=0.5, run_eagerly=True)
        model.fit(DATA, verbose=0)
        assert float(model.mean) == pytest.approx(4.0)


def test_descend_works_in_a_loop_of_ones_own():
    model = mean_model(learning_rate=0.5)
    with tf.GradientTape() as tape:
        loss = model.loss_of(tf.constant(DATA))
    model.descend(tape, loss, [model.mean])
    assert float(model.mean) == pytest.approx(4.0)


def test_update_within_a_condition_is_made_though_not_observed():
    class EverySecond(Mean):
        def train_step(self, x):
            with tf.GradientTape() as tape:
                loss = self.loss_of(x)
            tf.cond(
                self.optimizer.iterations.value < 1,
                lambda: self.descend(tape, loss, [self.mean]),
                lambda: None,
            )
            return {"loss": loss}

    model = EverySecond()
    model.compile(gdtrain.GradientDescent(0.5), jit_compile=False)
    telemetry = gdtrain.callbacks.Telemetry()
    with pytest.warns(UserWarning, match="within tf.cond"):
        model.fit(DATA, epochs=2, verbose=0, callbacks=[telemetry])
    assert int(model.optimizer.iterations.numpy()) == 1
    assert float(model.mean) == pytest.approx(4.0)
    assert telemetry.names == ["loss"]


def test_weight_without_gradient_is_named_once_and_left_alone():
    class UsesHalf(Mean):
        def train_step(self, x):
            with tf.GradientTape() as tape:
                loss = self.loss_of(x)
            self.descend(tape, loss)
            return {"loss": loss}

    model = UsesHalf()
    model.compile(gdtrain.GradientDescent(0.1, weight_decay=0.1))
    with pytest.warns(UserWarning, match="uses_half/unused") as caught:
        model.fit(DATA, batch_size=2, epochs=2, verbose=0)
    assert len([w for w in caught if "unused" in str(w.message)]) == 1
    assert float(model.unused) == 1.0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.fit(DATA[:3], verbose=0)


def test_loss_that_depends_on_no_weight_is_refused():
    class Constant(Mean):
        def loss_of(self, x):
            return tf.reduce_mean(x)

    model = Constant()
    model.compile("sgd")
    with pytest.raises(ValueError, match="depends on none of the weights"):
        model.fit(DATA, verbose=0)


def test_loss_that_is_not_a_scalar_is_refused():
    class Vector(Mean):
        def loss_of(self, x):
            return (x - self.mean) ** 2

    model = Vector()
    model.compile("sgd")
    with pytest.raises(ValueError, match=r"scalar.*tf.reduce_mean\(loss\)"):
        model.fit(DATA, verbose=0)
    assert float(model.mean) == 0.0


def frozen(base):
    model = models.network(base)
    model.trainable = False
    return model


def without_weights(base):
    return base([keras.Input([3]), keras.layers.Rescaling(0.5)])


def averages_alone(base):
    layer = keras.layers.BatchNormalization(center=False, scale=False)
    return base([layer])  # Built by its first batch


NOTHING_TO_TRAIN = [frozen, without_weights, averages_alone]
NONE_WARNING = "does not have any trainable weights"


@pytest.mark.mostly_long("sgd-averages_alone", "None-frozen")
@pytest.mark.parametrize("kind", NOTHING_TO_TRAIN)
@pytest.mark.parametrize("optimizer", ["sgd", None])
def test_model_without_trainable_weights_is_as_in_keras(kind, optimizer):
    results = []
    for base in (keras.Sequential, gdtrain.Sequential):
        keras.utils.set_random_seed(0)
        model = kind(base)
        model.compile(optimizer, "mse", metrics=["mae"], jit_compile=False)
        with pytest.warns(UserWarning, match=NONE_WARNING):
            history = model.fit(
                X, Y, batch_size=16, epochs=2, shuffle=False, verbose=0
            )
        results.append((history.history, model.get_weights()))
    (expected, expected_weights), (seen, weights) = results
    for name, values in expected.items():
        assert seen[name] == pytest.approx(values, rel=1e-6), name
    for a, b in zip(expected_weights, weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


@pytest.mark.mostly_long("False-frozen", "True-without_weights")
@pytest.mark.parametrize("kind", NOTHING_TO_TRAIN)
@pytest.mark.parametrize("jit_compile", [False, True])
def test_step_without_weights_is_measured_guarded_and_split(kind, jit_compile):
    model = kind(gdtrain.Sequential)
    model.compile(
        keras.optimizers.Adam(0.25, use_ema=True),
        "mse",
        microbatches=2,
        global_clipnorm=1.0,
        jit_compile=jit_compile,
    )
    telemetry = gdtrain.callbacks.Telemetry("full")
    guard = gdtrain.callbacks.NonfiniteGuard()
    with pytest.warns(UserWarning, match=NONE_WARNING):
        history = model.fit(
            X, Y, batch_size=20, verbose=0, callbacks=[telemetry, guard]
        )
    assert telemetry.steps.tolist() == [1, 2]
    for name in ("gradient_norm", "update_norm", "nonfinite_count"):
        assert telemetry[name].tolist() == [0.0, 0.0], name
    assert telemetry["learning_rate"].tolist() == [0.25, 0.25]
    expected = history.history["loss"][0]
    assert telemetry["loss"].mean() == pytest.approx(expected, rel=1e-6)
    assert int(model.optimizer.iterations.numpy()) == 0


def test_weights_frozen_after_a_fit_stay():
    model = models.network()
    model.compile(keras.optimizers.Adam(0.1, use_ema=True), "mse")
    model.fit(X, Y, verbose=0)
    before = model.get_weights()
    model.trainable = False
    model.compile(model.optimizer, "mse")
    with pytest.warns(UserWarning, match=NONE_WARNING):
        model.fit(X, Y, verbose=0)
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_descend_on_no_weights_warns_and_moves_nothing():
    model = mean_model(learning_rate=0.5)
    with tf.GradientTape() as tape:
        loss = model.loss_of(tf.constant(DATA))
    with pytest.warns(UserWarning, match=NONE_WARNING):
        model.descend(tape, loss, [])
    assert float(model.mean) == 0.0


def test_descend_without_optimizer_is_refused():
    model = Mean()
    with tf.GradientTape() as tape:
        loss = model.loss_of(tf.constant(DATA))
    with pytest.raises(RuntimeError, match="no optimizer"):
        model.descend(tape, loss)


BAD_COMPILE_ARGUMENTS = {
    "microbatches is zero": ({"microbatches": 0}, ValueError),
    "microbatches is a fraction": ({"microbatches": 1.5}, TypeError),
    "microbatches is a bool": ({"microbatches": True}, TypeError),
    "global_clipnorm is zero": ({"global_clipnorm": 0}, ValueError),
    "global_clipnorm is infinite": (
        {"global_clipnorm": float("inf")},
        ValueError,
    ),
    "global_clipnorm is a word": ({"global_clipnorm": "1"}, TypeError),
    "optimizer accumulates": (
        {"optimizer": keras.optimizers.SGD(gradient_accumulation_steps=4)},
        ValueError,
    ),
    "loss is a sum over parts": (
        {
            "loss": keras.losses.MeanSquaredError(reduction="sum"),
            "microbatches": 2,
        },
        ValueError,
    ),
}


@pytest.mark.parametrize("case", BAD_COMPILE_ARGUMENTS)
def test_bad_argument_of_compile_is_refused_and_nothing_is_lost(case):
    arguments, error = BAD_COMPILE_ARGUMENTS[case]
    model = models.network()
    model.compile("adam", "mse", microbatches=2)
    optimizer = model.optimizer
    with pytest.raises(error, match="Received: .*"):
        model.compile(**arguments)
    assert model.optimizer is optimizer
    assert settings.of(model).microbatches == 2


def test_error_about_accumulation_says_what_to_write():
    optimizer = keras.optimizers.SGD(gradient_accumulation_steps=4)
    with pytest.raises(ValueError, match="microbatches=4"):
        models.network().compile(optimizer, "mse")


def test_fit_without_compile_says_so():
    with pytest.raises(ValueError, match="compile"):
        models.network().fit(X, Y)


def test_steps_go_on_after_compile_and_after_a_second_fit():
    telemetry = gdtrain.callbacks.Telemetry(["loss"])
    model = models.network()
    for optimizer in ("sgd", "adam"):
        model.compile(optimizer, "mse")
        for _ in range(2):
            model.fit(X, Y, batch_size=20, verbose=0, callbacks=[telemetry])
    assert telemetry.steps.tolist() == [1, 2, 3, 4, 5, 6, 7, 8]


# What a gdtrain model has beside what Keras's has, all documented for users
PUBLIC_NAMES = {"descend"}


def test_models_get_no_public_names_but_the_documented():
    model = gdtrain.Sequential([keras.Input([3]), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(X, Y, verbose=0)
    other = keras.Sequential([keras.Input([3]), keras.layers.Dense(1)])
    other.compile("sgd", "mse")
    other.fit(X, Y, verbose=0)
    new = {name for name in set(dir(model)) - set(dir(other))}
    assert {name for name in new if name[0] != "_"} == PUBLIC_NAMES
    for name in PUBLIC_NAMES:
        assert inspect.getdoc(getattr(type(model), name))


def test_compile_shows_the_arguments_of_keras_in_their_order():
    ours = list(inspect.signature(gdtrain.Model.compile).parameters)
    keras_s = list(inspect.signature(keras.Model.compile).parameters)
    assert ours[: len(keras_s)] == keras_s
    assert ours[len(keras_s) :] == [
        "global_clipnorm",
        "microbatches",
        "reproducible_workers",
    ]


NAMES_OF_USERS = (
    "asked_for_jit_compile asked_for_steps global_clipnorm jit_compile_setting "
    "label_rules loss_again microbatches own_loop repeated_loss settings "
    "step_observers steps_setting uses_default_step validation_feed"
).split()


@pytest.mark.mostly_long("False")
@pytest.mark.parametrize("compiled_first", [False, True])
def test_attributes_of_users_stay_and_change_nothing(compiled_first):
    def trained(names):
        keras.utils.set_random_seed(0)
        model = models.network()
        if compiled_first:
            model.compile("sgd", "mse", microbatches=2, jit_compile=False)
        for name in names:
            setattr(model, name, "the user's")
        if not compiled_first:
            model.compile("sgd", "mse", microbatches=2, jit_compile=False)
        telemetry = gdtrain.callbacks.Telemetry("full")
        model.fit(
            X, Y, validation_data=(X, Y), verbose=0, callbacks=[telemetry]
        )
        model.evaluate(X, Y, verbose=0)
        assert all(getattr(model, name) == "the user's" for name in names)
        return model.get_weights(), telemetry["loss_change"]

    (weights, change), (expected, known) = trained(NAMES_OF_USERS), trained([])
    np.testing.assert_array_equal(change, known)
    for one, other in zip(weights, expected, strict=True):
        np.testing.assert_array_equal(one, other)

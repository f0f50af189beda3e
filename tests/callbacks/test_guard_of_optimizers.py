"""With every optimizer of Keras, no variable is not finite after a step."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import gdtrain
from gdtrain.block import rollback
from tests.optimizers import OPTIMIZERS

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

X = np.random.default_rng(0).normal(size=[16, 3]).astype("float32")
Y = X[:, :1]


def test_all_optimizers_of_keras_are_found():
    assert len(OPTIMIZERS) >= 17
    assert {"Adam", "Muon", "Ftrl", "LossScaleOptimizer"} <= set(OPTIMIZERS)


def network(optimizer, *layers, **compile_arguments):
    keras.utils.set_random_seed(1)
    model = gdtrain.Sequential(
        [
            keras.Input([3]),
            *(layers or [keras.layers.Dense(2, "tanh")]),
            keras.layers.Dense(1, "tanh"),
        ]
    )
    compile_arguments.setdefault("run_eagerly", True)
    model.compile(optimizer, "mse", **compile_arguments)
    return model


def fit(model, *callbacks, x=X, y=Y, batch_size=4, **arguments):
    return model.fit(
        x,
        y,
        batch_size=batch_size,
        verbose=0,
        shuffle=False,
        callbacks=list(callbacks),
        **arguments,
    )


def values(model):
    """All weights and variables of the optimizer."""
    variables = [*model.variables, *model.optimizer.variables]
    return [np.asarray(variable) for variable in variables]


def is_finite(model):
    return all(
        np.isfinite(value).all()
        for value in values(model)
        if value.dtype.kind == "f"
    )


def check_first(make, **arguments):
    """The guard stops before the first step that is not finite.

    Returns:
        The guard.
    """
    guard = gdtrain.callbacks.NonfiniteGuard()
    guarded = make()
    fit(guarded, guard, **arguments)
    (step,) = guard.skipped_steps
    assert is_finite(guarded)
    reference = make()
    if step > 1:
        fit(reference, steps_per_epoch=step - 1, **arguments)
        assert is_finite(reference)
        for one, other in zip(values(guarded), values(reference), strict=True):
            np.testing.assert_array_equal(one, other)
    fit(reference, steps_per_epoch=1, **arguments)
    assert not is_finite(reference)
    return guard


@pytest.mark.mostly_long("AdamW", "MultiOptimizer")
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_weight_decay_that_overflows_is_skipped(name):
    # The gradient is finite, and so is the loss.
    too_much = {"learning_rate": 1.0, "weight_decay": 1e15}
    if name == "Ftrl":  # It computes the weight anew in each step.
        too_much = {"learning_rate": 1e38, "beta": 1e-38}

    def make():
        return network(OPTIMIZERS[name](**too_much))

    guard = check_first(make)
    assert guard.report.where == "update"


@pytest.mark.mostly_long("GradientDescent", "LossScaleOptimizer")
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_gradient_that_overflows_leaves_no_slot_infinite(name):
    # Squared, it is infinite, so that Adam moves the weights by 0.
    model = gdtrain.Sequential([keras.Input([3]), Steep()])
    model.compile(OPTIMIZERS[name](learning_rate=1e-3), "mse", run_eagerly=True)
    guard = gdtrain.callbacks.NonfiniteGuard("skip")
    fit(model, guard)
    assert is_finite(model)


class Steep(keras.layers.Layer):
    """Its loss is finite, its gradient is 1e25."""

    def build(self, shape):
        self.kernel = self.add_weight(shape=[3, 2], name="kernel")

    def call(self, x):
        def gradient(upstream):
            return 1e25 * tf.ones_like(upstream)

        steep = tf.custom_gradient(lambda y: (tf.identity(y), gradient))
        return tf.reduce_mean(steep(x @ self.kernel), 1, keepdims=True)


SETTINGS = {
    "ema": {"use_ema": True, "ema_overwrite_frequency": 2},
    "clipnorm": {"clipnorm": 1.0},
    "clipvalue": {"clipvalue": 1.0},
    "global_clipnorm": {"global_clipnorm": 1.0},
    "amsgrad": {"amsgrad": True},
    "no epsilon": {"epsilon": 0.0},
}


@pytest.mark.mostly_long("ema", "global_clipnorm")
@pytest.mark.parametrize("setting", SETTINGS)
def test_no_setting_lets_infinity_in(setting):
    def make():
        return network(
            keras.optimizers.AdamW(1.0, weight_decay=1e15, **SETTINGS[setting])
        )

    check_first(make)


class NoNumber(keras.optimizers.schedules.LearningRateSchedule):
    """The rate is NaN at the third step."""

    def __call__(self, step):
        return tf.where(tf.equal(step, 2), float("nan"), 0.1)


XLA = pytest.param("XLA", marks=pytest.mark.long)
WAYS = {
    "eager": {"run_eagerly": True},
    "graph": {"run_eagerly": False, "jit_compile": False},
    "XLA": {"run_eagerly": False, "jit_compile": True},
}


@pytest.mark.parametrize("way", ["eager", "graph", XLA])
def test_learning_rate_of_nan_is_skipped(way):
    guard = check_first(
        lambda: network(keras.optimizers.SGD(NoNumber()), **WAYS[way])
    )
    assert guard.skipped_steps == [3]


@pytest.mark.parametrize("way", ["graph", XLA])
def test_weight_decay_that_overflows_in_a_block_is_skipped(way):
    check_first(
        lambda: network(
            keras.optimizers.AdamW(1.0, weight_decay=1e15), **WAYS[way]
        )
    )


def test_on_two_replicas_as_on_one(two_replicas):
    def make():
        with two_replicas.scope():
            return network(
                keras.optimizers.AdamW(1.0, weight_decay=1e15), **WAYS["graph"]
            )

    check_first(make)


def test_first_step_leaves_no_slot_behind_where_steps_run_eagerly():
    y = Y.copy()
    y[0] = np.nan
    model = network(keras.optimizers.Adam(0.01))
    guard = gdtrain.callbacks.NonfiniteGuard("skip")
    fit(model, guard, y=y)
    assert guard.skipped_steps == [1]
    assert is_finite(model)


class Last(keras.layers.Layer):
    """Keeps the largest value of its last batch."""

    def build(self, shape):
        self.largest = self.add_weight(
            name="largest", initializer="zeros", trainable=False
        )

    def call(self, x):
        self.largest.assign(tf.reduce_max(tf.exp(x)))
        return x


def test_variable_that_a_later_step_overwrites_is_checked_in_each():
    x = X.copy()
    x[6] = 200.0  # The exponential is infinite; the loss is not.
    for can_roll_back in (True, False):
        model = network("sgd", Last(), **WAYS["graph"])
        guard = gdtrain.callbacks.NonfiniteGuard("skip")
        with pytest.MonkeyPatch.context() as patch:
            if not can_roll_back:
                patch.setattr(rollback, "can_roll_back", lambda model: False)
            fit(model, guard, x=x)
        assert guard.skipped_steps == [2]
        assert is_finite(model)


class Decaying(keras.optimizers.SGD):
    """An optimizer that overwrites its slot and forgets."""

    def build(self, variables):
        super().build(variables)
        self.last = self.add_variable((), name="last")

    def update_step(self, gradient, variable, learning_rate):
        overflow = tf.where(tf.equal(self.iterations, 1), float("inf"), 0.0)
        self.last.assign(overflow)


@pytest.mark.parametrize("way", ["eager", "graph", XLA])
def test_optimizer_that_is_unknown_is_checked_in_each_step(way):
    model = network(Decaying(0.1), **WAYS[way])
    guard = gdtrain.callbacks.NonfiniteGuard("skip")
    fit(model, guard)
    assert guard.skipped_steps[0] == 2
    assert is_finite(model)


def poisoned(slot):
    model = network(keras.optimizers.Adam(0.01), **WAYS["graph"])
    model.optimizer.build(model.trainable_variables)
    variable = next(v for v in model.optimizer.variables if slot in v.path)
    value = np.zeros(variable.shape, "float32")
    value.flat[0] = np.nan
    variable.assign(value)
    return model


@pytest.mark.parametrize(
    "slot, said",
    [
        ("kernel_velocity", r"kernel_velocity' \(1 NaN of 6 values\)"),
        ("learning_rate", r"learning_rate' \(1 NaN of 1 value\)"),
    ],
)
def test_slot_that_is_not_finite_is_refused_before_training(slot, said):
    with pytest.raises(ValueError, match=f"{said}.*Call `compile`"):
        fit(poisoned(slot), gdtrain.callbacks.NonfiniteGuard())


def test_weights_made_by_the_data_are_checked_before_the_first_step():
    model = gdtrain.Sequential(
        [keras.layers.Dense(1, bias_initializer=lambda *a, **k: [np.inf])]
    )
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match=r"bias' \(1 infinite of 1 value\)"):
        fit(model, gdtrain.callbacks.NonfiniteGuard())


class Maximum(keras.layers.Layer):
    """Keeps the largest value so far, from minus infinity on."""

    def build(self, shape):
        self.maximum = self.add_weight(
            shape=[2],
            name="maximum",
            initializer=keras.initializers.Constant(-np.inf),
            trainable=False,
        )

    def call(self, x):
        seen = tf.stack([tf.reduce_max(x), -np.inf])
        self.maximum.assign(tf.maximum(self.maximum, seen))
        return x


@pytest.mark.parametrize("way", ["eager", "graph", XLA])
def test_infinity_that_was_meant_is_reported_and_kept(way):
    model = network("sgd", Maximum(), **WAYS[way])
    guard = gdtrain.callbacks.NonfiniteGuard()
    with pytest.warns(UserWarning, match=r"maximum' \(2 infinite of 2 val"):
        fit(model, guard)
    assert guard.skipped_steps == []
    maximum = model.layers[0].maximum.numpy().tolist()
    assert maximum == [X.max(), -np.inf]


def test_what_a_callback_spoiled_is_not_called_finite():
    class Spoils(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.layers[0].kernel.assign(np.full([3, 2], np.nan))

    model = network("sgd")
    guard = gdtrain.callbacks.NonfiniteGuard("skip", max_consecutive_skips=2)
    with pytest.warns(UserWarning, match=r"Not finite: .*kernel' \(6 NaN"):
        fit(model, guard, Spoils(), epochs=2)
    assert guard.skipped_steps == [2, 3, 4]


def test_rollback_scales_the_rates_of_several_optimizers(tmp_path):
    model = network(
        OPTIMIZERS["MultiOptimizer"](learning_rate=1e3, weight_decay=1.0)
    )
    fit(
        model,
        gdtrain.callbacks.BackupAndRestore(
            tmp_path, every_steps=2, every_seconds=None
        ),
        gdtrain.callbacks.NonfiniteGuard("rollback", factor=1e-4),
        epochs=5,
    )
    assert is_finite(model)
    (rate,) = {float(o.learning_rate) for o in model.optimizer.optimizers}
    assert rate == pytest.approx(0.1)

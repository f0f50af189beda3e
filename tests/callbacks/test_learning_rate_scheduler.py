"""The learning rate set ahead of each step, against schedules inside."""

import functools
import math
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

import gdtrain
from gdtrain.block import block
from gdtrain.callbacks import LearningRateScheduler, Telemetry
from gdtrain.schedules import OneCycle, WarmUp
from tests import models
from tests.callbacks import reading

by_step = functools.partial(LearningRateScheduler, unit="step")
EXAMPLES = 45  # With a batch of 8: 6 steps an epoch, the last one uneven
Decay = keras.optimizers.schedules.ExponentialDecay
OPTIMIZERS = {
    "descent": lambda rate: gdtrain.GradientDescent(rate, momentum=0.9),
    "adam": lambda rate: keras.optimizers.Adam(rate),
    "decayed": lambda rate: keras.optimizers.AdamW(rate, weight_decay=0.1),
}


def train(rate, callbacks=(), make=OPTIMIZERS["descent"], epochs=4, **how):
    """The network after some epochs; `rate` is a number or a schedule."""
    fit = {k: how.pop(k) for k in ("steps_per_epoch",) if k in how}
    model = models.network()
    model.compile(make(rate), "mse", **{"jit_compile": False, **how})
    x, y = models.regression_data(EXAMPLES)
    model.fit(
        x,
        y,
        batch_size=8,
        epochs=epochs,
        verbose=0,
        callbacks=list(callbacks),
        **fit,
    )
    return model


def assert_equal(one, other):
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.mostly_long("adam, warm up")
@pytest.mark.parametrize(
    "optimizer, schedule",
    [
        ("descent", Decay(0.05, 5, 0.8)),
        ("adam", WarmUp(0.05, 9)),
        ("decayed", OneCycle(0.05, 20)),
    ],
    ids=["descent, keras", "adam, warm up", "decayed, cycle"],
)
def test_weights_are_those_of_the_schedule_inside(optimizer, schedule):
    make = OPTIMIZERS[optimizer]
    inside = train(schedule, make=make)
    ours = train(7.0, [by_step(schedule)], make)
    assert_equal(ours, inside)


@pytest.mark.mostly_long("steps_per_execution")
@pytest.mark.parametrize(
    "how",
    [
        {"run_eagerly": True},
        {"jit_compile": True},
        {"steps_per_execution": 4},
        {"microbatches": 2},
        {"global_clipnorm": 0.1},
    ],
    ids=lambda how: next(iter(how)),
)
def test_weights_are_those_of_the_schedule_inside_however_run(how):
    schedule = Decay(0.05, 5, 0.8)
    inside = train(schedule, **how)
    ours = train(7.0, [by_step(schedule)], **how)
    if "jit_compile" in how:  # It may join operations in another way.
        assert models.distance(ours.get_weights(), inside.get_weights()) < 1e-5
    else:
        assert_equal(ours, inside)


def test_weights_change_with_the_schedule():
    one, other = (
        train(7.0, [by_step(Decay(0.05, 5, factor))]) for factor in (0.8, 0.7)
    )
    assert models.distance(one.get_weights(), other.get_weights()) > 1e-3


def test_telemetry_shows_the_rate_of_each_step():
    ours, inside = Telemetry(), Telemetry()
    schedule = WarmUp(Decay(0.05, 5, 0.8), 7)
    train(7.0, [ours, by_step(schedule)])
    train(schedule, [inside])
    np.testing.assert_array_equal(
        ours["learning_rate"], inside["learning_rate"]
    )
    expected = [float(schedule(step)) for step in range(24)]
    np.testing.assert_allclose(ours["learning_rate"], expected, 1e-6)


def test_a_function_of_a_tensor_is_a_schedule():
    def halved(step):
        return 0.1 * 0.5 ** keras.ops.cast(step // 6, "float32")

    telemetry = Telemetry()
    train(7.0, [telemetry, by_step(halved)])
    expected = np.repeat(0.1 * 0.5 ** np.arange(4), 6)
    np.testing.assert_allclose(telemetry["learning_rate"], expected, 1e-6)


def test_rate_is_a_variable_that_can_be_set_afterwards():
    model = train(7.0, [by_step(Decay(0.05, 5, 0.8))])
    last = float(Decay(0.05, 5, 0.8)(23))
    assert float(model.optimizer.learning_rate) == pytest.approx(last)
    model.optimizer.learning_rate = 0.25
    telemetry = Telemetry()
    model.fit(np.ones([8, 3]), np.ones(8), verbose=0, callbacks=[telemetry])
    assert telemetry["learning_rate"].tolist() == [0.25]


def test_training_again_continues_with_the_count():
    schedule = Decay(0.05, 5, 0.8)
    inside = train(schedule, epochs=4)
    model = train(7.0, [by_step(schedule)], epochs=2)
    x, y = models.regression_data(EXAMPLES)
    telemetry = Telemetry()
    model.fit(
        x,
        y,
        batch_size=8,
        verbose=0,
        callbacks=[by_step(schedule), telemetry],
    )
    rate = telemetry["learning_rate"][0]
    assert rate == pytest.approx(float(schedule(12)))
    assert int(model.optimizer.iterations) == 18
    assert int(inside.optimizer.iterations) == 24


def test_blocks_are_as_long_as_without(monkeypatch):
    calls = []
    run = block.Block.run

    def noted(self, source, steps, moment):
        done = run(self, source, steps, moment)
        calls.append(len(done.rows))
        return done

    monkeypatch.setattr(block.Block, "run", noted)
    train(0.05, epochs=50)
    without, calls[:] = len(calls), []
    train(7.0, [by_step(Decay(0.05, 5, 0.8))], epochs=50)
    assert sum(calls) == 300
    assert len(calls) <= without + 5 < 50


def test_the_same_schedule_in_a_new_callback_needs_no_new_program():
    traced = []

    class Counted(Decay):
        def __call__(self, step):
            traced.append(1)
            return super().__call__(step)

    model = train(7.0, [by_step(Counted(0.05, 5, 0.8))])
    x, y = models.regression_data(EXAMPLES)
    counts = []
    for schedule in (Counted(0.05, 5, 0.8), Counted(0.05, 5, 0.7)):
        before = len(traced)
        callback = by_step(schedule)
        made = len(traced)  # The check traces it once.
        model.fit(x, y, batch_size=8, verbose=0, callbacks=[callback])
        counts.append((made - before, len(traced) - made))
    assert counts[0] == (1, 0)
    assert counts[1][1] > 0


def test_with_loss_scaling_skipped_steps_count_nothing():
    schedule = Decay(0.05, 5, 0.8)

    def scaled(rate):
        inner = keras.optimizers.SGD(rate)
        return keras.optimizers.LossScaleOptimizer(inner, 2.0**70)

    inside = train(schedule, make=scaled, epochs=6)
    ours = train(7.0, [by_step(schedule)], scaled, epochs=6)
    assert 0 < int(ours.optimizer.iterations) < 36
    assert_equal(ours, inside)


def test_a_step_that_the_guard_leaves_out_counts_nothing():
    schedule, telemetry = Decay(0.05, 5, 0.8), Telemetry()
    x, y = models.regression_data(32)
    y[9] = np.nan
    model = models.network()
    model.compile(gdtrain.GradientDescent(7.0), "mse")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(
            x,
            y,
            batch_size=8,
            shuffle=False,
            verbose=0,
            callbacks=[
                telemetry,
                by_step(schedule),
                gdtrain.callbacks.NonfiniteGuard("skip"),
            ],
        )
    assert telemetry["nonfinite_step"].tolist()[1] > 0
    np.testing.assert_allclose(
        telemetry["learning_rate"],
        [float(schedule(step)) for step in (0, 1, 1, 2)],
        rtol=1e-6,
    )


def test_resumed_run_is_the_uninterrupted_one(tmp_path):
    schedule = Decay(0.05, 5, 0.8)
    whole = train(7.0, [by_step(schedule)])

    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 1:
                raise KeyboardInterrupt

    def backup():
        return gdtrain.callbacks.BackupAndRestore(str(tmp_path), every_steps=5)

    with pytest.raises(KeyboardInterrupt):
        train(7.0, [by_step(schedule), backup(), Stop()])
    again = train(7.0, [by_step(schedule), backup()])
    assert_equal(again, whole)


def test_replicas_have_the_rate_of_the_schedule_inside(two_replicas):
    found = []
    for inside in (True, False):
        schedule = Decay(0.05, 5, 0.8)
        with two_replicas.scope():
            rate = schedule if inside else 7.0
            callbacks = [] if inside else [by_step(schedule)]
            found.append(train(rate, callbacks))
    assert_equal(*found)


def test_by_epoch_it_is_what_keras_does(capsys):
    def falling(epoch, rate):
        return rate * (0.9 if epoch else 1.0)

    ours = train(0.05, [LearningRateScheduler(falling, 1)])
    printed = capsys.readouterr().out
    keras_own = keras.callbacks.LearningRateScheduler(falling, 1)
    theirs = train(0.05, [keras_own])
    assert printed == capsys.readouterr().out
    assert printed.count("setting learning rate to") == 4
    assert_equal(ours, theirs)
    rates = ours.history.history["learning_rate"]
    assert rates == theirs.history.history["learning_rate"]
    assert rates[1] < rates[0]


def test_by_epoch_a_schedule_may_be_of_the_epoch_alone():
    schedule = LearningRateScheduler(lambda epoch: 0.1 / (1 + epoch))
    model = train(7.0, [schedule], epochs=3)
    np.testing.assert_allclose(
        model.history.history["learning_rate"], [0.1, 0.05, 0.1 / 3], 1e-6
    )


def test_tensorboard_has_the_rate_after_each_epoch(tmp_path):
    schedule = Decay(0.05, 5, 0.8)
    train(
        7.0,
        [
            gdtrain.callbacks.TensorBoard(tmp_path),
            by_step(schedule),
        ],
    )
    found = reading.curves(tmp_path)["train/epoch_learning_rate"]
    expected = {epoch: float(schedule(6 * epoch + 5)) for epoch in range(4)}
    assert dict(found) == pytest.approx(expected)


@pytest.mark.parametrize(
    "python_only",
    [
        lambda step: 0.1 if step < 10 else 0.01,
        lambda step: 0.1 * math.cos(step),
        lambda step: 0.1 * 0.9 ** int(step),
        lambda step: [0.1, 0.2][step],
    ],
    ids=["if", "math", "int", "index"],
)
def test_a_schedule_of_python_numbers_is_refused(python_only):
    with pytest.raises(TypeError, match="must work on a tensor"):
        by_step(python_only)


def test_a_schedule_of_several_numbers_is_refused():
    with pytest.raises(ValueError, match="must give one number"):
        by_step(lambda step: keras.ops.ones([2]))


def test_what_is_no_schedule_is_refused():
    with pytest.raises(TypeError, match="must be a function or a schedule"):
        by_step(0.1)
    with pytest.raises(ValueError, match="`unit` must be one of"):
        LearningRateScheduler(Decay(0.1, 5, 0.5), unit="batch")
    with pytest.raises(TypeError, match=r"schedule, unit=\"step\""):
        LearningRateScheduler(Decay(0.1, 5, 0.5))
    with pytest.raises(ValueError, match="verbose=1"):
        by_step(Decay(0.1, 5, 0.5), verbose=1)


@pytest.mark.parametrize("unit", ["step", "epoch"])
def test_an_optimizer_with_a_schedule_is_refused(unit):
    schedule = Decay(0.05, 5, 0.8)
    with pytest.raises(ValueError, match="rate that can be set"):
        train(schedule, [LearningRateScheduler(lambda n: 0.1, unit=unit)])


def test_an_optimizer_of_several_is_refused():
    model = models.network()
    optimizers = [keras.optimizers.SGD(0.1), keras.optimizers.Adam(0.1)]
    several = keras.optimizers.MultiOptimizer(
        list(zip(optimizers, model.layers, strict=True))
    )
    model.compile(several, "mse")
    with pytest.raises(ValueError, match="which has several"):
        model.fit(
            *models.regression_data(),
            verbose=0,
            callbacks=[by_step(Decay(0.05, 5, 0.8))],
        )


def test_a_model_without_an_optimizer_is_refused():
    model = models.network()
    model.compile(None, "mse")
    with pytest.raises(ValueError, match="needs an optimizer"):
        model.fit(
            *models.regression_data(),
            verbose=0,
            callbacks=[by_step(Decay(0.05, 5, 0.8))],
        )


def test_a_model_of_keras_is_refused():
    model = models.network(keras.Sequential)
    model.compile("sgd", "mse")
    with pytest.raises(TypeError, match="needs a gdtrain model"):
        model.fit(
            *models.regression_data(),
            verbose=0,
            callbacks=[by_step(Decay(0.05, 5, 0.8))],
        )


def test_a_step_that_never_uses_the_optimizer_is_reported():
    class ByHand(gdtrain.Sequential):
        def train_step(self, data):
            x, y = data
            with tf.GradientTape() as tape:
                loss = self.compute_loss(x, y, self(x, training=True))
            gradients = tape.gradient(loss, self.trainable_weights)
            for weight, one in zip(self.trainable_weights, gradients):
                weight.assign_sub(self.optimizer.learning_rate * one)
            return {"loss": loss}

    model = models.network(ByHand)
    model.compile(gdtrain.GradientDescent(0.1), "mse")
    with pytest.warns(UserWarning, match="of which there were none in 2"):
        model.fit(
            *models.regression_data(),
            verbose=0,
            callbacks=[by_step(Decay(0.05, 5, 0.8))],
        )

"""The guard and checkpoints together: what is saved, and gone on with."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import gdtrain
from gdtrain.callbacks import BackupAndRestore, NonfiniteGuard
from tests.callbacks.runs import KillAt, Killed
from tests.callbacks.test_nonfinite_guard import BAD, Y_BAD, X, Y, fit, network

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
BAD_STEP = 1 + BAD // 4  # Of each epoch of 6, in order


def train(folder, guard, *more, y=Y_BAD, optimizer="adam", **backup):
    """Trains in order, over a bad example; returns the guard and the model."""
    keras.utils.set_random_seed(1)
    model = network(optimizer)
    backup = BackupAndRestore(folder, **{"every_steps": BAD_STEP} | backup)
    callbacks = [backup, guard, *more]
    fit(model, *callbacks, y=y, epochs=2, shuffle=False)
    return model


def test_step_that_halts_is_not_saved(tmp_path):
    for _ in range(2):  # Each restart meets it again.
        guard = NonfiniteGuard()
        model = train(tmp_path, guard)
        assert guard.skipped_steps == [BAD_STEP] and guard.report is not None
        assert int(model.optimizer.iterations.numpy()) == BAD_STEP - 1


@pytest.mark.mostly_long("1")
@pytest.mark.parametrize("every_steps", [1, 7])
def test_rollback_has_a_checkpoint_to_go_to_if_one_is_kept(
    tmp_path, every_steps
):
    guard = NonfiniteGuard("rollback", max_rollbacks=2)
    model = train(tmp_path, guard, keep=1, every_steps=every_steps)
    assert model.stop_training
    assert all(np.isfinite(w).all() for w in model.get_weights())


def test_rollback_without_a_checkpoint_stops(tmp_path, monkeypatch):
    monkeypatch.setattr(BackupAndRestore, "newest", lambda *a, **how: None)
    with pytest.warns(UserWarning, match="no checkpoint to continue from"):
        model = train(tmp_path, NonfiniteGuard("rollback"))
    assert all(np.isfinite(w).all() for w in model.get_weights())


def test_policy_at_a_restart_is_obeyed(tmp_path):
    with pytest.raises(Killed):
        train(tmp_path, NonfiniteGuard("skip"), KillAt(5), every_steps=1)
    guard = NonfiniteGuard("stop")
    train(tmp_path, guard, every_steps=1)
    assert guard.skipped_steps == [BAD_STEP, 6 + BAD_STEP]
    assert guard.report is not None


def test_weights_of_a_checkpoint_must_be_finite(tmp_path):
    keras.utils.set_random_seed(1)
    model = network()
    with pytest.raises(Killed):
        fit(
            model,
            BackupAndRestore(tmp_path, every_steps=1),
            KillAt(5),
            y=Y_BAD,
            shuffle=False,
        )
    with pytest.raises(ValueError, match="must be finite before training"):
        train(tmp_path, NonfiniteGuard("skip"))


@pytest.mark.parametrize(
    "scheduler",
    [
        keras.callbacks.LearningRateScheduler(lambda epoch: 0.1),
        gdtrain.callbacks.LearningRateScheduler(
            gdtrain.schedules.WarmUp(1, 9), unit="step"
        ),
    ],
    ids=["Keras's", "ours"],
)
def test_rollback_needs_a_rate_that_stays(tmp_path, scheduler):
    with pytest.raises(ValueError, match="LearningRateScheduler, which sets"):
        train(tmp_path, NonfiniteGuard("rollback"), scheduler)


def test_clipping_that_makes_infinity_finite_is_one_for_all_data():
    """An infinite gradient of a finite loss; the update is finite."""

    class Steep(keras.losses.Loss):
        def call(self, y_true, y_pred):
            @tf.custom_gradient
            def same(value):
                factor = tf.where(y_true > 50, np.inf, 1.0)
                return value, lambda upstream: upstream * factor

            return tf.square(same(y_pred))

    y = Y.copy()
    y[BAD] = 99.0
    found = []
    for data in (
        {"x": X, "y": y},
        {"x": tf.data.Dataset.from_tensor_slices((X, y)).batch(4), "y": None},
    ):
        keras.utils.set_random_seed(1)
        model = gdtrain.Sequential([keras.Input([3]), keras.layers.Dense(1)])
        model.compile(keras.optimizers.SGD(0.01, clipvalue=1.0), Steep())
        guard = NonfiniteGuard("skip")
        fit(model, guard, **data, shuffle=False)
        found.append((guard.skipped_steps, model.get_weights()[0].tolist()))
    assert found[0] == found[1] and found[0][0] == []
    assert np.isfinite(found[0][1]).all()


class Centred(keras.losses.Loss):
    """Keeps a running mean of its targets."""

    def __init__(self):
        super().__init__()
        self.mean = keras.Variable(0.0, name="mean")

    def call(self, y_true, y_pred):
        self.mean.assign(0.9 * self.mean + 0.1 * tf.reduce_mean(y_true))
        return tf.square(y_true - y_pred - self.mean)


def test_variables_of_a_loss_are_saved_and_guarded(tmp_path):
    def run(folder, y, *more):
        keras.utils.set_random_seed(1)
        model = gdtrain.Sequential([keras.Input([3]), keras.layers.Dense(1)])
        model.compile("sgd", Centred())
        guard = NonfiniteGuard("skip")
        backup = BackupAndRestore(folder, every_steps=1)
        fit(model, backup, guard, *more, y=y, epochs=2, shuffle=False)
        return guard.skipped_steps, float(model.loss.mean), model.get_weights()

    whole = run(tmp_path / "whole", Y)
    with pytest.raises(Killed):
        run(tmp_path / "parts", Y, KillAt(5))
    parts = run(tmp_path / "parts", Y)
    assert whole[:2] == parts[:2]
    for one, two in zip(whole[2], parts[2], strict=True):
        np.testing.assert_array_equal(one, two)
    left_out, mean, _ = run(tmp_path / "bad", Y_BAD)
    assert left_out == [BAD_STEP, 6 + BAD_STEP] and np.isfinite(mean)

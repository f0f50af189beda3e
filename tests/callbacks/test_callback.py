"""The public base class: what a user's callback can do."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

import gdtrain
from gdtrain.callbacks import BackupAndRestore, Callback, Telemetry
from tests import models

EXAMPLES, BATCH, EPOCHS = 40, 8, 4  # 5 steps an epoch


class Steered(Callback):
    """Measures, syncs at given steps, keeps state and sets the rate."""

    quantities = ["gradient_norm"]
    probe_names = ["first_weight"]

    def __init__(self):
        super().__init__()
        self.norms, self.synced = [], []

    def before_step(self, model):
        updates = tf.cast(model.optimizer.iterations, tf.float32)
        model.optimizer.learning_rate.assign(0.1 / (1.0 + updates))

    def next_sync(self, step):
        return (step // 3 + 1) * 3

    def probe(self, step, seconds):
        weight = float(self.model.get_weights()[0][0, 0])
        return {} if step % 3 else {"first_weight": weight}

    def on_block(self, table):
        self.norms += table.select(self.wanted)["gradient_norm"].tolist()
        self.synced += [table.last_step] if table.last_step % 3 == 0 else []

    def get_state(self):
        return {"norms": self.norms, "synced": self.synced}

    def set_state(self, state):
        self.norms, self.synced = list(state["norms"]), list(state["synced"])


class Stopped(Exception):
    """Ends the first of two runs."""


class StopAt(Callback):
    """Interrupts a run where it is saved."""

    def __init__(self, step):
        super().__init__()
        self.step = step

    def on_position(self, fit_state):
        if fit_state.steps_done == self.step:
            raise Stopped


def train(*callbacks, **compile_arguments):
    model = models.network()
    options = {"jit_compile": False} | compile_arguments
    model.compile(gdtrain.GradientDescent(7.0), "mse", **options)
    x, y = models.regression_data(EXAMPLES)
    model.fit(
        x,
        y,
        batch_size=BATCH,
        epochs=EPOCHS,
        shuffle=False,
        verbose=0,
        callbacks=list(callbacks),
    )
    return model


def assert_equal(one, other):
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.mostly_long("{}", "{'run_eagerly': True}")
@pytest.mark.parametrize(
    "how", [{}, {"run_eagerly": True}, {"jit_compile": True}], ids=str
)
def test_it_measures_syncs_probes_and_steers(how):
    callback = Steered()
    telemetry = Telemetry(["gradient_norm", "learning_rate"])
    model = train(callback, telemetry, **how)
    np.testing.assert_array_equal(
        np.float32(callback.norms), telemetry["gradient_norm"]
    )
    assert set(range(3, 20, 3)) <= set(callback.synced)
    np.testing.assert_allclose(
        telemetry["learning_rate"], 0.1 / np.arange(1, 21), rtol=1e-6
    )
    steps, weights = telemetry.table.points("first_weight")
    assert steps.tolist() == [3, 6, 9, 12, 15, 18]
    assert len(set(weights.tolist())) == 6
    # The same schedule inside the optimizer
    inside = models.network()
    schedule = keras.optimizers.schedules.InverseTimeDecay(0.1, 1, 1.0)
    options = {"jit_compile": False} | how
    inside.compile(gdtrain.GradientDescent(schedule), "mse", **options)
    x, y = models.regression_data(EXAMPLES)
    inside.fit(x, y, batch_size=8, epochs=4, shuffle=False, verbose=0)
    assert_equal(model, inside)


@pytest.mark.mostly_long("5")
@pytest.mark.parametrize("step", [3, 5, 13])
def test_an_interrupted_run_ends_bit_equal(step, tmp_path):
    whole = Steered()
    model = train(whole)
    with pytest.raises(Stopped):
        backup = BackupAndRestore(tmp_path, every_steps=1)
        train(Steered(), backup, StopAt(step))
    again = Steered()
    resumed = train(again, BackupAndRestore(tmp_path, every_steps=1))
    assert_equal(model, resumed)
    assert again.norms == whole.norms
    assert set(whole.synced) <= set(again.synced)


class Calls(Callback):
    """Records the order of all hooks."""

    def __init__(self, calls, name, guards_steps=False):
        super().__init__()
        self.calls, self.name = calls, name
        self.guards_steps = guards_steps

    def _note(self, hook):
        self.calls.append((self.name, hook))

    def on_fit_begin(self, fit_state):
        self._note("on_fit_begin")

    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)
        self._note("on_train_begin")

    def on_epoch_begin(self, epoch, logs=None):
        self._note("on_epoch_begin")

    def probe(self, step, seconds):
        self._note("probe")
        return {}

    def on_block(self, table):
        self._note("on_block")

    def on_position(self, fit_state):
        self._note("on_position")

    def on_epoch_end(self, epoch, logs=None):
        self._note("on_epoch_end")

    def on_train_end(self, logs=None):
        self._note("on_train_end")

    def close(self):
        self._note("close")


def test_hooks_are_called_in_the_documented_order():
    calls = []
    model = models.network()
    model.compile("sgd", "mse", jit_compile=False)
    callbacks = [Calls(calls, "one"), Calls(calls, "guard", guards_steps=True)]
    model.fit(*models.regression_data(8), verbose=0, callbacks=callbacks)

    def each(*hooks, names=("one", "guard")):
        return [(name, hook) for hook in hooks for name in names]

    guard_first = ("guard", "one")
    assert calls == [
        *each("on_fit_begin", "on_train_begin"),
        *each("on_position", names=guard_first),
        *each("on_epoch_begin", "probe", "on_block", "on_epoch_end"),
        *each("on_position", "on_position", names=guard_first),
        *each("on_train_end"),
        *each("on_position", names=guard_first),
        *each("close"),
    ]


def test_defaults_change_no_block_and_keep_nothing(tmp_path):
    callback = Callback()
    assert callback.before_step_key is None and callback.requests == []
    backup = BackupAndRestore(tmp_path)
    assert_equal(train(callback, backup), train(callback))
    saved = json.dumps(sorted(p.name for p in tmp_path.rglob("*")))
    assert "Callback" not in saved
    train(Callback(), Callback(), backup)  # Nothing is said of a new one.


def test_a_model_of_keras_is_refused_by_the_base_alone():
    model = models.network(keras.Sequential)
    model.compile("sgd", "mse")
    for kind in (Callback, Steered, Telemetry):
        message = f"`{kind.__name__}` needs a gdtrain model, trained by its"
        with pytest.raises(TypeError, match=message):
            model.fit(*models.regression_data(8), verbose=0, callbacks=[kind()])


def test_quantities_that_cannot_be_used_are_refused_before_a_step():
    class Odd(Callback):
        quantities = ["gradient"]

    with pytest.raises(ValueError, match="'gradient'"):
        train(Odd())


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"histogram_freq": 1}, "WeightHistogram"),
        ({"write_graph": True}, "keras.callbacks.TensorBoard"),
        ({"update_freq": "epoch"}, "every_steps=10"),
        ({"profile": (1, 2)}, "unexpected keyword argument 'profile'"),
    ],
)
def test_arguments_of_keras_that_mean_nothing_say_what_to_write(
    arguments, message, tmp_path
):
    with pytest.raises(TypeError, match=message):
        gdtrain.callbacks.TensorBoard(tmp_path, **arguments)


def test_arguments_of_keras_that_mean_the_same_are_taken(tmp_path):
    off = {"histogram_freq": 0, "write_graph": False, "update_freq": "batch"}
    gdtrain.callbacks.TensorBoard(tmp_path, profile_batch=(1, 2), **off)
    with pytest.raises(TypeError, match="Delete the folder yourself"):
        BackupAndRestore(tmp_path, delete_checkpoint=True)
    with pytest.raises(TypeError, match="Write one of them"):
        BackupAndRestore(tmp_path, save_freq=2, every_steps=2)


@pytest.mark.mostly_long("6-steps1")
@pytest.mark.parametrize(
    "save_freq, steps", [("epoch", [20, 15]), (6, [20, 18])]
)
def test_save_freq_is_that_of_keras(save_freq, steps, tmp_path):
    backup = BackupAndRestore(
        tmp_path,
        save_freq=save_freq,
        every_seconds=None,
        delete_checkpoint=False,
    )
    train(backup)
    saved = {int(p.name.split("-")[1]) for p in tmp_path.glob("step-*")}
    assert sorted(saved, reverse=True)[: len(steps)] == steps

"""Epochs of one block, which readers of logs get all at once."""

import functools
import gc

import keras
import numpy as np
import pytest

import gdtrain
from gdtrain.keras_bridge import losses
from gdtrain.loop.block_runner import BlockRunner
from gdtrain.loop.slices import LogSlice, PassedEpochs, Slices

X = np.random.default_rng(0).normal(size=[20, 2]).astype("float32")
Y = X @ np.array([[1.0], [2.0]], "float32")
EPOCHS = 600


def network():
    line = keras.layers.Dense(1, kernel_initializer="zeros")
    model = gdtrain.Sequential([keras.Input([2]), line])
    model.compile(
        gdtrain.GradientDescent(0.01),
        "mse",
        metrics=["mae"],
        jit_compile=False,
    )
    return model


def fit(callbacks=(), model=None, **arguments):
    arguments = {
        "epochs": EPOCHS,
        "batch_size": 5,
        "shuffle": False,
    } | arguments
    model = model or network()
    return model.fit(X, Y, verbose=0, callbacks=list(callbacks), **arguments)


class EachEpoch(gdtrain.callbacks.Callback):
    """Sees each epoch, of models that may be some steps ahead."""

    sync = "never"

    def __init__(self):
        super().__init__()
        self.begun, self.ended, self.slices = [], [], []

    def on_epoch_begin(self, epoch, logs=None):
        self.begun.append(epoch)

    def on_epoch_end(self, epoch, logs=None):
        self.ended.append((epoch, logs))


@pytest.fixture
def calls(monkeypatch):
    """How often each counted function was called."""
    counts = {}

    def counted(owner, name):
        function = getattr(owner, name)

        @functools.wraps(function)
        def call(*arguments, **others):
            counts[name] = counts.get(name, 0) + 1
            return function(*arguments, **others)

        monkeypatch.setattr(owner, name, call)

    counted(keras.callbacks.History, "on_epoch_end")
    counted(losses, "pythonify_logs")
    counted(Slices, "pop")
    counted(BlockRunner, "run")
    return counts


def test_history_is_that_of_epochs_which_are_seen_one_by_one():
    each = EachEpoch()
    one_by_one, at_once = fit([each]), fit()
    assert at_once.history == one_by_one.history
    assert list(at_once.history) == ["loss", "mae"]
    assert at_once.epoch == one_by_one.epoch == list(range(EPOCHS))
    assert {type(v) for v in at_once.history["loss"]} == {float}
    assert {type(epoch) for epoch in at_once.epoch} == {int}
    assert at_once.model.history is at_once
    assert each.begun == at_once.epoch
    assert [logs["mae"] for _, logs in each.ended] == at_once.history["mae"]
    assert [epoch for epoch, _ in each.ended] == at_once.epoch


def test_python_is_called_for_blocks_and_not_for_epochs(calls):
    fit([gdtrain.callbacks.Telemetry()])
    # The first epoch of a block, its last, and one that goes on into the next
    for name in "on_epoch_end", "pop":
        assert calls[name] <= 3 * calls["run"] < EPOCHS / 2
    assert calls["pythonify_logs"] <= 6 * calls["run"]


def test_a_file_of_logs_is_that_of_epochs_which_are_seen_one_by_one(
    tmp_path, calls
):
    files = tmp_path / "at_once.csv", tmp_path / "one_by_one.csv"
    fit([keras.callbacks.CSVLogger(files[0])])
    assert calls["pop"] <= 3 * calls["run"] < EPOCHS / 2
    fit([keras.callbacks.CSVLogger(files[1]), EachEpoch()])
    at_once, one_by_one = (file.read_text() for file in files)
    assert at_once == one_by_one
    assert at_once.count("\n") == 1 + EPOCHS


def test_a_callback_of_epochs_is_called_for_each(calls):
    fit([EachEpoch()])
    assert calls["on_epoch_end"] == EPOCHS


class OfEpochs(keras.callbacks.History):
    def on_epoch_end(self, epoch, logs=None):
        super().on_epoch_end(epoch, {"twice": 2 * logs["loss"]})


def test_a_history_of_one_s_own_is_called_for_each_epoch():
    own = OfEpochs()
    history = fit([own])
    assert history is own
    assert own.epoch == list(range(EPOCHS)) and len(own.history["twice"]) == (
        EPOCHS
    )


def test_a_list_of_one_s_own_is_called_for_each_epoch():
    seen = []

    class OwnList(keras.callbacks.CallbackList):
        def on_epoch_end(self, epoch, logs=None):
            seen.append(epoch)
            super().on_epoch_end(epoch, logs)

    model = network()
    callbacks = OwnList([], add_history=True, model=model, epochs=EPOCHS)
    model.fit(X, Y, batch_size=5, epochs=EPOCHS, verbose=0, callbacks=callbacks)
    assert seen == list(range(EPOCHS))


def test_validated_epochs_and_a_second_fit_have_their_places_in_history():
    often = {"validation_data": (X, Y), "validation_freq": 50}
    one_by_one, at_once = fit([EachEpoch()], **often), fit(**often)
    assert at_once.history == one_by_one.history
    assert len(at_once.history["val_loss"]) == EPOCHS // 50
    again = fit(
        [at_once], at_once.model, initial_epoch=EPOCHS, epochs=EPOCHS + 90
    )
    assert again is at_once
    assert again.epoch == list(range(EPOCHS, EPOCHS + 90))
    assert len(again.history["mae"]) == EPOCHS + 90


class StopInBlock(gdtrain.callbacks.Callback):
    def on_block(self, table):
        if len(table) > 8:  # Two epochs at least
            self.model.stop_training = True


def test_who_stops_in_a_block_sees_what_came_before():
    history = fit([StopInBlock()])
    seen = fit([StopInBlock(), EachEpoch()])
    assert history.model.stop_training and seen.model.stop_training
    # The first epoch of that block is the last that is passed.
    assert 0 < len(history.epoch) < EPOCHS
    assert history.epoch == list(range(len(history.epoch)))
    assert len(history.history["loss"]) == len(history.epoch)


def slices_kept():
    """How many there are in this process."""
    return sum(type(one) is LogSlice for one in gc.get_objects())


class CountsSlices(EachEpoch):
    def on_epoch_end(self, epoch, logs=None):
        if epoch % 50 == 25:
            self.slices.append(slices_kept())


def test_no_slices_are_kept_for_the_epochs_to_come():
    callback = CountsSlices()
    gc.collect()  # Those of other tests
    before = slices_kept()
    fit([callback], epochs=200)
    assert len(callback.slices) == 4
    assert max(callback.slices) <= before + 2


def drained(slices):
    found = []
    while slices:
        found.append(slices.pop())
    return [(one.steps, one.logs(), one.epoch_logs) for one in found]


@pytest.mark.parametrize("lengths", [[3], [2, 0], [1, 4, 4, 0], [2, 4, 4, 3]])
@pytest.mark.parametrize("taken", [0, 1])
def test_epochs_are_those_of_the_slices_before_the_last(lengths, taken):
    losses = [float(i) for i in range(len(lengths) - 1)]
    made = [
        Slices(lengths, {"loss": losses}, lambda index: index) for _ in range(2)
    ]
    expected = drained(made[0])
    for _ in range(taken):
        made[1].pop()
    count, logs = made[1].pop_epochs()
    rest = expected[taken:-1]
    assert count == len(rest) == len(logs["loss"])
    assert logs["loss"] == [of_epoch["loss"] for *_, of_epoch in rest]
    assert drained(made[1]) == expected[taken + count :]


def test_slices_of_few_steps_end_with_their_epoch():
    slices = Slices([3, 4], {"loss": [0.5]}, lambda i: i, most=2, counted=2)
    assert drained(slices) == [
        (2, 1, None),
        (1, 2, {"loss": 0.5}),
        (2, 4, None),
        (2, 6, None),
    ]
    assert Slices().pop_epochs() == PassedEpochs(0, {})


class EndsOnce(gdtrain.callbacks.Callback):
    """Ends the process, as it were, once some steps are done."""

    def on_block(self, table):
        if table.steps[-1] > 2 * EPOCHS:
            raise KeyboardInterrupt


def test_a_file_of_logs_is_resumed_where_it_was(tmp_path):
    files = [tmp_path / "whole.csv", tmp_path / "resumed.csv"]
    fit([keras.callbacks.CSVLogger(files[0])])

    def callbacks():
        backup = gdtrain.callbacks.BackupAndRestore(
            tmp_path / "backup", every_steps=500
        )
        return [backup, keras.callbacks.CSVLogger(files[1])]

    with pytest.raises(KeyboardInterrupt):
        fit([*callbacks(), EndsOnce()])
    rows = files[1].read_text().count("\n")
    fit(callbacks())
    assert 1 < rows < EPOCHS
    assert files[1].read_text() == files[0].read_text()

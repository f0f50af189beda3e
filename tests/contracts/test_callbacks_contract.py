"""What Keras documents of callbacks in `fit`, in numbers."""

import csv
import re

import keras
import numpy as np
import pytest

from tests.contracts import fit_cases
from tests.contracts.fit_cases import (
    RATE,
    WEIGHT,
    BatchEnds,
    Calls,
    Descent,
    X,
    Y,
    both,
    close,
    linear,
    mean_loss,
    rows,
    train,
    weights_of,
)

LABELS, CLASS_WEIGHT = fit_cases.LABELS, fit_cases.CLASS_WEIGHT
VALID = (X[:17], Y[:17], WEIGHT[:17])
EPOCH, TWO = [rows(16)], [rows(16)] * 2


def hooks(begin_end):
    """What `Calls` notes of two epochs with these batches, validated."""
    names = ("loss", "mae")
    validated = (*names, "val_loss", "val_mae")
    calls = [("train_begin",)]
    for epoch in range(2):
        calls.append(("epoch_begin", epoch))
        for begin, end in begin_end:
            calls.append(("train_batch_begin", begin))
            calls.append(("train_batch_end", end, *names))
        calls += [("test_begin",), ("test_batch_begin", 0)]
        calls += [("test_batch_end", begin_end[0][1], *names)]
        calls += [("test_end", *names), ("epoch_end", epoch, *validated)]
    return [*calls, ("train_end", *validated)]


@both
@pytest.mark.parametrize("steps_per_execution", [None, 1, 3])
def test_order_and_arguments_of_all_hooks(base, steps_per_execution):
    arguments = {"metrics": ["mae"]}
    if steps_per_execution:
        arguments["steps_per_execution"] = steps_per_execution
    calls, every = Calls(), steps_per_execution or 1
    train(
        linear(base, **arguments),
        epochs=2,
        batch_size=5,
        validation_data=(X[:5], Y[:5]),
        callbacks=[calls],
    )
    blocks = [(begin, begin + every - 1) for begin in range(0, 8, every)]
    assert calls.calls == hooks(blocks)


@both
def test_on_batch_begin_and_end_are_those_of_training(base):
    calls = []

    class Legacy(keras.callbacks.Callback):
        def on_batch_begin(self, batch, logs=None):
            calls.append(("begin", batch))

        def on_batch_end(self, batch, logs=None):
            calls.append(("end", batch, *logs))

    train(linear(base), batch_size=20, callbacks=[Legacy()])
    assert calls == [
        (edge, batch, *logs)
        for batch in range(2)
        for edge, logs in [("begin", []), ("end", ["loss"])]
    ]


@both
def test_callbacks_see_running_means_weights_and_iterations(base):
    expected, watch = Descent(TWO), BatchEnds()
    train(linear(base), epochs=2, callbacks=[watch])
    running = [
        np.average(expected.losses[a:b], weights=expected.sizes[a:b])
        for a, b in [(0, 1), (0, 2), (0, 3), (3, 4), (3, 5), (3, 6)]
    ]
    assert [batch for batch, _ in watch.batches] == [0, 1, 2] * 2
    close([logs["loss"] for _, logs in watch.batches], running)
    assert watch.iterations == [3, 6] and watch.epochs == [0, 1]
    close(watch.weights, expected.epoch_weights)


@both
def test_weights_can_be_looked_at_only_at_the_end_of_an_epoch(base):
    expected, seen = Descent([rows(4)] * 3), []
    model = linear(base)
    look = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: seen.append(
            (weights_of(model), model.evaluate(X, Y, verbose=0))
        )
    )
    train(model, epochs=3, batch_size=4, callbacks=[look])
    close([weights for weights, _ in seen], expected.epoch_weights)
    losses = [mean_loss(w) for w in expected.epoch_weights]
    close([loss for _, loss in seen], losses)


@both
@pytest.mark.parametrize("batch, epoch, steps", [(1, 0, 2), (None, 1, 20)])
def test_stop_training_stops_there(base, batch, epoch, steps):
    class Stop(keras.callbacks.Callback):
        def on_epoch_begin(self, number, logs=None):
            self.epoch = number

        def on_epoch_end(self, number, logs=None):
            self.model.stop_training |= batch is None and number == epoch

    class StopInEpoch(Stop):
        def on_train_batch_end(self, number, logs=None):
            if (self.epoch, number) == (epoch, batch):
                self.model.stop_training = True

    model, expected = linear(base), Descent([rows(4)] * 4)
    callback = Stop() if batch is None else StopInEpoch()
    history = train(model, epochs=4, batch_size=4, callbacks=[callback])
    assert history.epoch == list(range(epoch + 1))
    assert int(model.optimizer.iterations.numpy()) == steps
    close(weights_of(model), expected.weights[steps - 1])


@both
def test_learning_rate_set_in_a_batch_holds_from_the_next_one(base):
    rates = 0.1 / np.arange(1, 11)

    class Slower(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.optimizer.learning_rate = 0.1 / (batch + 2)

    model, expected = linear(base), Descent([rows(4)], rate=rates)
    train(model, batch_size=4, callbacks=[Slower()])
    close(weights_of(model), expected.weights[-1])


@both
def test_learning_rate_scheduler_and_a_rate_set_between_fits(base):
    rates = np.repeat([0.2, 0.05, 0.15], 3)
    expected, model = Descent(TWO + EPOCH, rate=rates), linear(base)
    schedule = keras.callbacks.LearningRateScheduler(
        lambda epoch, rate: [0.2, 0.05][epoch]
    )
    history = train(model, epochs=2, callbacks=[schedule]).history
    close(history["learning_rate"], [0.2, 0.05])
    model.optimizer.learning_rate = 0.15
    train(model)
    close(weights_of(model), expected.weights[-1])


@both
def test_learning_rate_schedule_counts_updates(base):
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay(
        [2, 4], [0.2, 0.1, 0.05]
    )
    rates = [0.2] * 3 + [0.1] * 2 + [0.05]
    model, expected = linear(base, rate=schedule), Descent(TWO, rate=rates)
    train(model, epochs=2)
    close(weights_of(model), expected.weights[-1])


@both
def test_reduce_lr_on_plateau(base):
    reduce = keras.callbacks.ReduceLROnPlateau(
        monitor="loss", factor=0.5, patience=1
    )
    model = linear(base)
    history = train(model, epochs=4, x=0 * X, callbacks=[reduce]).history
    close(history["learning_rate"], [0.1, 0.1, 0.05, 0.025])
    close(model.optimizer.learning_rate.numpy(), 0.0125)


@both
def test_early_stopping_restores_the_best_weights(base):
    expected = Descent(TWO, rate=-0.1)
    model = linear(base, rate=-0.1)
    stopping = keras.callbacks.EarlyStopping(
        patience=1, restore_best_weights=True
    )
    history = train(
        model, epochs=9, validation_data=(X, Y), callbacks=[stopping]
    )
    assert history.epoch == [0, 1] and stopping.best_epoch == 0
    close(weights_of(model), expected.epoch_weights[0])
    losses = [mean_loss(w) for w in expected.epoch_weights]
    close(history.history["val_loss"], losses)


@both
def test_files_of_model_checkpoint_and_csv_logger(base, tmp_path):
    model, expected = linear(base, metrics=["mae"]), Descent(TWO)
    weights = str(tmp_path / "{epoch}.weights.h5")
    callbacks = [
        keras.callbacks.ModelCheckpoint(weights, save_weights_only=True),
        keras.callbacks.CSVLogger(tmp_path / "log.csv"),
    ]
    history = train(model, epochs=2, callbacks=callbacks).history
    for epoch, values in enumerate(expected.epoch_weights, start=1):
        model.load_weights(weights.format(epoch=epoch))
        close(weights_of(model), values)
    with open(tmp_path / "log.csv") as file:
        lines = list(csv.DictReader(file))
    assert [line["epoch"] for line in lines] == ["0", "1"]
    for name, values in history.items():
        close([float(line[name]) for line in lines], values)


@both
def test_terminate_on_nan_stops_at_the_batch(base):
    y, model = Y.copy(), linear(base)
    y[20] = np.nan
    stop = keras.callbacks.TerminateOnNaN()
    history = train(model, epochs=3, y=y, callbacks=[stop])
    assert int(model.optimizer.iterations.numpy()) == 2
    assert history.epoch == [0] and np.isnan(history.history["loss"][0])


@both
def test_swap_ema_weights_validates_with_the_mean_weights(base):
    model, expected = linear(base), Descent(TWO)
    model.compile(
        keras.optimizers.SGD(RATE, use_ema=True, ema_momentum=0.75),
        "mse",
        jit_compile=False,
    )
    swap, watch = keras.callbacks.SwapEMAWeights(), BatchEnds()
    history = train(
        model, epochs=2, validation_data=(X, Y), callbacks=[swap, watch]
    ).history
    means = expected.weights[:1]
    for w in expected.weights[1:]:
        means.append(0.75 * means[-1] + 0.25 * w)
    close(history["val_loss"], [mean_loss(means[2]), mean_loss(means[5])])
    close(watch.weights, expected.epoch_weights)


class Trouble(Exception):
    pass


def trouble_in(epoch):
    def raise_trouble(number, logs):
        if number == epoch:
            raise Trouble("in an epoch")

    return keras.callbacks.LambdaCallback(on_epoch_begin=raise_trouble)


@both
def test_backup_and_restore_goes_on_with_the_epoch(base, tmp_path):
    model, expected = linear(base), Descent(TWO + TWO)
    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
    with pytest.raises(Trouble):
        train(model, epochs=4, callbacks=[backup, trouble_in(2)])
    other = linear(base)
    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
    assert train(other, epochs=4, callbacks=[backup]).epoch == [2, 3]
    assert int(other.optimizer.iterations.numpy()) == 12
    close(weights_of(other), expected.weights[-1])
    assert not (tmp_path / "backup").exists()


@both
def test_after_an_exception_finished_epochs_are_there_and_fit_works(base):
    model, expected = linear(base), Descent(TWO + EPOCH)
    with pytest.raises(Trouble, match="in an epoch"):
        train(model, epochs=4, callbacks=[trouble_in(2)])
    assert model.history.epoch == [0, 1]
    close(model.history.history["loss"], expected.epoch_losses[:2])
    assert train(model).epoch == [0]
    close(weights_of(model), expected.weights[-1])


@both
def test_history_and_list_of_callbacks_of_ones_own(base):
    model, own, watch = linear(base), keras.callbacks.History(), BatchEnds()
    assert train(model, callbacks=[own]) is own
    many = keras.callbacks.CallbackList(
        [watch], add_history=True, model=model, epochs=2
    )
    history = train(model, epochs=2, callbacks=many)
    assert watch.epochs == history.epoch == [0, 1]
    assert [batch for batch, _ in watch.batches] == [0, 1, 2] * 2


@both
def test_attributes_of_a_callback_s_own_may_have_any_name(base):
    words = "at at_step begin_run budget close guards logs observe probe "
    words += "requests run state step steers target wait write"
    own = keras.callbacks.Callback()
    for word in words.split():
        setattr(own, word, word)
    assert train(linear(base), callbacks=[own]).epoch == [0]


@both
def test_what_is_printed(base, capsys):
    model = linear(base)
    for verbose in [0, 1, 2]:
        losses = train(model, epochs=2, verbose=verbose).history["loss"]
        printed = re.sub(r"\x1b\[\d+m", "", capsys.readouterr().out)
        lines = re.split(r"[\n\r\b]+", printed)
        lines = [line for line in lines if "loss" in line]
        if verbose == 0:
            assert printed == ""
            continue
        assert re.findall(r"Epoch \d/\d", printed) == ["Epoch 1/2", "Epoch 2/2"]
        finals = [line for line in lines if line.strip().startswith("3/3")]
        for loss in losses:
            assert any(f"loss: {loss:.4f}" in line for line in finals)
        assert verbose != 2 or len(lines) == 2

"""Bad input is refused before the weights change, and harms no model."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.contracts.fit_cases import (
    QUIET,
    START,
    WEIGHT,
    Batches,
    Descent,
    N,
    X,
    Y,
    both,
    close,
    dataset,
    half,
    linear,
    rows,
    train,
    weights_of,
)


class Trouble(Exception):
    """What a user's own code raises."""


def assert_trains(model, start=START):
    """`model`, of weights `start`, still trains as it should."""
    expected = Descent([rows(16)], start=start)
    history = train(model).history
    close(history["loss"], expected.epoch_losses)
    close(weights_of(model), expected.weights[-1])


BAD = (ValueError, TypeError, tf.errors.InvalidArgumentError)
LENGTHS, UNKNOWN = {"x": X, "y": Y[:30]}, {"x": object(), "y": Y}
SLICES = tf.data.Dataset.from_tensor_slices
REFUSED = {
    "arguments": lambda: {
        "different lengths": LENGTHS,
        "weights of another length": {"sample_weight": WEIGHT[:9]},
        "unknown type": UNKNOWN,
        "a string": {"x": "data.csv"},
        "words": {"x": np.array(["a"] * N)},
        "two kinds of weights": {
            "class_weight": {0: 1.0},
            "sample_weight": WEIGHT,
        },
        "everything for validation": {"validation_split": 1.0},
        "negative batch size": {"batch_size": -1},
        "unknown argument": {"batches": 3},
    },
    "sources": lambda: {
        "targets beside a dataset": {"x": dataset()},
        "targets beside a PyDataset": {"x": Batches(X, Y)},
        "split of a dataset": {
            "x": dataset(),
            "y": None,
            "validation_split": 0.5,
        },
    },
    "batches": lambda: {
        "no targets": {"x": X, "y": None},
        "dataset without targets": {"x": dataset(X), "y": None},
        "wrong number of features": {"x": X[:, :2]},
        "another number of axes": {"x": X[np.newaxis], "y": Y[:1]},
        "dict instead of a pair": {
            "x": SLICES({"x": X, "y": Y}).batch(8),
            "y": None,
        },
        "four parts": {"x": dataset(X, Y, WEIGHT, WEIGHT), "y": None},
        "dataset without batches": {"x": SLICES((X, Y)), "y": None},
    },
}


@both
@pytest.mark.parametrize("group", REFUSED)
def test_fit_refuses_before_the_weights_change(base, group):
    model, wrong = linear(base), []
    for kind, arguments in REFUSED[group]().items():
        try:
            model.fit(**{"x": X, "y": Y, "epochs": 2, **QUIET, **arguments})
            wrong.append(f"{kind} is accepted")
        except BAD:
            pass
        if (weights_of(model) != START).any():
            wrong.append(f"{kind} changed the weights")
    assert wrong == []
    assert_trains(model)


@both
def test_validation_data_that_does_not_fit_is_refused(base):
    model = linear(base)
    with pytest.raises(BAD):
        model.fit(X, Y, validation_data=(X[:, :2], Y), verbose=0)
    assert_trains(model, weights_of(model))


@both
def test_evaluate_and_predict_refuse(base):
    model = linear(base)
    for method, arguments in [
        (model.evaluate, LENGTHS),
        (model.evaluate, UNKNOWN),
        (model.predict, {"x": [X, X[:9]]}),
        (model.predict, {"x": object()}),
        (model.predict, {"x": X[:, :2]}),
    ]:
        with pytest.raises(BAD):
            method(**arguments, verbose=0)
    assert_trains(model)


@both
@pytest.mark.parametrize("method", ["fit", "evaluate", "train_on_batch"])
def test_a_model_must_be_compiled(base, method):
    model = base.Sequential([keras.Input([3]), half(name="line")])
    with pytest.raises(ValueError, match="compile"):
        getattr(model, method)(X, Y)
    np.testing.assert_array_equal(weights_of(model), START)


@both
def test_train_on_batch_refuses_two_kinds_of_weights(base):
    model = linear(base)
    with pytest.raises(ValueError, match="class_weight"):
        model.train_on_batch(X, Y, sample_weight=WEIGHT, class_weight={0: 1.0})
    assert_trains(model)


@both
@pytest.mark.filterwarnings("ignore:Your input ran out of data")
def test_no_examples_change_nothing(base):
    model = linear(base)
    try:
        history = model.fit(X[:0], Y[:0], epochs=2, **QUIET).history
    except ValueError:
        history = {}
    assert history == {}
    assert_trains(model)


@both
def test_epochs_that_are_over_change_nothing(base):
    model = linear(base)
    history = model.fit(X, Y, epochs=2, initial_epoch=2, **QUIET)
    assert history.history == {} and history.epoch == []
    assert_trains(model)


@both
def test_one_epoch_of_a_batch_larger_than_the_data(base):
    model, expected = linear(base), Descent([rows(N)])
    model.fit(X, Y, batch_size=1000, **QUIET)
    assert int(model.optimizer.iterations.numpy()) == 1
    close(weights_of(model), expected.weights[-1])


class BrokenBatches(Batches):
    def __getitem__(self, index):
        if index == 2:
            raise Trouble("in a batch")
        return super().__getitem__(index)


@both
@pytest.mark.parametrize("workers", [1, 2])
def test_an_exception_of_a_py_dataset_reaches_the_user(base, workers):
    model = linear(base)
    with pytest.raises(Exception, match="in a batch"):
        model.fit(BrokenBatches(X, Y, workers=workers), **QUIET)
    assert_trains(model, weights_of(model))


@both
def test_an_exception_of_a_generator_reaches_the_user(base):
    def broken():
        yield X[:16], Y[:16]
        yield X[16:32], Y[16:32]
        raise Trouble("in a batch")

    model = linear(base)
    with pytest.raises(Exception, match="in a batch"):
        model.fit(broken(), steps_per_epoch=3, **QUIET)
    assert_trains(model, weights_of(model))


STEPS = {
    "on_train_begin": 0,
    "on_epoch_begin": 0,
    "on_train_batch_begin": 0,
    "on_train_batch_end": 1,
    "on_test_begin": 3,
    "on_test_batch_end": 3,
    "on_epoch_end": 3,
    "on_train_end": 3,
}


@both
def test_an_exception_of_a_callback_goes_through_unchanged(base):
    def fail(self, *arguments, logs=None):
        raise error

    model, expected, steps = linear(base), Descent([rows(16)]), {}
    for hook in STEPS:
        interrupted = hook == "on_train_batch_end"
        error = KeyboardInterrupt() if interrupted else Trouble(hook)
        callback = type("Broken", (keras.callbacks.Callback,), {hook: fail})()
        model.get_layer("line").kernel.assign(START)
        before = int(model.optimizer.iterations.numpy())
        with pytest.raises(type(error)) as caught:
            train(model, validation_data=(X, Y), callbacks=[callback])
        assert caught.value is error
        steps[hook] = int(model.optimizer.iterations.numpy()) - before
        weights = [START, *expected.weights][STEPS[hook]]
        close(weights_of(model), weights)
        assert_trains(model, weights)
    assert steps == STEPS


@both
def test_labels_that_are_not_numbers_make_the_loss_nan(base):
    model, y = linear(base), Y.copy()
    y[3] = np.nan
    history = train(model, epochs=2, y=y, validation_data=(X, Y)).history
    assert np.isnan(history["loss"]).all()
    assert np.isnan(history["val_loss"]).all()
    assert np.isnan(weights_of(model)).all()
    assert int(model.optimizer.iterations.numpy()) == 6
    model.get_layer("line").kernel.assign(START)
    assert_trains(model)

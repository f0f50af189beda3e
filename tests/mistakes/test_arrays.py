"""Data that cannot be arrays of examples are refused with a reason."""

import pathlib

import keras
import numpy as np
import pandas
import pytest
import tensorflow as tf

import gdtrain
from tests.models import regression_data

X, Y = regression_data(40)


def model(inputs=1):
    xs = [keras.Input([3], name=f"input_{i}") for i in range(inputs)]
    both = keras.layers.Add()(xs) if inputs > 1 else xs[0]
    y = keras.layers.Dense(1)(both)
    network = gdtrain.Model(xs if inputs > 1 else xs[0], y)
    network.compile("sgd", "mse", jit_compile=False)
    return network


def with_objects(array, value):
    changed = array.astype(object)
    changed[3, 0] = value
    return changed


class Batches(keras.utils.PyDataset):
    """One batch, which a function makes."""

    def __init__(self, make):
        super().__init__()
        self.make = make

    def __len__(self):
        return 1

    def __getitem__(self, index):
        return self.make()


RAGGED = np.empty(40, object)
RAGGED[:] = [list(range(1 + i % 4)) for i in range(40)]
ROWS = np.empty(40, object)
ROWS[:] = list(X)
TABLE = pandas.DataFrame({"area": X[:, 0], "town": ["Bonn"] * 40})
REFUSED = {
    "lists": ({"x": X.tolist()}, ["`x` must be an array", "(40, 3)"]),
    "list of labels": ({"y": Y[:, 0].tolist()}, ["`y`", "40 numbers"]),
    "lists in a dict": ({"x": {"a": X.tolist()}}, ["`x['a']`", "(40, 3)"]),
    "uneven lists": ({"x": [[1.0, 2.0], [3.0]]}, ["pad_sequences(x)"]),
    "range": ({"y": range(40)}, ["a range of 40 numbers"]),
    "empty list": ({"x": []}, ["x without any"]),
    "list of rows": ({"x": list(X)}, ["40 arrays of shape (3,)", "stack(x)"]),
    "list of tensors": ({"x": [tf.constant(x) for x in X]}, ["stack(x)"]),
    "nothing": ({"x": None, "y": None}, ["Received: x=None"]),
    "path": ({"x": "data.csv"}, ["'data.csv'", "pandas.read_csv"]),
    "path object": ({"x": pathlib.Path("a.npy")}, ["a.npy", "numpy.load"]),
    "None": ({"x": with_objects(X, None)}, ["1 values are", "x[3][0] = None"]),
    "NaN": ({"y": with_objects(Y, np.nan)}, ["y[3][0] = nan", "dtype object"]),
    "a word": ({"x": with_objects(X, "red")}, ["x[3][0] = 'red'"]),
    "objects": ({"x": X.astype(object)}, ['x.astype("float32")']),
    "uneven rows": ({"x": RAGGED}, ["from 1 to 4", "pad_sequences"]),
    "rows": ({"x": ROWS}, ["numpy.stack(x)"]),
    "times": ({"x": np.full([40, 1], "2020-01-01", "M8[D]")}, ["timedelta64"]),
    "column of text": ({"x": TABLE}, ["1 other column(s): 'town'"]),
    "text": (
        {"y": pandas.Series(["a", "b"] * 20)},
        ["a Series of dtype", "such as ['a']", "pandas.factorize(y)[0]"],
    ),
    "categories": (
        {"y": pandas.Series(["a", "b"] * 20, dtype="category")},
        ["dtype category", "pandas.factorize(y)[0]"],
    ),
    "missing integers": (
        {"y": pandas.Series([1, None] * 20, dtype="Int64")},
        ["dtype Int64", "20 values are missing"],
    ),
    "numbers and booleans": (
        {"x": pandas.DataFrame({"a": X[:, 0], "b": X[:, 0] > 0})},
        ["of one kind", "bool, float32", 'x.astype("float32")'],
    ),
    "function": ({"x": with_objects, "y": None}, ["`with_objects()`"]),
    "batch of text": (
        {"x": Batches(lambda: (X, Y.astype(str))), "y": None},
        ["numbers. Received: one of dtype str"],
    ),
    "batch of objects": (
        {"x": Batches(lambda: (with_objects(X, None), Y)), "y": None},
        ["x[3][0] = None"],
    ),
    "batch of lists": (
        {"x": Batches(lambda: (X.tolist(), Y)), "y": None},
        ["numpy.array(x)"],
    ),
    "lengths": ({"y": Y[:30]}, ["x of shape (40, 3), y of shape (30, 1)"]),
    "weights": ({"sample_weight": Y[:9, 0]}, ["sample_weight of shape (9,)"]),
    "one example": ({"x": X[0], "y": Y[0]}, ["`x[None]`", "(1, 3)"]),
    "a number": ({"y": np.float32(1)}, ["`y` must have a first axis"]),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_fit_and_evaluate_say_what_is_wrong(kind):
    arguments, texts = REFUSED[kind]
    network = model()
    for method in (network.fit, network.evaluate):
        with pytest.raises(ValueError) as caught:
            method(**{"x": X, "y": Y, "verbose": 0, **arguments})
        for text in texts:
            assert text in str(caught.value)
        assert caught.value.__cause__ is not None  # What Keras says
    assert network.optimizer.iterations.numpy() == 0


@pytest.mark.parametrize("weights", [[1.0, 2.0], np.ones(2)])
def test_class_weights_must_be_a_dict(weights):
    with pytest.raises(TypeError, match=r"dict\(enumerate\(class_weight\)\)"):
        model().fit(X, Y, class_weight=weights, verbose=0)


def test_batch_size_must_be_a_number():
    with pytest.raises(TypeError, match="batch_size='32' of type str"):
        model().fit(X, Y, batch_size="32", verbose=0)


def test_generator_of_objects_is_told_by_its_dtype():
    def batches():
        yield with_objects(X, None), Y

    with pytest.raises(ValueError, match="Received: one of dtype object"):
        model().fit(batches(), verbose=0)


def test_predict_says_what_is_wrong():
    with pytest.raises(ValueError, match=r"numpy.array\(x\)"):
        model().predict(X.tolist(), verbose=0)


def test_split_for_validation_says_what_is_wrong():
    with pytest.raises(ValueError, match=r"numpy.array\(x\)"):
        model().fit(X.tolist(), Y, validation_split=0.2, verbose=0)


def test_what_is_wrong_with_an_argument_is_told_as_it_is():
    with pytest.raises(ValueError, match="steps_per_epoch"):
        model().fit(X, Y, steps_per_epoch=0, verbose=0)


def test_what_keras_takes_is_taken():
    network = model(inputs=2)
    for x in ([X, X], (X, X), {"input_0": X, "input_1": X}):
        network.fit(x, Y, verbose=0)
    network.fit([tf.constant(X), X], pandas.DataFrame(Y), verbose=0)
    assert network.optimizer.iterations.numpy() == 8

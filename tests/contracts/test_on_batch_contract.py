"""`train_on_batch`, `test_on_batch` and `predict_on_batch`, of all kinds."""

import keras
import numpy as np
import pandas
import pytest
import tensorflow as tf

import gdtrain
from tests.contracts.fit_cases import (
    RATE,
    START,
    WEIGHT,
    Descent,
    X,
    Y,
    compiled,
    half,
    linear,
    weights_of,
)

WAYS = {
    "graph": {},
    "eager": {"run_eagerly": True},
    "microbatches": {"microbatches": 3},
    "eager microbatches": {"run_eagerly": True, "microbatches": 3},
}
ways = pytest.mark.parametrize("way", WAYS)
KINDS = {
    "float32": (X, Y),
    "float64": (X.astype("float64"), Y.astype("float64")),
    "tensors": (tf.constant(X), tf.constant(Y)),
    "pandas": (pandas.DataFrame(X), pandas.Series(Y.ravel())),
    "lists": (X.tolist(), Y.tolist()),
}


@pytest.mark.mostly_long(
    "pandas-graph",
    "tensors-eager microbatches",
    "lists-graph",
)
@pytest.mark.parametrize("way", ["graph", "eager microbatches"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_step_on_a_batch_of_any_kind(way, kind):
    x, y = KINDS[kind]
    for weight in (None, WEIGHT, WEIGHT.tolist()):
        model = linear(gdtrain, **WAYS[way])
        steps = Descent(
            [[slice(None)]] * 2, weight=None if weight is None else WEIGHT
        )
        loss = model.test_on_batch(x, y, sample_weight=weight)
        np.testing.assert_allclose(loss, steps.losses[0], rtol=1e-5)
        for expected in steps.losses:
            loss = model.train_on_batch(x, y, sample_weight=weight)
            np.testing.assert_allclose(loss, expected, rtol=1e-5)
        np.testing.assert_allclose(
            weights_of(model), steps.weights[-1], rtol=1e-5
        )


@pytest.mark.mostly_long("graph", "eager microbatches")
@ways
def test_class_weights_and_integers(way):
    labels = np.arange(12) % 3
    x = np.eye(3, dtype="int64")[labels] * 2
    weight = np.array([1.0, 2.0, 0.5])[labels]
    layer = half(3, activation="softmax")
    model = gdtrain.Sequential([keras.Input([3]), layer])
    compiled(
        model,
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
        **WAYS[way],
    )
    logs = model.train_on_batch(
        x, labels, class_weight={0: 1.0, 1: 2.0, 2: 0.5}, return_dict=True
    )
    np.testing.assert_allclose(
        logs["loss"], np.mean(weight) * np.log(3), rtol=1e-5
    )
    # All weights are equal, so that class 0 is taken for the likeliest.
    np.testing.assert_allclose(logs["accuracy"], 1 / 3, rtol=1e-6)
    assert model.test_on_batch(x, labels)[1] == 1.0


@pytest.mark.mostly_long("list-graph", "tuple-eager", "dict-microbatches")
@ways
@pytest.mark.parametrize("kind", [list, tuple, dict])
def test_several_inputs_and_outputs(way, kind):
    a, b = keras.Input([3], name="a"), keras.Input([3], name="b")
    one, two = half(name="one")(a), half(name="two")(b)
    x, y = {"a": X, "b": 2 * X}, {"one": Y, "two": -Y}
    inputs, outputs = {"a": a, "b": b}, {"one": one, "two": two}
    losses = {"one": "mse", "two": "mae"}
    if kind is not dict:
        x, y, inputs, outputs, losses = (
            kind(d.values()) for d in (x, y, inputs, outputs, losses)
        )
    model = compiled(gdtrain.Model(inputs, outputs), loss=losses, **WAYS[way])
    total, *parts = model.train_on_batch(x, y)
    squares = np.mean(np.square(X @ START - Y))
    absolutes = np.mean(np.abs(2 * X @ START + Y))
    np.testing.assert_allclose(parts, [squares, absolutes], rtol=1e-5)
    np.testing.assert_allclose(total, squares + absolutes, rtol=1e-5)
    moved = keras.tree.flatten(model.predict_on_batch(x))[0]
    slope = 2 * X.T @ (X @ START - Y) / len(X)
    np.testing.assert_allclose(
        moved, X @ (START - RATE * slope), rtol=1e-4, atol=1e-4
    )


@pytest.mark.mostly_long("eager", "microbatches")
@ways
def test_nested_inputs_of_a_model_of_ones_own(way):
    class Sum(gdtrain.Model):
        """Puts parts of a nested input together."""

        def __init__(self):
            super().__init__()
            self.line = half(name="line")

        def call(self, x):
            return self.line(x["u"]["v"] + x["u"]["w"][0])

    model = compiled(Sum(), **WAYS[way])
    x = {"u": {"v": X / 2, "w": [X / 2]}}
    loss = model.train_on_batch(x, Y)
    np.testing.assert_allclose(
        loss, np.mean(np.square(X @ START - Y)), rtol=1e-5
    )

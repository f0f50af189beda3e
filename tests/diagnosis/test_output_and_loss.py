"""Outputs that suit their loss, and others."""

import keras
import numpy as np
import pytest

import gdtrain
from gdtrain.diagnosis.verdicts import output_and_loss
from tests.diagnosis.tasks import case_with, compiled

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(200, 4)).astype("float32")
CLASSES = RANDOM.integers(0, 3, 200)
ONE_HOT = np.eye(3, dtype="float32")[CLASSES]
BINARY = (X[:, :1] > 0).astype("float32")
NUMBERS = X[:, :1] * 2

dense = keras.layers.Dense
losses = keras.losses
SPARSE = losses.SparseCategoricalCrossentropy
CATEGORICAL = losses.CategoricalCrossentropy
BCE = losses.BinaryCrossentropy


def judge(layers, loss, y, inputs=X):
    model = compiled(layers, loss, inputs.shape[1:])
    return output_and_loss.judge(case_with(model, inputs, y))


def softmax_behind(layer):
    """A softmax that Keras's losses cannot follow back to its logits."""
    return [dense(3, activation="softmax"), layer]


@pytest.mark.parametrize(
    ("layers", "loss", "y"),
    [
        ([dense(3, activation="softmax")], SPARSE(), CLASSES),
        ([dense(3), keras.layers.Softmax()], CATEGORICAL(), ONE_HOT),
        ([dense(3)], SPARSE(from_logits=True), CLASSES),
        ([dense(1, activation="sigmoid")], BCE(), BINARY),
        ([dense(1)], BCE(from_logits=True), BINARY),
        ([dense(1)], "mse", NUMBERS),
        ([dense(1, activation="relu")], "mse", NUMBERS**2),
        ([dense(1, activation="sigmoid")], "mse", BINARY),
        ([dense(3, activation="softmax")], "mse", ONE_HOT),
        (softmax_behind(keras.layers.Reshape([3])), SPARSE(), CLASSES),
        # Keras's loss follows these back to their logits:
        ([dense(3, activation="softmax")], SPARSE(from_logits=True), CLASSES),
        ([dense(1, activation="sigmoid")], BCE(from_logits=True), BINARY),
        ([dense(3, activation="sigmoid")], CATEGORICAL(), ONE_HOT),
        (
            [dense(3, activation="sigmoid")],
            CATEGORICAL(from_logits=True),
            ONE_HOT,
        ),
    ],
)
def test_outputs_that_fit(layers, loss, y):
    layers = [type(one).from_config(one.get_config()) for one in layers]
    assert judge(layers, loss, y) == []


def test_softmax_twice():
    layers = softmax_behind(keras.layers.Reshape([3]))
    (found,) = judge(layers, SPARSE(from_logits=True), CLASSES)
    assert found.changes == (("from_logits", False),)
    # Certain and right, and still taken for logits: exp(1) against 1 + 1.
    best = losses.sparse_categorical_crossentropy(
        np.array([0]), np.array([[1.0, 0.0, 0.0]]), from_logits=True
    )
    assert found.evidence["least_loss"] == pytest.approx(float(best[0]))


def test_sigmoid_twice():
    layers = [dense(1, activation="sigmoid"), keras.layers.Reshape([1])]
    (found,) = judge(layers, BCE(from_logits=True), BINARY)
    assert found.changes == (("from_logits", False),)
    best = losses.binary_crossentropy(
        np.ones([1, 1]), np.ones([1, 1]), from_logits=True
    )
    assert found.evidence["least_loss"] == pytest.approx(float(best[0]))


@pytest.mark.parametrize(
    ("units", "loss", "y"),
    [
        (3, SPARSE(), CLASSES),
        (3, "categorical_crossentropy", ONE_HOT),
        (1, "binary_crossentropy", BINARY),
    ],
)
def test_logits_taken_for_probabilities(units, loss, y):
    (found,) = judge([dense(units)], loss, y)
    assert found.name == "output and loss do not fit"
    assert found.changes == (("from_logits", True),)
    assert 0 < found.evidence["share_outside"] < 1


def test_other_activations_where_probabilities_or_logits_belong():
    (found,) = judge([dense(3, activation="tanh")], SPARSE(), CLASSES)
    assert found.changes == ()
    assert "softmax in place of tanh" in found.advice
    (found,) = judge(
        [dense(3, activation="relu")], SPARSE(from_logits=True), CLASSES
    )
    assert "without activation" in found.advice


@pytest.mark.parametrize(
    ("last", "loss"),
    [
        ("softmax", "binary_crossentropy"),
        ("softmax", "mse"),
        (None, "categorical_crossentropy"),
    ],
)
def test_one_unit_has_no_classes(last, loss):
    (found,) = judge([dense(1, activation=last)], loss, BINARY)
    assert found.evidence == {"units": 1}


@pytest.mark.parametrize("activation", ["relu", "sigmoid", "tanh", "softplus"])
def test_targets_that_the_activation_cannot_reach(activation):
    (found,) = judge([dense(1, activation=activation)], "mse", 5 * NUMBERS)
    assert activation in found.text
    low, high = {"tanh": (-1, 1), "sigmoid": (0, 1)}.get(activation, (0, 1e9))
    y = 5.0 * NUMBERS
    least = np.mean((y - np.clip(y, low, high)) ** 2)
    share = found.evidence["unreachable"]
    assert share == pytest.approx(least / y.var(), rel=1e-5)


def test_few_targets_just_beyond_do_not_matter():
    y = np.abs(NUMBERS) - 0.01
    assert judge([dense(1, activation="relu")], "mse", y) == []


def test_targets_of_several_classes_and_beyond_zero_and_one():
    several = np.maximum(ONE_HOT, np.roll(ONE_HOT, 1, 0))
    last = dense(3, activation="softmax")
    (found,) = judge([last], "categorical_crossentropy", several)
    assert "sigmoid" in found.advice
    last = dense(1, activation="sigmoid")
    (found,) = judge([last], "binary_crossentropy", 2 * BINARY - 1)
    assert found.evidence["share_of_targets"] == np.mean(BINARY == 0)


def test_each_output_is_judged_by_its_own_loss():
    inputs = keras.Input([4])
    kind = dense(3, name="kind")(inputs)
    size = dense(1, name="size")(inputs)
    model = gdtrain.Model(inputs, {"kind": kind, "size": size})
    model.compile("sgd", loss={"kind": SPARSE(), "size": "mse"})
    y = {"kind": CLASSES, "size": NUMBERS}
    (found,) = output_and_loss.judge(case_with(model, X, y))
    assert found.text.startswith("Output 'kind': ")


def test_model_of_ones_own_is_known_by_what_it_gives():
    class Model(gdtrain.Model):
        def __init__(self):
            super().__init__()
            self.last = dense(3, activation="softmax")

        def call(self, x):
            return 1.0 * self.last(x)

    model = Model()
    model.compile("sgd", loss=SPARSE(from_logits=True))
    model(X)
    (found,) = output_and_loss.judge(case_with(model, X, CLASSES))
    assert found.changes == (("from_logits", False),)


def test_loss_of_ones_own_says_nothing():
    assert judge([dense(3)], lambda y, p: p**2, ONE_HOT) == []

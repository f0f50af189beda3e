"""Labels that a loss cannot use are refused before a step; others train."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import gdtrain
from gdtrain.mistakes import label_rules
from tests.models import classification_data

X, Y = classification_data()
ONE_HOT = np.eye(3, dtype="float32")[Y]
SPARSE = "sparse_categorical_crossentropy"


def classifier(loss=SPARSE, units=3, base=gdtrain.Sequential, **compiled):
    keras.utils.set_random_seed(0)
    model = base(
        [keras.Input([4]), keras.layers.Dense(units, activation="softmax")]
    )
    model.compile("sgd", loss, **{"jit_compile": False, **compiled})
    return model


def two_outputs(losses, base=gdtrain.Model):
    keras.utils.set_random_seed(0)
    x = keras.Input([4])
    kind = keras.layers.Dense(3, activation="softmax", name="kind")(x)
    size = keras.layers.Dense(1, name="size")(x)
    model = base(x, {"kind": kind, "size": size})
    model.compile("sgd", losses, jit_compile=False)
    return model


def refused(do, *texts):
    """The message of the `ValueError` that `do()` raises."""
    with pytest.raises(ValueError) as caught:
        do()
    message = str(caught.value)
    for text in texts:
        assert text in message, message
    return message


def assert_refused(model, x, y, *texts):
    """`fit` and `evaluate` refuse labels, and the weights stay."""
    before = model.get_weights()
    for method in (model.fit, model.evaluate):
        refused(lambda: method(x, y, verbose=0), *texts)
    assert model.optimizer.iterations.numpy() == 0
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.mostly_long(
    "from 1-True",
    "from 1-False",
    "negative-False",
    "gaps-False",
    "more-False",
    "fractions-False",
    "NaN-False",
)
@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize(
    "labels, texts",
    [
        (Y + 1, ["from 1 to 3", "dtype int64", "(48,)", "`y - 1`"]),
        (Y - 1, ["from -1 to 1", "ignore_class=-1"]),
        (3 * Y, ["from 0 to 6", "3 units or more", "return_inverse"]),
        (np.arange(48) % 5, ["from 0 to 4", "Give the output 5 units."]),
        (Y + 0.5, ["y[0] = ", ".5", "fractions", '"mse"']),
        (
            np.where(np.arange(48) == 7, np.nan, Y),
            ["from 0.0 to 2.0; 1 cannot", "y[7] = nan"],
        ),
    ],
    ids=["from 1", "negative", "gaps", "more", "fractions", "NaN"],
)
def test_labels_that_are_no_class_numbers(labels, texts, jit_compile):
    model = classifier(jit_compile=jit_compile)
    assert_refused(model, X, labels, "whole numbers from 0 to 2", *texts)


def test_labels_of_a_later_fit_are_checked_too():
    model = classifier()
    model.fit(X, Y, verbose=0)
    weights = model.get_weights()
    refused(lambda: model.fit(X, Y + 1, verbose=0), "from 0 to 2")
    np.testing.assert_array_equal(model.get_weights()[0], weights[0])
    model.fit(X, Y, verbose=0)


def test_labels_for_validation_are_checked():
    refused(
        lambda: classifier().fit(X, Y, validation_data=(X, Y + 1), verbose=0),
        "from 1 to 3",
    )


def test_labels_of_one_output_of_several_are_named():
    model = two_outputs({"kind": SPARSE, "size": "mse"})
    refused(
        lambda: model.fit(X, {"kind": Y + 1, "size": X[:, :1]}, verbose=0),
        "output 'kind'",
        "y['kind'] of dtype",
    )


def test_labels_too_large_for_the_device_are_checked(monkeypatch):
    monkeypatch.setattr("gdtrain.data.choice.memory_limit", lambda: 0)
    assert_refused(classifier(), X, Y + 1, "from 1 to 3")


def test_labels_of_a_model_that_builds_itself_are_checked():
    class Network(gdtrain.Model):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(3, activation="softmax")

        def call(self, x):
            return self.dense(x)

    model = Network()
    model.compile("sgd", SPARSE, jit_compile=True)
    refused(lambda: model.fit(X, Y + 1, verbose=0), "from 0 to 2")


def test_only_the_first_of_many_labels_are_looked_at(monkeypatch):
    monkeypatch.setattr(label_rules, "MOST", 40)
    refused(
        lambda: classifier().fit(X, Y + 1, verbose=0),
        "(of the first 40, which were looked at)",
    )


def test_labels_are_looked_at_once_in_a_fit(monkeypatch):
    looks = []
    check = label_rules.ClassNumbers.check

    def counting(self, labels, name):
        looks.append(len(labels))
        check(self, labels, name)

    monkeypatch.setattr(label_rules.ClassNumbers, "check", counting)
    model = classifier()
    for _ in range(2):
        model.fit(X, Y, validation_data=(X[:8], Y[:8]), epochs=3, verbose=0)
    assert looks == [48, 8, 48, 8]


@pytest.mark.parametrize("eager", [False, True])
def test_labels_that_stream_are_explained_when_they_fail(eager):
    data = tf.data.Dataset.from_tensor_slices((X, Y + 1)).batch(8)
    model = classifier(run_eagerly=eager)
    with pytest.raises(tf.errors.InvalidArgumentError) as caught:
        model.fit(data, verbose=0)
    start, rest = str(caught.value).split("\n", 1)
    assert "class number from 0 to below 3" in start
    assert "Received: the label 3" in start
    assert "outside the valid range" in rest  # As TensorFlow says it


def test_labels_are_explained_by_what_measures_too():
    model = classifier()
    for do in (
        lambda: gdtrain.curvature(model, X, Y + 1),
        lambda: gdtrain.landscape(model, X, Y + 1, resolution=3),
    ):
        with pytest.raises(tf.errors.InvalidArgumentError) as caught:
            do()
        assert str(caught.value).startswith("A label must be a class number")


@pytest.mark.mostly_long("str-False", "object-True")
@pytest.mark.parametrize("eager", [False, True])
@pytest.mark.parametrize("kind", ["str", "object"])
def test_labels_of_text(kind, eager):
    text = np.array(["cat", "dog", "cow"])[Y].astype(kind)
    model = classifier(run_eagerly=eager)
    assert_refused(model, X, text, "must be numbers", "Received: text")


@pytest.mark.parametrize(
    "loss, units, labels, texts",
    [
        (SPARSE, 3, ONE_HOT, ["(batch, 3)", "float32", "y.argmax(-1)"]),
        ("categorical_crossentropy", 3, Y, ["(batch,)", "categorical(y, 3)"]),
        ("categorical_crossentropy", 3, Y[:, None], ["(batch, 1)", SPARSE]),
        ("binary_crossentropy", 2, Y % 2, ["(batch, 2)", "1 unit", SPARSE]),
        ("mse", 2, X[:, :3], ["(batch, 3)", "(batch, 2)", "3 units"]),
        ("mse", 1, None, ["needs labels", "Received: none"]),
    ],
)
def test_labels_of_another_shape_than_the_loss_takes(
    loss, units, labels, texts
):
    assert_refused(classifier(loss, units), X, labels, *texts)


@pytest.mark.parametrize("batch_size", [16, 32])  # 32 leaves 16.
def test_class_numbers_for_a_loss_of_many_numbers(batch_size):
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError)) as caught:
        classifier("mse").fit(X, Y, batch_size=batch_size, verbose=0)
    assert "labels of the shape of the output" in str(caught.value)
    assert f'loss="{SPARSE}"' in str(caught.value)


@pytest.mark.parametrize(
    "labels, texts",
    [
        ({"kind": Y, "weight": Y}, ["'kind', 'size'", "'kind', 'weight'"]),
        ([Y], ["2 output(s)", "1 array(s)"]),
    ],
)
def test_labels_for_other_outputs_than_the_model_has(labels, texts):
    model = two_outputs({"kind": SPARSE, "size": "mse"})
    refused(lambda: model.fit(X, labels, verbose=0), *texts)


def test_labels_outside_of_0_to_1_are_told_and_trained():
    for labels, text in ((2 * (Y % 2) - 1, r"\(y \+ 1\) / 2"), (Y, SPARSE)):
        model = classifier("binary_crossentropy", 1)
        with pytest.warns(UserWarning, match=f"from 0 to 1.*{text}"):
            model.fit(X, labels, verbose=0)
        assert model.optimizer.iterations.numpy() == 2


def own_loss(y_true, y_pred):
    return keras.losses.sparse_categorical_crossentropy(y_true - 1, y_pred)


class OwnLoss(keras.losses.SparseCategoricalCrossentropy):
    def call(self, y_true, y_pred):
        return super().call(y_true - 1, y_pred)


class OwnCompileLoss(gdtrain.Sequential):
    def compute_loss(self, x, y, y_pred, *arguments, **named):
        return super().compute_loss(x, y - 1, y_pred, *arguments, **named)


class OwnStep(gdtrain.Sequential):
    def train_step(self, data):
        x, y = data
        return super().train_step((x, y - 1))

    def test_step(self, data):
        x, y = data
        return super().test_step((x, y - 1))


@pytest.mark.mostly_long("subclass", "train_step")
@pytest.mark.parametrize(
    "model",
    [
        lambda: classifier(own_loss),
        lambda: classifier(OwnLoss()),
        lambda: classifier(base=OwnCompileLoss),
        lambda: classifier(base=OwnStep),
    ],
    ids=["function", "subclass", "compute_loss", "train_step"],
)
def test_labels_that_are_changed_before_the_loss_are_the_users(model):
    model = model()
    model.fit(X, Y + 1, verbose=0)
    assert np.isfinite(model.evaluate(X, Y + 1, verbose=0))


WORKS = {
    "whole floats": (SPARSE, 3, Y.astype("float32"), {}),
    "a column": (SPARSE, 3, Y[:, None], {}),
    "small integers": (SPARSE, 3, Y.astype("uint8"), {}),
    "ignored class": (
        keras.losses.SparseCategoricalCrossentropy(ignore_class=-1),
        3,
        np.where(Y == 2, -1, Y),
        {},
    ),
    "a function": (keras.losses.sparse_categorical_crossentropy, 3, Y, {}),
    "weights": (SPARSE, 3, Y, {"sample_weight": np.ones(48)}),
    "class weights": (SPARSE, 3, Y, {"class_weight": {0: 2.0, 1: 1.0}}),
    "one-hot": ("categorical_crossentropy", 3, ONE_HOT, {}),
    "soft": ("categorical_crossentropy", 3, ONE_HOT * 0.8 + 0.1, {}),
    "signed": ("categorical_crossentropy", 3, ONE_HOT * -2.0, {}),
    "booleans": ("binary_crossentropy", 1, Y > 0, {}),
    "a vector": ("mse", 1, X[:, 0], {}),
    "hinge": ("hinge", 1, 2 * (Y % 2) - 1, {}),
    "broadcast": ("mse", 3, X[:, :1], {}),
    "weighted out": (
        "binary_crossentropy",
        1,
        2 * (Y % 2) - 1,
        {"sample_weight": (Y % 2).astype("float32")},
    ),
}


@pytest.mark.mostly_long(
    "ignored class", "weights", "one-hot", "booleans", "a vector"
)
@pytest.mark.filterwarnings("error::UserWarning:gdtrain")
@pytest.mark.parametrize("kind", WORKS)
def test_what_trains_in_keras_trains_to_the_same(kind):
    loss, units, labels, arguments = WORKS[kind]
    losses = [
        classifier(loss, units, base).fit(
            X, labels, shuffle=False, verbose=0, **arguments
        )
        for base in (keras.Sequential, gdtrain.Sequential)
    ]
    np.testing.assert_allclose(
        losses[1].history["loss"], losses[0].history["loss"], rtol=1e-5
    )


def test_labels_per_step_of_a_sequence_train():
    keras.utils.set_random_seed(0)
    model = gdtrain.Sequential(
        [keras.Input([5, 2]), keras.layers.Dense(3, activation="softmax")]
    )
    model.compile("sgd", SPARSE, jit_compile=False)
    x = np.random.default_rng(0).normal(size=(8, 5, 2))
    model.fit(x, np.arange(40).reshape(8, 5) % 3, verbose=0)
    refused(lambda: model.fit(x, np.full([8, 5], 3), verbose=0), "y[0][0] = 3")
    refused(lambda: model.fit(x, np.arange(8) % 3, verbose=0), "(8, 5, 3)")

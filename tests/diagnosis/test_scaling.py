"""Inputs and targets whose scale makes descent slow, and others."""

import keras
import numpy as np
import pytest

import gdtrain
from gdtrain.diagnosis.entering import entering, scale_of
from gdtrain.diagnosis.learned import errors_of, missed_by
from gdtrain.diagnosis.verdicts import inputs_not_scaled, targets_not_scaled
from tests.diagnosis.tasks import case_with, compiled

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(320, 4))
Y = np.tanh(X @ RANDOM.normal(size=(4, 1))) + 0.1 * X[:, :1] ** 2


def trained(x, y, optimizer=None, layers=(), epochs=15):
    """The case of a small net that was trained on data."""
    layers = [
        *layers,
        keras.layers.Dense(16, activation="relu"),
        keras.layers.Dense(1),
    ]
    x, y = x.astype("float32"), y.astype("float32")
    model = compiled(
        layers,
        "mse",
        x.shape[1:],
        optimizer=optimizer or keras.optimizers.SGD(0.03),
    )
    model.fit(x, y, epochs=epochs, verbose=0)
    return case_with(model, x, y)


def names(case):
    found = inputs_not_scaled.judge(case) + targets_not_scaled.judge(case)
    return [one.name for one in found]


ONE_LARGE = X * [1, 1000, 1, 1]
INPUTS, TARGETS = inputs_not_scaled.NAME, targets_not_scaled.NAME


@pytest.mark.parametrize(
    ("x", "y", "expected"),
    [
        (X, Y, []),
        (X + 2, Y, []),
        (3 * X, Y, []),
        (X * [1, 4, 1, 1], Y, []),
        (X, 2 * Y + 3, []),
        (X + 40, Y, [INPUTS]),
        (0.01 * X, Y, [INPUTS]),
        (ONE_LARGE, Y, [INPUTS]),
        (X, Y + 1000, [TARGETS]),
        (X, 1000 * Y, [TARGETS]),
    ],
)
def test_scales_that_matter(x, y, expected):
    assert names(trained(x, y)) == expected


def test_scaled_pixels_and_normalized_inputs_are_fine():
    for layer in (
        keras.layers.Rescaling(0.01, offset=-0.4),
        keras.layers.Normalization(mean=40.0, variance=1.0),
        keras.layers.BatchNormalization(),
    ):
        case = trained(X + 40, Y, layers=[layer], epochs=1)
        assert INPUTS not in names(case), layer


def test_what_trains_well_is_fine_whatever_its_scale():
    labels = RANDOM.integers(0, 3, 300)
    pixels = 255 * (RANDOM.random((3, 12))[labels] > 0.5)
    x = (pixels + RANDOM.normal(0, 20, pixels.shape)).astype("float32")
    model = compiled(
        [
            keras.layers.Dense(16, activation="relu"),
            keras.layers.Dense(3, activation="softmax"),
        ],
        "sparse_categorical_crossentropy",
        [12],
        optimizer=keras.optimizers.Adam(0.003),
    )
    untrained = case_with(model, x, labels)
    assert INPUTS in names(untrained)
    model.fit(x, labels, epochs=20, verbose=0)
    case = case_with(model, x, labels)
    assert case.task.answers[0].errors.explained > 0.9
    assert names(case) == []


def test_verdict_says_what_a_line_would_add():
    (found,) = inputs_not_scaled.judge(trained(X + 40, Y, epochs=2))
    assert [change.kind for change in found.changes] == ["scale_inputs"]
    assert found.evidence["steps"] == pytest.approx(1601, rel=0.1)
    assert found.evidence["gain"] > 0.3
    assert "offset" not in found.text
    assert "40" in found.text
    (found,) = targets_not_scaled.judge(trained(X, Y + 1000, epochs=2))
    assert [change.kind for change in found.changes] == ["scale_targets"]


def test_embeddings_have_no_scale():
    inputs = keras.Input([1], dtype="int32")
    hidden = keras.layers.Flatten()(keras.layers.Embedding(900, 3)(inputs))
    model = gdtrain.Model(inputs, keras.layers.Dense(1)(hidden))
    model.compile("sgd", "mse")
    x = np.arange(600, 900)[:, np.newaxis]
    assert entering(model, x) == []
    assert names(case_with(model, x, Y[:300])) == []


def test_first_layers_are_found_through_those_that_keep_values():
    image = keras.Input([4, 4, 2], name="image")
    age = keras.Input([1], name="age")
    hidden = keras.layers.MaxPooling2D()(image)
    hidden = keras.layers.Conv2D(3, 2, name="conv")(hidden)
    hidden = keras.layers.BatchNormalization()(hidden)
    hidden = keras.layers.Flatten()(hidden)
    hidden = keras.layers.Dense(3, name="second")(hidden)
    known = keras.layers.Dense(3, name="of_age")(age)
    both = keras.layers.Concatenate()([hidden, known])
    model = gdtrain.Model([image, age], keras.layers.Dense(1)(both))
    x = [RANDOM.normal(size=[5, 4, 4, 2]), RANDOM.normal(size=[5, 1]) + 70]
    found = entering(model, [array.astype("float32") for array in x])
    assert [one.layer for one in found] == ["conv", "of_age"]
    assert [one.is_normalized for one in found] == [True, False]
    np.testing.assert_allclose(found[1].values, x[1], rtol=1e-6)
    assert found[0].values.shape == (5 * 4, 2)


def test_scale_has_no_unit():
    found, other = scale_of(X + 7), scale_of(12 * (X + 7))
    assert found.offset == pytest.approx(7, rel=0.1)
    assert other.offset == pytest.approx(found.offset)
    assert other.spread == pytest.approx(found.spread)
    assert other.size == pytest.approx(12 * found.size)


def test_rare_features_are_as_large_as_others():
    rare = np.zeros([500, 8])
    rare[np.arange(500), RANDOM.integers(0, 8, 500)] = 1
    rare[:, 7] = 0
    rare[3, 7] = 1
    found = scale_of(rare)
    assert found.spread == found.size == 1


def test_gain_of_a_line_is_what_least_squares_say():
    y = X[:, :1] + RANDOM.normal(size=(320, 1))
    errors = errors_of("mean_squared_error", y, np.zeros([320, 1]), False)
    with_one = np.column_stack([np.ones(320), X])
    solved = np.linalg.lstsq(with_one, y, rcond=None)[0]
    left = ((y - with_one @ solved) ** 2).sum() * 320 / (320 - 5)
    whole = ((y - y.mean()) ** 2).sum()
    expected = ((y**2).sum() - left) / whole
    assert errors.gain(X) == pytest.approx(expected)
    assert errors.gain(100 * X + 3) == pytest.approx(expected)


def test_no_line_is_said_to_explain_more_than_all():
    y = X[:, :1]
    errors = errors_of("mean_squared_error", y, y - 50, False)
    found = missed_by(errors, X, "a line")
    assert found.gain > 1000  # Predictions are far worse than a constant.
    assert found.text.endswith(
        "explains 0% of the variance of the targets; a line would explain 100%."
    )


@pytest.mark.parametrize("features", [3, 1000])
def test_noise_gains_nothing(features):
    noise, y = RANDOM.normal(size=(320, features)), RANDOM.normal(size=(320, 1))
    errors = errors_of("huber", y, np.full([320, 1], y.mean()), False)
    assert errors.explained == pytest.approx(0)
    assert errors.gain(noise) < 0.05


def test_dropout_and_attention_within_are_no_first_layers():
    inputs = keras.Input([5, 2])
    hidden = keras.layers.Dense(4, name="first")(inputs)
    hidden = keras.layers.MultiHeadAttention(2, 3)(hidden, hidden)
    hidden = keras.layers.Dropout(0.1)(keras.layers.Flatten()(hidden))
    model = gdtrain.Model(inputs, keras.layers.Dense(1)(hidden))
    found = entering(model, RANDOM.normal(size=[6, 5, 2]).astype("float32"))
    assert [one.layer for one in found] == ["first"]


def test_inputs_of_counts_have_a_scale_and_counts_have_none():
    """A feature that varies 1,000 times as far hides what the others say."""
    random = np.random.default_rng(1)
    y = random.poisson(20 * np.exp(X[:, 1:2])).astype("float32")
    x = (X * [1000.0, 1.0, 1.0, 1.0]).astype("float32")
    layer = keras.layers.Dense(1, "exponential", kernel_initializer="zeros")
    model = compiled([layer], "poisson", [4], optimizer=keras.optimizers.SGD())
    found = {}
    for name, slope in (("new", 0.0), ("learned", 1.0)):
        kernel = np.array([[0.0], [slope], [0.0], [0.0]])
        model.set_weights([kernel, np.log([20.0])])
        case = case_with(model, x, y)
        found[name] = [one.name for one in inputs_not_scaled.judge(case)]
        assert targets_not_scaled.judge(case) == []
    assert found == {"new": ["inputs not scaled"], "learned": []}

"""What is known exactly of a model and its data."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import gdtrain
from gdtrain.diagnosis import sample
from gdtrain.diagnosis.task import Task
from tests.diagnosis.test_trial import Batches
from tests.state.test_preserved_model import assert_equal, everything

layers = keras.layers
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=[60, 3]).astype(np.float32)


def model(*last, loss="mse", units=1, optimizer="sgd", first=()):
    made = gdtrain.Sequential(
        [keras.Input([3]), *first, layers.Dense(units), *last]
    )
    made.compile(optimizer, loss=loss)
    return made


LABELS = (X[:, 0] > 0.5).astype(int)
ONE_HOT = np.eye(3, dtype=np.float32)[np.arange(60) % 3 * (X[:, 0] > 0)]
TARGETS = np.stack([X[:, 0] * 4 + 1, X[:, 1]], 1)


@pytest.mark.parametrize(
    "loss, units, last, y",
    [
        ("mse", 2, [], TARGETS),
        ("mae", 1, [], X[:, 0] ** 3),
        ("huber", 1, [], X[:, 0]),
        ("poisson", 1, [layers.Activation("exponential")], np.exp(X[:, 0])),
        ("binary_crossentropy", 1, [layers.Activation("sigmoid")], LABELS),
        (keras.losses.BinaryCrossentropy(True), 1, [], LABELS),
        (
            keras.losses.BinaryCrossentropy(True, label_smoothing=0.2),
            1,
            [],
            LABELS,
        ),
        ("categorical_crossentropy", 3, [layers.Softmax()], ONE_HOT),
        (
            keras.losses.CategoricalCrossentropy(True, label_smoothing=0.1),
            3,
            [],
            ONE_HOT,
        ),
        (
            keras.losses.SparseCategoricalCrossentropy(True),
            4,
            [],
            ONE_HOT.argmax(1),
        ),
    ],
)
def test_the_loss_of_a_constant_is_what_training_a_bias_reaches(
    loss, units, last, y
):
    made = gdtrain.Sequential(
        [
            keras.Input([3]),
            layers.Dense(units, kernel_initializer="zeros"),
            *last,
        ]
    )
    made.layers[0].kernel.trainable = False
    made.compile(keras.optimizers.Adam(0.05), loss)
    found = Task(made, X, y).constant_loss
    made.fit(X, y, batch_size=60, epochs=300, verbose=0)
    reached = made.evaluate(X, y, batch_size=60, verbose=0)
    assert found == pytest.approx(reached, rel=5e-3, abs=1e-3)


def test_a_loss_of_the_users_own_is_unknown():
    made = model(loss=lambda y, p: tf.reduce_mean((y - p) ** 4, -1))
    task = Task(made, X, X[:, 0])
    assert task.constant_loss is None
    assert task.outputs[0].loss is None
    assert task.outputs[0].from_logits is None


def test_sample_weights_count():
    weights = np.repeat([2.0, 0.0], 30)
    y = np.repeat([1.0, 100.0], 30) + X[:, 0]
    task = Task(model(), X, y, sample_weight=weights)
    assert task.constant_loss == pytest.approx(y[:30].var(), rel=1e-3)


class Own(gdtrain.Model):
    """Its output is made by an operation, not by a layer."""

    def __init__(self, last):
        super().__init__()
        self.dense = layers.Dense(3)
        self.last = last

    def call(self, x):
        return self.last(self.dense(x))


@pytest.mark.parametrize(
    "last, activation",
    [
        (tf.identity, "linear"),
        (tf.nn.softmax, "softmax"),
        (tf.nn.sigmoid, "sigmoid"),
        (tf.nn.relu, "relu"),
        (lambda x: tf.reshape(tf.tanh(x), [-1, 3]), "tanh"),
        (tf.sin, None),
    ],
)
def test_the_activation_of_an_output_is_found_in_the_program(last, activation):
    made = Own(last)
    made.compile("sgd", "mse")
    made(X)
    assert Task(made, X, X).outputs[0].activation == activation


@pytest.mark.parametrize("optimizer", ["float32", "mixed_float16"])
def test_the_activation_of_functional_models(optimizer):
    given = keras.Input([3])
    last = layers.Dense(2, activation="sigmoid", dtype=optimizer)(given)
    made = gdtrain.Model(given, layers.Dropout(0.5)(last))
    made.compile("sgd", "mse")
    assert Task(made, X, X[:, :2]).outputs[0].activation == "sigmoid"


def test_the_scale_of_features_and_targets():
    x = X * [1, 100, 1] + [0, 0, 50]
    task = Task(model(), x, TARGETS[:, 0])
    [scale] = task.inputs
    np.testing.assert_allclose(scale.mean, x.mean(0), rtol=1e-5)
    np.testing.assert_allclose(scale.deviation, x.std(0), rtol=1e-5)
    assert scale.share_over(30) == pytest.approx(2 / 3) and scale.matters
    [scale] = task.targets
    assert scale.name == "y" and scale.matters
    assert scale.deviation[0] == pytest.approx(TARGETS[:, 0].std(), rel=1e-5)


def test_scales_that_do_not_matter():
    normalized = model(first=[layers.BatchNormalization()])
    assert not Task(normalized, X, X[:, 0]).inputs[0].matters
    of_classes = model(loss="binary_crossentropy")
    assert not Task(of_classes, X, LABELS).targets[0].matters
    words = gdtrain.Sequential(
        [
            keras.Input([3], dtype="int32"),
            layers.Embedding(100, 2),
            layers.Flatten(),
            layers.Dense(1),
        ]
    )
    words.compile("sgd", "mse")
    numbers = RANDOM.integers(0, 100, [60, 3])
    assert not Task(words, numbers, X[:, 0]).inputs[0].matters


@pytest.mark.parametrize("unit", [1.0, -1e6])
@pytest.mark.parametrize("power", [1, 3])  # Ranks are the same
def test_order_does_not_depend_on_units(unit, power):
    made = model()
    y = np.sort(X[:, 0])
    tasks = Task(made, X, unit * y**power), Task(made, X, unit * X[:, 0])
    assert tasks[0].order.sortedness > 0.9
    assert abs(tasks[1].order.sortedness) < 3 * tasks[1].order.error
    assert tasks[1].order.error == pytest.approx(60**-0.5)


def test_a_dataset_that_begins_with_one_class_only_is_sorted():
    y = np.repeat([0, 1], [6400, 64])
    data = tf.data.Dataset.from_tensor_slices((np.zeros([6464, 3], "f"), y))
    task = Task(model(loss="binary_crossentropy"), data.batch(64))
    assert task.order.sortedness == 1.0
    task = Task(model(loss="binary_crossentropy"), X, np.zeros(60))
    assert task.order.sortedness == 0.0


def test_rates_are_those_measured_else_those_of_the_schedule():
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay(
        [1, 3], [1.0, 0.5, 0.25]
    )
    made = model(optimizer=gdtrain.GradientDescent(schedule))
    made.fit(X, X[:, 0], batch_size=12, verbose=0)
    task = Task(made, X, X[:, 0])
    assert task.learning_rates.tolist() == [1, 1, 0.5, 0.5, 0.25]
    measured = Task(made, X, X[:, 0], learning_rates=[3.0, np.nan, 2.0])
    assert measured.learning_rates.tolist() == [3, 2]


def test_facts_change_nothing():
    made = model(layers.Dropout(0.5), optimizer="adam")
    made.fit(X, X[:, 0], verbose=0)
    before = everything(made)
    task = Task(made, X, X[:, 0])
    for fact in (
        "inputs",
        "targets",
        "order",
        "outputs",
        "constant_loss",
        "learning_rates",
        "regularization",
    ):
        assert getattr(task, fact) is not None
    assert_equal(everything(made), before)


def test_a_model_of_keras_is_refused():
    with pytest.raises(TypeError, match="gdtrain model"):
        Task(keras.Sequential([layers.Dense(1)]), X, X)


@pytest.mark.parametrize(
    "count, steps, size",
    [
        (100, None, 32),
        (100, 4, 32),
        (100, 1, 128),
        (1000, 16, 64),
        (1000, 1000, 1),
        (1000, 10, 100),
    ],
)
def test_the_batch_size_follows_from_the_steps_of_an_epoch(count, steps, size):
    found = sample.take(np.zeros([count, 1]), steps_per_epoch=steps)
    assert found.batch_size == min(size, count)


def test_large_arrays_are_sampled_evenly(monkeypatch):
    monkeypatch.setattr(sample, "MOST_BYTES", 400)
    found = sample.take(np.arange(1000, dtype="f"), batch_size=8)
    assert found.parts[0].numpy().tolist() == list(range(0, 1000, 10))
    assert found.steps_per_epoch == 125 and not found.is_whole


def test_batches_of_the_most_frequent_shape_are_taken():
    lengths = [3, 5, 3, 3, 7]
    batches = [np.full([2, n], n, np.float32) for n in lengths]
    data = tf.data.Dataset.from_generator(
        lambda: iter(batches), output_signature=tf.TensorSpec([2, None])
    )
    found = sample.take(data)
    assert found.parts[0].shape == (6, 3) and not found.is_whole


def test_data_are_as_if_never_read():
    data = tf.data.Dataset.range(40).shuffle(40, seed=1).batch(8)
    untouched = tf.data.Dataset.range(40).shuffle(40, seed=1).batch(8)
    sample.take(data)
    np.testing.assert_array_equal(
        np.concatenate(list(data)), np.concatenate(list(untouched))
    )


def test_a_pydataset_is_read_evenly(monkeypatch):
    monkeypatch.setattr(sample, "MOST_BATCHES", 3)
    x = np.arange(60.0)[:, np.newaxis]
    found = sample.take(Batches(x, x, size=5))
    assert found.parts[0][::5, 0].numpy().tolist() == [0, 20, 40]
    assert found.is_shuffled and found.steps_per_epoch == 12

"""A sweep all at once gives the numbers of one fit after another."""

import keras
import numpy as np
import pytest

import gdtrain
from tests import models

RATES = [0.001, 0.1]


@pytest.fixture(autouse=True)
def blocks_that_grow(monkeypatch):
    """Blocks of 1, 2, 4, ... epochs, however slow the machine is."""
    monkeypatch.setattr("gdtrain.tuning.stacked._BLOCK", 1e9)


def network(*middle, optimizer=None, loss="mse", metrics=None, **compile_with):
    """What makes a 3-4-1 network with some layers in the middle."""

    def build():
        model = gdtrain.Sequential(
            [
                keras.Input([3]),
                keras.layers.Dense(4, activation="tanh"),
                *(layer() for layer in middle),
                keras.layers.Dense(1),
            ]
        )
        made = optimizer() if optimizer else gdtrain.GradientDescent()
        model.compile(made, loss, metrics=metrics, **compile_with)
        return model

    return build


def classifier():
    model = gdtrain.Sequential(
        [
            keras.Input([4]),
            keras.layers.Dense(8, activation="relu"),
            keras.layers.Dense(3),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, metrics=["accuracy"])
    return model


def assert_equal(one, other):
    """Asserts that two sweeps found the same, but for rounding."""
    # Sums of float32 in another order: 1e-7 a step, over tens of steps.
    np.testing.assert_allclose(one.losses, other.losses, rtol=2e-5, atol=1e-7)
    for run in range(len(one.learning_rates)):
        assert list(one.history[run]) == list(other.history[run])
        for name, values in one.history[run].items():
            np.testing.assert_allclose(
                values, other.history[run][name], rtol=2e-5, atol=1e-7
            )
        for weight, wanted in zip(
            one.weights(run), other.weights(run), strict=True
        ):
            np.testing.assert_allclose(weight, wanted, rtol=1e-4, atol=2e-6)


def both_ways(build, x, y, **arguments):
    """Sweeps all at once and one after another."""
    arguments = {"learning_rates": RATES, "verbose": 0} | arguments
    arguments = {"epochs": 3, "batch_size": 8} | arguments
    together, apart = (
        gdtrain.sweep(build, x, y, vectorize=how, **arguments)
        for how in (True, False)
    )
    assert together.vectorized and not apart.vectorized
    assert_equal(together, apart)
    first, *others = (together.weights(run)[0] for run in range(len(RATES)))
    assert all(np.abs(first - other).max() > 1e-3 for other in others)
    return together


OPTIMIZERS = {
    "plain": lambda: gdtrain.GradientDescent(),
    "momentum": lambda: gdtrain.GradientDescent(momentum=0.9),
    "adam": lambda: keras.optimizers.Adam(),
    "each clipped": lambda: keras.optimizers.SGD(clipnorm=0.2),
    "all clipped": lambda: keras.optimizers.SGD(global_clipnorm=0.5),
    "cut": lambda: keras.optimizers.SGD(clipvalue=0.1),
}


def test_momentum_moves_all_runs_as_it_moves_one():
    x, y = models.regression_data()  # 45 examples: 5 in the last batch
    both_ways(network(optimizer=OPTIMIZERS["momentum"]), x, y)


@pytest.mark.long
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers_move_all_runs_as_they_move_one(name):
    x, y = models.regression_data()
    both_ways(network(optimizer=OPTIMIZERS[name]), x, y)


LAYERS = {
    "dropout": lambda: keras.layers.Dropout(0.3),
    "batch normalization": lambda: keras.layers.BatchNormalization(),
    "regularized": lambda: keras.layers.Dense(
        3, kernel_regularizer=keras.regularizers.L2(0.1)
    ),
    "activity": lambda: keras.layers.ActivityRegularization(l2=0.1),
    "seeded": lambda: keras.layers.GaussianNoise(0.1, seed=5),
}


@pytest.mark.long
@pytest.mark.parametrize("name", LAYERS)
def test_layers_do_in_all_runs_what_they_do_in_one(name):
    x, y = models.regression_data()
    both_ways(network(LAYERS[name]), x, y, validation_data=(x[:11], y[:11]))


def test_layers_of_all_kinds_do_in_all_runs_what_they_do_in_one():
    x, y = models.regression_data()
    build = network(*LAYERS.values(), global_clipnorm=0.3)
    both_ways(build, x, y, validation_data=(x[:11], y[:11]))


def test_sample_weights_count_in_all_runs():
    x, y = models.regression_data()
    weights = np.random.default_rng(0).uniform(size=len(x))
    weighted = both_ways(network(), x, y, sample_weight=weights)
    plain = gdtrain.sweep(
        network(), x, y, learning_rates=RATES, batch_size=8, verbose=0
    )
    assert weighted.losses[0, 0] < 0.9 * plain.losses[0, 0]


def test_adam_and_metrics_in_training_and_validation_agree():
    x, y = models.classification_data()
    found = both_ways(
        classifier, x, y, validation_data=(x[:20], y[:20]), epochs=5
    )
    assert list(found.history[0]) == [
        "accuracy",
        "loss",
        "val_accuracy",
        "val_loss",
    ]
    assert found.history[1]["accuracy"][-1] > 0.8


@pytest.mark.long
def test_full_batch_over_many_epochs_agrees():
    x, y = models.regression_data()
    both_ways(network(), x, y, epochs=60, batch_size=len(x))


def test_convolutions_agree_one_after_another_within_the_program():
    x = np.random.default_rng(0).normal(size=[20, 4, 4, 1])

    def build():
        model = gdtrain.Sequential(
            [
                keras.Input([4, 4, 1]),
                keras.layers.Conv2D(2, 3, activation="relu"),
                keras.layers.MaxPool2D(),
                keras.layers.Flatten(),
                keras.layers.Dense(1),
            ]
        )
        model.compile(gdtrain.GradientDescent(), "mse")
        return model

    both_ways(build, x, x[:, 0, 0])


class Odd(keras.layers.Layer):
    """Has a weight that nothing depends on."""

    def build(self, shape):
        self.unused = self.add_weight(shape=[2], initializer="ones")

    def call(self, x):
        return x


def test_gradients_that_are_sparse_or_not_there_agree():
    x = np.random.default_rng(0).integers(0, 5, [20, 2])

    def build():
        model = gdtrain.Sequential(
            [
                keras.Input([2], dtype="int32"),
                keras.layers.Embedding(5, 3),
                Odd(),
                keras.layers.Flatten(),
                keras.layers.Dense(1),
            ]
        )
        model.compile(gdtrain.GradientDescent(), "mse")
        return model

    with pytest.warns(UserWarning, match="does not depend"):
        found = both_ways(build, x, x.sum(1, keepdims=True).astype("float32"))
    assert [w.tolist() for w in found.weights(1) if w.shape == (2,)] == [[1, 1]]


def test_run_is_that_of_a_single_fit_from_the_same_seed():
    x, y = models.regression_data()
    middle = LAYERS["dropout"]
    found = gdtrain.sweep(
        network(middle),
        x,
        y,
        learning_rates=RATES,
        epochs=3,
        verbose=0,
        seed=7,
        batch_size=8,
    )
    for run, rate in enumerate(RATES):
        keras.utils.set_random_seed(7)
        model = network(middle)()
        model.optimizer.learning_rate = rate
        keras.utils.set_random_seed(7)
        history = model.fit(x, y, batch_size=8, epochs=3, verbose=0)
        np.testing.assert_allclose(
            found.history[run]["loss"], history.history["loss"], rtol=2e-5
        )
        assert models.distance(found.weights(run), model.get_weights()) < 1e-4


def test_run_that_overflows_leaves_the_others_alone():
    x, y = models.regression_data()
    arguments = {"epochs": 20, "batch_size": 8, "verbose": 0}
    lost = gdtrain.sweep(
        network(), x, y, learning_rates=[0.03, 1e9], **arguments
    )
    alone = gdtrain.sweep(network(), x, y, learning_rates=[0.03], **arguments)
    assert lost.vectorized and not np.isfinite(lost.losses[1]).all()
    np.testing.assert_allclose(lost.losses[0], alone.losses[0], rtol=2e-5)


def test_line_shrinks_its_error_as_the_closed_form_says():
    """Error of w after n steps: (1 - rate * 2 mean(x^2))^n, in float64."""
    x = np.random.default_rng(0).normal(size=[40, 1])

    def build():
        line = keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")
        model = gdtrain.Sequential([keras.Input([1]), line])
        model.compile(gdtrain.GradientDescent(), "mse")
        return model

    curvature = 2 * np.mean(x**2)
    rates = np.array([0.1, 0.9, 1.9, 2.1]) / curvature
    found = gdtrain.sweep(
        build,
        x,
        3 * x,
        learning_rates=rates,
        epochs=50,
        batch_size=40,
        verbose=0,
    )
    steps = np.arange(50)
    errors = 3 * (1 - rates[:, None] * curvature) ** steps
    wanted = errors**2 * np.mean(x**2)
    np.testing.assert_allclose(found.losses, wanted, rtol=2e-4, atol=1e-10)
    assert found.diverged.tolist() == [False, False, False, True]
    assert found.best == rates[1]

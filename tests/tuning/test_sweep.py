"""A sweep says what it did, and what it cannot do."""

import copy
import logging
import pickle
import random

import keras
import numpy as np
import pytest
import tensorflow as tf

import gdtrain
from gdtrain.callbacks.judged_steps import markdown
from tests import models
from tests.callbacks import reading
from tests.writers.test_summaries import sessions

X = np.linspace(-1, 1, 12, dtype="float32")[:, np.newaxis]
RATES = [0.01, 0.1, 5.0]  # The stable limit is 2 / 2 = 1.


def build(optimizer=None, base=gdtrain.Sequential, **options):
    """A line, one number from one number."""
    model = base([keras.Input([1]), keras.layers.Dense(1)], name="line")
    made = gdtrain.GradientDescent() if optimizer is None else optimizer
    model.compile(made, "mse", **{"run_eagerly": True} | options)
    return model


def sweep(make=build, x=X, y=3 * X, **arguments):
    """A sweep of a line, one after another in eager steps by default."""
    arguments = {"learning_rates": RATES, "verbose": 0} | arguments
    return gdtrain.sweep(make, x, y, **arguments)


def states():
    return (
        random.getstate()[1],
        np.random.get_state()[1].tolist(),
        tf.random.get_global_generator().state.numpy().tolist(),
        keras.random.uniform([3]).numpy().tolist(),
    )


def test_result_says_which_rates_diverged_and_which_is_best():
    found = sweep(epochs=20, batch_size=12)
    assert found.learning_rates.tolist() == RATES
    assert found.losses.shape == (3, 20) and found.losses.dtype == np.float32
    assert found.diverged.tolist() == [False, False, True]
    assert found.best == 0.1
    assert found.final_loss.tolist() == [h["loss"][-1] for h in found.history]
    # A step makes the loss (1 - 2 * 5 * mean(x^2))^2 = 8.6 times larger.
    assert [found.diverged_at(run) for run in range(3)] == [None, None, 2]
    rows = str(found).splitlines()
    assert rows[0].strip() == "learning_rate  first loss  final loss"
    assert rows[2].startswith("          0.1") and rows[2].endswith("best")
    assert rows[3].endswith("diverged from step 2 on")


def test_best_is_none_where_all_diverged():
    found = sweep(learning_rates=[5.0, 6.0], epochs=10)
    assert found.best is None and "best" not in str(found)


def test_validation_decides_which_is_best():
    # The larger rate is the better one on the data, not on those kept back.
    start = sweep(epochs=1).model(0).get_weights()
    w, b = (weight.item() for weight in start)
    kept = (X, w * X + b)
    found = sweep(epochs=5, learning_rates=[1e-4, 0.1], validation_data=kept)
    assert found.best == 1e-4
    assert found.final_loss.tolist() == [
        history["val_loss"][-1] for history in found.history
    ]
    assert "final validation loss" in str(found)


def test_model_of_a_run_predicts_with_its_weights():
    found = sweep(epochs=3)
    model = found.model(1)
    assert models.distance(model.get_weights(), found.weights(1)) == 0
    assert float(model.optimizer.learning_rate) == np.float32(0.1)
    found.weights(1)[0][:] = 0  # A copy
    assert found.weights(1)[0].any()


def test_sweep_can_be_pickled_with_what_builds_the_model_if_possible():
    named = gdtrain.sweep(build, X, X, learning_rates=[0.1], verbose=0)
    again = pickle.loads(pickle.dumps(named))
    assert str(again) == str(named)
    expected = named.model(0).get_weights()
    assert models.distance(again.model(0).get_weights(), expected) == 0
    nameless = gdtrain.sweep(
        lambda: build(), X, X, learning_rates=[0.1], verbose=0
    )
    for again in (pickle.loads(pickle.dumps(nameless)), copy.copy(nameless)):
        assert models.distance(again.weights(0), expected) == 0
        with pytest.raises(RuntimeError, match="sweep.weights"):
            again.model(0)


def test_rates_that_print_alike_have_labels_that_differ():
    found = sweep(learning_rates=[0.1, 0.1 + 1e-9])
    assert found.labels == ["0.1", "0.100000001"]


def test_random_generators_are_as_before_both_ways():
    for options in ({"run_eagerly": True}, {"run_eagerly": False}):
        keras.utils.set_random_seed(5)
        wanted = states()
        keras.utils.set_random_seed(5)
        sweep(lambda options=options: build(**options))
        assert states() == wanted


def test_same_seed_gives_the_same_numbers_and_another_gives_others():
    one, again, other = (sweep(seed=seed, batch_size=5) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.losses, again.losses)
    assert (one.losses != other.losses).all()


class OwnStep(gdtrain.Sequential):
    def train_step(self, data):
        return super().train_step(data)


class OwnTest(gdtrain.Sequential):
    def test_step(self, data):
        return super().test_step(data)


def constrained():
    model = build()
    model.layers[0].kernel.constraint = keras.constraints.NonNeg()
    return model


def excluding():
    optimizer = keras.optimizers.AdamW()
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    return build(optimizer)


NOT_STACKABLE = {
    "a step of its own": lambda: build(base=OwnStep),
    "has a step of its own": lambda: build(base=OwnTest),
    "a constraint": constrained,
    "micro-batches": lambda: build(microbatches=2),
    "run eagerly or by XLA": build,
    "eagerly or by XLA": lambda: build(run_eagerly=False, jit_compile=True),
    "Lamb is not known": lambda: build(
        keras.optimizers.Lamb(), run_eagerly=False
    ),
}


@pytest.mark.parametrize("reason", NOT_STACKABLE)
def test_model_that_cannot_be_stacked_is_refused_with_the_reason(reason):
    with pytest.raises(ValueError, match="that can be vectorized") as told:
        sweep(NOT_STACKABLE[reason], vectorize=True)
    assert reason in str(told.value)


def test_model_with_too_many_weights_is_refused(monkeypatch):
    monkeypatch.setattr("gdtrain.tuning.stacked.MAX_WEIGHTS", 5)
    make = lambda: build(run_eagerly=False)  # noqa: E731
    with pytest.raises(ValueError, match="6 numbers, and at most 5"):
        sweep(make, vectorize=True)


class Noise(keras.layers.Layer):
    """Draws from TensorFlow's state, which Keras does not know."""

    def call(self, x):
        return x + tf.random.normal(tf.shape(x))


class Python(keras.layers.Layer):
    """Cannot be traced."""

    def call(self, x):
        return x * float(tf.reduce_sum(x))


@pytest.mark.parametrize(
    "layer, reason",
    [(Noise, "random numbers of Random"), (Python, "cannot be built before")],
)
def test_step_that_cannot_be_stacked_is_refused(layer, reason):
    def make():
        model = gdtrain.Sequential([layer(), keras.layers.Dense(1)])
        model.compile(gdtrain.GradientDescent(), "mse")
        return model

    with pytest.raises(ValueError, match=reason):
        sweep(make, vectorize=True)


def test_data_that_are_no_arrays_are_trained_one_after_another(caplog):
    data = tf.data.Dataset.from_tensor_slices((X, 3 * X)).batch(4)
    with caplog.at_level(logging.INFO, logger="gdtrain"):
        found = sweep(x=data, y=None, epochs=2)
    assert not found.vectorized and found.losses.shape == (3, 6)
    assert "sweep: 3 learning rates, one after another: the data are" in (
        caplog.text
    )


def test_log_says_that_rates_are_trained_at_once_or_why_not(caplog):
    with caplog.at_level(logging.INFO, logger="gdtrain"):
        assert sweep(lambda: build(run_eagerly=False)).vectorized
        assert not sweep(vectorize=False).vectorized
    first, second = caplog.messages
    assert first == "sweep: 3 learning rates, all at once"
    assert second.endswith("one after another: vectorize=False")


def test_progress_is_shown_both_ways(capsys):
    for eager in (True, False):
        sweep(lambda eager=eager: build(run_eagerly=eager), verbose=1, epochs=4)
        shown = capsys.readouterr().out
        assert "12/12" in shown and "lowest loss" in shown


@pytest.mark.mostly_long("True")
@pytest.mark.parametrize("eager", [True, False])
def test_tensorboard_compares_the_runs(eager, tmp_path):
    found = sweep(
        lambda: build(run_eagerly=eager),
        epochs=3,
        batch_size=5,
        validation_data=(X, 3 * X),
        log_dir=tmp_path,
        hparams={"who": "me"},
    )
    rows = sessions(tmp_path)
    assert sorted(rows) == [f"learning_rate={label}" for label in found.labels]
    for run, label in enumerate(found.labels):
        folder = tmp_path / f"learning_rate={label}"
        told = reading.hyperparameters(folder)
        assert told["learning_rate"] == RATES[run]
        assert (told["batch_size"], told["who"]) == (5, "me")
        ((step, verdict),) = reading.tensors(folder)["diagnosis"]
        assert step == len(found.losses[run])
        expected = markdown(gdtrain.diagnose(folder))
        assert verdict.item().decode() == expected
        curves = reading.curves(folder)
        losses = found.losses[run].tolist()
        assert curves["train/step/loss"] == list(enumerate(losses, 1))
        _, rates = zip(*curves["train/step/learning_rate"], strict=True)
        assert set(rates) == {np.float32(RATES[run])}
        for name, tag in (("loss", "train"), ("val_loss", "validation")):
            wanted = np.float32(found.history[run][name]).tolist()
            assert curves[f"{tag}/epoch_loss"] == list(enumerate(wanted))


@pytest.mark.parametrize(
    "rates, error",
    [
        ([], ValueError),
        ([0.1, 0.1], ValueError),
        ([0.1, 0.0], ValueError),
        ([0.1, np.nan], ValueError),
        (["fast"], TypeError),
    ],
)
def test_rates_that_are_no_different_positive_numbers_are_refused(rates, error):
    with pytest.raises(error, match="`learning_rates` must be"):
        sweep(learning_rates=rates)


@pytest.mark.parametrize(
    "make, error, message",
    [
        (build(), TypeError, "must be a function"),
        (7, TypeError, "must be a function"),
        (lambda: None, TypeError, "must return a keras.Model"),
        (
            lambda: gdtrain.Sequential([keras.Input([1])]),
            ValueError,
            "must return a compiled model",
        ),
        (
            lambda: build(
                keras.optimizers.SGD(
                    keras.optimizers.schedules.CosineDecay(0.1, 10)
                )
            ),
            ValueError,
            "with a schedule",
        ),
    ],
)
def test_build_that_makes_no_model_to_sweep_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        sweep(make)


def test_other_words_for_together_are_refused():
    with pytest.raises(ValueError, match='`vectorize` must be "auto"'):
        sweep(vectorize="maybe")


def test_epochs_are_checked_before_the_first_step():
    with pytest.raises(ValueError, match="`epochs` must be"):
        sweep(epochs=0)


def test_data_that_can_be_had_once_are_refused():
    with pytest.raises(ValueError, match="can be read again"):
        sweep(x=iter([(X, X)]), y=None)


def test_build_that_makes_another_model_each_time_is_refused():
    units = iter([1, 2, 3])

    def make():
        layers = [keras.Input([1]), keras.layers.Dense(next(units))]
        model = gdtrain.Sequential(layers)
        model.compile("sgd", "mse", run_eagerly=True)
        return model

    with pytest.raises(ValueError, match="the same model each time"):
        sweep(make, vectorize=False)

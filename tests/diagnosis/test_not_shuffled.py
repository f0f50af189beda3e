"""Whether the order of examples is seen in the losses of batches."""

import keras
import numpy as np
import pytest

import gdtrain
from gdtrain.diagnosis.verdicts import not_shuffled
from tests.diagnosis.runs import case_of
from tests.diagnosis.tasks import case_with, compiled

EPOCHS, BATCHES = 12, 24


def judge(loss):
    return not_shuffled.judge(
        case_of(loss=loss.ravel(), steps_per_epoch=BATCHES)
    )


def course(seed=0, deviation=0.1):
    """A loss that falls, with the noise of batches, `[epochs, batches]`."""
    random = np.random.default_rng(seed)
    steps = np.arange(EPOCHS * BATCHES).reshape(EPOCHS, BATCHES)
    noise = random.normal(0, deviation, steps.shape)
    return np.exp(-steps / 200) + 0.5 + noise


def blocks():
    """Three classes, one after the other: the loss jumps and falls."""
    return np.tile(2 * np.exp(-np.arange(BATCHES // 3) / 3), 3)


def test_blocks_that_repeat_are_an_order():
    (found,) = judge(course() + blocks())
    assert found.name == "data not shuffled"
    assert [change.kind for change in found.changes] == ["shuffle"]
    assert found.evidence["correlation_of_epochs"] > 0.9


@pytest.mark.parametrize("seed", range(5))
def test_random_orders_are_none(seed):
    assert judge(course(seed)) == []
    assert judge(course(seed, deviation=0.0)) == []


@pytest.mark.parametrize("seed", range(5))
def test_one_random_order_for_all_epochs_does_no_harm(seed):
    random = np.random.default_rng(seed)
    assert judge(course() + random.normal(0, 1, BATCHES)) == []


def test_blocks_in_another_place_each_epoch_are_shuffled():
    random = np.random.default_rng(0)
    places = random.integers(BATCHES, size=EPOCHS)
    shifted = [np.roll(blocks(), place) for place in places]
    assert judge(course() + np.stack(shifted)) == []


def test_small_blocks_do_not_matter():
    assert judge(course(deviation=0.001) + 0.05 * blocks()) == []


def test_adding_to_the_batches_of_few_epochs_says_nothing():
    assert judge((course() + blocks())[:3]) == []


@pytest.mark.parametrize("shuffle", [False, True])
def test_sorted_labels_in_a_real_training(shuffle):
    random = np.random.default_rng(1)
    x = random.normal(size=(640, 6)).astype("float32")
    labels = np.tanh(x @ random.normal(size=(6, 4))).argmax(1)
    order = np.argsort(labels, kind="stable")
    keras.utils.set_random_seed(0)
    model = gdtrain.Sequential(
        [
            keras.Input([6]),
            keras.layers.Dense(32, activation="tanh"),
            keras.layers.Dense(4, activation="softmax"),
        ]
    )
    model.compile(
        gdtrain.GradientDescent(0.1), loss="sparse_categorical_crossentropy"
    )
    telemetry = gdtrain.callbacks.Telemetry()
    model.fit(
        x[order], labels[order], batch_size=16, epochs=8, shuffle=shuffle,
        verbose=0, callbacks=[telemetry],
    )  # fmt: skip
    names = [one.name for one in gdtrain.diagnose(telemetry).verdicts]
    assert (not_shuffled.NAME in names) is not shuffle


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("is_sorted", [False, True])
def test_with_the_data_it_is_known_whether_they_are_sorted(shuffle, is_sorted):
    random = np.random.default_rng(0)
    x = random.normal(size=(320, 3)).astype("float32")
    y = x @ np.ones([3, 1], "float32")
    if is_sorted:
        order = np.argsort(y[:, 0])
        x, y = x[order], y[order]
    model = compiled([keras.layers.Dense(1)], "mse", [3])
    case = case_with(model, x, y, shuffle=shuffle, loss=np.ones(20))
    found = not_shuffled.judge(case)
    assert bool(found) is (is_sorted and not shuffle)
    whole = case_with(model, x, y, shuffle=False, batch_size=320)
    assert not_shuffled.judge(whole) == []

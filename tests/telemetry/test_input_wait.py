"""How long training waits for its data: `input_wait`."""

import csv
import time

import keras
import numpy as np
import pytest
import tensorflow as tf

import gdtrain
from tests import models

SECONDS = 0.05  # That a slow batch takes
SLOW = [1, 4, 8]  # Batches that take so long, of 9
FAST = [n for n in range(9) if n not in SLOW]


def slow_pipeline(is_length_known=True):
    """Nine batches of four examples, of which some are slow to come."""

    def batches():
        x, y = models.regression_data(36)
        for number in range(9):
            time.sleep(SECONDS if number in SLOW else 0)
            yield x[4 * number :][:4], y[4 * number :][:4]

    spec = tf.TensorSpec([4, 3]), tf.TensorSpec([4, 1])
    dataset = tf.data.Dataset.from_generator(batches, output_signature=spec)
    if is_length_known:
        dataset = dataset.apply(tf.data.experimental.assert_cardinality(9))
    options = tf.data.Options()
    options.autotune.enabled = False  # TensorFlow would fetch ahead.
    return dataset.with_options(options)


class SlowBatches(keras.utils.PyDataset):
    """Nine batches of Python, each slow to come."""

    def __len__(self):
        return 9

    def __getitem__(self, index):
        time.sleep(SECONDS)
        x, y = models.regression_data(36)
        return x[4 * index :][:4], y[4 * index :][:4]


def waits(data, callbacks=(), epochs=1, y=None, **compile_arguments):
    """Seconds that each step waited, and the weights after `fit`."""
    model = models.network()
    model.compile("sgd", "mse", **compile_arguments)
    telemetry = gdtrain.callbacks.Telemetry(["input_wait"])
    model.fit(
        data,
        y,
        batch_size=None if y is None else 4,
        epochs=epochs,
        shuffle=False,
        verbose=0,
        callbacks=[telemetry, *callbacks],
    )
    return telemetry["input_wait"], model.get_weights()


HOW = {
    "eager": {"run_eagerly": True},
    "a graph": {"jit_compile": False},
    "XLA": {"jit_compile": True},
    "four steps an execution": {
        "jit_compile": False,
        "steps_per_execution": 4,
    },
}


@pytest.mark.mostly_long(
    "eager-True", "a graph-False", "XLA-True", "four steps an execution-False"
)
@pytest.mark.parametrize("is_length_known", [True, False])
@pytest.mark.parametrize("how", HOW)
def test_wait_is_at_the_step_whose_batch_was_slow(how, is_length_known):
    start = time.perf_counter()
    seconds, _ = waits(slow_pipeline(is_length_known), **HOW[how])
    passed = time.perf_counter() - start
    assert seconds.shape == (9,)
    assert (seconds >= 0).all() and seconds.sum() < passed
    assert (seconds[SLOW] >= SECONDS).all()
    assert np.median(seconds[FAST]) < SECONDS


def test_wait_begins_anew_with_each_epoch():
    seconds, _ = waits(slow_pipeline(), epochs=2)
    assert (seconds.reshape(2, 9)[:, SLOW] >= SECONDS).all()


def test_wait_for_batches_that_python_gives():
    start = time.perf_counter()
    seconds, _ = waits(SlowBatches())
    # Keras asks for the first batch, to see its shape, ahead of training.
    assert 7 * SECONDS < seconds.sum() < time.perf_counter() - start


def test_wait_for_arrays_that_are_gathered_on_the_host(monkeypatch):
    monkeypatch.setattr("gdtrain.data.choice.memory_limit", lambda: 0)
    x, y = models.regression_data(36)
    seconds, _ = waits(x, y=y)
    assert (seconds > 0).all()


@pytest.mark.parametrize("how", ["eager", "a graph"])
def test_arrays_on_the_device_are_not_waited_for(how):
    x, y = models.regression_data(36)
    seconds, _ = waits(x, y=y, **HOW[how])
    assert seconds.tolist() == [0.0] * 9


def test_wait_of_replicas(two_replicas):
    with two_replicas.scope():
        seconds, _ = waits(slow_pipeline())
    assert (seconds >= 0).all() and seconds.sum() > 2 * SECONDS


def test_wait_goes_to_writers_and_changes_no_weight(tmp_path):
    path = tmp_path / "steps.csv"
    writer = gdtrain.callbacks.StepWriter(
        gdtrain.writers.CSVWriter(path), ["loss", "input_wait"]
    )
    seconds, weights = waits(slow_pipeline(), [writer])
    with open(path) as file:
        written = [float(row["input_wait"]) for row in csv.DictReader(file)]
    np.testing.assert_allclose(written, seconds, rtol=1e-6)
    model = models.network()
    model.compile("sgd", "mse")
    model.fit(slow_pipeline(), shuffle=False, verbose=0)
    for one, other in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(one, other)

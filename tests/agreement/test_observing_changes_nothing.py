"""Weights are bit-equal with telemetry and without."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import gdtrain
from tests import models

WAYS = {
    "graph": {"jit_compile": False},
    "xla": {"jit_compile": True},
    "eager": {"run_eagerly": True},
    "steps_per_execution": {"steps_per_execution": 4},
    "microbatches": {"microbatches": 2},
}


def weights_after_training(callbacks, strategy=None, **compile_arguments):
    strategy = strategy or tf.distribute.get_strategy()
    with strategy.scope():
        model = models.network(
            gdtrain.Sequential,
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.2, seed=1),
        )
        model.compile("adam", "mse", **compile_arguments)
    x, y = models.regression_data()
    model.fit(x, y, batch_size=8, epochs=2, verbose=0, callbacks=callbacks)
    return model.get_weights() + [v.numpy() for v in model.optimizer.variables]


def assert_bit_equal(observed, alone):
    for a, b in zip(observed, alone, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("way", WAYS)
def test_telemetry_leaves_weights_bit_equal(way, tmp_path):
    observers = [
        gdtrain.callbacks.Telemetry(),
        gdtrain.callbacks.TensorBoard(tmp_path),
    ]
    observed = weights_after_training(observers, **WAYS[way])
    assert len(observers[0].steps) == 12
    assert_bit_equal(observed, weights_after_training([], **WAYS[way]))


def test_telemetry_leaves_weights_of_two_replicas_bit_equal(two_replicas):
    observed = weights_after_training(
        [gdtrain.callbacks.Telemetry()], two_replicas
    )
    assert_bit_equal(observed, weights_after_training([], two_replicas))

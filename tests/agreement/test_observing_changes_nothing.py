"""Weights, optimizer and metrics are bit-equal with telemetry and without."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

import gdtrain
from gdtrain.telemetry import presets
from tests import models

LAYERS = keras.layers


def dense():
    """Moving averages and dropout; an activation of its own, which TensorFlow
    may fuse with the layer before it.
    """
    return models.network(
        gdtrain.Sequential,
        LAYERS.Dense(5, name="linear"),
        LAYERS.ReLU(name="rectified"),
        LAYERS.BatchNormalization(name="normalization"),
        LAYERS.Dropout(0.2, seed=1),
    )


def plain():
    """What XLA makes the same kernels of, however much is measured."""
    return models.network(gdtrain.Sequential, LAYERS.Dense(5, name="linear"))


def convolutional():
    """What TensorFlow fuses most: Conv2D, BatchNormalization, ReLU."""
    return gdtrain.Sequential(
        [
            keras.Input([3]),
            LAYERS.Dense(25, name="dense"),
            LAYERS.Reshape([5, 5, 1], name="picture"),
            LAYERS.Conv2D(3, 2, name="convolution"),
            LAYERS.BatchNormalization(name="normalization"),
            LAYERS.ReLU(name="rectified"),
            LAYERS.GlobalAveragePooling2D(name="pooling"),
            LAYERS.Dense(1, activation="sigmoid", name="output"),
        ],
        name="convolutional",
    )


def in_half_precision():
    """The dense one, in float16 where Keras thinks that it is enough."""
    keras.config.set_dtype_policy("mixed_float16")
    try:
        return dense()
    finally:
        keras.config.set_dtype_policy("float32")


GRAPH = {"jit_compile": False}
# Network, arguments of `compile`, examples, arguments of `fit`
WAYS = {
    "graph": (dense, GRAPH, 21, {}),
    "xla": (dense, {"jit_compile": True}, 20, {}),
    "xla, plain": (plain, {"jit_compile": True}, 20, {}),
    "eager": (dense, {"run_eagerly": True}, 21, {}),
    "half precision, microbatches, steps_per_execution": (
        in_half_precision,
        GRAPH
        | {
            "microbatches": 2,
            "steps_per_execution": 3,
            "global_clipnorm": 0.1,
        },
        20,
        {},
    ),
    "convolutions, class weights": (
        convolutional,
        GRAPH,
        20,
        {"class_weight": {0: 1.0, 1: 3.0}},
    ),
}
# "full", but so that all of it is measured in few steps, and not always.
FULL = [
    quantity.every(3 if quantity.every_steps > 1 else 1)
    for quantity in presets.resolve("full")
]


def after_training(way, callbacks, strategy=None):
    """All there is to see of a model that was trained, arrays by name."""
    make, arguments, examples, more = WAYS[way]
    strategy = strategy or tf.distribute.get_strategy()
    keras.backend.clear_session(free_memory=False)  # For the same names
    keras.utils.set_random_seed(0)
    with strategy.scope():
        model = make()
        loss = "binary_crossentropy" if more else "mse"
        model.compile("adam", loss, metrics=["mae"], **arguments)
    x, y = models.regression_data(examples)
    history = model.fit(
        x,
        (y > 0).astype(int) if more else y,
        batch_size=5,
        epochs=2,
        verbose=0,
        callbacks=callbacks,
        **more,
    )
    variables = [
        *model.variables,
        *model.optimizer.variables,
        *model.metrics_variables,
    ]
    return {
        **{f"{i} {v.path}": v.numpy() for i, v in enumerate(variables)},
        **{k: np.array(v) for k, v in history.history.items()},
    }


@functools.cache
def alone(way):
    """What is seen after training without telemetry."""
    return after_training(way, [])


def assert_bit_equal(observed, alone):
    assert list(observed) == list(alone)
    for name in alone:
        np.testing.assert_array_equal(observed[name], alone[name], name)


# Standard telemetry is tried with XLA by default.
@pytest.mark.mostly_long("eager", "convolutions, class weights")
@pytest.mark.parametrize("way", WAYS)
def test_full_telemetry_leaves_all_bit_equal(way, tmp_path):
    observers = [
        gdtrain.callbacks.Telemetry(FULL),
        gdtrain.callbacks.TensorBoard(tmp_path, FULL),
    ]
    observed = after_training(way, observers)
    assert len(observers[0].steps) in (8, 10)
    assert_bit_equal(observed, alone(way))


@pytest.mark.mostly_long("xla, plain")
@pytest.mark.parametrize("way", ["graph", "xla", "xla, plain"])
def test_standard_telemetry_leaves_all_bit_equal(way):
    observed = after_training(way, [gdtrain.callbacks.Telemetry()])
    assert_bit_equal(observed, alone(way))


@pytest.mark.long
def test_full_telemetry_leaves_two_replicas_bit_equal(two_replicas):
    observed = after_training(
        "graph", [gdtrain.callbacks.Telemetry(FULL)], two_replicas
    )
    assert_bit_equal(observed, after_training("graph", [], two_replicas))

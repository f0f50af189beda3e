"""What two replicas say of a step is what one says."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import gdtrain
from gdtrain import telemetry as quantities
from gdtrain.telemetry import presets
from tests import models
from tests.telemetry.listening import Listener

FULL = [
    quantity.every(2 if quantity.every_steps > 1 else 1)
    for quantity in presets.resolve("full")
    if not isinstance(quantity, quantities.BlockQuantity)
]
HISTOGRAMS = ("weight_histogram", "gradient_histogram")


def listened(strategy, microbatches=1):
    """What was measured in 10 steps.

    The last one of an epoch has one example, and one of two replicas none.
    """
    keras.utils.set_random_seed(0)
    with strategy.scope():
        model = gdtrain.Sequential(
            [
                keras.Input([3]),
                keras.layers.Dense(5, activation="relu", name="rectified"),
                keras.layers.Dense(1, name="output"),
            ],
            name="network",
        )
        model.compile(
            "adam", "mse", microbatches=microbatches, jit_compile=False
        )
    listener = Listener(FULL)
    x, y = models.regression_data(25)
    model.fit(
        x,
        y + 3,  # Far away, so that the gradient is more than noise
        batch_size=6,
        epochs=2,
        shuffle=False,
        verbose=0,
        callbacks=[listener],
    )
    return listener


@pytest.fixture(scope="module")
def on_two(two_replicas):
    return listened(two_replicas)


def names(listener):
    """Names of what was measured, and those of histograms."""
    columns = {c for table in listener.tables for c in table.layout.columns}
    return (
        {c.name for c in columns if c.width == 1},
        {c.name for c in columns if c.width > 1},
    )


@pytest.mark.mostly_long("2")
@pytest.mark.parametrize("microbatches", [1, 2])
def test_two_replicas_measure_what_one_does(on_two, microbatches):
    """In two micro-batches, one has the parts that two replicas have."""
    on_one = listened(tf.distribute.get_strategy(), microbatches)
    scalars, histograms = names(on_two)
    missing = {"gradient_noise_scale"} if microbatches == 1 else set()
    assert names(on_one) == (scalars - missing, histograms)
    losses = list(on_one.values("loss").values())
    for name in sorted(scalars - missing):
        one, two = on_one.values(name), on_two.values(name)
        assert list(one) == list(two)
        np.testing.assert_allclose(
            list(two.values()),
            list(one.values()),
            rtol=1e-5,
            # For differences: of two losses, or of terms of size 1
            atol=1e-6 * (max(losses) if name == "loss_change" else 1),
            err_msg=name,
        )
    for name in histograms:
        one, two = on_one.histograms(name), on_two.histograms(name)
        assert list(one) == list(two) == [2, 4, 6, 8, 10]
        for step in one:
            # A number at an edge may change bins by its last bit.
            np.testing.assert_allclose(two[step][:2], one[step][:2], rtol=1e-5)
            assert np.abs(two[step][2:] - one[step][2:]).sum() <= 2

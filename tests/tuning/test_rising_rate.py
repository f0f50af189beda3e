"""What a rising rate leaves of momentum, against the optimizers themselves."""

import keras
import numpy as np
import pytest

import gdtrain
from gdtrain.tuning.range_test import constant_share

OPTIMIZERS = {
    "descent": gdtrain.GradientDescent,
    "SGD": keras.optimizers.SGD,
    "RMSprop": lambda rate, **how: keras.optimizers.RMSprop(
        rate, rho=0.0, epsilon=0.0, **how
    ),
}


def last_step(optimizer, rates):
    """How far the last of some steps went, along a gradient of 1."""
    weight = keras.Variable(0.0)
    for rate in rates:
        optimizer.learning_rate = rate
        before = float(weight)
        optimizer.apply([keras.ops.ones([])], [weight])
    return before - float(weight)


@pytest.mark.mostly_long(
    "descent-how1-0.9-1.5",
    "SGD-how3-0.5-1.2",
    "RMSprop-how4-0.9-1.0",
)
@pytest.mark.parametrize("growth", [1.0, 1.2, 1.5])
@pytest.mark.parametrize("momentum", [0.5, 0.9])
@pytest.mark.parametrize(
    "name, how",
    [
        ("descent", {}),
        ("descent", {"nesterov": True}),
        ("SGD", {}),
        ("SGD", {"nesterov": True}),
        ("RMSprop", {}),
    ],
)
def test_constant_rate_moves_as_far(name, how, momentum, growth):
    optimizer = OPTIMIZERS[name](0.0, momentum=momentum, **how)
    share = constant_share(optimizer, growth)
    rising = growth ** np.arange(-99, 1.0)  # To 1; 0.9 ** 100 is 3e-5
    moved = last_step(optimizer, rising)
    constant = OPTIMIZERS[name](0.0, momentum=momentum, **how)
    expected = last_step(constant, np.full(100, share))
    assert moved == pytest.approx(expected, rel=1e-4)
    assert (share == pytest.approx(1.0)) == (growth == 1)


@pytest.mark.parametrize(
    "optimizer",
    [
        gdtrain.GradientDescent(),
        gdtrain.GradientDescent(momentum=1.0),
        keras.optimizers.SGD(),
        keras.optimizers.Adam(),
        keras.optimizers.Lion(),
    ],
    ids=lambda optimizer: optimizer.name,
)
def test_share_is_1_where_nothing_is_added_up(optimizer):
    assert constant_share(optimizer, 1.5) == 1.0

"""Quantities by name, in presets, and of a user's own."""

import numpy as np
import pytest

import gdtrain
from tests import models


class LossSquared(gdtrain.telemetry.Quantity):
    """A quantity of a user's own."""

    name = "loss_squared"

    def measure(self, record):
        return {self.name: record.loss**2}


def test_quantity_of_ones_own_is_measured():
    model = models.network()
    model.compile("sgd", "mse")
    telemetry = gdtrain.callbacks.Telemetry(["loss", LossSquared()])
    x, y = models.regression_data(8)
    model.fit(x, y, batch_size=2, verbose=0, callbacks=[telemetry])
    assert telemetry.names == ["loss", "loss_squared"]
    np.testing.assert_allclose(
        telemetry["loss_squared"], telemetry["loss"] ** 2, rtol=1e-6
    )


def test_each_observer_gets_what_it_asked_for():
    model = models.network()
    model.compile("sgd", "mse")
    few = gdtrain.callbacks.Telemetry(["loss"], every_steps=2)
    all_ = gdtrain.callbacks.Telemetry("minimal")
    x, y = models.regression_data(8)
    model.fit(x, y, batch_size=2, verbose=0, callbacks=[few, all_])
    assert (few.names, few.steps.tolist()) == (["loss"], [2, 4])
    assert all_.names == ["loss", "learning_rate"]
    np.testing.assert_array_equal(few["loss"], all_["loss"][1::2])


def test_two_quantities_of_one_name_are_refused():
    class Other(LossSquared):
        pass

    model = models.network()
    model.compile("sgd", "mse")
    callbacks = [
        gdtrain.callbacks.Telemetry([quantity])
        for quantity in (LossSquared(), Other())
    ]
    x, y = models.regression_data(8)
    with pytest.raises(ValueError, match="share the name 'loss_squared'"):
        model.fit(x, y, verbose=0, callbacks=callbacks)


BAD_QUANTITIES = {
    "unknown preset": ("fast", ValueError, "one of"),
    "name of a quantity outside a list": ("loss", ValueError, r"\['loss'\]"),
    "unknown name": (["speed"], ValueError, "Received: 'speed'"),
    "class instead of object": (
        [gdtrain.telemetry.Loss],
        TypeError,
        r"Write Loss\(\)",
    ),
    "number": (3, TypeError, "Received: quantities=3"),
    "number in a list": ([3], TypeError, "Received: 3"),
    "name twice": (["loss", "loss"], ValueError, "a name each"),
}


@pytest.mark.parametrize("case", BAD_QUANTITIES)
def test_bad_quantities_are_refused(case):
    quantities, error, message = BAD_QUANTITIES[case]
    with pytest.raises(error, match=message):
        gdtrain.callbacks.Telemetry(quantities)

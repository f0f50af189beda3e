"""Training at what is recommended does nearly as well as at the best rate."""

import functools

import keras
import numpy as np
import pytest

import gdtrain
from gdtrain.insight.untouched import untouched
from tests import models

# The share of the fall of the loss at the best rate that is wanted: what a
# tenth of a decade of luck more or less cannot decide
SHARE = 0.85
GRID = np.geomspace(1e-5, 10, 13)  # Two a decade
EPOCHS = 20
BATCH_SIZES = {"line": 200, "network": 20}
OPTIMIZERS = {
    "descent": gdtrain.GradientDescent,
    "momentum": functools.partial(keras.optimizers.SGD, momentum=0.9),
    "Adam": keras.optimizers.Adam,
}


def problem(name):
    """A model that is not compiled, its loss and its data."""
    if name == "line":
        x, y = models.regression_data(200)
        layer = keras.layers.Dense(1, kernel_initializer="zeros")
        return gdtrain.Sequential([keras.Input([3]), layer]), "mse", x, y
    x, y = models.classification_data(400)
    hidden = keras.layers.Dense(16, activation="relu")
    model = gdtrain.Sequential(
        [keras.Input([4]), hidden, keras.layers.Dense(3)]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return model, loss, x, y


def loss_after(model, x, y, rate, batch_size):
    """The loss after some epochs at a rate; infinite if it is not finite."""
    with untouched(model):
        model.optimizer.learning_rate = rate
        model.fit(x, y, batch_size=batch_size, epochs=EPOCHS, verbose=0)
        loss = model.evaluate(x, y, verbose=0)
    return loss if np.isfinite(loss) else np.inf


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("name", BATCH_SIZES)
def test_recommended_rate_does_nearly_as_well_as_the_best(name, optimizer):
    model, loss, x, y = problem(name)
    model.compile(OPTIMIZERS[optimizer](), loss)
    size = BATCH_SIZES[name]
    found = gdtrain.find_learning_rate(
        model, x, y, batch_size=size, verbose=0
    )
    start = model.evaluate(x, y, verbose=0)
    best = min(loss_after(model, x, y, rate, size) for rate in GRID)
    loss = loss_after(model, x, y, found.suggestion, size)
    print(name, optimizer, str(found), start, best, loss, (start-loss)/(start-best))
    assert start - loss > SHARE * (start - best)

"""Training at what is recommended does nearly as well as at the best rate."""

import functools
import itertools

import keras
import numpy as np
import pytest

import gdtrain
from gdtrain.state import variables
from tests import models

SHARE = 0.9  # Of the fall of the loss at the best rate of the grid
GRID = np.geomspace(1e-5, 10, 13)  # Two a decade
EPOCHS = 20
CROSS_ENTROPY = "sparse_categorical_crossentropy"


def line():
    """Full batches; a loss whose best is the noise of the data."""
    x, y = models.regression_data(200)
    y += np.random.default_rng(2).normal(0, 0.1, y.shape)
    layers = [keras.layers.Dense(1, kernel_initializer="zeros")]
    return layers, "mse", {"x": x, "y": y, "batch_size": 200}


def network():
    """Small batches, three classes."""
    x, y = models.classification_data(400)
    layers = [
        keras.layers.Dense(16, activation="relu"),
        keras.layers.Dense(3, activation="softmax"),
    ]
    return layers, CROSS_ENTROPY, {"x": x, "y": y, "batch_size": 20}


def losses_after_training(model, data, rates):
    """The loss after some epochs at each rate, from the same start, `[n]`."""
    some = [v for kind in variables.of(model).values() for v in kind]
    start = [variable.numpy() for variable in some]
    losses = []
    for rate in rates:
        for variable, value in zip(some, start, strict=True):
            variable.assign(value)
        model.optimizer.learning_rate = rate
        model.fit(**data, epochs=EPOCHS, verbose=0)
        losses.append(model.evaluate(**data, verbose=0))
    return np.array(losses)


PROBLEMS = {"line": line, "network": network}
OPTIMIZERS = {
    "descent": gdtrain.GradientDescent,
    "momentum": functools.partial(keras.optimizers.SGD, momentum=0.9),
    "Nesterov's": functools.partial(
        gdtrain.GradientDescent, momentum=0.95, nesterov=True
    ),
    "Adam": keras.optimizers.Adam,
    "RMSprop": functools.partial(keras.optimizers.RMSprop, momentum=0.9),
}
BY_DEFAULT = [
    ("line", "descent", 0),
    ("network", "descent", 0),
    ("network", "momentum", 4),
    ("network", "Adam", 0),
]
OTHERS = [
    case
    for case in itertools.product(
        PROBLEMS, ["descent", "momentum", "Nesterov's"], range(6)
    )
    # Twenty steps on a line are too few for a momentum of 0.95.
    if case not in BY_DEFAULT and case[:2] != ("line", "Nesterov's")
] + [("network", name, seed) for name in ("Adam", "RMSprop") for seed in (1, 2)]


@pytest.mark.mostly_long("line-descent-0", "network-momentum-4")
@pytest.mark.parametrize(
    "problem, optimizer, seed",
    BY_DEFAULT + [pytest.param(*c, marks=pytest.mark.long) for c in OTHERS],
)
def test_recommended_rate_does_nearly_as_well_as_the_best(
    problem, optimizer, seed
):
    keras.utils.set_random_seed(seed)
    layers, loss, data = PROBLEMS[problem]()
    shape = data["x"].shape[1:]
    model = gdtrain.Sequential([keras.Input(shape), *layers])
    model.compile(OPTIMIZERS[optimizer](), loss)
    found = gdtrain.find_learning_rate(model, **data, seed=seed, verbose=0)
    rates = [0.0, found.suggestion, *GRID]
    start, recommended, *grid = losses_after_training(model, data, rates)
    fall = start - np.nanmin(grid)
    assert start - recommended > SHARE * fall
    # Most rates do not: it is no matter of course.
    do_well = sum(start - loss > SHARE * fall for loss in grid)
    assert do_well < len(GRID) / 2

"""The loss at other learning rates, against steps that are really made."""

import logging

import keras
import numpy as np
import pytest

import gdtrain
from gdtrain.curvature.objective import Objective
from gdtrain.curvature.stability_probe import MULTIPLES, WhatIf
from tests import models

OPTIMIZERS = {
    "descent": lambda: gdtrain.GradientDescent(0.05),
    "momentum": lambda: gdtrain.GradientDescent(0.05, 0.9, nesterov=True),
    "adam": lambda: keras.optimizers.Adam(0.01),
    "adamw": lambda: keras.optimizers.AdamW(0.01, weight_decay=0.5),
    "scaled": lambda: keras.optimizers.LossScaleOptimizer(
        keras.optimizers.SGD(0.05)
    ),
    "schedule": lambda: keras.optimizers.SGD(
        keras.optimizers.schedules.ExponentialDecay(0.1, 5, 0.5)
    ),
    "clipped": lambda: keras.optimizers.SGD(0.05, global_clipnorm=0.1),
}
X, Y = models.regression_data()


def trained(optimizer, **how):
    model = models.network()
    model.compile(optimizer, "mse", **how)
    model.fit(X, Y, batch_size=9, epochs=2, verbose=0)
    return model


def losses_of_real_steps(model):
    """At each multiple of one step of `fit` on all examples."""
    before = model.get_weights()
    model.fit(X, Y, batch_size=len(X), epochs=1, verbose=0)
    moves = [a - b for a, b in zip(model.get_weights(), before)]
    found = []
    for multiple in MULTIPLES:
        model.set_weights([b + multiple * m for b, m in zip(before, moves)])
        found.append(model.evaluate(X, Y, batch_size=len(X), verbose=0))
    return found


@pytest.mark.mostly_long("clipped by the model", "scaled")
@pytest.mark.parametrize(
    "name, how",
    [(name, {}) for name in OPTIMIZERS]
    + [("momentum", {"global_clipnorm": 0.2})],
    ids=[*OPTIMIZERS, "clipped by the model"],
)
def test_losses_are_those_of_steps_that_are_really_made(name, how):
    model = trained(OPTIMIZERS[name](), **how)
    what_if = WhatIf(model, Objective(model, X, Y))
    model.fit(X, Y, batch_size=9, epochs=1, verbose=0)  # It reads anew.
    found = what_if.losses()
    np.testing.assert_allclose(found, losses_of_real_steps(model), rtol=2e-5)
    assert np.ptp(found) > 1e-3 * found.min()


@pytest.mark.mostly_long("scaled")
@pytest.mark.parametrize("name", ["momentum", "adam", "scaled"])
def test_nothing_of_the_run_is_touched(name):
    model = trained(OPTIMIZERS[name]())
    before = [
        v.numpy().copy() for v in [*model.variables, *model.optimizer.variables]
    ]
    what_if = WhatIf(model, Objective(model, X, Y))
    what_if.losses()
    after = [v.numpy() for v in [*model.variables, *model.optimizer.variables]]
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, other)


def test_losses_on_a_quadratic_are_those_of_numpy():
    rate, momentum, batches = 0.05, 0.9, [X[:9], X[9:18], X[18:27]]
    model = gdtrain.Sequential(
        [keras.Input([3]), keras.layers.Dense(1, use_bias=False)]
    )
    model.compile(gdtrain.GradientDescent(rate, momentum), "mse")
    w = model.get_weights()[0].astype("float64")
    velocity = np.zeros_like(w)

    def update(x, y):
        gradient = 2 * x.T @ (x @ w - y) / len(x)
        return momentum * velocity - rate * gradient

    for i, x in enumerate(batches):
        y = Y[9 * i : 9 * i + 9]
        model.train_on_batch(x, y)
        velocity = update(x, y)
        w = w + velocity
    move = update(X, Y)
    expected = [
        np.mean((X @ (w + multiple * move) - Y) ** 2) for multiple in MULTIPLES
    ]
    found = WhatIf(model, Objective(model, X, Y)).losses()
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert np.ptp(expected) > 0.1 * np.mean(expected)


def test_best_multiple_of_a_quadratic_is_the_one_that_gets_to_the_bottom():
    for rate, best in ((0.125, 4), (0.25, 2), (0.5, 1), (1.0, 0.5), (0.01, 8)):
        model = gdtrain.Sequential(
            [keras.Input([1]), keras.layers.Dense(1, use_bias=False)]
        )
        model.compile(gdtrain.GradientDescent(rate), "mse")
        x = np.ones([2, 1], "float32")  # Loss (w - 3) ** 2, curvature 2
        model.optimizer.build(model.trainable_variables)
        what_if = WhatIf(model, Objective(model, x, 3 * x))
        assert what_if.best_multiple(what_if.losses()) == best


def test_losses_that_are_not_finite_are_not_the_best():
    losses = np.array([3.0, 2.0, np.nan, 4.0, np.inf, np.nan, np.nan])
    assert WhatIf.best_multiple(losses) == 0.25
    assert np.isnan(WhatIf.best_multiple(np.full(7, np.nan)))


def test_an_optimizer_that_cannot_be_copied_is_told_of(caplog):
    class Own(keras.optimizers.SGD):
        def __init__(self, secret):
            super().__init__(0.1)

    model = trained(Own("secret"))
    with caplog.at_level(logging.WARNING, "gdtrain"):
        what_if = WhatIf(model, Objective(model, X, Y))
    assert "Own cannot be copied" in caplog.text
    assert np.isnan(what_if.losses()).all()


def test_an_optimizer_whose_copy_is_another_is_told_of(caplog):
    class Own(keras.optimizers.SGD):
        def __init__(self, momentum=0.0, **kwargs):
            super().__init__(0.1, momentum=momentum)

        def get_config(self):
            return {}

    model = trained(Own(momentum=0.9))
    with caplog.at_level(logging.WARNING, "gdtrain"):
        what_if = WhatIf(model, Objective(model, X, Y))
    assert "cloning Own from its config gives different" in caplog.text
    assert np.isnan(what_if.losses()).all()


def test_weights_stay_within_their_constraint():
    model = models.network()
    model.layers[0].kernel.constraint = keras.constraints.MaxNorm(0.2)
    model.compile(gdtrain.GradientDescent(0.05), "mse")
    model.fit(X, Y, batch_size=9, verbose=0)
    found = WhatIf(model, Objective(model, X, Y)).losses()
    np.testing.assert_allclose(found, losses_of_real_steps(model), rtol=2e-5)

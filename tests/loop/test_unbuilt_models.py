"""What is made of the weights of a model that its first batch builds."""

import keras
import numpy as np
import pytest

import gdtrain
from tests import models

X, Y = models.regression_data(12)


class Lookahead(keras.optimizers.SGD):
    """Descends, and every second step goes back half of the way."""

    def build(self, variables):
        super().build(variables)
        self.slow = [
            self.add_variable_from_reference(variable, "slow")
            for variable in variables
        ]
        for slow, variable in zip(self.slow, variables, strict=True):
            slow.assign(variable)

    def apply(self, grads, trainable_variables=None):
        super().apply(grads, trainable_variables)
        is_second = keras.ops.equal(self.iterations % 2, 0)
        for slow, fast in zip(self.slow, self._trainable_variables):
            middle = slow + 0.5 * (fast - slow)
            slow.assign(keras.ops.where(is_second, middle, slow))
            fast.assign(keras.ops.where(is_second, middle, fast))


OPTIMIZERS = {
    "schedule free": lambda: keras.optimizers.ScheduleFreeAdamW(0.05),
    "lookahead": lambda: Lookahead(0.05),
    "average": lambda: keras.optimizers.Adam(
        0.05, use_ema=True, ema_momentum=0.5, ema_overwrite_frequency=2
    ),
    "loss scale": lambda: keras.optimizers.LossScaleOptimizer(
        Lookahead(0.05), initial_scale=4.0
    ),
}


def network(optimizer, *first, **arguments):
    keras.utils.set_random_seed(0)
    model = gdtrain.Sequential(
        [*first, keras.layers.Dense(4, "tanh"), keras.layers.Dense(1)]
    )
    model.compile(optimizer, "mse", **{"jit_compile": False, **arguments})
    return model


def fit(model):
    model.fit(X, Y, batch_size=4, shuffle=False, verbose=0)


def step_by_step(model):
    for start in (0, 4, 8):
        batch = slice(start, start + 4)
        model.train_on_batch(X[batch], Y[batch])


@pytest.mark.mostly_long(
    "schedule free-step_by_step", "loss scale-fit", "lookahead-fit"
)
@pytest.mark.parametrize("train", [fit, step_by_step])
@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_optimizer_finds_the_weights_as_they_begin(kind, train):
    results = []
    for first in ([keras.Input([3])], []):
        model = network(OPTIMIZERS[kind](), *first)
        train(model)
        results.append(model.get_weights())
    for built, unbuilt in zip(*results, strict=True):
        np.testing.assert_array_equal(unbuilt, built)


def test_steps_of_such_an_optimizer_are_those_of_eager_ones():
    """In a graph, Keras's begins with zeros in the place of the weights."""
    results = []
    for arguments in ({"run_eagerly": True}, {}):
        model = network(keras.optimizers.ScheduleFreeAdamW(0.05), **arguments)
        fit(model)
        results.append(model.get_weights())
    assert models.distance(*results) < 1e-6


def test_optimizer_that_was_built_for_no_weights_is_built_again():
    results = []
    for empty in (False, True):
        optimizer = OPTIMIZERS["loss scale"]()
        if empty:
            optimizer.build([])
        model = network(optimizer, keras.Input([3]))
        fit(model)
        results.append(model.get_weights())
    for expected, seen in zip(*results, strict=True):
        np.testing.assert_array_equal(seen, expected)

"""Every optimizer that Keras has, step by step against `keras.Model.fit`."""

import keras
import numpy as np
import pytest

import gdtrain
from tests import models

WRAPPERS = {"Optimizer", "LossScaleOptimizer", "MultiOptimizer"}
OPTIMIZERS = {
    name: thing
    for name, thing in vars(keras.optimizers).items()
    if isinstance(thing, type)
    and issubclass(thing, keras.optimizers.Optimizer)
    and name not in WRAPPERS
}
STEPS = 30


class WeightsAfterEachStep(keras.callbacks.Callback):
    """Keeps a copy of the weights after every step."""

    def __init__(self):
        super().__init__()
        self.weights = []

    def on_train_batch_end(self, batch, logs=None):
        self.weights.append(self.model.get_weights())


def train(base, optimizer, **compile_arguments):
    model = models.network(base)
    model.compile(optimizer, "mse", metrics=["mae"], **compile_arguments)
    # Keras 3.15 builds an optimizer within the traced step, where what its
    # `build` assigns is lost: ScheduleFreeAdamW then starts from zeros.
    model.optimizer.build(model.trainable_variables)
    x, y = models.regression_data(STEPS * 4)
    watch = WeightsAfterEachStep()
    history = model.fit(
        x, y, batch_size=4, shuffle=False, verbose=0, callbacks=[watch]
    )
    return watch.weights, history.history


def assert_lockstep(one, other, tolerance):
    assert len(one) == len(other) == STEPS
    for step, (a, b) in enumerate(zip(one, other, strict=True), start=1):
        away = models.distance(a, b)
        assert away <= tolerance, f"diverged at step {step} by {away}"


def test_all_of_keras_optimizers_were_found():
    assert len(OPTIMIZERS) >= 14
    assert {"SGD", "Adam", "AdamW", "RMSprop", "Muon"} <= set(OPTIMIZERS)


@pytest.mark.mostly_long("Lion", "ScheduleFreeAdamW")
@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_optimizer_gives_the_weights_that_keras_fit_gives(name):
    ours, history = train(gdtrain.Sequential, OPTIMIZERS[name]())
    theirs, expected = train(keras.Sequential, OPTIMIZERS[name]())
    # The bound; both run the same kernels in another graph.
    assert_lockstep(ours, theirs, 1e-5)
    assert models.distance(theirs[-1], theirs[0]) > 1e-4, "nothing moved"
    for key, values in expected.items():
        np.testing.assert_allclose(history[key], values, rtol=1e-5)


def test_optimizer_that_assigns_in_its_build_starts_right_by_itself():
    x, y = models.regression_data(4)
    weights = []
    for build_first in (True, False):
        model = models.network()
        model.compile(keras.optimizers.ScheduleFreeAdamW(), "mse")
        if build_first:
            model.optimizer.build(model.trainable_variables)
        model.fit(x, y, verbose=0)
        weights.append(model.get_weights())
    assert models.distance(*weights) < 1e-6


def test_optimizer_made_of_several_keeps_step_with_keras():
    def optimizer():
        adam, descent = keras.optimizers.Adam(0.01), keras.optimizers.SGD(0.1)
        return keras.optimizers.MultiOptimizer(
            keras.optimizers.OptimizerMap(adam, {"network/output/.*": descent})
        )

    ours, _ = train(gdtrain.Sequential, optimizer())
    theirs, _ = train(keras.Sequential, optimizer())
    assert_lockstep(ours, theirs, 1e-5)


SCHEDULE = keras.optimizers.schedules.ExponentialDecay(0.1, 5, 0.8)
VARIANTS = {
    "plain": {},
    "momentum": {"momentum": 0.9},
    "nesterov": {"momentum": 0.9, "nesterov": True},
    "schedule": {"learning_rate": SCHEDULE},
    "weight_decay": {"weight_decay": 0.1},
    "clipnorm": {"clipnorm": 0.1},
    "clipvalue": {"clipvalue": 0.05},
    "global_clipnorm": {"global_clipnorm": 0.1},
    "average": {"use_ema": True, "ema_overwrite_frequency": 7},
    "loss_scale_factor": {"loss_scale_factor": 1024.0},
}


@pytest.fixture(scope="module")
def plain():
    return train(keras.Sequential, keras.optimizers.SGD(0.1))[0]


@pytest.mark.mostly_long("schedule", "global_clipnorm")
@pytest.mark.parametrize("variant", VARIANTS)
def test_gradient_descent_keeps_step_with_keras_sgd(plain, variant):
    arguments = {"learning_rate": 0.1, **VARIANTS[variant]}
    ours, _ = train(gdtrain.Sequential, gdtrain.GradientDescent(**arguments))
    theirs, _ = train(keras.Sequential, keras.optimizers.SGD(**arguments))
    # The same operations in another graph; rounding alone may differ.
    assert_lockstep(ours, theirs, 1e-6)
    if variant not in ("plain", "loss_scale_factor"):
        assert models.distance(theirs[-1], plain[-1]) > 1e-3, "no effect"


def test_compiled_clip_is_the_clip_of_the_keras_optimizer():
    descent = gdtrain.GradientDescent(0.1)
    ours, _ = train(gdtrain.Sequential, descent, global_clipnorm=0.1)
    clipped = keras.optimizers.SGD(0.1, global_clipnorm=0.1)
    theirs, _ = train(keras.Sequential, clipped)
    assert_lockstep(ours, theirs, 1e-5)

"""A block that is looked back at leaves what guarded steps leave."""

import contextlib
from unittest import mock

import keras
import numpy as np
import pytest
import tensorflow as tf

import gdtrain
from gdtrain.block import rollback
from tests.optimizers import OPTIMIZERS as ALL_OPTIMIZERS

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

X = np.random.default_rng(0).normal(size=[48, 3]).astype("float32")
Y = X @ np.array([[1.0], [-2.0], [0.5]], "float32")
BAD = 29  # The example whose label is not a number


def usual_layers():
    return [
        keras.layers.Dense(4, activation="tanh"),
        keras.layers.BatchNormalization(),
        keras.layers.Dropout(0.3),
    ]


def network(layers=usual_layers, optimizer="adam", **compile_arguments):
    keras.backend.clear_session(free_memory=False)
    keras.utils.set_random_seed(1)
    model = gdtrain.Sequential(
        [keras.Input([3]), *layers(), keras.layers.Dense(1)]
    )
    model.compile(optimizer, "mse", metrics=["mae"], **compile_arguments)
    return model


def fit(model, x, y, preset="minimal", **arguments):
    """Trains; returns all that came of it, and how often it was put back."""
    guard = gdtrain.callbacks.NonfiniteGuard(policy="skip")
    telemetry = gdtrain.callbacks.Telemetry(preset, budget=None)
    with mock.patch.object(
        rollback.BlockRollback,
        "revert",
        autospec=True,
        side_effect=rollback.BlockRollback.revert,
    ) as revert:
        history = model.fit(
            x,
            y,
            batch_size=4,
            epochs=3,
            verbose=0,
            callbacks=[guard, telemetry],
            **arguments,
        ).history
    variables = [
        *model.variables,
        *model.optimizer.variables,
        *model.metrics_variables,
    ]
    numbers = {
        name: np.asarray(telemetry[name]).tobytes()
        for name in telemetry.names
        if name not in ("examples_per_second", "device_memory")
    }
    values = [np.asarray(variable).tobytes() for variable in variables]
    return (history, guard.skipped_steps, values, numbers), revert.call_count


def guarded_step_by_step():
    return mock.patch.object(rollback, "can_roll_back", lambda model: False)


WAYS = {
    "graph": {"jit_compile": False},
    "XLA": {"jit_compile": True},
    "micro-batches": {
        "microbatches": 2,
        "global_clipnorm": 0.1,
        "jit_compile": False,
    },
}


@pytest.mark.mostly_long("graph")
@pytest.mark.parametrize("way", WAYS)
def test_it_is_as_if_each_step_had_been_guarded(way):
    y = Y.copy()
    y[BAD] = np.nan
    # All quantities by XLA would take long to compile.
    preset = "standard" if way == "XLA" else "full"
    found, times = fit(network(**WAYS[way]), X, y, preset)
    assert times == 1
    with guarded_step_by_step():
        expected, times = fit(network(**WAYS[way]), X, y, preset)
    assert times == 0
    assert len(found[1]) == 3
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_equal(one, other)


class Root(keras.layers.Layer):
    """Its gradient is not finite at 0."""

    def call(self, x):
        return tf.sqrt(tf.abs(x))


class Checked(Root):
    """It raises at NaN."""

    def call(self, x):
        with tf.control_dependencies([tf.debugging.assert_equal(x, x)]):
            return super().call(x)


OPTIMIZERS = ALL_OPTIMIZERS | {
    "descent": lambda: gdtrain.GradientDescent(0.01),
    "momentum": lambda: gdtrain.GradientDescent(0.01, 0.9, nesterov=True),
    "sgd": lambda: keras.optimizers.SGD(0.01, weight_decay=0.1),
    "adam": lambda: keras.optimizers.Adam(amsgrad=True, use_ema=True),
    "rmsprop": lambda: keras.optimizers.RMSprop(momentum=0.9, centered=True),
}


@pytest.mark.long
@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("place", [0, 11, 22])
def test_what_is_not_finite_stays_so_with_any_optimizer(name, place):
    # In one step alone, whose loss is finite, and which is then long past.
    x = X.copy()
    x[2 * place] = 0

    def layers():
        return keras.layers.Dense(3, use_bias=False), Root()

    def fitted():
        keras.utils.set_random_seed(1)
        model = network(
            layers,
            OPTIMIZERS[name](),
            jit_compile=False,
            steps_per_execution=24,
        )
        guard = gdtrain.callbacks.NonfiniteGuard("skip")
        model.fit(
            x, Y, batch_size=2, verbose=0, shuffle=False, callbacks=[guard]
        )
        variables = *model.variables, *model.optimizer.variables
        return guard.skipped_steps, [np.asarray(v).tobytes() for v in variables]

    found = fitted()
    with guarded_step_by_step():
        assert found == fitted()
    assert found[0] == [1 + place]


def test_what_raises_at_nan_finds_the_weights_whole():
    # The loss of the bad step is finite, but not the gradient; the operation
    # raises in the step after it, if that finds NaN in the weights.
    x = X.copy()
    x[BAD] = 0

    def layers():
        return keras.layers.Dense(3, use_bias=False), Checked()

    found, times = fit(network(layers, jit_compile=False), x, Y)
    assert times == 1 and len(found[1]) == 3
    with guarded_step_by_step():
        expected, _ = fit(network(layers, jit_compile=False), x, Y)
    assert found[:3] == expected[:3]


def test_an_error_of_its_own_is_raised_with_the_weights_before_it():
    class Fails(keras.layers.Layer):
        def call(self, x):
            with tf.control_dependencies(
                [tf.debugging.assert_less(tf.abs(x), 100.0, "too large")]
            ):
                return tf.identity(x)

    x = X.copy()
    x[BAD] = 1000
    outcomes = []
    for scope in (contextlib.nullcontext(), guarded_step_by_step()):
        model = network(lambda: [Fails()], jit_compile=False)
        with scope, pytest.raises(tf.errors.InvalidArgumentError):
            fit(model, x, Y, shuffle=False)
        outcomes.append([w.tobytes() for w in model.get_weights()])
    assert outcomes[0] == outcomes[1]


class Carrying(keras.layers.Layer):
    """It has a large weight that takes no part."""

    def __init__(self):
        super().__init__()
        self.large = self.add_weight(
            initializer=keras.initializers.Constant(1e25)
        )

    def call(self, x):
        return x + 0.0 * self.large


def test_a_square_that_overflows_rolls_nothing_back():
    def layers():
        return [Carrying()]

    (_, skipped, _, _), times = fit(
        network(layers, jit_compile=False), X, Y, "minimal"
    )
    assert (skipped, times) == ([], 0)


init = rollback.BlockRollback.__init__


def test_nothing_is_held_between_blocks():
    model = network(jit_compile=False)
    guard = gdtrain.callbacks.NonfiniteGuard()
    made = []
    with mock.patch.object(
        rollback.BlockRollback,
        "__init__",
        autospec=True,
        side_effect=lambda self, m: (made.append(self), init(self, m))[1],
    ):
        model.fit(X, Y, batch_size=4, verbose=0, callbacks=[guard])
    (one,) = made
    assert one._before == []


class OwnStep(gdtrain.Model):
    """Its step may do what cannot be repeated."""

    def __init__(self):
        super().__init__()
        self.built = True
        self.compile("sgd", "mse")

    def train_step(self, data):
        return {}


def test_what_cannot_be_run_again_is_guarded_step_by_step(two_replicas):
    assert rollback.can_roll_back(network())
    assert not rollback.can_roll_back(network(run_eagerly=True))
    assert not rollback.can_roll_back(OwnStep())
    with two_replicas.scope():
        model = gdtrain.Sequential([keras.Input([3]), keras.layers.Dense(1)])
        model.compile("adam", "mse")
    assert not rollback.can_roll_back(model)

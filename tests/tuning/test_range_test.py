"""The range test makes the very steps that it says."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import gdtrain
from gdtrain.tuning import range_test, suggestions
from tests import models

EIGENVALUES = np.array([4.0, 1.0, 0.25])  # Of the Hessian
START = np.array([1.0, -2.0, 3.0])  # Weights; the minimum is at 0


def quadratic(optimizer=None):
    """A model whose loss is sum(eigenvalues * w ** 2) / 2, and its data."""
    model = gdtrain.Sequential(
        [keras.Input([3]), keras.layers.Dense(1, use_bias=False)]
    )
    model.set_weights([START[:, np.newaxis].astype("float32")])
    model.compile(optimizer or gdtrain.GradientDescent(), loss="mse")
    # The loss is w' X'X w / n.
    x = np.diag(np.sqrt(3 * EIGENVALUES / 2)).astype("float32")
    return model, x, np.zeros([3, 1], "float32")


def run(
    model,
    x,
    y,
    low=1e-3,
    high=10.0,
    steps=100,
    **arguments,
):
    return range_test.run(
        model,
        x,
        y,
        low=low,
        high=high,
        steps=steps,
        **arguments,
    )


def losses_in_closed_form(rates):
    """The loss before each step of plain descent, float64."""
    factors = 1 - rates[:, np.newaxis] * EIGENVALUES
    products = np.cumprod(np.vstack([np.ones(3), factors[:-1]]), 0)
    return (EIGENVALUES / 2 * (START * products) ** 2).sum(1)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_losses_on_a_quadratic_are_those_of_the_closed_form(jit_compile):
    model, x, y = quadratic()
    model.jit_compile = jit_compile
    test = run(model, x, y)
    rates = np.geomspace(1e-3, 10, 100)
    wanted = losses_in_closed_form(rates)
    place = suggestions.blow_up(suggestions.smooth(wanted, 99 / 4))
    assert test.blew_up
    assert len(test.losses) == place + 1  # It stops at that very step.
    np.testing.assert_allclose(
        test.learning_rates, rates[: place + 1], rtol=1e-6
    )
    # Rounding of float32 in up to 90 factors; the largest loss is 50.
    np.testing.assert_allclose(
        test.losses, wanted[: place + 1], rtol=1e-4, atol=1e-6
    )


def test_each_step_takes_the_next_rate_of_a_geometric_sequence():
    model, x, y = quadratic()
    test = run(model, x, y, 1e-6, 1e-2, steps=41)
    assert not test.blew_up
    np.testing.assert_allclose(
        test.learning_rates, 10 ** np.linspace(-6, -2, 41), rtol=1e-6
    )


def test_it_goes_on_from_the_count_of_updates_of_the_optimizer():
    model, x, y = quadratic()
    model.fit(x, y, epochs=7, verbose=0)
    test = run(model, x, y, 1e-6, 1e-2, steps=20)
    assert test.learning_rates[0] == pytest.approx(1e-6)
    assert test.learning_rates[-1] == pytest.approx(1e-2)


def test_loss_that_never_blows_up_is_seen_to_the_last_rate():
    model, x, y = quadratic()
    test = run(model, x, y, high=0.4)  # Stable is all below 2 / 4.
    assert not test.blew_up and len(test.losses) == 100


def test_own_rate_of_the_optimizer_comes_back():
    model, x, y = quadratic(gdtrain.GradientDescent(0.25))
    before = len(model.optimizer.variables)
    run(model, x, y)
    assert isinstance(model.optimizer.learning_rate, keras.Variable)
    assert float(model.optimizer.learning_rate) == 0.25
    assert len(model.optimizer.variables) == before


def test_own_schedule_of_the_optimizer_comes_back():
    schedule = keras.optimizers.schedules.CosineDecay(0.1, 100)
    model, x, y = quadratic(keras.optimizers.SGD(schedule))
    test = run(model, x, y, high=0.4)
    assert test.learning_rates[-1] == pytest.approx(0.4)
    assert model.optimizer._learning_rate is schedule


@pytest.mark.mostly_long("AdamW", "LossScaleOptimizer")
@pytest.mark.parametrize(
    "optimizer",
    [
        keras.optimizers.SGD(momentum=0.9),
        keras.optimizers.Adam(),
        keras.optimizers.RMSprop(),
        keras.optimizers.Lion(),
        keras.optimizers.AdamW(),
        keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam()),
    ],
    ids=lambda optimizer: type(optimizer).__name__,
)
def test_every_optimizer_takes_the_rates(optimizer):
    model, x, y = quadratic(optimizer)
    test = run(model, x, y, 1e-5, 1e-2, steps=12)
    np.testing.assert_allclose(
        test.learning_rates, np.geomspace(1e-5, 1e-2, 12), rtol=1e-6
    )
    assert test.losses[-1] < test.losses[0]


def scaled(initial_scale):
    """Plain descent, with a loss that is scaled up, and its data."""
    inner = gdtrain.GradientDescent()
    return quadratic(keras.optimizers.LossScaleOptimizer(inner, initial_scale))


def test_steps_that_overflow_are_made_again_at_the_same_rate():
    model, x, y = scaled(2.0**127)
    test = run(model, x, y, high=0.4, steps=20)
    left_out = 127 - np.log2(float(model.optimizer.dynamic_scale))
    assert left_out >= 1  # A gradient of 4 times that is infinite.
    assert int(model.optimizer.inner_optimizer.iterations) == 20
    assert model._step_hooks.steps_done == 20 + left_out
    rates = np.geomspace(1e-3, 0.4, 20)
    np.testing.assert_allclose(test.learning_rates, rates, rtol=1e-6)
    np.testing.assert_allclose(
        test.losses, losses_in_closed_form(rates), rtol=1e-4, atol=1e-6
    )


def test_a_model_whose_steps_all_overflow_is_given_up():
    model, x, y = scaled(np.inf)
    test = run(model, x, y, high=0.4, steps=20, batch_size=1)
    assert test.learning_rates.tolist() == [np.float32(1e-3)]
    assert 20 <= model._step_hooks.steps_done <= 20 + 30


def test_losses_are_those_of_a_loop_by_hand():
    """Momentum and Nesterov's look, by Keras's optimizer step by step."""
    make = [
        lambda: keras.optimizers.SGD(momentum=0.9, nesterov=True),
        lambda: gdtrain.GradientDescent(momentum=0.9, nesterov=True),
    ]
    model, x, y = quadratic(make[1]())
    test = run(model, x, y, 1e-3, 0.1, steps=30)
    by_hand, x, y = quadratic(make[0]())
    losses = []
    for rate in test.learning_rates:
        by_hand.optimizer.learning_rate = rate
        losses.append(by_hand.train_on_batch(x, y))
    np.testing.assert_allclose(test.losses, losses, rtol=1e-4)


def test_steps_on_two_replicas_are_those_on_one(two_replicas):
    x, y = models.regression_data(48)
    found = []
    for strategy in (tf.distribute.get_strategy(), two_replicas):
        with strategy.scope():
            model = models.network()
            model.compile(gdtrain.GradientDescent(), loss="mse")
        test = run(model, x, y, 1e-4, 1.0, steps=30, batch_size=16)
        found.append((test.learning_rates, test.losses))
    # Sums of float32 in another order, over some steps
    np.testing.assert_allclose(found[1][0], found[0][0], rtol=1e-6)
    np.testing.assert_allclose(found[1][1], found[0][1], rtol=1e-3)


def test_unknown_length_of_an_epoch_is_no_hindrance():
    model, x, y = quadratic()
    data = tf.data.Dataset.from_tensor_slices((x, y)).batch(1)
    data = data.filter(lambda x, y: True)
    test = run(model, data, None, 1e-6, 1e-3, steps=None)
    assert len(test.losses) == 100


def test_step_that_tells_no_loss_is_refused():
    class Silent(gdtrain.Sequential):
        def train_step(self, data):
            x, y = data
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean((self(x) - y) ** 2)
            self.descend(tape, loss, name="only")
            return {"other": loss}

    model, x, y = quadratic()
    model = Silent(model.layers)
    model.compile("sgd")
    with pytest.raises(ValueError, match="must return its loss.*only/loss"):
        run(model, x, y)


def test_step_by_another_optimizer_is_refused():
    class Other(gdtrain.Sequential):
        def train_step(self, data):
            x, y = data
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean((self(x) - y) ** 2)
            self.descend(tape, loss, optimizer=other)
            return {"loss": loss}

    model, x, y = quadratic()
    model = Other(model.layers)
    model.compile("sgd")
    other = keras.optimizers.SGD(0.123)
    with pytest.raises(ValueError, match="compiled optimizer must.*0.123"):
        run(model, x, y)


def test_model_without_one_optimizer_is_refused():
    model, x, y = quadratic()
    model.optimizer = None
    with pytest.raises(ValueError, match="compiled with one optimizer"):
        run(model, x, y)

"""Schedules against NumPy in float64, Keras, and their own saved form."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

import gdtrain
from gdtrain.schedules import OneCycle, WarmUp

STEPS = [0, 1, 2, 3, 6, 7, 8, 9, 15, 16, 17, 18, 19, 20, 21, 1000]
CosineDecay = keras.optimizers.schedules.CosineDecay


def rates(schedule, steps=STEPS):
    return np.array([float(schedule(tf.constant(s))) for s in steps])


def one_cycle_twin(steps, peak, length, start, last, tail):
    """The four corners, joined by lines."""
    half = length * (1 - tail) / 2
    return np.interp(
        steps, [0, half, 2 * half, length], [start, peak, start, last]
    )


@pytest.mark.parametrize("length, tail", [(20, 0.1), (17, 0.3), (1000, 0.0)])
def test_one_cycle_is_three_lines(length, tail):
    schedule = OneCycle(
        0.8,
        length,
        initial_learning_rate=0.02,
        final_learning_rate=1e-5,
        tail_fraction=tail,
    )
    steps = [s for s in STEPS if tail or s < length]
    twin = one_cycle_twin(steps, 0.8, length, 0.02, 1e-5, tail)
    # Float32, times what a step of 1 / 8 of the way up amplifies
    np.testing.assert_allclose(rates(schedule, steps), twin, rtol=2e-5)


def test_one_cycle_ends_at_its_last_rate_exactly():
    schedule = OneCycle(1.0, 30, final_learning_rate=1e-9)
    assert float(schedule(30)) == float(schedule(10**6)) == np.float32(1e-9)


def test_one_cycle_without_a_tail_returns_to_its_start():
    assert float(OneCycle(1.0, 30, tail_fraction=0)(29)) == pytest.approx(0.16)


@pytest.mark.parametrize("start", [0.0, 0.03])
def test_warm_up_is_a_line_and_then_a_number(start):
    twin = np.interp(STEPS, [0, 9], [start, 0.3])
    np.testing.assert_allclose(rates(WarmUp(0.3, 9, start)), twin, rtol=1e-6)


def test_warm_up_before_a_cosine_is_what_keras_does():
    ours = WarmUp(CosineDecay(0.3, 12, alpha=0.1), 7)
    theirs = CosineDecay(0.0, 12, alpha=0.1, warmup_target=0.3, warmup_steps=7)
    np.testing.assert_allclose(rates(ours), rates(theirs), rtol=1e-6)
    assert rates(ours)[7] < 0.3  # Beyond the warm-up, it does fall


@pytest.mark.parametrize(
    "schedule",
    [
        WarmUp(0.3, 9, 0.1),
        WarmUp(CosineDecay(0.3, 12), 7),
        WarmUp(OneCycle(0.3, 12), 3),
        OneCycle(0.5, 10, final_learning_rate=1e-3),
    ],
    ids=["number", "keras", "ours", "cycle"],
)
def test_schedule_comes_back_from_an_optimizer_that_was_saved(schedule):
    optimizer = gdtrain.GradientDescent(schedule)
    config = keras.optimizers.serialize(optimizer)
    again = keras.optimizers.deserialize(config)
    assert again.get_config() == optimizer.get_config()
    np.testing.assert_array_equal(
        rates(
            keras.optimizers.schedules.deserialize(
                keras.optimizers.schedules.serialize(schedule)
            )
        ),
        rates(schedule),
    )


def test_schedule_gives_the_same_in_a_graph_and_by_xla():
    schedule = WarmUp(OneCycle(0.3, 12), 3)
    for xla in (False, True):
        compiled = tf.function(schedule, jit_compile=xla)
        # XLA may join a product and a sum: one rounding less.
        np.testing.assert_allclose(rates(compiled), rates(schedule), rtol=1e-6)


@pytest.mark.parametrize(
    "make, error, words",
    [
        (lambda: WarmUp("x", 3), TypeError, "`learning_rate` must be a number"),
        (
            lambda: WarmUp(-1.0, 3),
            ValueError,
            "`learning_rate` must be a finite",
        ),
        (
            lambda: WarmUp(0.1, 0),
            ValueError,
            "`warmup_steps` must be a positive",
        ),
        (
            lambda: WarmUp(0.1, 3, -0.1),
            ValueError,
            "`initial_learning_rate` must be",
        ),
        (
            lambda: WarmUp(0.1, 3, math.inf),
            ValueError,
            "`initial_learning_rate` must be",
        ),
        (
            lambda: WarmUp(0.1, 3, math.nan),
            ValueError,
            "`initial_learning_rate` must be",
        ),
        (lambda: OneCycle(0, 3), ValueError, "`max_learning_rate` must be"),
        (lambda: OneCycle(1, 3.5), TypeError, "`total_steps` must be"),
        (
            lambda: OneCycle(1, 3, initial_learning_rate=0),
            ValueError,
            "`initial_learning_rate` must be",
        ),
        (
            lambda: OneCycle(1, 3, final_learning_rate=-1),
            ValueError,
            "`final_learning_rate` must be",
        ),
        (
            lambda: OneCycle(1, 3, tail_fraction=1),
            ValueError,
            "`tail_fraction` must be",
        ),
    ],
)
def test_arguments_that_cannot_be_used_are_refused(make, error, words):
    with pytest.raises(error, match=words):
        make()

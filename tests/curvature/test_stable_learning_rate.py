"""Limits of optimizers, against what optimizers do on a quadratic."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

import gdtrain
from gdtrain.curvature import hessian
from gdtrain.curvature.stable_learning_rate import limit_of

adam, adamw = keras.optimizers.Adam, keras.optimizers.AdamW
rmsprop, sgd = keras.optimizers.RMSprop, keras.optimizers.SGD
#: Lets averages of squared gradients move by nothing in a test.
FROZEN = 1 - 1e-7
HESSIAN = np.array([[3.0, 1.0, 0.2], [1.0, 2.0, -0.3], [0.2, -0.3, 0.5]])


def sharpness_of(hessian, divided_by):
    """The largest eigenvalue of P**-0.5 H P**-0.5."""
    shrink = 1 / np.sqrt(divided_by)
    return np.linalg.eigvalsh(shrink[:, None] * hessian * shrink)[-1]


def hold(optimizer, weight, divided_by):
    """Lets the preconditioner of an optimizer be `divided_by` from now on."""
    optimizer.build([weight])
    # So many updates that nothing is left of the start of averages.
    optimizer.iterations.assign(10**15)
    if hasattr(optimizer, "_velocities"):
        squares = np.broadcast_to(
            (divided_by - optimizer.epsilon) ** 2, weight.shape
        )
        optimizer._velocities[0].assign(squares)
        if getattr(optimizer, "amsgrad", False):
            optimizer._velocity_hats[0].assign(squares)


def path_of(optimizer, weight, gradient_of, steps):
    """Values of the weight after each step of the real optimizer."""
    path = []
    for _ in range(steps):
        optimizer.apply([tf.constant(gradient_of(weight.numpy()))], [weight])
        path.append(weight.numpy())
    return np.array(path)


def path_by_hand(w, gradient_of, steps, *, rate, keep, share, nesterov):
    """The same in NumPy; `keep` is of the velocity, `share` of the gradient.

    The gradient is already divided by P.
    """
    velocity, path = 0 * w, []
    for _ in range(steps):
        gradient = share * gradient_of(w)
        velocity = keep * velocity + gradient
        move = keep * velocity + gradient if nesterov else velocity
        w = w - rate * move
        path.append(w)
    return np.array(path)


OPTIMIZERS = {
    "plain": (lambda: gdtrain.GradientDescent(), 0, 1),
    "keras plain": (lambda: sgd(), 0, 1),
    "heavy ball": (lambda: gdtrain.GradientDescent(momentum=0.5), 0.5, 1),
    "keras heavy ball": (lambda: sgd(momentum=0.9), 0.9, 1),
    "nesterov": (
        lambda: gdtrain.GradientDescent(momentum=0.9, nesterov=True),
        0.9,
        1,
    ),
    "keras nesterov": (lambda: sgd(momentum=0.5, nesterov=True), 0.5, 1),
    "adam": (lambda: adam(beta_2=FROZEN), 0.9, 0.1),
    "adam of beta_1 0.5": (lambda: adam(beta_1=0.5, beta_2=FROZEN), 0.5, 0.5),
    "adam, amsgrad": (lambda: adam(beta_2=FROZEN, amsgrad=True), 0.9, 0.1),
    "adamw": (lambda: adamw(beta_2=FROZEN, weight_decay=0.0), 0.9, 0.1),
    "rmsprop": (lambda: rmsprop(rho=FROZEN), 0, 1),
    "rmsprop with momentum": (
        lambda: rmsprop(rho=FROZEN, momentum=0.7),
        0.7,
        1,
    ),
}


@pytest.mark.mostly_long(
    "keras heavy ball",
    "nesterov",
    "adamw",
    "rmsprop with momentum",
)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_descent_converges_just_below_the_limit_and_diverges_above(name):
    make, keep, share = OPTIMIZERS[name]
    optimizer, start = make(), np.full([2, 3], 1e-9)
    limit = limit_of(optimizer)
    adapts = limit.is_preconditioned
    divided_by = np.array([0.5, 2.0, 1.0]) if adapts else np.ones(3)
    weight = keras.Variable(start, dtype="float64")
    hold(optimizer, weight, divided_by)
    rate = limit.learning_rate(sharpness_of(HESSIAN, divided_by))
    optimizer.learning_rate.assign(rate)

    # Two problems in one weight: curvature 2% below the limit, and 2% above.
    def gradient_of(w):
        return np.array([[0.98], [1.02]]) * (w @ HESSIAN)

    path = path_of(optimizer, weight, gradient_of, 100)
    by_hand = path_by_hand(
        start,
        lambda w: gradient_of(w) / divided_by,
        100,
        rate=float(optimizer.learning_rate),
        keep=keep,
        share=share,
        nesterov=getattr(optimizer, "nesterov", False),
    )
    # Keras rounds beta_1 to float32, and P moves a little; both add up.
    np.testing.assert_allclose(path[:20], by_hand[:20], rtol=1e-3, atol=1e-12)
    for found in (path, by_hand):
        below, above = np.linalg.norm(found[-1] / 1e-9, axis=-1)
        assert below < 0.1 and above > 10
    if adapts:
        (held,) = hessian.preconditioner_of(optimizer, [weight])
        np.testing.assert_allclose(held[0], divided_by, rtol=1e-4)


def test_small_batches_have_a_limit_of_their_own():
    # Random directions, of which each step sees one: almost pure noise.
    size, momentum, curvature = 50, 0.5, 4.0
    optimizer = gdtrain.GradientDescent(momentum=momentum)
    limit = limit_of(optimizer, minibatch_noise=True)
    assert limit.product == 2 * (1 - momentum)
    optimizer.learning_rate.assign(limit.learning_rate(curvature))
    random = np.random.default_rng(0)
    # 8 runs 20% below the limit, and 8 runs 20% above it.
    scale = np.repeat([0.8, 1.2], 8)[:, None] * curvature
    weight = keras.Variable(np.ones([16, size]), dtype="float64")
    for _ in range(1000):
        x = random.normal(size=[16, size])
        x /= np.linalg.norm(x, axis=1, keepdims=True)
        along = np.sum(x * weight.numpy(), axis=1, keepdims=True)
        optimizer.apply([tf.constant(scale * along * x)], [weight])
    ends = np.linalg.norm(weight.numpy(), axis=1) / size**0.5
    assert np.all(ends[:8] < 0.5) and np.all(ends[8:] > 2)


@pytest.mark.parametrize(
    "optimizer, minibatch_noise, product, words",
    [
        (sgd(), False, 2, "2 / sharpness, for SGD"),
        (sgd(nesterov=True), True, 2, "2 / sharpness, for SGD"),
        (
            sgd(momentum=0.9),
            False,
            3.8,
            "2 (1 + momentum) / sharpness, for SGD with momentum=0.9",
        ),
        (
            gdtrain.GradientDescent(momentum=0.9),
            True,
            0.2,
            "2 (1 - momentum) / sharpness, for GradientDescent with "
            "momentum=0.9, small batches",
        ),
        (
            sgd(momentum=0.5, nesterov=True),
            False,
            1.5,
            "2 (1 + momentum) / (1 + 2 momentum) / sharpness, for SGD with "
            "momentum=0.5, nesterov",
        ),
        (
            keras.optimizers.LossScaleOptimizer(adam()),
            False,
            38,
            "2 (1 + beta_1) / (1 - beta_1) / preconditioned sharpness, for "
            "Adam",
        ),
        (rmsprop(), False, 2, "2 / preconditioned sharpness, for RMSprop"),
        (
            rmsprop(momentum=0.5),
            False,
            3,
            "2 (1 + momentum) / preconditioned sharpness, for RMSprop",
        ),
    ],
)
def test_limit_says_what_it_is_made_from(
    optimizer, minibatch_noise, product, words
):
    limit = limit_of(optimizer, minibatch_noise)
    assert limit.product == pytest.approx(product)
    assert limit.words == words


class Halved(sgd):
    """Not what `SGD` does, and called the same by `isinstance`."""


@pytest.mark.parametrize(
    "optimizer, minibatch_noise, words",
    [
        (None, False, "the model has no optimizer"),
        (Halved(), False, "the limit of Halved is not known"),
        (keras.optimizers.Lion(), False, "the limit of Lion is not known"),
        (keras.optimizers.Nadam(), False, "the limit of Nadam is not known"),
        (
            keras.optimizers.Adagrad(),
            False,
            "the limit of Adagrad is not known",
        ),
        (
            rmsprop(centered=True),
            False,
            "the limit of centered RMSprop is not known",
        ),
        (adam(), True, "the limit of Adam with small batches is not known"),
        (
            sgd(momentum=0.9, nesterov=True),
            True,
            "the limit of Nesterov's momentum with small batches is not known",
        ),
    ],
)
def test_what_is_not_known_is_said(optimizer, minibatch_noise, words):
    limit = limit_of(optimizer, minibatch_noise)
    assert limit.product is None and limit.words == words
    assert limit.learning_rate(1.0) is None


def test_loss_that_does_not_curve_upwards_limits_nothing():
    limit = limit_of(sgd())
    assert limit.learning_rate(0.5) == 4
    assert limit.learning_rate(0.0) == limit.learning_rate(-1.0) == math.inf
    assert limit.learning_rate(math.nan) is None

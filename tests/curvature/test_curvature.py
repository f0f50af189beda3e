"""Curvature of models, against closed forms and full Hessians."""

import logging
import math

import keras
import numpy as np
import pytest
import tensorflow as tf

import gdtrain
from tests.benchmarks import curvature_memory
from tests.curvature import models

layers = keras.layers


def hessian_of(model, x, y, divided_by=None):
    """The full Hessian as TensorFlow finds it, row by row, in float64.

    Or P**-0.5 H P**-0.5, with P a list of arrays.
    """
    weights = [weight.value for weight in model.trainable_variables]
    x, y = tf.nest.map_structure(tf.convert_to_tensor, (x, y))
    with tf.GradientTape(persistent=True) as outer:
        with tf.GradientTape() as tape:
            loss = model.compute_loss(x, y, model(x, training=False))
        gradient = tf.concat(
            [tf.reshape(g, [-1]) for g in tape.gradient(loss, weights)], 0
        )
    rows = [
        tf.reshape(block, [len(gradient), -1]).numpy().astype("float64")
        for block in outer.jacobian(gradient, weights)
    ]
    hessian = np.concatenate(rows, 1)
    if divided_by is not None:
        shrink = np.concatenate([1 / np.sqrt(p).ravel() for p in divided_by])
        hessian = shrink[:, None] * hessian * shrink
    return (hessian + hessian.T) / 2


def test_line_has_the_eigenvalues_of_its_design():
    model, x, y = models.line()
    found = gdtrain.curvature(model, x, y, num_eigenvalues=2)
    exact = models.sharpness_of_line(x)
    np.testing.assert_allclose(found.eigenvalues, exact, rtol=1e-5)
    assert found.eigenvalues.dtype == np.float64
    assert found.sharpness == found.eigenvalues[0]
    assert found.stable_learning_rate == pytest.approx(2 / exact[0], rel=1e-5)
    assert found.limit == "2 / sharpness, for GradientDescent"
    assert found.products == 2  # Of a matrix of 2 rows
    design = np.column_stack([x, np.ones(100)])
    images = found.vectors @ (2 * design.T @ design / 100)
    np.testing.assert_allclose(
        images, exact[:, None] * found.vectors, rtol=1e-4
    )


@pytest.mark.parametrize("share", [0.98, 1.02])
@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_fit_converges_below_the_stable_learning_rate_alone(share, momentum):
    optimizer = gdtrain.GradientDescent(momentum=momentum)
    model, x, y = models.line(optimizer)
    stable = gdtrain.curvature(model, x, y).stable_learning_rate
    optimizer.learning_rate.assign(share * stable)
    history = model.fit(x, y, batch_size=100, epochs=150, verbose=0).history
    growth = history["loss"][-1] / history["loss"][0]
    assert growth < 0.01 if share < 1 else growth > 100


def test_sample_weights_weigh_the_curvature():
    model, x, y = models.line()
    weights = np.random.default_rng(0).random(100).astype("float32")
    found = gdtrain.curvature(model, x, y, sample_weight=weights)
    design = np.column_stack([x, np.ones(100)])
    exact = 2 * design.T * weights @ design / 100
    assert found.sharpness == pytest.approx(
        np.linalg.eigvalsh(exact)[-1], rel=1e-5
    )


def test_some_examples_of_arrays_or_a_dataset_can_be_looked_at():
    model, x, y = models.line()
    found = gdtrain.curvature(model, x, y, examples=10)
    exact = models.sharpness_of_line(x[::10])[0]
    assert found.sharpness == pytest.approx(exact, rel=1e-5)
    dataset = tf.data.Dataset.from_tensor_slices((x, y)).batch(8)
    found = gdtrain.curvature(model, dataset.repeat(), examples=10)
    exact = models.sharpness_of_line(x[:10])[0]
    assert found.sharpness == pytest.approx(exact, rel=1e-5)


@pytest.mark.mostly_long("double-1e-10", "several-1e-05")
@pytest.mark.parametrize(
    "make, precision",
    [(models.smooth, 1e-5), (models.double, 1e-10), (models.several, 1e-5)],
)
def test_network_has_the_eigenvalues_of_its_full_hessian(make, precision):
    model, x, y = make()
    model.fit(x, y, epochs=3, verbose=0)
    exact = np.linalg.eigvalsh(hessian_of(model, x, y))[::-1]
    assert exact[-1] < 0  # No minimum: some directions curve downwards.
    found = gdtrain.curvature(
        model, x, y, num_eigenvalues=4, batch_size=7, tolerance=1e-6
    )
    np.testing.assert_allclose(
        found.eigenvalues, exact[:4], rtol=0, atol=precision * exact[0]
    )


def test_few_products_have_an_error_bound_that_holds():
    model, x, y = models.smooth()
    exact = np.linalg.eigvalsh(hessian_of(model, x, y))
    for most in (1, 2, 4):
        found = gdtrain.curvature(model, x, y, max_products=most)
        assert found.products == most
        (bound,) = found.error_bounds
        assert np.min(np.abs(exact - found.sharpness)) <= bound
        assert found.sharpness <= exact[-1] * (1 + 1e-6)
        assert bound > 1e-3 * found.sharpness  # It was stopped early.


def test_more_eigenvalues_than_weights_are_as_many_as_weights():
    model, x, y = models.line()
    found = gdtrain.curvature(model, x, y, num_eigenvalues=5)
    assert len(found.eigenvalues) == len(found.error_bounds) == 2


@pytest.mark.mostly_long("adam")
@pytest.mark.parametrize("name", ["adam", "rmsprop"])
def test_adaptive_optimizers_divide_the_hessian(name):
    model, x, y = models.smooth(name)
    model.fit(x, y, epochs=5, batch_size=10, verbose=0)
    optimizer = model.optimizer
    squares = [v.numpy().astype("float64") for v in optimizer._velocities]
    if name == "adam":  # 10 updates
        factor = (1 - 0.9**10) / np.sqrt(1 - 0.999**10)
        divided_by = [factor * (np.sqrt(v) + 1e-7) for v in squares]
        product = 38
    else:
        divided_by = [np.sqrt(v + 1e-7) for v in squares]
        product = 2
    hessian = hessian_of(model, x, y, divided_by)
    exact = np.linalg.eigvalsh(hessian)[-1]
    found = gdtrain.curvature(model, x, y)
    assert found.preconditioned_sharpness == pytest.approx(exact, rel=1e-5)
    assert found.stable_learning_rate == pytest.approx(
        product / exact, rel=1e-5
    )
    plain = np.linalg.eigvalsh(hessian_of(model, x, y))[-1]
    assert found.sharpness == pytest.approx(plain, rel=1e-5)
    assert f", preconditioned {exact:.3g}: learning rates up" in str(found)


@pytest.mark.parametrize(
    "optimizer, minibatch_noise, words",
    [
        ("adam", False, "preconditioner is not known before the first step"),
        ("lion", False, "the limit of Lion is not known"),
        ("adam", True, "the limit of Adam with small batches is not known"),
    ],
)
def test_stable_learning_rate_that_is_not_known_is_said(
    optimizer, minibatch_noise, words
):
    model, x, y = models.line(optimizer)
    found = gdtrain.curvature(model, x, y, minibatch_noise=minibatch_noise)
    assert found.stable_learning_rate is None
    assert found.preconditioned_sharpness is None
    assert found.limit.endswith(words) and str(found).endswith(words)


def test_small_batches_have_the_smaller_limit():
    model, x, y = models.line(gdtrain.GradientDescent(momentum=0.9))
    found = gdtrain.curvature(model, x, y, minibatch_noise=True)
    assert found.stable_learning_rate == pytest.approx(
        0.2 / found.sharpness, rel=1e-6
    )


def test_it_prints_as_a_sentence():
    model, x, y = models.line()
    exact = models.sharpness_of_line(x)[0]
    assert str(gdtrain.curvature(model, x, y)) == (
        f"sharpness {exact:.3g} (error at most 3e-05, 2 products): learning "
        f"rates up to {2 / exact:.3g} are stable for GradientDescent"
    )


def test_loss_that_curves_downwards_limits_no_learning_rate():
    class Hill(gdtrain.Sequential):
        def compute_loss(self, x, y, y_pred, sample_weight=None):
            return -tf.reduce_mean(y_pred**2)

    model = Hill([keras.Input([1]), layers.Dense(1, use_bias=False)])
    model.compile("sgd")
    found = gdtrain.curvature(model, np.full([2, 1], 2.0))
    assert found.sharpness == pytest.approx(-8)
    assert found.stable_learning_rate == math.inf
    assert str(found).endswith("it limits no learning rate")


def test_start_that_is_near_takes_fewer_products():
    model, x, y = models.smooth()
    cold = gdtrain.curvature(model, x, y, tolerance=1e-4)
    model.set_weights([1.001 * w for w in model.get_weights()])
    again = gdtrain.curvature(model, x, y, tolerance=1e-4)
    warm = gdtrain.curvature(model, x, y, tolerance=1e-4, warm_start=cold)
    assert warm.products < again.products
    assert warm.sharpness == pytest.approx(again.sharpness, rel=1e-6)


def test_mode_of_dropout_and_batch_normalization_is_the_one_asked_for():
    model, x, y = models.convolutional()
    at_rest, trained, again = (
        gdtrain.curvature(model, x, y, training=training).sharpness
        for training in (False, True, True)
    )
    assert trained == again
    assert abs(trained - at_rest) > 0.1 * at_rest


def test_nothing_of_the_model_changes():
    model, x, y = models.convolutional()
    model.fit(x, y, batch_size=4, verbose=0)
    before = models.everything(model)
    gdtrain.curvature(model, x, y, training=True, max_products=2)
    assert models.everything(model) == before


def test_several_models_are_not_taken_for_one_that_is_traced_again(caplog):
    logger = logging.getLogger("tensorflow")
    logger.addHandler(caplog.handler)
    x = np.ones([2, 1], "float32")
    for _ in range(6):  # TensorFlow warns at the fifth.
        model = gdtrain.Sequential([keras.Input([1]), keras.layers.Dense(1)])
        model.compile(loss="mse")
        gdtrain.curvature(model, x, x)
    logger.removeHandler(caplog.handler)
    assert "retracing" not in caplog.text


def test_run_goes_on_as_if_it_had_not_been_looked_at():
    results = []
    for looks in (False, True):
        keras.utils.set_random_seed(1)
        model, x, y = models.convolutional()
        model.fit(x, y, batch_size=4, verbose=0)
        if looks:
            gdtrain.curvature(model, x, y, training=True, max_products=2)
        history = model.fit(x, y, batch_size=4, verbose=0).history
        results.append((history, [w.tobytes() for w in model.get_weights()]))
    assert results[0] == results[1]


def test_mixed_precision_has_the_curvature_of_float32():
    found = []
    for policy in ("float32", "mixed_float16"):
        keras.utils.set_random_seed(0)
        inputs = keras.Input([3])
        hidden = layers.Dense(4, "tanh", dtype=policy)(inputs)
        model = gdtrain.Model(inputs, layers.Dense(1, dtype=policy)(hidden))
        model.compile("sgd", "mse")
        x, y = models.numbers(20, 3), models.numbers(20, 1, seed=1)
        found.append(gdtrain.curvature(model, x, y).sharpness)
    assert found[1] == pytest.approx(found[0], rel=1e-6)


def test_model_on_replicas_has_the_curvature_of_one(two_replicas):
    found = []
    for scope in (tf.distribute.get_strategy(), two_replicas):
        keras.utils.set_random_seed(0)
        with scope.scope():
            model, x, y = models.smooth("adam")
        model.fit(x, y, batch_size=20, epochs=2, verbose=0)
        found.append(gdtrain.curvature(model, x, y))
    one, two = found
    assert two.sharpness == pytest.approx(one.sharpness, rel=1e-5)
    assert two.preconditioned_sharpness == pytest.approx(
        one.preconditioned_sharpness, rel=1e-4
    )


def test_arguments_that_cannot_be_used_are_refused():
    model, x, y = models.line()
    for arguments, error, words in [
        (
            {"num_eigenvalues": 0},
            ValueError,
            "`num_eigenvalues` must be a positive integer",
        ),
        ({"max_products": 0}, ValueError, "`max_products` must be a pos"),
        (
            {"num_eigenvalues": 3, "max_products": 2},
            ValueError,
            "`max_products` must be at least `num_eigenvalues`. Received: "
            "max_products=2, num_eigenvalues=3. Write for example "
            "max_products=100.",
        ),
        ({"tolerance": 0}, ValueError, "`tolerance` must be a finite number"),
        ({"warm_start": 1.0}, TypeError, "`warm_start` must be a `Curvature`"),
    ]:
        with pytest.raises(error, match=words):
            gdtrain.curvature(model, x, y, **arguments)
    other, *data = models.smooth()
    start = gdtrain.curvature(other, *data, max_products=1)
    with pytest.raises(ValueError, match="of 2 weights, as this one.*of 21"):
        gdtrain.curvature(model, x, y, warm_start=start)


def test_loss_that_is_not_finite_is_said():
    model, x, y = models.line()
    with pytest.raises(FloatingPointError, match="Hessian of a loss, look"):
        gdtrain.curvature(model, np.full_like(x, np.nan), y)


@pytest.mark.long
def test_a_million_weights_take_the_memory_of_so_many_vectors():
    # 35 for the search; the rest is for gradients of 256 examples.
    grown, products, *_ = curvature_memory.measured(top=5, examples=4096)
    assert products > 20
    assert grown < 60 * curvature_memory.VECTOR_MEGABYTES

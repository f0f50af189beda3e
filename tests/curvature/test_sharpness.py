"""Sharpness as it is followed, against the whole Hessian."""

import keras
import numpy as np
import pytest

import gdtrain
from gdtrain.curvature import hessian, lanczos
from gdtrain.curvature.objective import Objective
from gdtrain.curvature.stability_probe import Sharpness
from tests import models


def whole_hessian(objective):
    """All of it, a column at a time, float64 `[n, n]`."""
    shapes = [w.shape for w in objective.weights]
    sizes = [s.num_elements() for s in shapes]
    rows = []
    for one in np.eye(sum(sizes), dtype="float32"):
        parts = np.split(one, np.cumsum(sizes)[:-1])
        vectors = [p.reshape(s) for p, s in zip(parts, shapes)]
        product = objective.hessian_vector_product(vectors)
        rows.append(np.concatenate([p.numpy().ravel() for p in product]))
    return np.array(rows, "float64")


def network(optimizer="sgd", epochs=2, **how):
    model = models.network()
    model.compile(optimizer, "mse", **how)
    x, y = models.regression_data()
    model.fit(x, y, batch_size=8, epochs=epochs, verbose=0)
    return model, Objective(model, x, y)


def test_first_update_finds_the_largest_eigenvalue():
    _, objective = network()
    value, bound = Sharpness(objective).update(40, tolerance=1e-3)
    largest = np.linalg.eigvalsh(whole_hessian(objective))[-1]
    assert value == pytest.approx(largest, rel=1e-5)
    assert 0 <= bound <= 1e-3 * value


def test_two_products_follow_weights_that_move_little():
    model, objective = network()
    sharpness = Sharpness(objective)
    sharpness.update(40)
    x, y = models.regression_data()
    for _ in range(5):
        model.fit(x, y, batch_size=8, epochs=1, verbose=0)
        value, _ = sharpness.update(2)
        largest = np.linalg.eigvalsh(whole_hessian(objective))[-1]
        assert value == pytest.approx(largest, rel=0.01)


def test_error_bound_holds_with_few_products():
    _, objective = network()
    eigenvalues = np.linalg.eigvalsh(whole_hessian(objective))
    value, bound = Sharpness(objective).update(2, tolerance=1e-9)
    assert bound > 0.01 * eigenvalues[-1]  # It is far from done.
    assert np.abs(eigenvalues - value).min() <= bound
    assert value <= eigenvalues[-1]


@pytest.mark.mostly_long("LossScaleOptimizer")
@pytest.mark.parametrize(
    "optimizer",
    [
        keras.optimizers.Adam(0.01),
        keras.optimizers.RMSprop(0.01),
        keras.optimizers.LossScaleOptimizer(keras.optimizers.AdamW(0.01)),
    ],
    ids=lambda optimizer: type(optimizer).__name__,
)
def test_preconditioned_sharpness_is_that_of_the_divided_hessian(optimizer):
    optimizer = keras.optimizers.deserialize(
        keras.optimizers.serialize(optimizer)
    )
    model, objective = network(optimizer)

    def divided_by():
        return hessian.preconditioner_of(optimizer, objective.weights)

    value, _ = Sharpness(objective, divided_by).update(60)
    divisor = np.concatenate([p.numpy().ravel() for p in divided_by()])
    whole = whole_hessian(objective) / np.sqrt(np.outer(divisor, divisor))
    assert value == pytest.approx(np.linalg.eigvalsh(whole)[-1], rel=1e-4)
    before = value
    x, y = models.regression_data()
    model.fit(x, y, batch_size=8, epochs=3, verbose=0)
    value, _ = Sharpness(objective, divided_by).update(60)
    divisor = np.concatenate([p.numpy().ravel() for p in divided_by()])
    whole = whole_hessian(objective) / np.sqrt(np.outer(divisor, divisor))
    assert value == pytest.approx(np.linalg.eigvalsh(whole)[-1], rel=1e-4)
    assert abs(value / before - 1) > 0.01  # It reads them anew.


def test_preconditioner_is_not_known_before_the_first_update():
    model = models.network()
    model.compile("adam", "mse")
    model.optimizer.build(model.trainable_variables)
    objective = Objective(model, *models.regression_data())
    sharpness = Sharpness(
        objective,
        lambda: hessian.preconditioner_of(model.optimizer, objective.weights),
    )
    assert np.isnan(sharpness.update()).all()
    model.fit(*models.regression_data(), verbose=0)
    assert np.isfinite(sharpness.update()).all()


def test_weights_that_are_not_finite_give_nan_and_it_goes_on_afterwards():
    model, objective = network()
    sharpness = Sharpness(objective)
    before, _ = sharpness.update(40)
    weights = model.get_weights()
    model.set_weights([np.full_like(w, np.nan) for w in weights])
    assert np.isnan(sharpness.update()).all()
    assert sharpness.vector is None
    model.set_weights(weights)
    assert sharpness.update(40)[0] == pytest.approx(before, rel=1e-5)


def test_state_makes_another_go_on_exactly():
    model, objective = network()
    one, other = Sharpness(objective), Sharpness(objective)
    one.update(10)
    other.vector = one.vector
    assert one.update(2) == other.update(2)
    assert one.update(2) != Sharpness(objective).update(2)


def test_a_single_weight_is_the_second_derivative():
    model = gdtrain.Sequential(
        [keras.Input([1]), keras.layers.Dense(1, use_bias=False)]
    )
    model.compile("sgd", "mse")
    x = np.array([[1.0], [3.0]], "float32")
    value, bound = Sharpness(Objective(model, x, x)).update(5)
    assert (value, bound) == (pytest.approx(10.0), pytest.approx(0, abs=1e-5))


@pytest.mark.parametrize("scale", [1.0, -1.0, 0.0])
def test_equal_eigenvalues_leave_nothing_new_to_multiply(scale):
    found = lanczos.largest(
        lambda v: scale * v, np.array([1.0, 2.0, 2.0]), max_products=3
    )
    assert found.values[0] == pytest.approx(scale, abs=1e-6)
    assert found.residuals[0] == pytest.approx(0, abs=1e-6)
    assert np.linalg.norm(found.vectors[0]) == pytest.approx(1, rel=1e-5)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_few_products_give_the_best_of_their_krylov_space(count):
    random = np.random.default_rng(count)
    matrix = random.normal(size=[9, 9])
    matrix += matrix.T
    start = random.normal(size=9)
    space = np.stack(
        [np.linalg.matrix_power(matrix, k) @ start for k in range(count)], 1
    )
    basis, _ = np.linalg.qr(space)
    expected = np.linalg.eigvalsh(basis.T @ matrix @ basis)[-1]
    found = lanczos.largest(matrix.dot, start, max_products=count)
    value, bound, vector = found.values[0], found.residuals[0], found.vectors[0]
    assert value == pytest.approx(expected, rel=1e-9)
    residual = matrix @ vector - expected * vector
    assert bound == pytest.approx(np.linalg.norm(residual), rel=1e-6)

"""The loss over a plane of weights is what it is at those weights."""

import keras
import numpy as np
import pytest

import gdtrain
from gdtrain.tuning import weight_space
from gdtrain.tuning.weight_space import LossSurvey
from tests import models
from tests.curvature.models import convolutional, line, smooth
from tests.state.test_preserved_model import assert_equal, everything, network

EAGER = {"run_eagerly": True}


def put(model, point):
    """Gives a model the weights that are in one vector."""
    start = 0
    for weight in model.trainable_variables:
        size = int(np.prod(weight.shape))
        weight.assign(np.reshape(point[start : start + size], weight.shape))
        start += size
    assert start == len(point)


def eager_smooth():
    """A small network with regularisation, and its data."""
    model, x, y = smooth()
    model.compile("sgd", "mse", run_eagerly=True)
    return model, x, y


def random_path(size, count=6, seed=3):
    return np.random.default_rng(seed).normal(0, 0.3, [count, size])


def test_losses_of_a_line_are_those_of_the_closed_form():
    model, x, y = line()
    found = gdtrain.landscape(model, x, y, x_range=(-1, 2), y_range=(0, 0.5))
    assert found.losses.shape == (31, 31)
    w, b = np.meshgrid(np.linspace(-1, 2, 31), np.linspace(0, 0.5, 31))
    x, y = x.ravel().astype("float64"), y.ravel().astype("float64")
    wanted = np.mean((w[..., None] * x + b[..., None] - y) ** 2, axis=-1)
    # Squares of float32 near their least, which is 3e-5
    np.testing.assert_allclose(found.losses, wanted, rtol=1e-5, atol=1e-9)
    assert found.names == ("dense/kernel", "dense/bias")
    assert found.project([[0.25, -3.0]]).tolist() == [[0.25, -3.0]]


@pytest.mark.parametrize("training", [False, True])
def test_model_is_untouched_bit_for_bit(training):
    model = network()
    x, y = models.regression_data()
    model.fit(x, y, batch_size=20, verbose=0)
    before = everything(model)
    gdtrain.landscape(
        model, x, y, resolution=3, training=training, batch_size=20
    )
    assert_equal(everything(model), before)


def test_directions_have_the_length_of_the_weights_in_each_filter():
    model, _, _ = convolutional()
    variables = model.trainable_variables
    values = [variable.numpy() for variable in variables]
    values[0][..., 1] = 0  # A filter of no length
    found = weight_space.filter_normalized(variables, values, seed=0)
    assert np.abs(found.vectors[0] - found.vectors[1]).max() > 0.1
    for vector in found.vectors:
        start = 0
        for value in values:
            part = vector[start : start + value.size].reshape(value.shape)
            start += value.size
            if value.ndim < 2:
                assert not part.any()
                continue
            axes = tuple(range(value.ndim - 1))
            np.testing.assert_allclose(
                np.linalg.norm(part.reshape(-1, value.shape[-1]), axis=0),
                np.sqrt((value.astype("float64") ** 2).sum(axes)),
                rtol=1e-12,
            )
        assert start == len(vector)


@pytest.mark.parametrize("eager", [False, True])
def test_slice_of_a_network_is_its_loss_at_those_weights(eager):
    model, x, y = smooth()
    model.compile("sgd", "mse", run_eagerly=eager)
    found = gdtrain.landscape(model, x, y, resolution=3, batch_size=7)
    assert found.x.tolist() == found.y.tolist() == [-1, 0, 1]
    for up in range(3):
        for across in range(3):
            steps = found.x[across], found.y[up]
            put(model, found.center + steps @ found.vectors)
            wanted = model.evaluate(x, y, verbose=0)
            assert found.losses[up, across] == pytest.approx(wanted, rel=1e-5)


def test_same_seed_gives_the_same_slice_and_another_another():
    model, x, y = eager_smooth()
    one, again, other = (
        gdtrain.landscape(model, x, y, resolution=2, seed=seed)
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one.losses, again.losses)
    assert (one.losses != other.losses).all()


def test_path_in_a_plane_is_projected_exactly():
    model, x, y = eager_smooth()
    plane, places = random_path(21, 3), random_path(2, 8)
    path = plane[0] + places @ plane[1:]
    found = gdtrain.landscape(model, x, y, path=path, resolution=2)
    back = found.center + found.paths[""] @ found.vectors
    np.testing.assert_allclose(back, path, rtol=0, atol=1e-12)
    gram = found.vectors @ found.vectors.T
    np.testing.assert_allclose(gram, np.eye(2), atol=1e-12)
    assert "principal direction 1" in found.names[0]
    # The center is where the loss of the path is least.
    losses = LossSurvey(model, x, y).at(path)
    np.testing.assert_array_equal(found.center, path[np.argmin(losses)])


def test_principal_directions_are_those_of_largest_variance():
    generator = np.random.default_rng(0)
    points = generator.normal(size=[200, 4]) * [0.1, 3.0, 0.01, 1.0]
    found = weight_space.principal(points, np.zeros(4), seed=0)
    values, vectors = np.linalg.eigh(points.T @ points)
    for place in (1, 2):
        along = abs(found.vectors[place - 1] @ vectors[:, -place])
        assert along == pytest.approx(1, abs=1e-9)
        share = values[-place] / values.sum()
        assert f"{share:.1%} of the path" in found.names[place - 1]


@pytest.mark.parametrize("count, known", [(1, 0), (2, 1), (5, 1)])
def test_missing_principal_directions_are_random_at_right_angles(count, known):
    points = np.outer(np.arange(count), [1.0, 2.0, 2.0])
    found = weight_space.principal(points, points[0], seed=0)
    assert [n.split()[0] for n in found.names] == (
        ["principal"] * known + ["random"] * (2 - known)
    )
    gram = found.vectors @ found.vectors.T
    np.testing.assert_allclose(gram, np.eye(2), atol=1e-12)


def test_nearest_place_is_found_along_directions_at_any_angle():
    model, x, y = eager_smooth()
    path = random_path(21)
    found = gdtrain.landscape(
        model, x, y, path=path, directions="random", resolution=2
    )
    away = (path - found.center).T
    wanted, *_ = np.linalg.lstsq(found.vectors.T, away, rcond=None)
    np.testing.assert_allclose(found.paths[""], wanted.T, rtol=1e-9)
    assert found.x.tolist() == [-1, 1]


def test_view_holds_paths_but_not_where_they_are_lost():
    model, x, y = line()
    good = [[0.0, 0.0], [0.3, 0.2]]
    lost = [[0.0, 0.0], [-0.1, 0.0], [50.0, 9.0], [np.nan, np.inf]]
    found = gdtrain.landscape(
        model, x, y, path={"good": good, "lost": lost}, resolution=2
    )
    np.testing.assert_allclose(found.x, [0.1 - 0.32, 0.1 + 0.32])
    np.testing.assert_allclose(found.y, [0.1 - 0.16, 0.1 + 0.16])
    np.testing.assert_array_equal(found.paths["good"], good)
    np.testing.assert_array_equal(found.paths["lost"][:3], lost[:3])


def test_path_that_stays_is_seen_with_some_room():
    model, x, y = line()
    found = gdtrain.landscape(model, x, y, path=[[1.0, 2.0]], resolution=2)
    np.testing.assert_allclose(found.x, [0.2, 1.8])
    np.testing.assert_allclose(found.y, [1.2, 2.8])


def test_two_numbers_of_one_weight_are_the_axes():
    layers = [keras.Input([2]), keras.layers.Dense(1, use_bias=False)]
    model = gdtrain.Sequential(layers)
    model.compile("sgd", "mse", **EAGER)
    x = np.eye(2)
    found = gdtrain.landscape(
        model,
        x,
        np.array([1.0, 3.0]),
        x_range=(0, 1),
        y_range=(0, 3),
        resolution=2,
    )
    assert found.names == ("dense/kernel[0]", "dense/kernel[1]")
    np.testing.assert_allclose(found.losses, [[5, 4.5], [0.5, 0]])


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"directions": "down"}, "`directions` must be one of"),
        ({"directions": "weights"}, "two trainable weights"),
        ({"directions": "path"}, "needs a path"),
        ({"x_range": (1, 0)}, r"`x_range` must be \(low, high\)"),
        ({"y_range": (0, 1, 2)}, r"`y_range` must be \(low, high\)"),
        ({"y_range": (0, np.inf)}, r"`y_range` must be \(low, high\)"),
        ({"resolution": 0}, "`resolution` must be"),
        ({"path": [[1.0, 2.0]]}, r"`path` must be points \[n, 21\]"),
        ({"path": np.zeros([0, 21])}, r"shape \[0, 21\]"),
        ({"path": gdtrain.callbacks.WeightPath()}, r"shape \[0, 0\]"),
        ({"path": np.full([2, 21], np.nan)}, "must begin with finite"),
    ],
)
def test_arguments_that_fit_no_such_model_are_refused(arguments, message):
    model, x, y = eager_smooth()
    with pytest.raises(ValueError, match=message):
        gdtrain.landscape(model, x, y, **arguments)


def test_random_directions_need_filters():
    model = models.line()
    model.compile("sgd", "mse", **EAGER)
    x, y = models.regression_data(5, 1)
    model(x)
    with pytest.raises(ValueError, match="of two axes or more"):
        gdtrain.landscape(model, x, y, directions="random")


def test_random_directions_need_weights_that_are_not_all_zero():
    model, x, y = eager_smooth()
    put(model, np.zeros(21))
    with pytest.raises(ValueError, match="must not all be zero"):
        gdtrain.landscape(model, x, y, directions="random")

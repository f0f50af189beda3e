"""A path of weights is where training went, and leaves it alone."""

import keras
import numpy as np
import pytest

import gdtrain
from gdtrain.callbacks import WeightPath
from tests import models

X = np.linspace(-1, 2, 10)[:, np.newaxis]
Y = 3 * X + 1


def line(rate=0.1, **options):
    layer = keras.layers.Dense(1, kernel_initializer="zeros")
    model = gdtrain.Sequential([keras.Input([1]), layer])
    model.compile(gdtrain.GradientDescent(rate), "mse", **options)
    return model


def fit(path, epochs, model=None, **arguments):
    """Trains a line over full batches, one step an epoch."""
    model = model or line(run_eagerly=True)
    model.fit(
        X,
        Y,
        batch_size=10,
        epochs=epochs,
        verbose=0,
        callbacks=[path],
        **arguments,
    )
    return model


def closed_form(steps, rate=0.1):
    """w and b after each of some steps, in float64."""
    points = [np.zeros(2)]
    design = np.column_stack([X[:, 0], np.ones(len(X))])
    for _ in range(steps):
        error = design @ points[-1] - Y[:, 0]
        points.append(points[-1] - rate * 2 * design.T @ error / len(X))
    return np.array(points)


@pytest.mark.parametrize("eager", [False, True])
def test_path_is_where_gradient_descent_goes(eager):
    path = WeightPath()
    fit(path, 30, line(run_eagerly=eager))
    assert path.steps.tolist() == list(range(31))
    assert path.steps.dtype == np.int64
    np.testing.assert_allclose(path.weights, closed_form(30), rtol=1e-5)


def test_only_some_steps_are_kept_and_both_ends():
    path = WeightPath(every_steps=4)
    fit(path, 10)
    assert path.steps.tolist() == [0, 4, 8, 10]
    wanted = closed_form(10)[[0, 4, 8, 10]]
    np.testing.assert_allclose(path.weights, wanted, rtol=1e-5)


def test_long_path_is_thinned_to_what_may_be_kept():
    path = WeightPath(max_points=5)
    fit(path, 23)
    assert path.steps.tolist() == [0, 8, 16, 23]
    wanted = closed_form(23)[path.steps]
    np.testing.assert_allclose(path.weights, wanted, rtol=1e-5)


def test_executions_of_several_steps_stay_whole():
    path = WeightPath()
    x = np.repeat(X, 3, axis=0)
    model = line(steps_per_execution=4)
    model.fit(
        x, 3 * x, batch_size=3, shuffle=False, verbose=0, callbacks=[path]
    )
    assert path.steps.tolist() == [0, 4, 8, 10]


def test_second_fit_and_a_restored_path_go_on():
    path, again = WeightPath(max_points=5), WeightPath(max_points=5)
    model = fit(path, 7)
    again.set_state(path.get_state())
    start = model.get_weights()
    fit(path, 6, model)
    other = line(run_eagerly=True)
    other.set_weights(start)
    other._step_hooks.begin(7)
    fit(again, 6, other)
    for one in (path, again):
        assert one.steps[-1] == 13 and len(one.steps) <= 5
        wanted = closed_form(13)[one.steps]
        np.testing.assert_allclose(one.weights, wanted, rtol=1e-5)
    assert path.steps.tolist() == again.steps.tolist()


def test_steps_that_come_again_take_the_place_of_those_before():
    path = WeightPath()
    fit(path, 3)
    fit(path, 2)  # Another model, which begins at step 0
    assert path.steps.tolist() == [0, 1, 2]


def test_weights_are_bit_equal_with_it_and_without_it():
    x, y = models.regression_data()
    weights = []
    for callbacks in ([], [WeightPath(every_steps=3)]):
        model = models.network()
        model.compile("adam", "mse", jit_compile=False)
        model.fit(x, y, batch_size=10, epochs=4, verbose=0, callbacks=callbacks)
        weights.append(model.get_weights())
    assert callbacks[0].weights.shape == (8, 21)
    for one, other in zip(*weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_arguments_that_cannot_be_used_are_refused():
    with pytest.raises(ValueError, match="`every_steps` must be"):
        WeightPath(0)
    with pytest.raises(ValueError, match="`max_points` must be at least 2"):
        WeightPath(max_points=1)
    with pytest.raises(TypeError, match="`max_points` must be"):
        WeightPath(max_points=2.5)


def test_model_of_keras_is_refused():
    model = keras.Sequential([keras.Input([1]), keras.layers.Dense(1)])
    model.compile("sgd", "mse", run_eagerly=True)
    with pytest.raises(TypeError, match="`WeightPath` needs a gdtrain model"):
        model.fit(X, Y, verbose=0, callbacks=[WeightPath()])

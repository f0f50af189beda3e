"""Pictures of a model show what it predicts."""

import threading

import keras
import numpy as np
import pytest

import gdtrain
from gdtrain import plots
from gdtrain.plots.classifier import probabilities
from tests.plots.figures import legend, words


def dense(units, activation=None):
    """A model of flat pictures."""
    return keras.Sequential(
        [keras.layers.Flatten(), keras.layers.Dense(units, activation)]
    )


def line(w, b, base=gdtrain.Sequential):
    model = base([keras.Input([1]), keras.layers.Dense(1)])
    model.set_weights([np.array([[w]]), np.array([b])])
    return model


def titles(figure):
    return [axes.get_title() for axes in figure.axes if axes.images]


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 1), (8, 8, 3)])
@pytest.mark.parametrize("scale", [1.0, 255.0, -4.0])
def test_images_of_any_shape_and_range_are_drawn(shape, scale):
    images = scale * np.random.default_rng(0).uniform(size=(5, *shape))
    picture = plots.Predictions(images)
    figure = picture.draw(picture.look(dense(3)))
    low, high = images.min(), images.max()
    shown = [axes.images[0].get_array() for axes in figure.axes if axes.images]
    wanted = (images - low) / (high - low)
    np.testing.assert_allclose(shown, wanted.reshape(np.shape(shown)))
    assert figure.get_suptitle() == "Predictions with their confidence"


def test_right_and_wrong_differ_in_sign_and_colour():
    picture = plots.Predictions(
        np.zeros([4, 2, 2]), [0, 1, 1, 0], ["cat", "dog"]
    )
    seen = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [np.nan, np.nan]])
    figure = picture.draw(seen)
    assert titles(figure) == [
        "cat  90%  ✓",
        "cat  80%  ✗\nis dog",
        "dog  70%  ✓",
        "NaN\nis cat",
    ]
    colours = [axes.title.get_color() for axes in figure.axes]
    assert colours[0] == colours[2] != colours[1] == colours[3]
    assert figure.get_suptitle().endswith("2 of 4 right")


def test_at_most_sixteen_examples_are_predicted_and_drawn():
    images = np.random.default_rng(0).uniform(size=(40, 3, 3))
    model, picture = dense(5), plots.Predictions(images, np.arange(40) % 5)
    seen = picture.look(model)
    wanted = keras.ops.softmax(model.predict(images, verbose=0)[:16])
    np.testing.assert_allclose(seen, wanted, rtol=1e-5)
    assert len(titles(picture.draw(seen))) == 16


def test_examples_stay_what_they_were_when_the_array_changes():
    images = np.ones([2, 3, 3])
    model, picture = dense(4), plots.Predictions(images)
    seen = picture.look(model)
    images *= 7
    np.testing.assert_array_equal(picture.look(model), seen)


@pytest.mark.parametrize("units, activation", [(3, "softmax"), (1, "sigmoid")])
def test_logits_and_probabilities_are_told_apart(units, activation):
    images = np.random.default_rng(0).normal(0, 9, size=(8, 3, 3))
    logits, shares = dense(units), dense(units, activation)
    pictures = plots.Predictions(images)
    logits.build(images.shape), shares.build(images.shape)
    shares.set_weights(logits.get_weights())
    seen = pictures.look(logits)
    assert seen.shape == (8, max(units, 2))
    np.testing.assert_allclose(seen, pictures.look(shares), atol=1e-6)
    np.testing.assert_allclose(seen.sum(1), 1, atol=1e-6)


def test_single_logit_between_zero_and_one_is_one_if_said_to_be():
    outputs = np.array([[0.0], [1.0]])
    assert probabilities(outputs)[:, 1].tolist() == [0.0, 1.0]
    np.testing.assert_allclose(
        probabilities(outputs, from_logits=True)[:, 1],
        [0.5, 1 / (1 + np.exp(-1))],
    )


def test_numbers_that_do_not_add_up_to_one_are_logits_unless_denied():
    odd = np.array([[0.2, 0.2]])
    assert probabilities(odd).tolist() == [[0.5, 0.5]]
    np.testing.assert_array_equal(probabilities(odd, from_logits=False), odd)


def test_outputs_that_are_not_finite_give_nan_without_a_warning(recwarn):
    seen = probabilities(np.array([[np.inf, 1.0], [np.nan, 0.0], [1.0, 1.0]]))
    assert np.isnan(seen[:2]).all() and seen[2].tolist() == [0.5, 0.5]
    assert not len(recwarn)


@pytest.mark.parametrize("shape", [(8, 8), (2, 8, 8, 4), (0, 8, 8)])
def test_images_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match="`images` must be"):
        plots.Predictions(np.zeros(shape))


def test_labels_and_outputs_of_another_shape_are_refused():
    with pytest.raises(ValueError, match="argmax"):
        plots.Predictions(np.zeros([3, 8, 8]), np.eye(3))
    with pytest.raises(ValueError, match=r"\[2, 8, 8\]"):
        plots.Predictions(np.zeros([2, 8, 8])).look(
            keras.Sequential([keras.layers.ReLU()])
        )


@pytest.mark.parametrize(
    "w, b, equation", [(2.0, -0.5, "2 x - 0.5"), (-0.25, 3.0, "-0.25 x + 3")]
)
def test_line_is_drawn_through_the_points_with_its_equation(w, b, equation):
    x, y = np.array([[3.0], [-1.0], [0.5]]), np.array([1.0, 2.0, 3.0])
    picture = plots.FittedLine(x, y)
    axes = picture.draw(picture.look(line(w, b))).axes[0]
    assert axes.get_title("left") == f"Fitted line: y = {equation}"
    np.testing.assert_array_equal(
        axes.collections[0].get_offsets(), np.column_stack([x[:, 0], y])
    )
    along, up = axes.lines[0].get_xydata().T
    assert along[[0, -1]].tolist() == [-1.0, 3.0]
    np.testing.assert_allclose(up, w * along + b, rtol=1e-6, atol=1e-6)


def test_curve_has_no_equation():
    model = keras.Sequential(
        [keras.Input([1]), keras.layers.Dense(8, "tanh"), keras.layers.Dense(1)]
    )
    picture = plots.FittedLine([-3.0, 3.0], [0.0, 1.0])
    seen = picture.look(model)
    wanted = model.predict(np.linspace(-3, 3, 200)[:, None], verbose=0)
    np.testing.assert_allclose(seen, wanted[:, 0], rtol=1e-5, atol=1e-6)
    assert picture.draw(seen).axes[0].get_title("left") == "Fitted curve"


def test_view_of_a_line_stays_and_says_what_it_does_not_show():
    picture = plots.FittedLine([0.0, 1.0], [0.0, 1.0])
    near, far, below, lost = (
        picture.draw(picture.look(line(1.0, b))).axes[0]
        for b in (0.0, 100.0, -100.0, np.nan)
    )
    assert near.get_ylim() == far.get_ylim() == (-0.5, 1.5)
    assert words(near) == []
    for axes in (far, below):
        assert "outside" in words(axes)[0]
    assert lost.get_title("left") == "Fitted line: not finite"


def test_line_to_find_is_drawn_beside_the_fitted_one():
    x, y = np.array([0.0, 2.0]), np.array([1.0, 2.0])
    picture = plots.FittedLine(x, y, truth=lambda x: 0.5 * x + 1)
    axes = picture.draw(picture.look(line(1.0, 0.0))).axes[0]
    by_label = {drawn.get_label(): drawn for drawn in axes.lines}
    assert list(by_label) == ["to find", "fitted"]
    for label, (w, b) in {"to find": (0.5, 1), "fitted": (1, 0)}.items():
        along, up = by_label[label].get_xydata().T
        np.testing.assert_allclose(up, w * along + b, rtol=1e-6, atol=1e-6)
    assert legend(axes) == ["to find", "fitted"]


def test_points_that_give_no_line_are_refused():
    with pytest.raises(ValueError, match="not all the same"):
        plots.FittedLine([1.0, 1.0], [0.0, 1.0])
    with pytest.raises(ValueError, match="2 x from .*, 3 y"):
        plots.FittedLine([1.0, 2.0], [0.0, 1.0, 2.0])
    with pytest.raises(ValueError, match="`y` must be finite"):
        plots.FittedLine([1.0, 2.0], [0.0, np.nan])
    with pytest.raises(ValueError, match=r"\[200, 2\]"):
        plots.FittedLine([1.0, 2.0], [0.0, 1.0]).look(
            keras.Sequential([keras.layers.Dense(2)])
        )


def test_what_was_seen_is_drawn_on_another_thread_the_same(tmp_path):
    images = np.random.default_rng(0).uniform(size=(4, 3, 3))
    for picture, model in (
        (plots.Predictions(images, [0, 1, 0, 1]), dense(2)),
        (plots.FittedLine([0.0, 1.0], [0.0, 1.0]), line(1.0, 0.0)),
    ):
        seen = picture.look(model)
        here, there = (tmp_path / name for name in ("here.png", "there.png"))
        thread = threading.Thread(
            target=lambda: picture.draw(seen).savefig(there)
        )
        thread.start()
        thread.join()
        picture.draw(seen).savefig(here)
        assert here.read_bytes() == there.read_bytes()
        assert picture.name in ("predictions", "fitted_line")


def test_looking_leaves_weights_and_random_numbers_alone():
    model = keras.Sequential(
        [keras.layers.Flatten(), keras.layers.Dropout(0.5, seed=1)]
    )
    picture = plots.Predictions(np.ones([2, 2, 2]), from_logits=True)
    first = picture.look(model)
    state = model.layers[1].seed_generator.state.numpy()
    np.testing.assert_array_equal(picture.look(model), first)
    np.testing.assert_array_equal(
        model.layers[1].seed_generator.state.numpy(), state
    )

"""Pictures of a training show its numbers."""

import numpy as np
import pytest

from gdtrain import plots
from gdtrain.plots import canvas
from tests.plots.figures import legend, words
from tests.trainings import LAYERS, training

NAN = np.nan


def log_means(steps, values, edges):
    """Logarithms of geometric means between edges, one by one."""
    return [
        np.log10(values[(steps >= low) & (steps < high)].astype(float)).mean()
        for low, high in zip(edges[:-1], edges[1:], strict=True)
    ]


def test_loss_and_learning_rate_are_drawn_at_their_steps():
    source = training(range(10, 60, 10))
    above, below = plots.loss(source).axes
    for axes, name in ((above, "loss"), (below, "learning_rate")):
        (line,) = axes.lines
        np.testing.assert_array_equal(line.get_xdata(), source.steps)
        np.testing.assert_array_equal(line.get_ydata(), source[name])
    assert below.get_xlabel() == "step"


def test_loss_of_many_steps_has_points_and_a_running_median():
    source = training(range(1, 3001))
    points, course = plots.loss(source).axes[0].lines
    np.testing.assert_array_equal(points.get_ydata(), source["loss"])
    assert points.get_alpha() < 0.5 and points.get_linestyle() == "None"
    assert len(course.get_xdata()) == canvas.MAX_MEDIANS
    for step, median in course.get_xydata()[50:-50]:
        nearby = np.abs(source.steps - step) <= 30
        assert median == np.median(source["loss"][nearby].astype(float))
    assert course.get_xdata()[[0, -1]].tolist() == [1, 3000]


@pytest.mark.parametrize(
    "losses, scale",
    [
        ([11.0, 1.0], "log"),
        ([10.0, 1.0], "linear"),
        ([11.0, 0.0], "linear"),
        ([11.0, -1.0], "linear"),
        ([NAN, NAN], "linear"),
        ([np.inf, 1.0], "linear"),
    ],
)
def test_loss_is_logarithmic_if_above_zero_and_wide(losses, scale):
    assert plots.loss(training([1, 2], loss=losses)).axes[0].get_yscale() == (
        scale
    )


@pytest.mark.parametrize(
    "losses, step, word",
    [
        ([3.0, 2.0, NAN, NAN], 30, "NaN at step 30"),
        ([3.0, np.inf, NAN, NAN], 20, "infinite at step 20"),
        ([3.0, -np.inf, 1.0, NAN], 20, "infinite at step 20"),
        ([NAN] * 4, 10, "NaN at step 10"),
        ([3.0, NAN, 2.0, 1.0], 20, "NaN at step 20"),
    ],
)
def test_first_step_that_is_not_finite_is_marked(losses, step, word):
    axes = plots.loss(training([10, 20, 30, 40], loss=losses)).axes[0]
    assert axes.lines[-1].get_xdata() == [step, step]
    assert words(axes) == [word]


def test_gap_between_measurements_is_not_marked_but_a_late_nan_is():
    every_third = [2.0 if row % 3 == 1 else None for row in range(12)]
    axes = plots.loss(training(range(12), loss=every_third)).axes[0]
    assert words(axes) == []
    every_third[10] = NAN
    axes = plots.loss(training(range(12), loss=every_third)).axes[0]
    assert words(axes) == ["NaN at step 10"]


def test_learning_rates_of_several_optimizers_have_a_line_each():
    source = training([1, 2, 3])
    with_two = training(
        [1, 2, 3],
        **{"learning_rate/a": [1.0, 2.0, 3.0], "learning_rate/b": [1.0] * 3},
    )
    without = {name: with_two[name] for name in with_two.names}
    del without["learning_rate"]
    writer = type(source)()
    writer.write([1, 2, 3], list(without), np.stack(list(without.values()), 1))
    axes = plots.loss(writer).axes[1]
    assert [line.get_ydata().tolist() for line in axes.lines] == [
        [1.0, 2.0, 3.0],
        [1.0, 1.0, 1.0],
    ]
    assert legend(axes) == ["a", "b"]


def test_gradient_norms_of_few_steps_have_a_column_each():
    source = training(range(5, 45, 5))
    axes = plots.gradient_norms(source).axes[0]
    image = axes.images[0]
    np.testing.assert_allclose(
        image.get_array(),
        [np.log10(source[f"gradient_norm/{layer}"]) for layer in LAYERS],
        rtol=1e-6,
        atol=1e-6,
    )
    assert image.get_extent() == [2.5, 42.5, 3.5, -0.5]
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == LAYERS
    assert axes.get_title("left") == "Gradient norm of each layer"


def test_gradient_norms_of_many_steps_are_geometric_means():
    source = training(range(1, 2001))
    image = plots.gradient_norms(source).axes[0].images[0]
    edges = np.linspace(0.5, 2000.5, 401)
    for row, layer in zip(image.get_array(), LAYERS, strict=True):
        norms = source[f"gradient_norm/{layer}"]
        np.testing.assert_allclose(row, log_means(source.steps, norms, edges))


def test_gradient_norms_that_are_not_finite_are_red():
    head = np.ones(2000)
    head[1002], head[-1] = NAN, np.inf
    source = training(range(1, 2001), **{"gradient_norm/head": head})
    axes = plots.gradient_norms(source).axes[0]
    shown, red = (image.get_array() for image in axes.images)
    assert np.argwhere(~np.ma.getmaskarray(red)).tolist() == [
        [3, 200],
        [3, 399],
    ]
    assert shown.mask[3, 200] and shown.mask[3, 399]
    assert shown.mask.sum() == 2
    assert "red" in axes.get_title("left")


def test_layers_measured_at_every_fifth_step_have_no_gaps():
    every = training(range(5, 55, 5))
    names = [name for name in every.names if "/" in name]
    sparse = {name: np.full(51, None) for name in names}
    for name in names:
        sparse[name][4:50:5] = every[name]
    source = training(range(1, 52), **sparse)
    for draw in (plots.gradient_norms, plots.update_ratios):
        one, other = draw(source).axes[0], draw(every).axes[0]
        for line, wanted in zip(one.lines, other.lines, strict=True):
            np.testing.assert_array_equal(
                line.get_xydata(), wanted.get_xydata()
            )
        for image, wanted in zip(one.images, other.images, strict=True):
            assert image.get_extent() == wanted.get_extent()
            np.testing.assert_array_equal(
                image.get_array().filled(0), wanted.get_array().filled(0)
            )


def test_gradient_norm_of_zero_has_the_lowest_colour():
    source = training([1, 2], **{"gradient_norm/stem": [0.0, 1.0]})
    image = plots.gradient_norms(source).axes[0].images[0]
    colours = image.to_rgba(image.get_array())
    assert colours[0, 0].tolist() == list(image.cmap(0))
    assert image.colorbar.extend == "min"


def test_many_layers_are_named_now_and_then():
    names = [f"gradient_norm/net/layer_{i:03}/long_name" for i in range(100)]
    source = training([1], **dict.fromkeys(names, [1.0]))
    axes = plots.gradient_norms(source).axes[0]
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert len(axes.images[0].get_array()) == 104
    assert len(labels) == 35 and max(map(len, labels)) <= 24


def test_update_ratios_have_a_line_a_layer_and_their_names():
    source = training(range(1, 2001))
    axes = plots.update_ratios(source).axes[0]
    edges = np.linspace(0.5, 2000.5, 401)
    for line, layer in zip(axes.lines, LAYERS, strict=True):
        np.testing.assert_allclose(line.get_xdata(), edges[:-1] + 2.5)
        ratios = source[f"update_ratio/{layer}"]
        np.testing.assert_allclose(
            np.log10(line.get_ydata()), log_means(source.steps, ratios, edges)
        )
    assert axes.get_yscale() == "log"
    assert words(axes) == LAYERS
    colours = [text.get_color() for text in axes.texts]
    assert colours == [line.get_color() for line in axes.lines]
    assert not axes.patches  # No pace is right for all that is trained


@pytest.mark.parametrize("ratio", [1e-12, 0.0, NAN, np.inf, 10.0])
def test_all_ratios_are_in_view_with_room_around_them(ratio):
    ratios = {f"update_ratio/{layer}": [ratio] for layer in LAYERS}
    axes = plots.update_ratios(training([7], **ratios)).axes[0]
    low, high = axes.get_ylim()
    assert high > 8 * low > 0
    if 0 < ratio < np.inf:
        assert 2 * low < ratio < high / 2


def test_names_of_lines_do_not_overlap():
    ratios = {f"update_ratio/l{i}": [0.5, 0.5] for i in range(40)}
    axes = plots.update_ratios(training([1, 2], **ratios)).axes[0]
    heights = np.sort([text.xy[1] for text in axes.texts])
    assert np.diff(heights).min() > 0.06
    assert heights[0] >= 0 and heights[-1] <= 1


def test_overview_shows_what_the_single_pictures_show():
    source = training(range(1, 301))
    loss, rate, norms, ratios = plots.overview(source).axes
    singles = [
        *plots.loss(source).axes,
        *plots.gradient_norms(source).axes,
        *plots.update_ratios(source).axes,
    ]
    for axes, single in zip((loss, rate, norms, ratios), singles, strict=True):
        assert axes.get_title("left") == single.get_title("left")
        assert axes.get_ylim() == single.get_ylim()
        assert axes.get_xlim() == single.get_xlim() == (0.5, 300.5)
        for line, other in zip(axes.lines, single.lines, strict=True):
            np.testing.assert_array_equal(line.get_xydata(), other.get_xydata())
        for image, other in zip(axes.images, single.images, strict=True):
            np.testing.assert_array_equal(image.get_array(), other.get_array())


def test_trainings_are_compared_with_a_line_each_and_their_limits():
    sharpness = np.where(np.arange(300) % 30 == 0, 4.0, NAN)
    slow = training(range(1, 301), sharpness=sharpness)
    fast = training(range(1, 301), sharpness=sharpness / 2)
    figure = plots.compare(
        {"slow": slow, "fast": fast},
        ["sharpness", "loss"],
        limits={"sharpness": [5.0, 2.5], "loss": [1.0]},
    )
    upper, lower = figure.axes
    assert [axes.get_title("left") for axes in figure.axes] == [
        "sharpness (dashed: limit)",
        "loss (dashed: limit)",
    ]
    first, second, *limits = upper.lines
    np.testing.assert_array_equal(first.get_xdata(), range(1, 301, 30))
    assert set(second.get_ydata()) == {2.0}
    assert [line.get_ydata()[0] for line in limits] == [5.0, 2.5]
    for drawn, limit in zip((first, second), limits, strict=True):
        assert drawn.get_color() == limit.get_color()
    assert words(upper) == ["5", "2.5"]
    assert legend(lower) == ["slow", "fast"]
    values, median, *_ = lower.lines
    np.testing.assert_array_equal(values.get_ydata(), slow["loss"])
    assert median.get_label() == "slow"
    assert lower.lines[-1].get_ydata()[0] == 1.0
    assert lower.get_xlabel() == "step"


@pytest.mark.parametrize("least, scale", [(0.0, "log"), (-1.0, "linear")])
def test_zeros_do_not_keep_a_comparison_from_being_logarithmic(least, scale):
    source = training([1, 2, 3], loss=[100.0, 1.0, least])
    assert plots.compare({"a": source}).axes[0].get_yscale() == scale


@pytest.mark.parametrize(
    "draw", [plots.loss, plots.gradient_norms, plots.update_ratios]
)
def test_picture_of_what_was_not_measured_says_what_was(draw):
    writer = type(training([1]))()
    writer.write([1], ["accuracy"], [[0.5]])
    with pytest.raises(KeyError, match=r"with \['accuracy'\]"):
        draw(writer)

"""Pictures of a landscape show its losses and where training went."""

import matplotlib.image
import numpy as np
import pytest
from matplotlib.colors import LogNorm

import gdtrain
from gdtrain import plots
from gdtrain.callbacks import WeightPath
from gdtrain.tuning.landscape import LossSurface
from tests.callbacks import reading
from tests.curvature.models import line, smooth
from tests.plots.figures import words

PLACES = np.linspace(-1, 1, 5)


def surface(losses=None, **paths):
    """A bowl, or other losses, with paths on it."""
    if losses is None:
        losses = 0.01 + PLACES[:, None] ** 2 + 4 * PLACES**2
    return LossSurface(
        losses=np.asarray(losses, np.float64),
        x=PLACES,
        y=PLACES,
        center=np.zeros(2),
        vectors=np.eye(2),
        names=("first $", "second"),
        paths={label: np.array(path) for label, path in paths.items()},
    )


def lines(axes):
    """The path, and the places that are marked, by marker."""
    path, *marks = axes.lines
    places = {m.get_marker(): m.get_xydata()[0].tolist() for m in marks}
    return path.get_xydata().tolist(), places


def test_each_path_has_a_panel_from_circle_to_star(tmp_path):
    path = [[-1.0, 0.5], [0.5, 0.0], [0.0, 0.0]]
    figure = plots.landscape(
        surface(right=path, short=path[:2]), tmp_path / "map.png"
    )
    right, short, key = figure.axes
    assert lines(right) == (path, {"o": path[0], "*": path[2]})
    assert lines(short) == (path[:2], {"o": path[0], "*": path[1]})
    assert [axes.get_title("left") for axes in (right, short)] == [
        "right",
        "short",
    ]
    assert (right.get_xlabel(), right.get_ylabel()) == (r"first \$", "second")
    assert right.get_xlim() == right.get_ylim() == (-1, 1)
    assert words(right) == [] and key.get_ylabel() == "loss"
    assert matplotlib.image.imread(tmp_path / "map.png").std() > 0.05


def test_contours_are_of_the_losses_on_a_scale_that_shows_them():
    figure = plots.landscape(surface())
    filled, drawn = figure.axes[0].collections
    assert isinstance(filled.norm, LogNorm)
    assert filled.levels[[0, -1]] == pytest.approx([0.01, 5.01])
    for level, segments in zip(drawn.levels, drawn.allsegs, strict=True):
        for x, y in np.concatenate(segments or [np.zeros([0, 2])]):
            nearest = 0.01 + x**2 * 4 + y**2
            # Between places, the bowl is taken for flat pieces.
            assert abs(nearest - level) < 0.35


def test_lost_path_ends_where_it_leaves_and_it_says_so():
    lost = [[0, 0], [0.5, 0], [-9, 0], [90, 0], [np.nan, np.inf]]
    near = [[0, 0], [1.2, 0]]
    first, second, _ = plots.landscape(surface(lost=lost, near=near)).axes
    assert lines(first) == (lost[:3], {"o": [0, 0]})
    assert lines(second) == (near, {"o": [0, 0], "*": [1.2, 0]})
    for axes in (first, second):
        assert words(axes) == ["ends outside this view"]


def test_losses_that_are_not_finite_are_grey():
    losses = surface().losses.copy()
    losses[:, 3:] = np.nan, np.inf
    axes = plots.landscape(surface(losses)).axes[0]
    colour = axes.patch.get_facecolor()
    assert colour[0] == colour[1] == colour[2] < 0.9
    bands = axes.collections[0].get_paths()
    ends = [band.vertices[:, 0].max() for band in bands if len(band)]
    assert max(ends) == PLACES[2]


@pytest.mark.parametrize("losses", [np.full([5, 5], 3.0), [[np.nan] * 5] * 5])
def test_surface_without_any_slope_has_no_contours(losses):
    (axes,) = plots.landscape(surface(losses, path=[[0, 0]])).axes
    assert not axes.collections and lines(axes)[1]["*"] == [0, 0]


def test_losses_below_zero_have_an_even_scale():
    figure = plots.landscape(surface(surface().losses - 1))
    levels = figure.axes[0].collections[0].levels
    np.testing.assert_allclose(np.diff(levels), np.ptp(levels) / 13)


def test_picture_of_a_line_has_the_way_from_look_to_look():
    model, x, y = line()
    picture = plots.Landscape(x, y, resolution=3)
    points = [[0.0, 0.0], [0.5, 0.25], [0.25, 0.5]]
    for w, b in points:
        model.set_weights([np.array([[w]]), np.array([b])])
        seen = picture.look(model)
    assert seen.paths[""].tolist() == points
    assert seen.losses.shape == (3, 3)
    other, x, y = line()
    other.set_weights([np.ones([1, 1]), np.ones(1)])
    assert picture.look(other).paths[""].tolist() == [[1.0, 1.0]]


def test_picture_of_a_network_is_a_slice_around_it_or_the_plane_of_its_path():
    model, x, y = smooth()
    model.compile("sgd", "mse", run_eagerly=True)
    seen = plots.Landscape(x, y, resolution=2).look(model)
    assert seen.names[0].startswith("random") and seen.paths == {}
    path = WeightPath()
    model.fit(x, y, batch_size=5, verbose=0, callbacks=[path])
    seen = plots.Landscape(x, y, path, resolution=2).look(model)
    assert seen.names[0].startswith("principal")
    assert seen.paths[""].shape == (6, 2)  # 5 points, and the weights now


def test_tensorboard_shows_it_as_training_goes_on(tmp_path):
    model, x, y = line()
    path = WeightPath()
    tensorboard = gdtrain.callbacks.TensorBoard(
        tmp_path, ["loss"], pictures=[plots.Landscape(x, y, path, resolution=5)]
    )
    model.fit(
        x,
        y,
        batch_size=100,
        epochs=5,
        verbose=0,
        callbacks=[path, tensorboard],
    )
    points = reading.tensors(tmp_path)["landscape"]
    assert [step for step, _ in points] == [0, 1, 2, 5]
    pngs = [strings[2] for _, strings in points]
    assert all(png.startswith(b"\x89PNG") for png in pngs)
    assert len(set(pngs)) == 4
    assert path.steps.tolist() == [0, 1, 2, 3, 4, 5]

"""Pictures of a classifier of photos show what its report has found."""

import numpy as np
import pytest
from PIL import Image

from gdtrain import plots
from tests.plots.figures import words

LISTED = [
    (f"photos/of someone/{i}.jpg", "cat", "dog", 0.9 - i / 10, i)
    for i in range(7)
]
IMAGES = np.arange(7, dtype=np.uint8)[:, None, None, None]
IMAGES = np.broadcast_to(IMAGES, (7, 4, 6, 3))


def test_reliability_has_a_point_for_each_bin():
    bins = [(0.55, 0.5, 0.2, 0.8, 6), (0.95, 0.9, 0.7, 0.98, 1200)]
    axes = plots.reliability(bins).axes[0]
    intervals, points = axes.collections
    assert points.get_offsets().tolist() == [[0.55, 0.5], [0.95, 0.9]]
    ends = [path.vertices.tolist() for path in intervals.get_paths()]
    assert ends == [[[0.55, 0.2], [0.55, 0.8]], [[0.95, 0.7], [0.95, 0.98]]]
    assert words(axes) == ["6", "1,200"]
    (diagonal,) = axes.lines
    assert diagonal.get_xydata().tolist() == [[0, 0], [1, 1]]
    small, large = points.get_sizes()
    assert small < large


def test_precision_and_recall_are_in_the_row_of_their_class():
    precision, recall = [1, np.nan, 0.25], [0.5, 0, 1]
    names = ["cat", "dog", "$\\frac$"]
    figure = plots.precision_recall(names, precision, recall)
    (axes,), (key,) = figure.axes, figure.legends
    of_precision, of_recall = axes.lines
    np.testing.assert_equal(of_precision.get_xdata(), precision)
    np.testing.assert_equal(of_recall.get_xdata(), recall)
    assert of_recall.get_ydata().tolist() == [0, 1, 2]
    called = [label.get_text() for label in axes.get_yticklabels()]
    assert called == ["cat", "dog", r"\$\frac\$"]
    legend = [text.get_text() for text in key.get_texts()]
    assert [word.partition(":")[0] for word in legend] == [
        "precision",
        "recall",
    ]


def test_of_many_classes_those_of_least_recall_are_drawn():
    recall = np.linspace(1, 0, 100)
    names = [f"class {i}" for i in range(100)]
    axes = plots.precision_recall(names, np.ones(100), recall).axes[0]
    called = [label.get_text() for label in axes.get_yticklabels()]
    assert called[0] == "class 99" and len(called) == 40


def test_photos_are_drawn_with_what_was_said(tmp_path):
    path = tmp_path / "most_wrong.png"
    figure = plots.most_wrong(IMAGES, LISTED, path)
    drawn = [axes for axes in figure.axes if axes.images]
    assert len(drawn) == 7
    for i, axes in enumerate(drawn):
        assert (axes.images[0].get_array() == i).all()
        assert axes.get_title() == f"is cat\nsaid dog ({0.9 - i / 10:.2f})"
        assert axes.get_xlabel() == f"{i}.jpg"
    assert figure.get_suptitle() == "The most wrong photos"
    with Image.open(path) as image:
        assert image.format == "PNG"


def test_suspect_labels_are_drawn_with_what_the_photo_looks_like():
    listed = [("7.jpg", "$cat", "d" * 30, 0.25, 0)]
    (axes,) = plots.most_suspect(IMAGES[:1], listed).axes
    expected = "labelled \\$cat (0.25)\nlooks like ddddddd…dddddddd"
    assert axes.get_title() == expected


@pytest.mark.parametrize("channels", [1, 3])
def test_brightness_is_not_stretched(channels):
    images = np.full([1, 4, 4, channels], 100, np.uint8)
    axes = plots.most_wrong(images, LISTED[:1]).axes[0]
    assert axes.images[0].norm.vmin == 0 and axes.images[0].norm.vmax == 255

"""The picture of a range test shows what it found."""

import numpy as np
import pytest

from gdtrain import plots
from gdtrain.tuning.learning_rate_finder import conclude
from tests.tuning.test_range_test_result import FALL, seen


def picture(losses=FALL, limit=None):
    found = conclude(seen(losses), limit, "")
    return found, plots.learning_rate_range(found).axes[0]


def labelled(axes):
    handles, labels = axes.get_legend_handles_labels()
    return dict(zip(labels, handles, strict=True))


def test_losses_are_drawn_over_the_learning_rate():
    found, axes = picture()
    points, line = axes.lines[:2]
    for drawn, losses in ((points, found.losses), (line, found.smoothed)):
        np.testing.assert_array_equal(drawn.get_xdata(), found.learning_rates)
        np.testing.assert_array_equal(drawn.get_ydata(), losses)
    assert points.get_linestyle() == "None" and points.get_alpha() < 0.5
    assert axes.get_xscale() == "log"


def test_suggestions_are_marked_with_their_names_on_the_smoothed_line():
    found, axes = picture(limit=0.02)
    marks = labelled(axes)
    assert len(found.suggestions) == 4
    for name, rate in found.suggestions.items():
        (label,) = [label for label in marks if label.startswith(name)]
        assert ("recommended" in label) == (name == found.method)
        assert marks[label].get_xdata() == pytest.approx([rate])
        place = np.argmin(np.abs(found.learning_rates - rate))
        near = found.smoothed[max(place - 1, 0) : place + 2]
        height = marks[label].get_ydata().item()
        assert near.min() <= height <= near.max()


def test_stable_limit_is_a_line():
    _, axes = picture(limit=0.02)
    line = labelled(axes)["stable limit at the start: 0.02"]
    assert list(line.get_xdata()) == [0.02, 0.02]


@pytest.mark.parametrize("limit", [None, np.inf])
def test_unknown_limit_is_not_drawn(limit):
    _, axes = picture(limit=limit)
    assert not any("limit" in label for label in labelled(axes))


def test_what_blows_up_leaves_the_picture():
    losses = np.r_[FALL, 1e9, np.inf]
    _, axes = picture(losses)
    low, high = axes.get_ylim()
    assert low < np.min(FALL[np.isfinite(FALL)]) and 3 < high < 5


def test_flat_loss_is_drawn_flat():
    found, axes = picture(np.full(40, 2.0))
    assert axes.get_title("left").endswith("no learning rate stands out")
    low, high = axes.get_ylim()
    assert low < 2 < high and high - low > 0.01
    assert axes.get_legend() is None


def test_picture_is_saved(tmp_path):
    found, _ = picture()
    path = tmp_path / "rates.png"
    plots.learning_rate_range(found, path)
    assert path.read_bytes()[:4] == b"\x89PNG"

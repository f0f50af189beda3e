"""The picture of a sweep shows what the sweep found."""

import types

import numpy as np
from matplotlib.colors import to_hex

from gdtrain import plots
from gdtrain.plots import canvas
from gdtrain.tuning.sweep_result import SweepResult, SweepRun

NAN = float("nan")


def swept(rates, losses, finals=None, name="loss"):
    """A `SweepResult` of runs made up."""
    finals = [run[-1] for run in losses] if finals is None else finals
    runs = [
        SweepRun(np.array(run, "float32"), {name: [final]}, [])
        for run, final in zip(losses, finals, strict=True)
    ]
    return SweepResult(types.SimpleNamespace(learning_rates=rates), runs, True)


def crosses(axes):
    return [
        line.get_xydata()[0].tolist()
        for line in axes.lines
        if line.get_marker() == "x"
    ]


def curves(axes):
    return [line for line in axes.lines if line.get_linewidth() == 1.6]


def test_each_rate_has_its_line_and_its_final_loss():
    found = swept([0.1, 0.01], [[4.0, 0.2], [4.0, 3.0]])
    left, right = plots.sweep(found).axes
    by_label = {line.get_label(): line for line in curves(left)}
    assert list(by_label) == ["0.01", "0.1 best"]
    np.testing.assert_array_equal(
        by_label["0.1 best"].get_xydata(), [[1, 4], [2, np.float32(0.2)]]
    )
    joined = right.lines[0].get_xydata()
    np.testing.assert_allclose(joined, [[0.01, 3.0], [0.1, 0.2]], rtol=1e-6)
    assert right.get_title("left") == "Final loss: best at 0.1"
    assert left.get_yscale() == right.get_yscale() == "log"
    assert crosses(left) == crosses(right) == []


def test_run_that_diverged_ends_in_a_cross_and_has_no_final_loss():
    losses = [[1.0, 0.9, 0.8, 0.8], [1.0, 2.5, 90.0, NAN]]
    left, right = plots.sweep(swept([0.1, 9.0], losses)).axes
    good, bad = curves(left)
    assert bad.get_label() == "9 diverged"
    assert bad.get_ydata().tolist() == [1.0, 2.5]  # More than twice the first
    assert to_hex(bad.get_color()) == canvas.RED != to_hex(good.get_color())
    assert crosses(left) == [[2, 2.5]]
    assert [x for x, _ in crosses(right)] == [9.0]
    assert right.lines[0].get_xdata().tolist() == [0.1]


def test_loss_far_above_the_start_leaves_the_view_and_its_cross_does_not():
    left, _ = plots.sweep(swept([0.1, 9.0], [[1.0, 0.5], [1.0, 1e6]])).axes
    low, high = left.get_ylim()
    assert low < 0.5 and 1 < high < 3
    assert crosses(left) == [[2, high]]


def test_picture_is_drawn_where_all_diverged_and_where_losses_are_negative():
    left, right = plots.sweep(swept([1.0], [[NAN, NAN]])).axes
    assert right.get_title("left") == "Final loss: all diverged"
    assert crosses(left)[0][0] == 1
    left, right = plots.sweep(swept([1.0], [[-1.0, -2.0]])).axes
    assert left.get_yscale() == right.get_yscale() == "linear"


def test_many_steps_are_drawn_as_their_running_median(tmp_path):
    random = np.random.default_rng(0)
    found = swept([0.1], [random.uniform(1, 2, 3000)], name="val_loss")
    figure = plots.sweep(found, tmp_path / "sweep.png")
    left, right = figure.axes
    assert len(curves(left)[0].get_xdata()) == canvas.MAX_MEDIANS
    assert right.get_title("left") == "Final validation loss: best at 0.1"
    assert (tmp_path / "sweep.png").read_bytes().startswith(b"\x89PNG")

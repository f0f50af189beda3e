"""What linear_regression.py draws: the points, and where descent went."""

import math

import matplotlib
import numpy as np
from _console import complete_file
from line_data import START, curvature
from matplotlib.figure import Figure

FEWEST_LINES, MOST_LINES = 3, 6
VIEW = 10  # Times as far as the start is from the exact line


def draw(data, options, result):
    """Draws the points, the line sought, and the lines that were found.

    Args:
        data: The `Data`.
        options: Those of the command line.
        result: The `Result`, whose lines are complete.

    Returns:
        The figure.
    """
    steps, smaller = options.steps, options.smaller_learning_rate
    later = f"after {3 * steps}, the last {steps} at {smaller:g}"
    lines = (
        (*_sought(data, result), {"color": "tab:green", "lw": 4}),
        ("before", data.unscaled(START), {"color": "tab:red", "ls": "--"}),
        (f"after {steps} steps", result.by_fit, {"color": "tab:red"}),
        (later, result.smaller, {"color": "black", "lw": 1.2, "ls": "--"}),
    )
    # Without this, a column called "income ($)" is read as mathematics.
    with matplotlib.rc_context({"text.parse_math": False}):
        figure = Figure(figsize=(8, 5.5), layout="constrained")
        axes = figure.add_subplot()
        _draw_lines(axes, data, lines)
        axes.set_title(
            f"{data.title}\n{steps} steps at learning rate "
            f"{options.learning_rate:g}, and what a smaller one adds"
        )
        figure.legend(loc="outside lower center", ncols=2, frameon=False)
        return _save(figure, result.picture)


def draw_divergence(data, options, result):
    """Draws the lines that fly off, and the loss that grows.

    Args:
        data: The `Data`.
        options: Those of the command line.
        result: The `Result`, with `course`.

    Returns:
        The figure.
    """
    rate, steep = options.learning_rate, curvature(data.scaled[0])[1]
    before = "before", data.unscaled(START)
    lines = [
        (*_sought(data, result), {"color": "tab:green", "lw": 4}),
        (*before, {"color": "tab:red", "ls": "--"}),
    ]
    shown = _steps_shown(data, result)
    for place, step in enumerate(shown):
        strength = 0.35 + 0.65 * (place + 1) / len(shown)
        style = {"color": "tab:red", "alpha": strength, "lw": 1.5}
        line = result.course[step - 1][1]
        lines.append((f"after step {step}", line, style))
    with matplotlib.rc_context({"text.parse_math": False}):
        figure = Figure(figsize=(10, 5.5), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=(3, 2))
        _draw_lines(left, data, lines)
        left.set_ylim(_view(data, result))
        left.set_title(data.title, fontsize=10)
        _draw_losses(right, [loss for loss, _ in result.course])
        figure.suptitle(
            f"Learning rate {rate:g} is {rate * steep / 2:.3g} times the "
            f"stable limit {2 / steep:.4g}: it diverges.\nEach step multiplies "
            "the error along the steepest direction by "
            f"{1 - rate * steep:.3g}."
        )
        handles, labels = left.get_legend_handles_labels()
        figure.legend(
            handles,
            labels,
            loc="outside lower center",
            ncols=2,
            frameon=False,
        )
        return _save(figure, result.picture)


def _sought(data, result):
    """The line to find, with its name in front."""
    if data.truth:
        return "true line", data.truth
    return "exact least squares", result.exact


def _draw_lines(axes, data, lines):
    """Draws the points and, over their x, lines of `(name, line, style)`."""
    ends = np.array([data.x.min(), data.x.max()])
    axes.plot(data.x, data.y, "o", color="0.6", ms=5, label="data")
    for name, line, style in lines:
        label = f"{name}: w = {line.w:.3g}, b = {line.b:.3g}"
        axes.plot(ends, line.at(ends), **{"lw": 2, "label": label} | style)
    axes.set(xlabel=data.x_name, ylabel=data.y_name)
    axes.grid(alpha=0.3)


def _view(data, result):
    """The y to show: where the start is, and `VIEW` times as far."""
    ends = np.array([data.x.min(), data.x.max()])
    exact = result.exact.at(ends)
    far = VIEW * np.abs(data.unscaled(START).at(ends) - exact).max()
    return min(exact) - far, max(exact) + far


def _steps_shown(data, result):
    """Up to `MOST_LINES` steps: those in view, and the first ones."""
    ends = np.array([data.x.min(), data.x.max()])
    low, high = _view(data, result)
    values = np.array([line.at(ends) for _, line in result.course])
    inside = ((low <= values) & (values <= high)).all(1)
    known = np.isfinite(values).all(1)
    count = max(_leading(inside), min(_leading(known), FEWEST_LINES))
    places = np.linspace(1, count, min(count, MOST_LINES))
    return [round(place) for place in places]


def _leading(holds):
    """How many of them hold before the first that does not."""
    return len(holds) if holds.all() else int(np.argmin(holds))


def _draw_losses(axes, losses):
    """Draws the loss at each step, up to where it is not finite."""
    known = [loss for loss in losses if math.isfinite(loss)]
    steps = range(1, len(known) + 1)
    axes.plot(steps, known, color="tab:red", lw=2, marker=".")
    end = f"at step {len(losses)} it is {losses[-1]:.3g}"
    axes.set(yscale="log", xlabel="step")
    axes.yaxis.set_major_formatter("{x:g}")  # The default is a formula
    axes.set_title(f"The loss grows: {end}", fontsize=10)
    axes.grid(alpha=0.3)


def _save(figure, path):
    """Writes the picture, all of it or nothing."""
    with complete_file(path) as unfinished:
        figure.savefig(unfinished, dpi=150)
    return figure

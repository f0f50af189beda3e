"""Losses at many learning rates: a range test, and a sweep."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from gdtrain.plots import canvas
from gdtrain.tuning.suggestions import RangeTestResult
from gdtrain.tuning.sweep_result import SweepResult

METHOD_COLORS = {
    "minimum_tenth": canvas.GREEN,
    "steepest": canvas.ORANGE,
    "valley": canvas.PURPLE,
    "curvature": canvas.GREY,
}
_LEAST = 0.02  # Of the loss at the start: less is drawn as flat
_ABOVE = 0.4  # How much of what rises above the start is shown, of the fall
_HIGHEST = 3  # How many times the loss at the start a sweep still shows
_CROSS: dict[str, Any] = {
    "marker": "x",
    "markersize": 7,
    "markeredgewidth": 2,
    "color": canvas.RED,
}


def learning_rate_range(
    found: RangeTestResult, path: canvas.Path = None
) -> Figure:
    """Draws the losses of a range test, and what they suggest.

    The line is the smoothed loss, the points are the loss of each step. Where
    the loss blows up, it leaves the picture.

    Args:
        found: What `gdtrain.find_learning_rate` returned.
        path: Where to save the picture too, for example `"rates.png"`.

    Returns:
        A `matplotlib.figure.Figure`.

    Example:

    >>> import gdtrain, keras
    >>> model = gdtrain.Sequential([keras.Input([1]), keras.layers.Dense(1)])
    >>> model.compile(gdtrain.GradientDescent(), loss="mse")
    >>> x = np.linspace(-1, 1, 50)[:, np.newaxis]
    >>> found = gdtrain.find_learning_rate(model, x, 3 * x, verbose=0)
    >>> axes = learning_rate_range(found).axes[0]
    >>> axes.get_xscale(), axes.get_xlabel()
    ('log', 'learning rate')
    """
    figure, axes = canvas.new_axes(7, 3.8)
    canvas.log_across(axes, "learning rate", max_ticks=12)
    rates, losses = found.learning_rates, found.losses
    axes.plot(rates, losses, ".", color=canvas.BLUE, alpha=0.3, markersize=5)
    axes.plot(rates, found.smoothed, color=canvas.BLUE, linewidth=1.6)
    _draw_suggestions(axes, found)
    limit = found.stable_learning_rate
    if limit is not None and np.isfinite(limit):
        axes.axvline(
            limit,
            color=canvas.RED,
            linewidth=1.2,
            linestyle="--",
            label=f"stable limit at the start: {canvas.number(limit)}",
        )
    _show_fall(axes, found)
    title = "no learning rate stands out"
    if found.suggestion is not None:
        rate = canvas.number(float(f"{found.suggestion:.2g}"))
        title = f"try learning rate {rate}"
    canvas.dress(axes, f"Range test: {title}", "loss of the batch")
    canvas.legend(axes, loc="lower left")
    return canvas.finish(figure, path)


def sweep(result: SweepResult, path: canvas.Path = None) -> Figure:
    """Draws the loss over steps, a line a rate, and the final loss over rates.

    Each line of many steps is a running median. Runs that diverged are red;
    a cross marks where, and their line ends there.

    Args:
        result: What `gdtrain.sweep` returned.
        path: Where to save the picture too, for example `"sweep.png"`.

    Returns:
        A `matplotlib.figure.Figure`.

    Example:

    >>> import gdtrain, keras
    >>> def build():
    ...     line = keras.layers.Dense(1)
    ...     model = gdtrain.Sequential([keras.Input([1]), line])
    ...     model.compile(gdtrain.GradientDescent(), loss="mse")
    ...     return model
    >>> x = np.linspace(-1, 1, 50)[:, np.newaxis]
    >>> found = gdtrain.sweep(
    ...     build, x, 3 * x, learning_rates=[0.01, 0.1], verbose=0
    ... )
    >>> [axes.get_title("left") for axes in sweep(found).axes]
    ['Loss at each learning rate', 'Final loss: best at 0.1']
    """
    figure = canvas.new_figure(9.5, 3.8)
    left, right = figure.subplots(1, 2, width_ratios=(1.6, 1))
    colors = canvas.shades(len(result.learning_rates), (), "viridis", 0.9)
    colors[result.diverged] = to_rgba(canvas.RED)
    _draw_losses(left, result, colors)
    _draw_finals(right, result, colors)
    return canvas.finish(figure, path)


def _draw_suggestions(axes: Axes, found: RangeTestResult) -> None:
    """A mark for each suggestion, where the smoothed loss is there."""
    logs = np.log(found.learning_rates)
    for name, rate in found.suggestions.items():
        color, is_chosen = METHOD_COLORS[name], name == found.method
        height = np.interp(
            np.log(rate), logs, found.smoothed, left=np.nan, right=np.nan
        )
        width = 1.6 if is_chosen else 0.8
        axes.axvline(rate, color=color, linewidth=width, alpha=0.8)
        size = 8 if is_chosen else 5
        label = f"{name}: {canvas.number(rate)}"
        label += " (recommended)" if is_chosen else ""
        axes.plot(rate, height, "o", color=color, markersize=size, label=label)


def _show_fall(axes: Axes, found: RangeTestResult) -> None:
    """Shows losses up to somewhat above the start."""
    few = max(1, len(found.losses) // 10)
    start = np.max(found.losses[:few])
    low = np.nanmin([np.nanmin(found.losses), np.nanmin(found.smoothed)])
    fall = max(start - low, _LEAST * abs(start)) or 1.0
    axes.ticklabel_format(axis="y", useOffset=False)
    axes.set_ylim(low - 0.08 * fall, start + _ABOVE * fall)


def _draw_losses(axes: Axes, result: SweepResult, colors: np.ndarray) -> None:
    """A line for each rate, on one logarithmic scale."""
    losses = result.losses.astype(np.float64)
    steps = np.arange(1, 1 + losses.shape[1])
    shown = []
    for run in np.argsort(result.learning_rates):
        lost = result.diverged_at(run)
        end = len(steps) if lost is None else lost
        places, course = canvas.course(losses[run, :end])
        shown.append(course)
        axes.plot(
            steps[places],
            course,
            color=colors[run],
            linewidth=1.6,
            marker="." if len(places) == 1 else "",
            label=_label(result, run),
        )
    _show_near(axes, np.concatenate(shown), losses[:, 0].max())
    _mark_diverged(axes, result)
    canvas.steps_across(axes, steps)
    canvas.dress(axes, "Loss at each learning rate")
    canvas.legend(
        axes, title="learning rate", loc="upper left", bbox_to_anchor=(1, 1)
    )


def _label(result: SweepResult, run: int) -> str:
    """What the legend says of a run."""
    if result.diverged[run]:
        return f"{result.labels[run]} diverged"
    is_best = result.learning_rates[run] == result.best
    return result.labels[run] + (" best" if is_best else "")


def _show_near(axes: Axes, values: np.ndarray, start: float) -> None:
    """Shows all values but those far above the start."""
    seen = values[np.isfinite(values) & (values <= _HIGHEST * abs(start))]
    if canvas.wants_log(seen):
        canvas.log_up(axes, seen.min(), seen.max())
    elif len(seen) and np.isfinite(start):
        room = 0.06 * (np.ptp(seen) or 1)
        axes.set_ylim(seen.min() - room, seen.max() + room)


def _mark_diverged(axes: Axes, result: SweepResult) -> None:
    """A cross where a run diverged, at the upper edge if it is above it."""
    low, high = axes.get_ylim()
    for run in np.flatnonzero(result.diverged).tolist():
        step = result.diverged_at(run) or 1
        height = np.nan_to_num(result.losses[run, step - 1], nan=np.inf)
        height = np.clip(height, low, high)
        axes.plot(step, height, clip_on=False, zorder=5, **_CROSS)


def _draw_finals(axes: Axes, result: SweepResult, colors: np.ndarray) -> None:
    """The final loss over the learning rate."""
    rates, finals = result.learning_rates, result.final_loss
    good = ~result.diverged & np.isfinite(finals)
    order = np.argsort(rates[good])
    axes.plot(
        rates[good][order], finals[good][order], color="#9a9a9a", linewidth=1
    )
    for run in np.flatnonzero(good):
        size = 9 if rates[run] == result.best else 6
        point = rates[run], finals[run], "o"
        axes.plot(*point, color=colors[run], markersize=size)
    canvas.log_across(axes, "learning rate (crosses: diverged)", max_ticks=8)
    if good.any():
        canvas.scale_up(axes, finals[good])
    for rate in rates[~good]:
        axes.plot(rate, 0.97, transform=axes.get_xaxis_transform(), **_CROSS)
    is_validated = "val_loss" in result.history[0]
    name = "Final validation loss" if is_validated else "Final loss"
    best = "all diverged"
    if result.best is not None:
        best = f"best at {canvas.number(result.best)}"
    canvas.dress(axes, f"{name}: {best}")

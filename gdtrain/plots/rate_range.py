"""The loss over the learning rate, as a range test saw it."""

import numpy as np
from matplotlib import ticker

from gdtrain.plots import canvas, scales

COLOURS = {
    "minimum_tenth": canvas.GREEN,
    "steepest": "#d1701a",
    "valley": "#7d3fa0",
    "curvature": "#555555",
}
_LEAST = 0.02  # Of the loss at the start: less is drawn as flat
_ABOVE = 0.4  # How much of what rises above the start is shown, of the fall


def learning_rate_range(found, path=None):
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
    figure = canvas.new_figure(7, 3.8)
    axes = figure.add_subplot()
    axes.set_xscale("log")
    rates, losses = found.learning_rates, found.losses
    axes.plot(rates, losses, ".", color=canvas.BLUE, alpha=0.3, markersize=5)
    axes.plot(rates, found.smoothed, color=canvas.BLUE, linewidth=1.6)
    _draw_suggestions(axes, found)
    _draw_limit(axes, found.stable_learning_rate)
    _scale(axes, found)
    canvas.dress(axes, _title(found), "loss of the batch")
    canvas.rule(axes)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(
            loc="lower left",
            fontsize=canvas.SMALL,
            frameon=False,
            labelcolor=canvas.INK,
        )
    return canvas.finish(figure, path)


def _draw_suggestions(axes, found):
    """A mark for each suggestion, where the smoothed loss is there."""
    logs = np.log(found.learning_rates)
    for name, rate in found.suggestions.items():
        chosen = name == found.method
        height = np.interp(
            np.log(rate), logs, found.smoothed, left=np.nan, right=np.nan
        )
        axes.axvline(
            rate,
            color=COLOURS[name],
            linewidth=1.6 if chosen else 0.8,
            alpha=0.8,
        )
        axes.plot(
            rate,
            height,
            marker="o",
            linestyle="",
            markersize=8 if chosen else 5,
            color=COLOURS[name],
            label=f"{name}: {scales.number(rate)}"
            + (" (recommended)" if chosen else ""),
        )


def _draw_limit(axes, limit):
    """A line at the stable limit, if it is known."""
    if limit is not None and np.isfinite(limit):
        axes.axvline(
            limit,
            color=canvas.RED,
            linewidth=1.2,
            linestyle="--",
            label=f"stable limit at the start: {scales.number(limit)}",
        )


def _scale(axes, found):
    """Shows all rates, and losses up to somewhat above the start."""
    axes.set_xlabel("learning rate")
    axes.xaxis.set_major_locator(ticker.LogLocator(numticks=12))
    axes.xaxis.set_major_formatter(
        ticker.FuncFormatter(lambda rate, _: scales.number(rate))
    )
    axes.xaxis.set_minor_formatter(ticker.NullFormatter())
    few = max(1, len(found.losses) // 10)
    start = np.max(found.losses[:few])
    low = np.nanmin([np.nanmin(found.losses), np.nanmin(found.smoothed)])
    fall = max(start - low, _LEAST * abs(start)) or 1.0
    axes.ticklabel_format(axis="y", useOffset=False)
    axes.set_ylim(low - 0.08 * fall, start + _ABOVE * fall)


def _title(found):
    if found.suggestion is None:
        return "Range test: no learning rate stands out"
    rate = scales.number(float(f"{found.suggestion:.2g}"))
    return f"Range test: try learning rate {rate}"

"""The loss and the learning rate, step by step."""

import numpy as np

from gdtrain.diagnosis import source
from gdtrain.diagnosis.source import open_source
from gdtrain.plots import canvas, scales, smoothing

COLOURS = (canvas.BLUE, canvas.RED, canvas.GREEN, "#8a5a00", "#6a3d9a")


def loss(source, path=None):
    """Draws the loss above the learning rate.

    The first step whose loss is NaN or infinite is marked.

    Args:
        source: A `gdtrain.callbacks.Telemetry`, the log folder of a
            `gdtrain.callbacks.TensorBoard`, or an `.npz` file that
            `Telemetry.save` wrote.
        path: Where to save the picture too, for example `"loss.png"`.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        TypeError, ValueError, FileNotFoundError: if there is nothing to read.
        KeyError: if the loss or the learning rate was not measured.

    Example:

    >>> from gdtrain.writers.memory import MemoryWriter
    >>> writer = MemoryWriter()
    >>> names = ["loss", "learning_rate"]
    >>> writer.write([1, 2], names, [[0.5, 0.1], [0.25, 0.1]])
    >>> [axes.get_title("left") for axes in loss(writer).axes]
    ['Loss', 'Learning rate']
    """
    opened = open_source(source)
    figure = canvas.new_figure(7, 4.4)
    above, below = figure.subplots(2, sharex=True, height_ratios=(2.4, 1))
    draw_loss(above, opened)
    draw_learning_rate(below, opened)
    scales.steps_across(below, opened.steps)
    return canvas.finish(figure, path)


def draw_loss(axes, source):
    """Draws the loss, and where it was first not finite."""
    values = source["loss"]
    finite = np.isfinite(values)
    steps, shown = source.steps[finite], values[finite]
    many = len(steps) > smoothing.MANY
    # The more points, the smaller and fainter, so that the line stands out.
    crowd = max((smoothing.MANY / max(len(steps), 1)) ** 0.25, 0.33)
    axes.plot(
        steps,
        shown,
        linestyle="none" if many else "-",
        marker=".",
        markersize=5 * crowd if many else 5,
        markeredgewidth=0,
        linewidth=1.6,
        color=canvas.BLUE,
        alpha=0.6 * crowd if many else 1,
    )
    if many:
        places, medians = smoothing.running_median(shown)
        axes.plot(steps[places], medians, color=canvas.BLUE, linewidth=1.8)
    scales.scale_up(axes, values)
    canvas.dress(axes, "Loss (line: running median)" if many else "Loss")
    canvas.rule(axes)
    _mark_nonfinite(axes, source.steps, values)


def draw_learning_rate(axes, source):
    """Draws the learning rate, or those of several optimizers."""
    if "learning_rate" in source.values:
        rates = {"": source["learning_rate"]}
    else:
        rates = source.parts("learning_rate")
    for place, (optimizer, values) in enumerate(rates.items()):
        known = ~np.isnan(values)
        axes.plot(
            source.steps[known],
            values[known],
            color=COLOURS[place % len(COLOURS)],
            linewidth=1.6,
            marker="." if known.sum() == 1 else "",
            label=canvas.plain(optimizer),
        )
    together = np.concatenate(list(rates.values()))
    scales.scale_up(axes, together)
    if axes.get_yscale() == "linear" and np.nanmin(together) >= 0:
        axes.set_ylim(bottom=0, top=1.15 * np.nanmax(together) or None)
    canvas.dress(axes, "Learning rate")
    canvas.rule(axes)
    if len(rates) > 1:
        axes.legend(fontsize=canvas.SMALL, frameon=False, labelcolor=canvas.INK)


def _mark_nonfinite(axes, steps, values):
    """Marks the first step that is NaN or infinite, with a word."""
    place = source.first_nonfinite(values)
    if place is None:
        return
    axes.axvline(steps[place], color=canvas.RED, linewidth=1.2, linestyle="--")
    word = "NaN" if np.isnan(values[place]) else "infinite"
    late = steps[place] > (steps[0] + steps[-1]) / 2
    axes.annotate(
        f"{word} at step {steps[place]:,}",
        (steps[place], 1),
        (-4 if late else 4, -4),
        xycoords=axes.get_xaxis_transform(),
        textcoords="offset points",
        ha="right" if late else "left",
        va="top",
        fontsize=canvas.SMALL,
        color=canvas.RED,
    )

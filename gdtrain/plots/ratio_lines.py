"""How fast the layers learn, as lines."""

import math

import numpy as np
from matplotlib import colormaps

from gdtrain.diagnosis.source import open_source
from gdtrain.plots import bins, canvas, names, scales

ROOM = 3  # Times: above and below ratios that hardly change
COLOURS = ("#1f6fb4", "#d1701a", "#7d3fa0", "#c0223b", "#6b5b00", "#555555")
MOST_NAMES, GAP = 12, 0.065  # Names beside the axes, in their height


def update_ratios(source, path=None):
    """Draws how far each update moved each layer, as a share of its length.

    Where there are many steps, a line goes through geometric means of some.
    A line is interrupted where the ratio is 0 or not finite.

    Args:
        source: A `gdtrain.callbacks.Telemetry`, the log folder of a
            `gdtrain.callbacks.TensorBoard`, or an `.npz` file that
            `Telemetry.save` wrote.
        path: Where to save the picture too, for example `"ratios.png"`.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        TypeError, ValueError, FileNotFoundError: if there is nothing to read.
        KeyError: if no layer's update ratio was measured.

    Example:

    >>> from gdtrain.writers.memory import MemoryWriter
    >>> writer = MemoryWriter()
    >>> writer.write([1, 2], ["update_ratio/line"], [[0.5], [0.25]])
    >>> axes = update_ratios(writer).axes[0]
    >>> axes.lines[0].get_xydata().tolist()
    [[1.0, 0.5], [2.0, 0.25]]
    """
    opened = open_source(source)
    figure = canvas.new_figure(7, 3.6)
    axes = figure.add_subplot()
    draw_update_ratios(axes, opened)
    scales.steps_across(axes, opened.steps)
    return canvas.finish(figure, path)


def draw_update_ratios(axes, source):
    """Draws a line a layer, and its name at its end."""
    steps, layers, ratios = source.layers("update_ratio")
    columns = bins.into_columns(steps)
    lines = np.stack([columns.means(values) for values in ratios])
    lines[np.isinf(lines)] = np.nan  # 0, which has no place here
    shades = _colours(len(layers))
    for logs, shade in zip(lines, shades, strict=True):
        there = logs[~np.isnan(logs)]
        axes.plot(
            columns.centres,
            10.0**logs,
            color=shade,
            linewidth=1.3,
            marker="." if len(there) == 1 else "",
        )
    known = lines[~np.isnan(lines)]
    low, high = (known.min(), known.max()) if len(known) else (-3.0, -3.0)
    room = max(math.log10(ROOM) - (high - low) / 2, 0)
    scales.log_up(axes, 10.0 ** (low - room), 10.0 ** (high + room))
    canvas.dress(axes, "Update ratio of each layer", "update / weights")
    _name_lines(axes, layers, lines, shades)


def _colours(count):
    """A colour each: strong ones for a few, by depth for many."""
    if count <= len(COLOURS):
        return COLOURS[:count]
    return colormaps["plasma"](np.linspace(0, 0.85, count))  # No light yellow


def _name_lines(axes, layers, lines, shades):
    """Writes names at the right, each as high as its line ends."""
    short = names.shorten_all(layers)
    ends = []
    for row in names.thin(len(layers), MOST_NAMES):
        there = lines[row][~np.isnan(lines[row])]
        if len(there):
            ends.append((canvas.plain(short[row]), there[-1], shades[row]))
    low, high = np.log10(axes.get_ylim())
    heights = [(end - low) / (high - low) for _, end, _ in ends]
    for height, (text, _, colour) in zip(
        names.spread(heights, GAP), ends, strict=True
    ):
        axes.annotate(
            text,
            (1, height),
            (5, 0),
            xycoords="axes fraction",
            textcoords="offset points",
            va="center",
            fontsize=canvas.SMALL,
            color=colour,
            annotation_clip=False,
        )

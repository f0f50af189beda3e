"""How gradients and updates of the layers go: a map, and lines."""

import math
from typing import Any

import numpy as np
from matplotlib import colors
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from gdtrain.plots import canvas
from gdtrain.writers.reading import Source, open_source

# Whether numbers lie below and above what the colors span
EXTEND = {
    (False, False): "neither",
    (True, False): "min",
    (False, True): "max",
    (True, True): "both",
}
MARGIN = 3  # Times: above and below ratios that hardly change
LINE_COLORS = (
    *(canvas.BLUE, canvas.ORANGE, canvas.PURPLE, canvas.RED),
    *("#6b5b00", canvas.GREY),
)
MAX_NAMES, GAP = 12, 0.065  # Names beside the axes, in their height


def gradient_norms(source: object, path: canvas.Path = None) -> Figure:
    """Draws the norm of each layer's gradient: layers down, steps across.

    Where there are many steps, a column shows the geometric mean of some. A
    column in which a gradient was NaN or infinite is red.

    Args:
        source: As in `gdtrain.plots.loss`.
        path: Where to save the picture too, for example `"norms.png"`.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        TypeError, ValueError, FileNotFoundError: if there is nothing to read.
        KeyError: if no layer's gradient was measured.

    Example:

    >>> from gdtrain.writers.memory import MemoryWriter
    >>> writer = MemoryWriter()
    >>> layers = ["gradient_norm/first", "gradient_norm/second"]
    >>> writer.write([1, 2], layers, [[1000.0, 100.0], [10.0, 1.0]])
    >>> axes = gradient_norms(writer).axes[0]
    >>> axes.images[0].get_array().tolist()
    [[3.0, 1.0], [2.0, 0.0]]
    """
    opened = open_source(source)
    rows = len(opened.parts("gradient_norm"))
    figure, axes = canvas.new_axes(7, min(max(1.2 + 0.2 * rows, 1.9), 9))
    draw_gradient_norms(axes, opened, max_names=36)
    canvas.steps_across(axes, opened.steps)
    return canvas.finish(figure, path)


def update_ratios(source: object, path: canvas.Path = None) -> Figure:
    """Draws how far each update moved each layer, as a share of its norm.

    Where there are many steps, a line goes through geometric means of some.
    A line is interrupted where the ratio is 0 or not finite.

    Args:
        source: As in `gdtrain.plots.loss`.
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
    figure, axes = canvas.new_axes(7, 3.6)
    draw_update_ratios(axes, opened)
    canvas.steps_across(axes, opened.steps)
    return canvas.finish(figure, path)


def draw_gradient_norms(axes: Axes, source: Source, max_names: int) -> None:
    """Draws the map, with at most so many names of layers beside it."""
    steps, layers, norms = source.layers("gradient_norm")
    columns = canvas.into_columns(steps)
    logs = np.stack([columns.log_means(values) for values in norms])
    bad = np.stack([columns.any(~np.isfinite(values)) for values in norms])
    place: dict[str, Any] = {
        "extent": (*columns.edges[[0, -1]], len(layers) - 0.5, -0.5),
        "aspect": "auto",
        "interpolation": "nearest",
    }
    low, high = _color_range(logs[~bad])
    logs[np.isneginf(logs)] = low - 1  # matplotlib leaves infinities blank.
    image = axes.imshow(
        np.ma.masked_array(logs, bad | np.isnan(logs)),
        cmap="viridis",
        vmin=low,
        vmax=high,
        **place,
    )
    red = colors.ListedColormap([canvas.RED])
    axes.imshow(np.ma.masked_array(bad, ~bad), cmap=red, **place)
    note = " (red: NaN or infinite)" if bad.any() else ""
    canvas.dress(axes, f"Gradient norm of each layer{note}", ruled=False)
    rows = canvas.thin(len(layers), max_names)
    short = canvas.shorten_all(layers)
    axes.set_yticks(rows, [canvas.plain(short[row]) for row in rows])
    axes.tick_params(axis="y", length=0)
    _add_bar(axes, image)


def draw_update_ratios(axes: Axes, source: Source) -> None:
    """Draws a line a layer, and its name at its end."""
    steps, layers, ratios = source.layers("update_ratio")
    columns = canvas.into_columns(steps)
    lines = np.stack([columns.log_means(values) for values in ratios])
    lines[np.isinf(lines)] = np.nan  # 0, which has no place here
    shades = canvas.shades(len(layers), LINE_COLORS, "plasma", 0.85)
    for logs, shade in zip(lines, shades, strict=True):
        axes.plot(
            columns.centers,
            10.0**logs,
            color=shade,
            linewidth=1.3,
            marker="." if np.isfinite(logs).sum() == 1 else "",
        )
    known = lines[~np.isnan(lines)]
    low, high = (known.min(), known.max()) if len(known) else (-3.0, -3.0)
    margin = max(math.log10(MARGIN) - (high - low) / 2, 0)
    canvas.log_up(axes, 10.0 ** (low - margin), 10.0 ** (high + margin))
    title = "Update ratio of each layer"
    canvas.dress(axes, title, "update / weights", ruled=False)
    _name_lines(axes, layers, lines, shades)


def _color_range(logs: np.ndarray) -> tuple[float, float]:
    """What colors span: rare extremes, far off, share the last color."""
    finite = logs[np.isfinite(logs)]
    if not len(finite):
        return -1.0, 1.0
    low, high = np.percentile(finite, [1, 99]) + [-1, 1]
    low, high = max(low, finite.min()), min(high, finite.max())
    margin = max(0.1 - (high - low), 0) / 2
    return low - margin, high + margin


def _add_bar(axes: Axes, image: AxesImage) -> None:
    """Adds the key of colors."""
    logs: Any = image.get_array()
    logs, (low, high) = logs.compressed(), image.get_clim()
    beyond = (bool((logs < low).any()), bool((logs > high).any()))
    beside = axes.inset_axes((1.012, 0, 0.018, 1))
    bar = axes.figure.colorbar(image, cax=beside, extend=EXTEND[beyond])
    bar.set_ticks(canvas.round_logs(low, high))
    canvas.plain_numbers(bar.ax.yaxis, are_logs=True)
    canvas.dress_bar(bar, "gradient norm")


def _name_lines(
    axes: Axes, layers: list[str], lines: np.ndarray, shades: Any
) -> None:
    """Writes names at the right, each as high as its line ends."""
    short = canvas.shorten_all(layers)
    low, high = np.log10(axes.get_ylim())
    rows, heights = [], []
    for row in canvas.thin(len(layers), MAX_NAMES):
        known = lines[row][~np.isnan(lines[row])]
        if len(known):
            rows.append(row)
            heights.append((known[-1] - low) / (high - low))
    for row, height in zip(rows, canvas.spread(heights, GAP), strict=True):
        canvas.note(
            axes,
            canvas.plain(short[row]),
            (1, height),
            (5, 0),
            shades[row],
            annotation_clip=False,
        )

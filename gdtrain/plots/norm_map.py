"""The lengths of the layers' gradients, as a map."""

import numpy as np
from matplotlib import colors, ticker

from gdtrain.diagnosis.source import open_source
from gdtrain.plots import bins, canvas, names, scales

# Whether numbers lie below and above what the colours span
EXTEND = {
    (False, False): "neither",
    (True, False): "min",
    (False, True): "max",
    (True, True): "both",
}


def gradient_norms(source, path=None):
    """Draws how long each layer's gradient was: layers down, steps across.

    Where there are many steps, a column shows the geometric mean of some. A
    column in which a gradient was NaN or infinite is red.

    Args:
        source: A `gdtrain.callbacks.Telemetry`, the log folder of a
            `gdtrain.callbacks.TensorBoard`, or an `.npz` file that
            `Telemetry.save` wrote.
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
    figure = canvas.new_figure(7, min(max(1.2 + 0.2 * rows, 1.9), 9))
    axes = figure.add_subplot()
    draw_gradient_norms(axes, opened, most_names=36)
    scales.steps_across(axes, opened.steps)
    return canvas.finish(figure, path)


def draw_gradient_norms(axes, source, most_names):
    """Draws the map, with at most so many names of layers beside it."""
    steps, layers, norms = source.layers("gradient_norm")
    columns = bins.into_columns(steps)
    logs = np.stack([columns.means(values) for values in norms])
    bad = np.stack([columns.any(~np.isfinite(values)) for values in norms])
    place = {
        "extent": (*columns.edges[[0, -1]], len(layers) - 0.5, -0.5),
        "aspect": "auto",
        "interpolation": "nearest",
    }
    low, high = _range(logs[~bad])
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
    canvas.dress(axes, f"Gradient norm of each layer{note}")
    _name_rows(axes, layers, most_names)
    _add_bar(axes, image)


def _range(logs):
    """What the colours span: rare extremes, far off, share the last colour."""
    finite = logs[np.isfinite(logs)]
    if not len(finite):
        return -1.0, 1.0
    low, high = np.percentile(finite, [1, 99]) + [-1, 1]
    low, high = max(low, finite.min()), min(high, finite.max())
    room = max(0.1 - (high - low), 0) / 2
    return low - room, high + room


def _name_rows(axes, layers, most):
    """Writes names of layers, as many as there is room for."""
    rows = names.thin(len(layers), most)
    short = names.shorten_all(layers)
    axes.set_yticks(rows, [canvas.plain(short[row]) for row in rows])
    axes.tick_params(axis="y", length=0)


def _add_bar(axes, image):
    """Adds the bar that tells what the colours mean."""
    logs, norm = image.get_array().compressed(), image.norm
    beyond = (bool((logs < norm.vmin).any()), bool((logs > norm.vmax).any()))
    beside = axes.inset_axes((1.012, 0, 0.018, 1))
    bar = axes.figure.colorbar(image, cax=beside, extend=EXTEND[beyond])
    bar.outline.set_visible(False)
    bar.set_ticks(scales.round_logs(norm.vmin, norm.vmax))
    bar.ax.yaxis.set_major_formatter(
        ticker.FuncFormatter(lambda log, _: scales.number(10.0**log))
    )
    bar.ax.tick_params(labelsize=canvas.SMALL, colors=canvas.INK)
    bar.set_label("gradient norm", fontsize=canvas.SMALL, color=canvas.INK)

"""The loss over a plane of weights, with paths of descent on it."""

import matplotlib
import numpy as np
from matplotlib import ticker
from matplotlib.colors import LogNorm, Normalize

from gdtrain.plots import canvas, scales

_LEVELS = 14
_SPAN = 1e4  # At most so many times the lowest level is the highest one
_FAR = 1.5  # Sizes of the view from its middle: there a path is lost
_UNKNOWN = "#c9c9c9"  # Where the loss is not finite
_LINE = "#ff5a36"  # Seen on all colours of the map


def landscape(surface, path=None):
    """Draws the loss as contours, and on it where training went.

    Each path has a panel of its own, with its label: from the circle to the
    star. Where the loss is not finite, the map is grey.

    Args:
        surface: What `gdtrain.landscape` returned.
        path: Where to save the picture too, for example `"landscape.png"`.

    Returns:
        A `matplotlib.figure.Figure`.

    Example:

    >>> import gdtrain, keras
    >>> model = keras.Sequential([keras.Input([1]), keras.layers.Dense(1)])
    >>> model.compile("sgd", "mse")
    >>> x = np.array([[-1.0], [1.0]])
    >>> paths = {"too small": [[0, 0], [0.1, 0]], "right": [[0, 0], [2, 0]]}
    >>> surface = gdtrain.landscape(model, x, 2 * x, path=paths, points=5)
    >>> figure = landscape(surface)
    >>> [axes.get_title("left") for axes in figure.axes]
    ['too small', 'right', '']
    """
    paths = surface.paths or {"": np.zeros([0, 2])}
    figure = canvas.new_figure(1.2 + 3.9 * len(paths), 3.9)
    panels = figure.subplots(
        1, len(paths), squeeze=False, sharex=True, sharey=True
    )[0]
    norm, levels = _scale(surface.losses)
    low, high = np.stack([surface.across, surface.up], axis=1)[[0, -1]]
    for axes, (label, places) in zip(panels, paths.items(), strict=True):
        _draw_losses(axes, surface, norm, levels)
        _draw_path(axes, places, low, high)
        axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
        axes.set_xlabel(canvas.plain(surface.names[0]))
        canvas.dress(axes, label)
        axes.set_facecolor(_UNKNOWN)
    panels[0].set_ylabel(canvas.plain(surface.names[1]))
    if len(levels):
        _draw_key(figure, panels, norm, levels)
    return canvas.finish(figure, path)


def _scale(losses):
    """`(norm, levels)`: logarithmic where that shows more."""
    finite = losses[np.isfinite(losses)]
    if not len(finite) or np.ptp(finite) == 0:
        return Normalize(), np.zeros(0)
    low, high = finite.min(), finite.max()
    if not scales.wants_log(finite):
        levels = np.linspace(low, high, _LEVELS)
        return Normalize(low, high), levels
    low = max(low, high / _SPAN)
    return LogNorm(low, high), np.geomspace(low, high, _LEVELS)


def _draw_losses(axes, surface, norm, levels):
    """The contours."""
    shown = np.ma.masked_invalid(surface.losses)
    if len(levels):
        options = {"norm": norm, "levels": levels}
        axes.contourf(
            surface.across,
            surface.up,
            shown,
            cmap="viridis",
            extend="min",
            **options,
        )
        axes.contour(
            surface.across,
            surface.up,
            shown,
            colors="white",
            linewidths=0.4,
            alpha=0.5,
            **options,
        )


def _draw_path(axes, places, low, high):
    """A path, up to where it is lost, within a view from `low` to `high`."""
    if not len(places):
        return
    end = places[-1]
    with np.errstate(invalid="ignore", over="ignore"):
        off = np.abs(places - (low + high) / 2) / (high - low)
    lost = ~(off <= _FAR).all(axis=1)  # Also what is not finite
    if lost.any():  # The first place of those is where the line goes to.
        places = places[: np.argmax(lost) + 1]
        places = places[np.isfinite(places).all(axis=1)]
    axes.plot(
        *places.T,
        color=_LINE,
        linewidth=1.3,
        marker="." if len(places) <= 100 else "",
        markersize=4,
    )
    axes.plot(*places[0], "o", color=_LINE, mfc="white", markersize=7)
    if not lost[-1]:
        axes.plot(*end, "*", color=_LINE, mec="white", markersize=13)
    if not ((end >= low) & (end <= high)).all():
        _say_unseen(axes)


def _say_unseen(axes):
    """Says that the path does not end in view."""
    axes.text(
        0.03,
        0.97,
        "ends outside this view",
        va="top",
        transform=axes.transAxes,
        fontsize=canvas.SMALL,
        color=canvas.RED,
        bbox={"facecolor": "white", "alpha": 0.85, "linewidth": 0, "pad": 2},
        zorder=9,
    )


def _draw_key(figure, panels, norm, levels):
    """The colours of losses."""
    colours = matplotlib.cm.ScalarMappable(norm, "viridis")
    bar = figure.colorbar(colours, ax=panels, aspect=30, pad=0.02)
    if isinstance(norm, LogNorm):
        logs = scales.round_logs(*np.log10(levels[[0, -1]]))
        bar.set_ticks([10**log for log in logs])
    bar.ax.yaxis.set_major_formatter(
        ticker.FuncFormatter(lambda value, _: scales.number(value))
    )
    bar.ax.yaxis.set_minor_locator(ticker.NullLocator())
    bar.ax.tick_params(labelsize=canvas.SMALL, colors=canvas.INK)
    bar.set_label("loss", fontsize=canvas.SMALL, color=canvas.INK)
    bar.outline.set_visible(False)

"""The loss over a plane of weights, with paths of descent on it."""

from collections.abc import Sequence
from typing import Any

import keras
import matplotlib
import numpy as np
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure

from gdtrain.callbacks.weight_path import WeightPath
from gdtrain.plots import canvas
from gdtrain.tuning.landscape import LossSurface, find
from gdtrain.tuning.weight_space import LossSurvey

_LEVELS = 14
_SPAN = 1e4  # At most so many times the lowest level is the highest one
_FAR = 1.5  # Sizes of the view from its middle: there a path is lost
_UNKNOWN = "#c9c9c9"  # Where the loss is not finite
_LINE = "#ff5a36"  # Seen on all colors of the map


class Landscape:
    """The loss over a plane of weights, and the path so far.

    For `gdtrain.callbacks.TensorBoard(pictures=[...])`. It shows what
    `gdtrain.landscape` finds: for a model of two weights, as a line, all of
    it, with the path from look to look; for others a slice around the weights
    as they are. With `path`, each step of it is shown, and the slice of a
    larger model is the plane of the path.

    A look takes as long as 441 times the loss of 256 examples.

    Args:
        x, y: The data, as in `keras.Model.fit`, or some of them.
        path: A `gdtrain.callbacks.WeightPath` that `fit` is given too.
        resolution: The number of points along each side. Defaults to 21.
        examples: How many examples to look at, at most. Defaults to 256.
        name: What the picture is called in TensorBoard.

    Example:

    >>> import keras
    >>> line = keras.layers.Dense(1, kernel_initializer="zeros")
    >>> model = keras.Sequential([keras.Input([1]), line])
    >>> model.compile("sgd", "mse")
    >>> x = np.array([[-1.0], [1.0]])
    >>> picture = Landscape(x, 2 * x)
    >>> seen = picture.look(model)
    >>> seen.losses.shape, seen.paths[""].tolist()
    ((21, 21), [[0.0, 0.0]])
    >>> len(picture.draw(seen).axes)  # The map, and the colors of losses
    2
    """

    def __init__(
        self,
        x: Any,
        y: Any = None,
        path: WeightPath | None = None,
        *,
        resolution: int = 21,
        examples: int = 256,
        name: str = "landscape",
    ) -> None:
        self.name = name
        self._data = x, y
        self._path = path
        self._resolution = resolution
        self._examples = examples
        self._survey: LossSurvey | None = None  # Of the last model
        self._looked: list[np.ndarray] = []

    def look(self, model: keras.Model) -> LossSurface:
        """Finds the loss around the weights, on the training thread.

        Args:
            model: A Keras model, built and compiled with a loss.

        Returns:
            A `gdtrain.LossSurface`.

        Raises:
            RuntimeError, TypeError, ValueError: as `gdtrain.landscape`.
        """
        survey = self._survey
        if survey is None or model is not survey.model:
            survey = LossSurvey(model, *self._data, examples=self._examples)
            self._survey, self._looked = survey, []
        path = self._so_far(survey)
        return find(survey, path, resolution=self._resolution)

    def _so_far(self, survey: LossSurvey) -> np.ndarray | list | None:
        """The path up to now; `None` for a larger model without one."""
        if self._path is None and survey.size != 2:
            return None
        here = survey.point()
        if self._path is None:
            self._looked.append(here)
            return np.stack(self._looked)
        known = self._path.weights
        return np.concatenate([known, [here]]) if len(known) else [here]

    def draw(self, seen: LossSurface) -> Figure:
        """Draws what `look` returned, on any thread.

        Args:
            seen: A `LossSurface`.

        Returns:
            A `matplotlib.figure.Figure`.
        """
        return landscape(seen)


def landscape(surface: LossSurface, path: canvas.Path = None) -> Figure:
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
    >>> surface = gdtrain.landscape(
    ...     model, x, 2 * x, path=paths, resolution=5
    ... )
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
    low, high = np.stack([surface.x, surface.y], axis=1)[[0, -1]]
    for axes, (label, places) in zip(panels, paths.items(), strict=True):
        _draw_losses(axes, surface, norm, levels)
        _draw_path(axes, places, low, high)
        axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
        axes.set_xlabel(canvas.plain(surface.names[0]))
        canvas.dress(axes, label, ruled=False)
        axes.set_facecolor(_UNKNOWN)
    panels[0].set_ylabel(canvas.plain(surface.names[1]))
    if len(levels):
        _draw_key(figure, panels, norm, levels)
    return canvas.finish(figure, path)


def _scale(losses: np.ndarray) -> tuple[Normalize, np.ndarray]:
    """`(norm, levels)`: logarithmic where that shows more."""
    finite = losses[np.isfinite(losses)]
    if not len(finite) or np.ptp(finite) == 0:
        return Normalize(), np.zeros(0)
    low, high = finite.min(), finite.max()
    if not canvas.wants_log(finite):
        levels = np.linspace(low, high, _LEVELS)
        return Normalize(low, high), levels
    low = max(low, high / _SPAN)
    return LogNorm(low, high), np.geomspace(low, high, _LEVELS)


def _draw_losses(
    axes: Axes, surface: LossSurface, norm: Normalize, levels: np.ndarray
) -> None:
    """The contours."""
    if not len(levels):
        return
    losses = np.ma.masked_invalid(surface.losses)
    shown = surface.x, surface.y, losses, levels
    axes.contourf(*shown, norm=norm, cmap="viridis", extend="min")
    axes.contour(*shown, norm=norm, colors="white", linewidths=0.4, alpha=0.5)


def _draw_path(
    axes: Axes, places: np.ndarray, low: np.ndarray, high: np.ndarray
) -> None:
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
        box = {"facecolor": "white", "alpha": 0.85, "linewidth": 0, "pad": 2}
        text = "ends outside this view"
        canvas.note(axes, text, (0.03, 0.97), va="top", bbox=box, zorder=9)


def _draw_key(
    figure: Figure,
    panels: Sequence[Axes],
    norm: Normalize,
    levels: np.ndarray,
) -> None:
    """The colors of losses."""
    colors = matplotlib.cm.ScalarMappable(norm, "viridis")
    bar = figure.colorbar(colors, ax=panels, aspect=30, pad=0.02)
    if isinstance(norm, LogNorm):
        logs = canvas.round_logs(*np.log10(levels[[0, -1]]))
        bar.set_ticks([10**log for log in logs])
    canvas.plain_numbers(bar.ax.yaxis)
    bar.ax.yaxis.set_minor_locator(ticker.NullLocator())
    canvas.dress_bar(bar, "loss")

"""What all pictures share: page, colors, fonts, axes, names."""

import dataclasses
import io
import math
import os
from collections.abc import Sequence
from typing import Any

from gdtrain.common.explained import more

try:
    import matplotlib  # noqa: F401
except ImportError as error:
    raise ImportError(
        "`gdtrain.plots` draws with matplotlib, which could not be imported. "
        "Run `pip install matplotlib`, or, in a copy of gdtrain's repository, "
        "`pip install -e '.[plots]'`." + more("extras")
    ) from error

import numpy as np
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colorbar import Colorbar
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

DPI = 150
INK, FAINT, PAPER = "#333333", "#e4e4e4", "white"
BLUE, RED, GREEN = "#1f6fb4", "#c0223b", "#1b7837"
ORANGE, PURPLE, GREY = "#d1701a", "#7d3fa0", "#555555"
SMALL, MEDIUM = 8, 9.5  # Font sizes, in points

Path = str | os.PathLike | None


class Picture(Figure):
    """A figure that a notebook shows as the result of a cell.

    It shows those of pyplot only, which gdtrain does not use.
    """

    def _repr_png_(self) -> bytes:
        drawn = io.BytesIO()
        self.savefig(drawn, format="png", dpi=self.dpi, facecolor=PAPER)
        return drawn.getvalue()


def new_figure(width: float, height: float) -> Picture:
    """An empty figure, its size in inches."""
    return Picture(
        figsize=(width, height),
        layout=ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08),
        facecolor=PAPER,
    )


def new_axes(width: float, height: float) -> tuple[Picture, Axes]:
    """The same with one pair of axes."""
    figure = new_figure(width, height)
    return figure, figure.add_subplot()


def finish(figure: Figure, path: Path) -> Figure:
    """Saves the figure, if there is a path, and returns it."""
    if path is not None:
        figure.savefig(path, dpi=DPI, facecolor=PAPER)
    return figure


def dress(
    axes: Axes, title: str, y_label: str | None = None, *, ruled: bool = True
) -> None:
    """Gives axes the fonts and colors that all of them have.

    If `ruled`, with faint lines to read values by, behind everything.
    """
    axes.set_facecolor(PAPER)
    axes.set_title(
        plain(title), loc="left", fontsize=MEDIUM, color=INK, weight="bold"
    )
    axes.tick_params(which="both", labelsize=SMALL, colors=INK)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set(fontsize=SMALL, color=INK)
    if y_label is not None:
        axes.set_ylabel(y_label)
    for side, spine in axes.spines.items():
        spine.set(visible=side in ("left", "bottom"), color=INK, linewidth=0.6)
    if ruled:
        axes.grid(True, axis="y", color=FAINT, linewidth=0.6, linestyle="-")
        axes.set_axisbelow(True)


def shades(count: int, strong: Sequence[str], name: str, end: float) -> Any:
    """Colors of so many lines: strong ones if they suffice, or of a colormap.

    Args:
        count: How many lines there are.
        strong: Colors for a few.
        name: Of the colormap.
        end: Where in it to end, up to 1: the ends of some are too light.
    """
    if count <= len(strong):
        return strong[:count]
    return matplotlib.colormaps[name](np.linspace(0, end, count))


def dress_bar(bar: Colorbar, label: str) -> None:
    """Gives the key of colors the fonts that all pictures have."""
    bar.ax.tick_params(labelsize=SMALL, colors=INK)
    bar.set_label(label, fontsize=SMALL, color=INK)
    bar.outline.set_visible(False)


def legend(axes: Axes, **options: Any) -> None:
    """Says what each line is, if any has a label."""
    if axes.get_legend_handles_labels()[0]:
        axes.legend(
            fontsize=SMALL,
            title_fontsize=SMALL,
            frameon=False,
            labelcolor=INK,
            **options,
        )


def note(
    axes: Axes,
    text: str,
    place: tuple[float, float],
    offset: tuple[float, float] = (0, 0),
    color: Any = RED,
    **options: Any,
) -> None:
    """Writes at a place within the axes, from (0, 0) to (1, 1).

    Args:
        axes: Where to write.
        text: What to write.
        place: In the coordinates `xycoords=`, by default the axes' own.
        offset: From there, in points.
        color: Of the text.
        **options: Of `matplotlib.axes.Axes.annotate`.
    """
    options = {"xycoords": "axes fraction", "va": "center"} | options
    options |= {"textcoords": "offset points", "fontsize": SMALL}
    axes.annotate(text, place, offset, color=color, **options)


def plain(text: str) -> str:
    """The same text, with no part of it taken for a formula.

    Layers may have any name, and matplotlib's parser of formulas is shared by
    all threads. A file's name need not be UTF-8, which matplotlib cannot draw.

    Example:

    >>> print(plain("cost in $ or $"), plain("caf" + chr(0xDCE9)))
    cost in \\$ or \\$ caf?
    """
    return text.encode(errors="replace").decode().replace("$", r"\$")


def shorten(name: str, max_length: int = 24) -> str:
    """The same name, its middle cut out if it has more characters.

    Example:

    >>> shorten("encoder/block_12/attention/query", 17)
    'encoder/…on/query'
    """
    if len(name) <= max_length:
        return name
    front = (max_length - 1) // 2
    return f"{name[:front]}…{name[front - max_length + 1 :]}"


def shorten_all(paths: list[str], max_length: int = 24) -> list[str]:
    """The same paths; if some are long, without what all of them share.

    Args:
        paths: A list of paths, their parts between slashes.
        max_length: How many characters may stay of each.

    Example:

    >>> shorten_all(["net/block_1/attention/key", "net/block_2/mlp/key"], 20)
    ['…/block_1/attention/…', '…/block_2/mlp/…']
    """
    if max(map(len, paths)) <= max_length:
        return list(paths)
    parts = [path.split("/") for path in paths]
    shortest = min(map(len, parts))
    front = min(len(os.path.commonprefix(parts)), shortest - 1)
    turned = [part[front:][::-1] for part in parts]
    back = min(len(os.path.commonprefix(turned)), shortest - front - 1)
    return [
        "…/" * (front > 0)
        + shorten("/".join(part[front : len(part) - back]), max_length)
        + "/…" * (back > 0)
        for part in parts
    ]


def thin(count: int, max_names: int) -> range:
    """Which of `count` things to name: the first, and every so many.

    Args:
        count: How many there are.
        max_names: How many can be named.

    Example:

    >>> list(thin(3, 9)), list(thin(10, 4))
    ([0, 1, 2], [0, 3, 6, 9])
    """
    return range(0, count, -(-count // max_names))


def spread(heights: list[float], gap: float) -> np.ndarray:
    """Moves heights apart, so that names written there do not overlap.

    Args:
        heights: Wanted heights, `[n]`; 0 is the bottom, and 1 the top.
        gap: The least distance of two. `(n - 1) * gap` must be at most 1.

    Returns:
        Heights in the order of `heights`, float64, between 0 and 1.

    Example:

    >>> spread([0.5, 0.0, 0.5], 0.25).tolist()
    [0.375, 0.0, 0.625]
    >>> spread([1.0, 0.9], 0.25).tolist()
    [1.0, 0.75]
    """
    order = np.argsort(heights, kind="stable")
    ranks = gap * np.arange(len(order))
    # Less its rank's share, none may be below the one before it.
    wanted = np.asarray(heights, np.float64)[order] - ranks
    above = np.maximum.accumulate(wanted)
    below = np.minimum.accumulate(wanted[::-1])[::-1]
    room = 1 - gap * (len(order) - 1)
    placed = np.empty(len(order))
    placed[order] = np.clip((above + below) / 2, 0, room) + ranks
    return placed


MAX_COLUMNS = 400  # More could not be distinguished on a page
MANY = 100  # From here on, points hide their own course
MAX_MEDIANS = 400


@dataclasses.dataclass(frozen=True)
class Columns:
    """Steps in columns of equal width.

    Args:
        edges: Where the columns begin and end, in steps, float64 `[c + 1]`.
        index: The column of each step, int `[n]`.
    """

    edges: np.ndarray
    index: np.ndarray

    @property
    def centers(self) -> np.ndarray:
        """The middles of the columns, float64 `[c]`."""
        return (self.edges[1:] + self.edges[:-1]) / 2

    def log_means(self, values: np.ndarray) -> np.ndarray:
        """Common logarithms of geometric means, column by column.

        Args:
            values: Float `[n]`, at least 0; non-finite values are
                ignored, and so is 0 unless a column has nothing else.

        Returns:
            Float64 `[c]`: minus infinity where all is 0, NaN where there is
            nothing.

        Example:

        >>> columns = into_columns(np.arange(4), max_columns=2)
        >>> columns.log_means(np.array([1.0, 100.0, 0.0, 1000.0])).tolist()
        [1.0, 3.0]
        """
        positive = np.isfinite(values) & (values > 0)
        logs = np.log10(values[positive])
        sums = np.bincount(self.index[positive], logs, len(self.edges) - 1)
        counts = self._count(positive)
        return np.where(
            counts > 0,
            sums / np.maximum(counts, 1),
            np.where(self.any(values == 0), -np.inf, np.nan),
        )

    def any(self, marks: np.ndarray) -> np.ndarray:
        """In which columns a mark is set, from bool `[n]` to bool `[c]`."""
        return self._count(marks) > 0

    def _count(self, marks: np.ndarray) -> np.ndarray:
        """How many marks are set in each column."""
        return np.bincount(self.index[marks], minlength=len(self.edges) - 1)


def into_columns(steps: np.ndarray, max_columns: int = MAX_COLUMNS) -> Columns:
    """Sorts steps into columns: one a step, unless there are many.

    Args:
        steps: Step numbers, int64 `[n]`, at least one.
        max_columns: How many columns there may be.

    Example:

    >>> columns = into_columns(np.array([10, 20, 30]))
    >>> columns.edges.tolist(), columns.index.tolist()
    ([5.0, 15.0, 25.0, 35.0], [0, 1, 2])
    """
    first, last = steps.min(), steps.max()
    count = min(len(np.unique(steps)), max_columns)
    half = 0.5
    if 1 < count < max_columns:
        half = (last - first) / (count - 1) / 2
    edges = np.linspace(first - half, last + half, count + 1)
    index = np.searchsorted(edges, steps, side="right") - 1
    return Columns(edges, index)


def running_median(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Medians of neighbors, at some hundred places.

    A window holds about a fiftieth of the values. It narrows towards both
    ends, so that the course follows a fast fall at the start.

    Args:
        values: Finite numbers, float `[n]`.

    Returns:
        `(places, medians)`: int and float64, of one length.

    Example:

    >>> places, medians = running_median(np.array([5.0] * 50 + [9.0] * 50))
    >>> len(places), medians[[0, 48, 51, 99]].tolist()
    (100, [5.0, 5.0, 9.0, 9.0])
    """
    count = len(values)
    places = np.linspace(0, count - 1, min(count, MAX_MEDIANS))
    places = places.round().astype(int)
    half = max(count // 100, 3)
    to_end = np.minimum(places, count - 1 - places)
    reach = np.clip(to_end, max(half // 3, 1), half)
    return places, np.array(
        [
            np.median(values[max(place - far, 0) : place + far + 1])
            for place, far in zip(places, reach, strict=True)
        ]
    )


def course(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`(places, values)`: where there are many values, a running median."""
    if len(values) <= MANY:
        return np.arange(len(values)), values
    return running_median(values)


def steps_across(axes: Axes, steps: np.ndarray) -> None:
    """Makes the x axis one of all these steps, in whole numbers."""
    axes.set_xlabel("step")
    axes.set_xlim(*into_columns(steps).edges[[0, -1]])
    axes.xaxis.set_major_locator(ticker.MaxNLocator(6, integer=True))
    axes.xaxis.set_major_formatter(
        ticker.FuncFormatter(lambda step, _: f"{step:,.0f}")
    )


def wants_log(values: np.ndarray) -> bool:
    """Whether a logarithmic axis shows more: above 0, and over more than 10x.

    Args:
        values: An array; non-finite values do not count.

    Example:

    >>> wants_log(np.array([1.0, 11.0])), wants_log(np.array([0.0, 11.0]))
    (True, False)
    """
    finite = values[np.isfinite(values)]
    return bool(
        len(finite) and finite.min() > 0 and finite.max() > 10 * finite.min()
    )


def scale_up(axes: Axes, values: np.ndarray) -> None:
    """Makes the y axis logarithmic where that shows more."""
    if wants_log(values):
        finite = values[np.isfinite(values)]
        log_up(axes, finite.min(), finite.max())


def log_up(axes: Axes, low: float, high: float) -> None:
    """Makes the y axis logarithmic, with some room below `low`, above `high`.

    Its labels are plain: see `gdtrain.plots.canvas.plain`.
    """
    room = 0.06 * math.log10(high / low)
    axes.set_yscale("log")
    axes.set_ylim(low * 10**-room, high * 10**room)
    few = math.log10(high / low) < 1.5
    axes.yaxis.set_major_locator(
        ticker.LogLocator(subs=(1, 2, 5) if few else (1,), numticks=8)
    )
    plain_numbers(axes.yaxis)


def log_across(axes: Axes, label: str, max_ticks: int) -> None:
    """Makes the x axis logarithmic, with plain labels of powers of ten."""
    axes.set_xscale("log")
    axes.set_xlabel(label)
    axes.xaxis.set_major_locator(ticker.LogLocator(numticks=max_ticks))
    plain_numbers(axes.xaxis)


def plain_numbers(axis: Axis, are_logs: bool = False) -> None:
    """Labels an axis of numbers, or of their logarithms, without formulas."""
    axis.set_major_formatter(
        ticker.FuncFormatter(
            lambda value, _: number(10.0**value if are_logs else value)
        )
    )
    axis.set_minor_formatter(ticker.NullFormatter())


def number(value: float) -> str:
    """A number in few characters.

    Example:

    >>> number(0.01), number(2e-7), number(1e12)
    ('0.01', '2e-7', '1e12')
    """
    digits, e, power = f"{value:.3g}".partition("e")
    if abs(value) < 1e5 and value == round(value):
        return f"{value:.0f}"
    return f"{digits}e{int(power)}" if e else digits


def round_logs(low: float, high: float, max_ticks: int = 7) -> list[float]:
    """Common logarithms of round numbers, for ticks.

    Args:
        low: A logarithm.
        high: A larger one.
        max_ticks: How many there may be.

    Returns:
        A list of at least two; the ends, if no round number is between.

    Example:

    >>> round_logs(-2.5, 1.5), round_logs(0.5, 0.6)
    ([-2.0, -1.0, 0.0, 1.0], [0.5, 0.6])
    """
    decades = range(math.floor(low), math.ceil(high) + 1)
    for digits in ((1,), (1, 2, 5)):
        logs = [math.log10(d) + decade for decade in decades for d in digits]
        logs = [log for log in logs if low <= log <= high]
        if len(logs) > 2:
            return logs[:: math.ceil(len(logs) / max_ticks)]
    return [low, high]

"""What all pictures share: the page, its colors and fonts, how it is saved."""

import os
from typing import Any

try:
    import matplotlib  # noqa: F401
except ImportError as error:
    raise ImportError(
        "`gdtrain.plots` draws with matplotlib, which could not be imported. "
        "Run `pip install matplotlib`, or, in a copy of gdtrain's repository, "
        "`pip install -e '.[plots]'`."
    ) from error

from matplotlib.axes import Axes
from matplotlib.colorbar import Colorbar
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

DPI = 150
INK, FAINT, PAPER = "#333333", "#e4e4e4", "white"
BLUE, RED, GREEN = "#1f6fb4", "#c0223b", "#1b7837"
ORANGE, PURPLE, GREY = "#d1701a", "#7d3fa0", "#555555"
SMALL, MEDIUM = 8, 9.5  # Font sizes, in points

Path = str | os.PathLike | None


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, its size in inches."""
    return Figure(
        figsize=(width, height),
        layout=ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08),
        facecolor=PAPER,
    )


def finish(figure: Figure, path: Path) -> Figure:
    """Saves the figure, if there is a path, and returns it."""
    if path is not None:
        figure.savefig(path, dpi=DPI, facecolor=PAPER)
    return figure


def dress(axes: Axes, title: str, y_label: str | None = None) -> None:
    """Gives axes the fonts and colors that all of them have."""
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


def dress_bar(bar: Colorbar, label: str) -> None:
    """Gives the key of colors the fonts that all pictures have."""
    bar.ax.tick_params(labelsize=SMALL, colors=INK)
    bar.set_label(label, fontsize=SMALL, color=INK)
    bar.outline.set_visible(False)


def rule(axes: Axes) -> None:
    """Draws faint lines to read values by, behind everything."""
    axes.grid(True, axis="y", color=FAINT, linewidth=0.6, linestyle="-")
    axes.set_axisbelow(True)


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
    all threads.

    Example:

    >>> print(plain("cost in $ or $"))
    cost in \\$ or \\$
    """
    return text.replace("$", r"\$")

"""What all pictures have in common: the page, its colours, how it is saved."""

from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

DPI = 150
INK, FAINT, PAPER = "#333333", "#e4e4e4", "white"
BLUE, RED, GREEN = "#1f6fb4", "#c0223b", "#1b7837"
SMALL, MEDIUM = 8, 9.5  # Font sizes, in points


def new_figure(width, height):
    """An empty figure, its size in inches."""
    return Figure(
        figsize=(width, height),
        layout=ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08),
        facecolor=PAPER,
    )


def finish(figure, path):
    """Saves the figure, if there is a path, and returns it."""
    if path is not None:
        figure.savefig(path, dpi=DPI, facecolor=PAPER)
    return figure


def dress(axes, title, y_label=None):
    """Gives axes the fonts and colours that all of them have."""
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


def rule(axes):
    """Draws faint lines to read values by, behind everything."""
    axes.grid(True, axis="y", color=FAINT, linewidth=0.6, linestyle="-")
    axes.set_axisbelow(True)


def plain(text):
    """The same text, with no part of it taken for a formula.

    Names of layers are anybody's, and matplotlib's parser of formulas is
    shared by all threads.

    Example:

    >>> print(plain("cost in $ or $"))
    cost in \\$ or \\$
    """
    return text.replace("$", r"\$")

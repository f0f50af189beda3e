"""A training step by step: loss and learning rate, and all on one page."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gdtrain.plots import canvas, layers
from gdtrain.writers.reading import Source, open_source

COLORS = (canvas.BLUE, canvas.RED, canvas.GREEN, "#8a5a00", "#6a3d9a")


def loss(source: object, path: canvas.Path = None) -> Figure:
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
    _draw_loss(above, opened)
    _draw_learning_rate(below, opened)
    canvas.steps_across(below, opened.steps)
    return canvas.finish(figure, path)


def overview(source: object, path: canvas.Path = None) -> Figure:
    """Draws loss, learning rate, gradient norms and update ratios, in a column.

    They share their steps, so that what happened at one time is in one line.

    Args:
        source: As in `gdtrain.plots.loss`.
        path: Where to save the picture too, for example `"training.png"`.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        TypeError, ValueError, FileNotFoundError: if there is nothing to read.
        KeyError: if one of them was not measured.

    Example:

    >>> from gdtrain.writers.memory import MemoryWriter
    >>> writer = MemoryWriter()
    >>> quantities = ["gradient_norm/line", "update_ratio/line"]
    >>> names = ["loss", "learning_rate", *quantities]
    >>> writer.write([1], names, [[0.5, 0.1, 2.0, 0.01]])
    >>> len(overview(writer).axes)
    4
    """
    opened = open_source(source)
    rows = len(opened.parts("gradient_norm"))
    heights = (2.6, 1, min(max(0.3 * rows, 0.9), 2.8), 2.8)  # Inches, about
    figure = canvas.new_figure(8, sum(heights) + 1.4)
    panels = figure.subplots(4, sharex=True, height_ratios=heights)
    _draw_loss(panels[0], opened)
    _draw_learning_rate(panels[1], opened)
    layers.draw_gradient_norms(panels[2], opened, max_names=14)
    layers.draw_update_ratios(panels[3], opened)
    canvas.steps_across(panels[3], opened.steps)
    return canvas.finish(figure, path)


def compare(
    sources: Mapping[str, object],
    quantities: Sequence[str] = ("loss",),
    path: canvas.Path = None,
    *,
    limits: Mapping[str, Sequence[float]] | None = None,
) -> Figure:
    """Draws several trainings over each other, a panel for each quantity.

    Where there are many steps, a line is a running median, with the values
    faint behind it. What was measured a few times has a point each time.

    Args:
        sources: What `gdtrain.plots.loss` takes, by the label of its line.
        quantities: Names of what was measured. Defaults to the loss.
        path: Where to save the picture too, for example `"runs.png"`.
        limits: For the name of a quantity, values to draw as dashed lines:
            one for all trainings, or one for each of them.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        TypeError, ValueError, FileNotFoundError: if there is nothing to read.
        KeyError: if a quantity was not measured.

    Example:

    >>> from gdtrain.writers.memory import MemoryWriter
    >>> runs = {"slow": MemoryWriter(), "fast": MemoryWriter()}
    >>> for fall, run in enumerate(runs.values()):
    ...     run.write([1, 2], ["loss"], [[0.5], [0.4 - 0.3 * fall]])
    >>> [line.get_label() for line in compare(runs).axes[0].lines]
    ['slow', 'fast']
    """
    opened = {label: open_source(source) for label, source in sources.items()}
    figure = canvas.new_figure(8, 1 + 2.6 * len(quantities))
    panels = figure.subplots(len(quantities), sharex=True, squeeze=False)[:, 0]
    shades = canvas.shades(len(opened), COLORS, "viridis", 0.9)
    for axes, name in zip(panels, quantities, strict=True):
        values = [source[name] for source in opened.values()]
        lines = (limits or {}).get(name, ())
        together = np.concatenate([*values, lines])
        canvas.scale_up(axes, together[together != 0])
        for (label, source), shade in zip(opened.items(), shades, strict=False):
            draw_course(axes, source.steps, source[name], shade, label)
        own = shades if len(lines) > 1 else [canvas.INK]
        for limit, shade in zip(lines, own, strict=False):
            axes.axhline(limit, color=shade, linewidth=1, linestyle="--")
            place = {"xycoords": axes.get_yaxis_transform()}
            text = canvas.number(limit)
            canvas.note(axes, text, (1, limit), (5, 0), shade, **place)
        title = name.replace("_", " ") + " (dashed: limit)" * bool(len(lines))
        canvas.dress(axes, title)
        canvas.legend(panels[-1], loc="upper left", bbox_to_anchor=(1, 1))
    every = np.concatenate([source.steps for source in opened.values()])
    canvas.steps_across(panels[-1], every)
    return canvas.finish(figure, path)


def draw_course(
    axes: Axes,
    steps: np.ndarray,
    values: np.ndarray,
    shade: object,
    label: str,
) -> None:
    """Draws a line where values are finite."""
    finite = np.isfinite(values)
    steps, shown = steps[finite], values[finite]
    is_rare = len(steps) < len(values) / 2  # Measured now and then
    if len(steps) > canvas.MANY and not is_rare:
        axes.plot(steps, shown, color=shade, alpha=0.4, linewidth=0.8)
        places, shown = canvas.course(shown)
        steps = steps[places]
    axes.plot(
        steps,
        shown,
        color=shade,
        linewidth=1.6,
        marker="." if is_rare and len(steps) < 50 or len(steps) == 1 else "",
        label=canvas.plain(label),
    )


def _draw_loss(axes: Axes, source: Source) -> None:
    """Draws the loss, and where it was first not finite."""
    values = source["loss"]
    finite = np.isfinite(values)
    steps, shown = source.steps[finite], values[finite]
    is_long = len(steps) > canvas.MANY
    # The more points, the smaller and fainter, so that the line stands out.
    crowd = max((canvas.MANY / max(len(steps), 1)) ** 0.25, 0.33)
    axes.plot(
        steps,
        shown,
        linestyle="none" if is_long else "-",
        marker=".",
        markersize=5 * crowd if is_long else 5,
        markeredgewidth=0,
        linewidth=1.6,
        color=canvas.BLUE,
        alpha=0.6 * crowd if is_long else 1,
    )
    if is_long:
        places, medians = canvas.running_median(shown)
        axes.plot(steps[places], medians, color=canvas.BLUE, linewidth=1.8)
    canvas.scale_up(axes, values)
    canvas.dress(axes, "Loss (line: running median)" if is_long else "Loss")
    is_bad = source.table.measured("loss") & ~np.isfinite(values)
    if is_bad.any():
        _mark_nonfinite(axes, source.steps, values, int(np.argmax(is_bad)))


def _draw_learning_rate(axes: Axes, source: Source) -> None:
    """Draws the learning rate, or those of several optimizers."""
    if "learning_rate" in source:
        rates = {"": source["learning_rate"]}
    else:
        rates = source.parts("learning_rate")
    for place, (optimizer, values) in enumerate(rates.items()):
        known = ~np.isnan(values)
        axes.plot(
            source.steps[known],
            values[known],
            color=COLORS[place % len(COLORS)],
            linewidth=1.6,
            marker="." if known.sum() == 1 else "",
            label=canvas.plain(optimizer),
        )
    together = np.concatenate(list(rates.values()))
    canvas.scale_up(axes, together)
    if axes.get_yscale() == "linear" and np.nanmin(together) >= 0:
        axes.set_ylim(bottom=0, top=1.15 * np.nanmax(together) or None)
    canvas.dress(axes, "Learning rate")
    if len(rates) > 1:
        canvas.legend(axes)


def _mark_nonfinite(
    axes: Axes, steps: np.ndarray, values: np.ndarray, place: int
) -> None:
    """Marks the place of the first step that is NaN or infinite, in words."""
    axes.axvline(steps[place], color=canvas.RED, linewidth=1.2, linestyle="--")
    word = "NaN" if np.isnan(values[place]) else "infinite"
    is_late = steps[place] > (steps[0] + steps[-1]) / 2
    canvas.note(
        axes,
        f"{word} at step {steps[place]:,}",
        (steps[place], 1),
        (-4 if is_late else 4, -4),
        xycoords=axes.get_xaxis_transform(),
        ha="right" if is_late else "left",
        va="top",
    )

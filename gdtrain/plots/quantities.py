"""One quantity of a training: of the whole model, and of each layer."""

import numpy as np
from matplotlib.figure import Figure

from gdtrain.plots import canvas
from gdtrain.plots.layers import LINE_COLORS
from gdtrain.plots.training import draw_course
from gdtrain.writers.reading import open_source


def quantity(source: object, name: str, path: canvas.Path = None) -> Figure:
    """Draws all columns of a quantity over each other.

    A line for the whole model, and one for each layer, optimizer or worker.
    Where there are many steps, a line is a running median, with the values
    faint behind it. What was measured a few times has a point each time.

    Args:
        source: As in `gdtrain.plots.loss`.
        name: Of the quantity, for example `"gradient_norm"`.
        path: Where to save the picture too, for example `"norms.png"`.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        TypeError, ValueError, FileNotFoundError: if there is nothing to read.
        KeyError: if the quantity was not measured.

    Example:

    >>> from gdtrain.writers.memory import MemoryWriter
    >>> writer = MemoryWriter()
    >>> names = ["gradient_norm", "gradient_norm/line"]
    >>> writer.write([1, 2], names, [[5.0, 3.0], [4.0, 2.0]])
    >>> axes = quantity(writer, "gradient_norm").axes[0]
    >>> [line.get_label() for line in axes.lines]
    ['whole model', 'line']
    """
    opened = open_source(source)
    whole = {"": opened[name]} if name in opened else {}
    has_parts = any(one.startswith(f"{name}/") for one in opened.table.names)
    parts = opened.parts(name) if has_parts or not whole else {}
    figure, axes = canvas.new_axes(7, 2.4)
    together = np.concatenate([*whole.values(), *parts.values()])
    canvas.scale_up(axes, together[together != 0])
    for values in whole.values():
        label = "whole model" if parts else ""
        draw_course(axes, opened.steps, values, canvas.INK, label)
    if parts:
        shades = canvas.shades(len(parts), LINE_COLORS, "plasma", 0.85)
        labels = canvas.shorten_all(list(parts))
        for values, shade, label in zip(
            parts.values(), shades, labels, strict=True
        ):
            draw_course(axes, opened.steps, values, shade, label)
    canvas.dress(axes, name.replace("_", " "))
    canvas.legend(axes, loc="upper left", bbox_to_anchor=(1, 1))
    canvas.steps_across(axes, opened.steps)
    return canvas.finish(figure, path)

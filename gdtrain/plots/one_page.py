"""All of a training on one page."""

from gdtrain.diagnosis.source import open_source
from gdtrain.plots import canvas, scales
from gdtrain.plots.loss_panels import draw_learning_rate, draw_loss
from gdtrain.plots.norm_map import draw_gradient_norms
from gdtrain.plots.ratio_lines import draw_update_ratios


def overview(source, path=None):
    """Draws loss, learning rate, gradient norms and update ratios, in a column.

    They share their steps, so that what happened at one time is in one line.

    Args:
        source: A `gdtrain.callbacks.Telemetry`, the log folder of a
            `gdtrain.callbacks.TensorBoard`, or an `.npz` file that
            `Telemetry.save` wrote.
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
    draw_loss(panels[0], opened)
    draw_learning_rate(panels[1], opened)
    draw_gradient_norms(panels[2], opened, most_names=14)
    draw_update_ratios(panels[3], opened)
    scales.steps_across(panels[3], opened.steps)
    return canvas.finish(figure, path)

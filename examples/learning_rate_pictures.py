"""What the four learning rates of learning_rates.py did, as pictures."""

import numpy as np
from _console import complete_file
from matplotlib.figure import Figure

COLOURS = ("tab:gray", "tab:green", "tab:blue", "tab:red")


def draw_line(model, x, y, runs, path):
    """Draws the loss over w and b, and how each run went down there.

    Args:
        model: A line, compiled.
        x, y: The points, `[n, 1]`.
        runs: Four of `learning_rates.Run`, with `path`.
        path: Of the PNG.

    Returns:
        `path`.
    """
    import gdtrain

    surface = gdtrain.landscape(
        model,
        x,
        y,
        path={f"{r.learning_rate:.3g}, {r.name}": r.path for r in runs},
    )
    with complete_file(path) as unfinished:
        gdtrain.plots.landscape(surface, unfinished)
    return path


def draw_network(runs, path):
    """Draws losses, and how far from its limit each learning rate was.

    Args:
        runs: Four of `learning_rates.Run`, with `stability`.
        path: Of the PNG.

    Returns:
        `path`.
    """
    figure = Figure(figsize=(8, 6), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True)
    for run, colour in zip(runs, COLOURS, strict=True):
        steps, loss = run.telemetry.steps, run.telemetry["loss"]
        top.plot(steps, loss, color=colour, alpha=0.25, lw=0.8)
        label = f"{run.learning_rate:.3g}, {run.name}"
        top.plot(steps, smooth(loss), color=colour, lw=1.8, label=label)
        share = run.telemetry["stability"]
        # A network that is ruined has curvature, but no use for it.
        known = (share > 0) & (smooth(loss) < 5 * loss[0])
        bottom.plot(steps[known], share[known], color=colour, marker="o", ms=4)
    bottom.axhline(1, color="black", lw=1, ls="--")
    bottom.text(0, 0.9, "limit", fontsize=9, va="top")
    top.set(yscale="log", ylabel="loss", title="Digits at four learning rates")
    bottom.set(
        yscale="log",
        xlabel="step",
        ylabel="learning rate / stable limit",
    )
    figure.legend(
        *top.get_legend_handles_labels(),
        loc="outside lower center",
        ncols=2,
        frameon=False,
    )
    with complete_file(path) as unfinished:
        figure.savefig(unfinished, dpi=120)
    return path


def smooth(values, width=15):
    """The mean of each value and those around it, as far as there are some."""
    ones = np.ones(width)
    count = np.convolve(np.ones(len(values)), ones, "same")
    return np.convolve(values, ones, "same") / count

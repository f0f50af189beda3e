"""What edge_of_stability.py prints and draws."""

import math

import numpy as np
from _console import complete_file
from matplotlib.figure import Figure


def print_head():
    """Prints what the columns are."""
    print(
        f"\n{'learning':>9}{'2 / rate':>10}{'sharpness':>11}{'there':>9}"
        f"{'2nd half':>10}{'over':>7}{'loss at':>10}{'loss':>8}"
        f"\n{'rate':>9}{'':>10}{'at step 1':>11}{'at step':>9}"
        f"{'mean':>10}{'limit':>7}{'the end':>10}{'rose':>8}"
    )


def print_row(result):
    """Prints what came of one learning rate."""
    last = float(result.last.mean()) if len(result.last) else math.nan
    reached = "never" if result.reached is None else result.reached
    rose = result.rising(len(result.loss) // 2, None)
    print(
        f"{result.learning_rate:>9g}{result.limit:>10.3f}"
        f"{result.sharpness[0] if len(result.sharpness) else math.nan:>11.3f}"
        f"{reached:>9}{last:>10.3f}{last / result.limit:>7.2f}"
        f"{result.loss[-1]:>10.4f}{rose:>8.0%}"
    )


def print_meaning(runs):
    """Says what the table shows."""
    print(
        "\nThere: when it was first seen at 2 / rate. Over limit: the mean "
        "over 2 / rate;\nthe claim says 1. Loss rose: in that share of the "
        "steps of the second half."
    )
    for result in runs:
        name = f"Learning rate {result.learning_rate:g}"
        if not np.isfinite(result.loss[-1]):
            print(
                f"{name} was too large from the start: the loss grew "
                "without end,\nbefore the sharpness could come down."
            )
        elif result.reached is None:
            print(f"{name} is not there yet: it takes more --steps.")
        elif result.reached > 1:
            before = result.rising(0, result.reached)
            print(
                f"{name}: the loss rose in {before:.0%} of the steps before "
                "it was there."
            )
        else:
            print(
                f"{name} began beyond its limit: the first steps jumped "
                "to where the\nloss is flatter, and on from there."
            )


def draw(runs, path):
    """Draws the sharpness, with its limits dashed, and the loss."""
    figure = Figure(figsize=(8, 6.5), layout="constrained")
    upper, lower = figure.subplots(2, sharex=True, height_ratios=[3, 2])
    for i, result in enumerate(runs):
        color = f"C{i}"
        name = f"learning rate {result.learning_rate:g}"
        upper.plot(result.probed, result.sharpness, color=color, label=name)
        upper.axhline(result.limit, color=color, ls="--", lw=1)
        upper.annotate(
            f"2 / {result.learning_rate:g} = {result.limit:.2f}",
            (1, result.limit),
            (-4, 3),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            ha="right",
            color=color,
        )
        steps = np.arange(1, 1 + len(result.loss))
        lower.plot(steps, result.loss, color=color, lw=0.8)
    upper.set(
        title="Full-batch descent goes to the edge of stability",
        ylabel="sharpness",
        ylim=(0, 1.25 * max(result.limit for result in runs)),
    )
    upper.legend(loc="lower right", frameon=False)
    lower.set(xlabel="step", ylabel="loss", yscale="log")
    for axes in (upper, lower):
        axes.grid(alpha=0.3)
    with complete_file(path) as unfinished:
        figure.savefig(unfinished, dpi=100)

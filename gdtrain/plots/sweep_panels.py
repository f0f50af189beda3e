"""What a sweep over learning rates found, in one picture."""

import matplotlib
import numpy as np
from matplotlib import ticker
from matplotlib.colors import to_rgba

from gdtrain.plots import canvas, scales, smoothing

_ABOVE = 3  # How many times the loss at the start is still shown


def sweep(result, path=None):
    """Draws the loss over steps, a line a rate, and the final loss over rates.

    Each line of many steps is a running median. Runs that diverged are red;
    a cross marks where, and their line ends there.

    Args:
        result: What `gdtrain.sweep` returned.
        path: Where to save the picture too, for example `"sweep.png"`.

    Returns:
        A `matplotlib.figure.Figure`.

    Example:

    >>> import gdtrain, keras
    >>> def build():
    ...     line = keras.layers.Dense(1)
    ...     model = gdtrain.Sequential([keras.Input([1]), line])
    ...     model.compile(gdtrain.GradientDescent(), loss="mse")
    ...     return model
    >>> x = np.linspace(-1, 1, 50)[:, np.newaxis]
    >>> found = gdtrain.sweep(
    ...     build, x, 3 * x, learning_rates=[0.01, 0.1], verbose=0
    ... )
    >>> [axes.get_title("left") for axes in sweep(found).axes]
    ['Loss at each learning rate', 'Final loss: best at 0.1']
    """
    figure = canvas.new_figure(9.5, 3.8)
    left, right = figure.subplots(1, 2, width_ratios=(1.6, 1))
    colours = matplotlib.colormaps["viridis"](
        np.linspace(0, 0.9, len(result.learning_rates))
    )
    colours[result.diverged] = to_rgba(canvas.RED)
    _draw_losses(left, result, colours)
    _draw_finals(right, result, colours)
    return canvas.finish(figure, path)


def _draw_losses(axes, result, colours):
    """A line for each rate, on one logarithmic scale."""
    losses = result.losses.astype(np.float64)
    steps = np.arange(1, 1 + losses.shape[1])
    shown = []
    for run in np.argsort(result.learning_rates):
        lost = result.diverged_at(run)
        end = len(steps) if lost is None else lost
        places, course = _course(losses[run, :end])
        shown.append(course)
        axes.plot(
            steps[places],
            course,
            color=colours[run],
            linewidth=1.6,
            marker="." if len(places) == 1 else "",
            label=_label(result, run),
        )
    _scale(axes, np.concatenate(shown), losses[:, 0].max())
    _mark_diverged(axes, result)
    scales.steps_across(axes, steps)
    canvas.dress(axes, "Loss at each learning rate")
    canvas.rule(axes)
    axes.legend(
        title="learning rate",
        title_fontsize=canvas.SMALL,
        fontsize=canvas.SMALL,
        frameon=False,
        labelcolor=canvas.INK,
        loc="upper left",
        bbox_to_anchor=(1, 1),
    )


def _course(losses):
    """`(places, values)`: losses, or where they are many, their course."""
    if len(losses) <= smoothing.MANY:
        return np.arange(len(losses)), losses
    return smoothing.running_median(losses)


def _label(result, run):
    """What the legend says of a run."""
    if result.diverged[run]:
        return f"{result.labels[run]} diverged"
    is_best = result.learning_rates[run] == result.best
    return result.labels[run] + (" best" if is_best else "")


def _scale(axes, values, start):
    """Shows all but what is far above the start."""
    seen = values[np.isfinite(values) & (values <= _ABOVE * abs(start))]
    if scales.wants_log(seen):
        scales.log_up(axes, seen.min(), seen.max())
    elif len(seen) and np.isfinite(start):
        room = 0.06 * (np.ptp(seen) or 1)
        axes.set_ylim(seen.min() - room, seen.max() + room)


def _mark_diverged(axes, result):
    """A cross where a run diverged, at the upper edge if it is above it."""
    low, high = axes.get_ylim()
    for run in np.flatnonzero(result.diverged):
        step = result.diverged_at(run)
        height = np.nan_to_num(result.losses[run, step - 1], nan=np.inf)
        axes.plot(
            step,
            np.clip(height, low, high),
            marker="x",
            markersize=7,
            markeredgewidth=2,
            color=canvas.RED,
            clip_on=False,
            zorder=5,
        )


def _draw_finals(axes, result, colours):
    """The final loss over the learning rate."""
    rates, finals = result.learning_rates, result.final_loss
    good = ~result.diverged & np.isfinite(finals)
    order = np.argsort(rates[good])
    axes.plot(
        rates[good][order], finals[good][order], color="#9a9a9a", linewidth=1
    )
    for run in np.flatnonzero(good):
        is_best = rates[run] == result.best
        axes.plot(
            rates[run],
            finals[run],
            "o",
            color=colours[run],
            markersize=9 if is_best else 6,
        )
    axes.set_xscale("log")
    if good.any():
        scales.scale_up(axes, finals[good])
    for rate in rates[~good]:
        axes.plot(
            rate,
            0.97,
            marker="x",
            markersize=7,
            markeredgewidth=2,
            color=canvas.RED,
            transform=axes.get_xaxis_transform(),
        )
    _rates_across(axes)
    name = "Final validation loss" if _validated(result) else "Final loss"
    best = "all diverged"
    if result.best is not None:
        best = f"best at {scales.number(result.best)}"
    canvas.dress(axes, f"{name}: {best}")
    canvas.rule(axes)


def _validated(result):
    return "val_loss" in result.history[0]


def _rates_across(axes):
    """Plain labels of powers of ten."""
    axes.set_xlabel("learning rate (crosses: diverged)")
    axes.xaxis.set_major_locator(ticker.LogLocator(numticks=8))
    axes.xaxis.set_major_formatter(
        ticker.FuncFormatter(lambda rate, _: scales.number(rate))
    )
    axes.xaxis.set_minor_formatter(ticker.NullFormatter())

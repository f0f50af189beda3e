"""Axes of steps, and axes of numbers that span many powers of ten."""

import math

import numpy as np
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.axis import Axis

from gdtrain.plots import many_steps


def steps_across(axes: Axes, steps: np.ndarray) -> None:
    """Makes the x axis one of all these steps, in whole numbers."""
    axes.set_xlabel("step")
    axes.set_xlim(*many_steps.into_columns(steps).edges[[0, -1]])
    axes.xaxis.set_major_locator(ticker.MaxNLocator(6, integer=True))
    axes.xaxis.set_major_formatter(
        ticker.FuncFormatter(lambda step, _: f"{step:,.0f}")
    )


def wants_log(values: np.ndarray) -> bool:
    """Whether a logarithmic axis shows more: above 0, and over more than 10x.

    Args:
        values: An array; what is not finite does not count.

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

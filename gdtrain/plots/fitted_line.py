"""The curve that a model draws through points, as it learns."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from gdtrain.plots import canvas

PLACES = 200
Style = dict[str, Any]  # Of a line


class FittedLine:
    """Points, and what a model from one number to one number makes of them.

    The view stays the same while training continues. For a model that is a
    straight line the title gives its equation.

    Args:
        x: Numbers `[n]` or `[n, 1]`, at least two different ones.
        y: Numbers `[n]` or `[n, 1]`.
        name: What the picture is called in TensorBoard.
        truth: The y to find at an array of x, drawn in green if it is given.

    Raises:
        ValueError: if shapes do not fit, or the numbers are not finite.

    Example:

    >>> import keras
    >>> layer = keras.layers.Dense(1, kernel_initializer="ones")
    >>> model = keras.Sequential([keras.Input([1]), layer])
    >>> picture = FittedLine([0.0, 1.0, 2.0], [1.0, 2.0, 2.5])
    >>> seen = picture.look(model)
    >>> picture.draw(seen).axes[0].get_title("left")
    'Fitted line: y = 1 x + 0'
    """

    def __init__(
        self,
        x: ArrayLike,
        y: ArrayLike,
        name: str = "fitted_line",
        truth: Callable[[np.ndarray], np.ndarray] | None = None,
    ) -> None:
        self.name = name
        self._x, self._y = _numbers("x", x), _numbers("y", y)
        if len(self._x) != len(self._y) or np.ptp(self._x) == 0:
            raise ValueError(
                "`x` and `y` must be equally many, and `x` not all the same. "
                f"Received: {len(self._x)} x from {self._x.min():g} to "
                f"{self._x.max():g}, {len(self._y)} y."
            )
        self._places = np.linspace(self._x.min(), self._x.max(), PLACES)
        self._truth = None if truth is None else truth(self._places)

    def look(self, model: keras.Model) -> np.ndarray:
        """Predicts along x, on the training thread.

        Args:
            model: A Keras model from `[n, 1]` to `[n, 1]`.

        Returns:
            Float64 `[200]`: predictions at evenly spaced x.

        Raises:
            ValueError: if the model's output is not one number an example.
        """
        curve = np.asarray(model(self._places[:, None], training=False))
        if curve.size != PLACES:
            raise ValueError(
                "The model's output must be one number an example. Received: "
                f"outputs of shape {list(curve.shape)} for {PLACES} examples."
            )
        return curve.reshape(-1).astype(np.float64)

    def draw(self, seen: np.ndarray) -> Figure:
        """Draws what `look` returned, on any thread.

        Args:
            seen: Predictions, float `[200]`.

        Returns:
            A `matplotlib.figure.Figure`.
        """
        figure, axes = canvas.new_axes(5, 3.6)
        axes.scatter(
            self._x, self._y, s=12, color=canvas.INK, alpha=0.55, linewidth=0
        )
        if self._truth is not None:
            wide: Style = {"color": canvas.GREEN, "linewidth": 4, "alpha": 0.7}
            axes.plot(self._places, self._truth, label="to find", **wide)
        line: Style = {"color": canvas.RED, "linewidth": 2}
        axes.plot(self._places, seen, label="fitted", **line)
        low, high = self._y.min(), self._y.max()
        margin = (high - low or 1) / 2
        low, high = low - margin, high + margin
        axes.set(xlabel="x", ylim=(low, high))
        canvas.dress(axes, self._title(seen), "y")
        if self._truth is not None:
            canvas.legend(axes)
        if seen.max() < low or seen.min() > high:
            text = "the fit is outside this view"
            canvas.note(axes, text, (0.5, 0.96), ha="center", va="top")
        return figure

    def _title(self, curve: np.ndarray) -> str:
        """Says what line it is, if it is one."""
        if not np.isfinite(curve).all():
            return "Fitted line: not finite"
        off = np.abs(curve - np.linspace(curve[0], curve[-1], PLACES)).max()
        if off > 1e-5 * np.abs(curve).max():  # More than float32 rounds off
            return "Fitted curve"
        w = (curve[-1] - curve[0]) / (self._places[-1] - self._places[0])
        b = curve[0] - w * self._places[0]
        sign = "-" if b < 0 else "+"
        return f"Fitted line: y = {w:.4g} x {sign} {abs(b):.4g}"


def _numbers(name: str, values: ArrayLike) -> np.ndarray:
    """The argument as float64 `[n]`."""
    numbers = np.asarray(values, np.float64)
    if numbers.shape not in ((numbers.size,), (numbers.size, 1)) or not (
        numbers.size and np.isfinite(numbers).all()
    ):
        raise ValueError(
            f"`{name}` must be finite numbers [n] or [n, 1]. Received: shape "
            f"{list(numbers.shape)}, {np.isfinite(numbers).sum()} of "
            f"{numbers.size} finite. Remove the others."
        )
    return numbers.reshape(-1)

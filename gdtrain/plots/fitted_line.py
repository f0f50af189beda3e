"""The curve that a model draws through points, as it learns."""

import numpy as np

from gdtrain.plots import canvas

PLACES = 200


class FittedLine:
    """Points, and what a model from one number to one number makes of them.

    The view stays the same while training goes on. For a model that is a
    straight line the title gives its equation.

    Args:
        x: Numbers `[n]` or `[n, 1]`, at least two different ones.
        y: Numbers `[n]` or `[n, 1]`.
        name: What the picture is called in TensorBoard.

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

    def __init__(self, x, y, name="fitted_line"):
        self.name = name
        self._x, self._y = _numbers("x", x), _numbers("y", y)
        if len(self._x) != len(self._y) or np.ptp(self._x) == 0:
            raise ValueError(
                "`x` and `y` must be equally many, and `x` not all the same. "
                f"Received: {len(self._x)} x from {self._x.min():g} to "
                f"{self._x.max():g}, {len(self._y)} y."
            )
        self._places = np.linspace(self._x.min(), self._x.max(), PLACES)

    def look(self, model):
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

    def draw(self, seen):
        """Draws what `look` returned, on any thread.

        Args:
            seen: Predictions, float `[200]`.

        Returns:
            A `matplotlib.figure.Figure`.
        """
        figure = canvas.new_figure(5, 3.6)
        axes = figure.add_subplot()
        axes.scatter(
            self._x, self._y, s=12, color=canvas.INK, alpha=0.55, linewidth=0
        )
        axes.plot(self._places, seen, color=canvas.RED, linewidth=2)
        low, high = self._y.min(), self._y.max()
        room = (high - low or 1) / 2
        axes.set(xlabel="x", ylim=(low - room, high + room))
        canvas.dress(axes, self._title(seen), "y")
        canvas.rule(axes)
        if seen.max() < low - room or seen.min() > high + room:
            _say_unseen(axes)
        return figure

    def _title(self, curve):
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


def _numbers(name, values):
    """The argument as float64 `[n]`."""
    numbers = np.asarray(values, np.float64)
    if numbers.shape not in ((numbers.size,), (numbers.size, 1)) or not (
        numbers.size and np.isfinite(numbers).all()
    ):
        raise ValueError(
            f"`{name}` must be finite numbers [n] or [n, 1]. Received: shape "
            f"{list(numbers.shape)}, {np.isfinite(numbers).sum()} of "
            f"{numbers.size} finite. Leave the others out."
        )
    return numbers.reshape(-1)


def _say_unseen(axes):
    """Says that the curve is nowhere in view."""
    axes.text(
        0.5,
        0.96,
        "the fit is outside this view",
        ha="center",
        va="top",
        transform=axes.transAxes,
        fontsize=canvas.SMALL,
        color=canvas.RED,
    )

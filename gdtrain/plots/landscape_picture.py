"""The loss around a model's weights, as it learns."""

from typing import Any

import numpy as np

from gdtrain.plots import landscape_map
from gdtrain.tuning import landscape
from gdtrain.tuning.loss_survey import LossSurvey


class Landscape:
    """The loss over a plane of weights, and the path so far.

    For `gdtrain.callbacks.TensorBoard(pictures=[...])`. It shows what
    `gdtrain.landscape` finds: for a model of two weights, as a line, all of
    it, with the path from look to look; for others a slice around the weights
    as they are. With `path`, each step of it is shown, and the slice of a
    larger model is the plane of the path.

    A look takes as long as 441 times the loss of 256 examples.

    Args:
        x, y: The data, as in `keras.Model.fit`, or some of them.
        path: A `gdtrain.callbacks.WeightPath` that `fit` is given too.
        points: How many places to look at along each side. Defaults to 21.
        examples: How many examples to look at, at most. Defaults to 256.
        name: What the picture is called in TensorBoard.

    Example:

    >>> import keras
    >>> line = keras.layers.Dense(1, kernel_initializer="zeros")
    >>> model = keras.Sequential([keras.Input([1]), line])
    >>> model.compile("sgd", "mse")
    >>> x = np.array([[-1.0], [1.0]])
    >>> picture = Landscape(x, 2 * x)
    >>> seen = picture.look(model)
    >>> seen.losses.shape, seen.paths[""].tolist()
    ((21, 21), [[0.0, 0.0]])
    >>> len(picture.draw(seen).axes)  # The map, and the colours of losses
    2
    """

    def __init__(
        self,
        x,
        y=None,
        path=None,
        *,
        points=21,
        examples=256,
        name="landscape",
    ):
        self.name = name
        self._data = x, y
        self._path = path
        self._points = points
        self._examples = examples
        self._survey: Any = None  # Of the model that was looked at last
        self._looked: list = []

    def look(self, model):
        """Finds the loss around the weights, on the training thread.

        Args:
            model: A Keras model, built and compiled with a loss.

        Returns:
            A `gdtrain.tuning.landscape.LossSurface`.

        Raises:
            RuntimeError, TypeError, ValueError: as `gdtrain.landscape`.
        """
        if self._survey is None or model is not self._survey.model:
            self._survey = LossSurvey(
                model, *self._data, examples=self._examples
            )
            self._looked = []
        return landscape.find(
            self._survey, self._so_far(), points=self._points
        )

    def _so_far(self):
        """The path up to now; `None` for a larger model without one."""
        if self._path is None and self._survey.size != 2:
            return None
        here = self._survey.point()
        if self._path is None:
            self._looked.append(here)
            return np.stack(self._looked)
        known = self._path.weights
        return np.concatenate([known, [here]]) if len(known) else [here]

    def draw(self, seen):
        """Draws what `look` returned, on any thread.

        Args:
            seen: A `LossSurface`.

        Returns:
            A `matplotlib.figure.Figure`.
        """
        return landscape_map.landscape(seen)

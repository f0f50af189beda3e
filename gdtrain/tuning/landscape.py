"""The loss over a plane through the weights of a model."""

import dataclasses
from typing import Any

import keras
import numpy as np

from gdtrain.common import checks
from gdtrain.mistakes import errors
from gdtrain.tuning import weight_space
from gdtrain.tuning.weight_space import LossSurvey


@dataclasses.dataclass(frozen=True)
class LossSurface:
    """The result of `gdtrain.landscape`: the loss over a plane of weights.

        losses[j, i] = loss(center + x[i] vectors[0] + y[j] vectors[1])

    Weights are one vector: all trainable weights joined.

    Args:
        losses: Float64 `[resolution, resolution]`; NaN or infinite where the
            loss is.
        x: Coordinates along the first direction, float64 `[resolution]`.
        y: Coordinates along the second one, float64 `[resolution]`.
        center: Float64 `[weights]`: the point with coordinates 0, 0.
        vectors: Float64 `[2, weights]`: both directions.
        names: Their names, two strings.
        paths: By label, the coordinates of each path in the plane, float64
            `[n, 2]`; NaN for weights that were not finite.

    Example:

    >>> surface = LossSurface(
    ...     losses=np.zeros([2, 2]),
    ...     x=np.array([0.0, 1.0]),
    ...     y=np.array([0.0, 1.0]),
    ...     center=np.zeros(3),
    ...     vectors=np.array([[1.0, 0.0, 0.0], [0.0, 2.0, 0.0]]),
    ...     names=("first", "second"),
    ... )
    >>> surface.project([[3.0, 4.0, 5.0]]).tolist()
    [[3.0, 2.0]]
    """

    losses: np.ndarray
    x: np.ndarray
    y: np.ndarray
    center: np.ndarray
    vectors: np.ndarray
    names: tuple[str, str]
    paths: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)

    def project(self, points: Any) -> np.ndarray:
        """The coordinates of the nearest points in the plane.

        Args:
            points: Float `[n, weights]`.

        Returns:
            Float64 `[n, 2]`.
        """
        return project(points, self.center, self.vectors)


def project(points: Any, center: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Coordinates of the points of a plane nearest to points `[n, weights]`."""
    away = np.asarray(points, np.float64) - center
    with np.errstate(invalid="ignore", over="ignore"):
        along = away @ vectors.T
        return along @ np.linalg.inv(vectors @ vectors.T)


_KINDS = ("auto", "weights", "path", "random")
_MARGIN = 0.3  # Of the size of a path, around it
_LEAST = 0.1  # Of the larger side of the view, for the smaller one


@errors.readable
def landscape(
    model: keras.Model,
    x: Any,
    y: Any = None,
    *,
    sample_weight: Any = None,
    path: Any = None,
    directions: str = "auto",
    x_range: tuple[float, float] | None = None,
    y_range: tuple[float, float] | None = None,
    resolution: int = 31,
    examples: int | None = None,
    batch_size: int = 256,
    training: bool = False,
    seed: int = 0,
) -> LossSurface:
    """Computes the loss over a plane in the space of a model's weights.

    Of a model of two weights, as a line, the plane is the whole space, and
    the path of gradient descent lies in it. Of others it is a slice:

    - `"path"`: through the weights of a path at which the loss is least,
      along the path's two principal directions, of length 1;
    - `"random"`: through the weights now, along two random directions with
      the norm of each filter; biases and weights of normalization are not
      moved. At a distance of 1, a filter has changed by its own norm.

    Diverged points are ignored when fitting the plane and the view: those of
    a path at which the loss is more than 4 times that at its start.

    The model is not changed. `gdtrain.plots.landscape` draws the result.

    Args:
        model: A `keras.Model`, built and compiled with a loss.
        x: The inputs, as in `keras.Model.fit`: arrays or tensors, also in
            lists and dicts, or a `tf.data.Dataset`, which is read once.
        y: The targets, likewise. Defaults to `None`: `x` has them.
        sample_weight: A weight for each example. Defaults to `None`, 1.
        path: A training: a `gdtrain.callbacks.WeightPath`, an array
            `[n, weights]`, or a dict of several by a label for each. Defaults
            to `None`, no path.
        directions: `"weights"` for a model of two weights, `"path"`,
            `"random"`, or `"auto"`, the default: the first of them that is
            possible.
        x_range: `(low, high)` along the first direction. Defaults to that of
            the paths and a margin; without a path, and along random
            directions, 1 to both sides.
        y_range: The same along the second direction.
        resolution: The number of points along each of them. Defaults to 31,
            961 losses in all.
        examples: How many examples to use, spread evenly. Defaults to `None`,
            all.
        batch_size: How many are computed at a time. Defaults to 256.
        training: The mode of dropout and batch normalization. Defaults to
            `False`: moving averages are used as they are now.
        seed: Of random directions. Defaults to 0: the same ones each time.

    Returns:
        A `gdtrain.LossSurface`.

    Raises:
        RuntimeError: if the model is not compiled or not built.
        ValueError: if an argument cannot be used, or not with this model.
        TypeError: if the data or the path are of a wrong type.

    Example:

    >>> import keras, gdtrain
    >>> line = keras.layers.Dense(1, kernel_initializer="zeros")
    >>> model = keras.Sequential([keras.Input([1]), line])
    >>> model.compile("sgd", "mse")
    >>> x = np.array([[-1.0], [1.0]])
    >>> surface = landscape(model, x, 2 * x, resolution=3)
    >>> surface.losses.tolist()  # (w - 2)^2 + b^2
    [[10.0, 5.0, 2.0], [9.0, 4.0, 1.0], [10.0, 5.0, 2.0]]

    References:
        Li et al., 2018, "Visualizing the loss landscape of neural nets",
        sections 4 and 7, arXiv:1712.09913.
    """
    survey = LossSurvey(
        model,
        x,
        y,
        sample_weight,
        examples=examples,
        batch_size=batch_size,
        training=training,
    )
    return find(survey, path, directions, x_range, y_range, resolution, seed)


def find(
    survey: LossSurvey,
    path: Any,
    directions: str = "auto",
    x_range: tuple[float, float] | None = None,
    y_range: tuple[float, float] | None = None,
    resolution: int = 31,
    seed: int = 0,
) -> LossSurface:
    """What `landscape` returns, by a `LossSurvey` that can be used again."""
    kind = _kind(directions, survey, path)
    count = checks.positive_integer("resolution", resolution)
    ranges = [_range("x_range", x_range), _range("y_range", y_range)]
    paths = weight_space.paths_by_label(path, survey.size)
    kept, losses = weight_space.good_points(paths, survey)
    weights, center = survey.weights, survey.point()
    if kind == "weights":
        center = np.zeros(2)
        found = weight_space.of_two_weights(weights, survey.model.name)
    elif kind == "path":
        center = kept[np.argmin(losses)]
        found = weight_space.principal(kept, center, seed)
    else:
        values = [value.numpy() for value in survey.values()]
        found = weight_space.filter_normalized(weights, values, seed)
    if len(kept) and kind != "random":
        view = _around(project(kept, center, found.vectors))
    else:
        here = project(survey.point(), center, found.vectors)
        view = np.stack([here - 1, here + 1])
    sides = []
    for given, wide in zip(ranges, view.T, strict=True):
        low, high = wide if given is None else given
        sides.append(np.linspace(low, high, count))
    return LossSurface(
        losses=survey.over(center, found.vectors, *sides),
        x=sides[0],
        y=sides[1],
        center=center,
        vectors=found.vectors,
        names=found.names,
        paths={
            label: project(points, center, found.vectors)
            for label, points in paths.items()
        },
    )


def _kind(directions: str, survey: LossSurvey, path: Any) -> str:
    """The kind of plane: one of `_KINDS` but "auto"."""
    if directions not in _KINDS:
        raise ValueError(
            f"`directions` must be one of {_KINDS}. Received: "
            f'directions={directions!r}. Write "auto".'
        )
    if directions == "weights" and survey.size != 2:
        raise ValueError(
            'directions="weights" needs a model of two trainable weights. '
            f'Received: one of {survey.size:,}. Write "random", or pass a '
            "`path`."
        )
    if directions == "path" and path is None:
        raise ValueError(
            'directions="path" needs a path. Received: path=None. Pass a '
            "`gdtrain.callbacks.WeightPath` that `fit` was given."
        )
    if directions != "auto":
        return directions
    if survey.size == 2:
        return "weights"
    return "random" if path is None else "path"


def _range(name: str, ends: Any) -> tuple[float, ...] | None:
    """`ends` as two floats, or `None`."""
    if ends is None:
        return None
    pair = tuple(float(end) for end in ends)
    if len(pair) != 2 or not (np.isfinite(pair).all() and pair[0] < pair[1]):
        raise ValueError(
            f"`{name}` must be (low, high), finite numbers. Received: "
            f"{name}={ends!r}. Write for example (-1, 1)."
        )
    return pair


def _around(places: np.ndarray) -> np.ndarray:
    """Low and high ends `[2, 2]` of a view of places `[n, 2]`."""
    low, high = places.min(axis=0), places.max(axis=0)
    sizes = high - low
    sizes = np.maximum(sizes, _LEAST * (sizes.max() or 1 / _LEAST))
    reach = (0.5 + _MARGIN) * sizes
    return np.stack([(low + high) / 2 - reach, (low + high) / 2 + reach])

"""The loss around the weights of a model, to look at."""

import dataclasses
from typing import Any

import numpy as np

from gdtrain.common import checks, tracebacks
from gdtrain.mistakes import operations
from gdtrain.tuning import weight_space
from gdtrain.tuning import weight_space as directions_of_weights
from gdtrain.tuning.loss_survey import LossSurvey


@dataclasses.dataclass(frozen=True)
class LossSurface:
    """The loss over a plane in the space of a model's weights.

        losses[j, i] = loss(center + across[i] vectors[0] + up[j] vectors[1])

    Weights are one vector: all trainable weights, one after another.

    Args:
        losses: Float64 `[len(up), len(across)]`; NaN or infinite where the
            loss is.
        across: Places along the first direction, float64 `[points]`.
        up: Places along the second one, float64 `[points]`.
        center: Float64 `[weights]`: where both are 0.
        vectors: Float64 `[2, weights]`: both directions.
        names: What they are, two strings.
        paths: By label, the places of each path in the plane, float64
            `[n, 2]`; NaN for weights that were not finite.

    Example:

    >>> surface = LossSurface(
    ...     losses=np.zeros([2, 2]),
    ...     across=np.array([0.0, 1.0]),
    ...     up=np.array([0.0, 1.0]),
    ...     center=np.zeros(3),
    ...     vectors=np.array([[1.0, 0.0, 0.0], [0.0, 2.0, 0.0]]),
    ...     names=("first", "second"),
    ... )
    >>> surface.project([[3.0, 4.0, 5.0]]).tolist()
    [[3.0, 2.0]]
    """

    losses: Any
    across: Any
    up: Any
    center: Any
    vectors: Any
    names: tuple[str, str]
    paths: dict[str, Any] = dataclasses.field(default_factory=dict)

    def project(self, points):
        """The nearest places in the plane.

        Args:
            points: Float `[n, weights]`.

        Returns:
            Float64 `[n, 2]`: how far along each direction.
        """
        return project(points, self.center, self.vectors)


def project(points, center, vectors):
    """The places in a plane that are nearest to points; see `LossSurface`."""
    away = np.asarray(points, np.float64) - center
    with np.errstate(invalid="ignore", over="ignore"):
        along = away @ vectors.T
        return along @ np.linalg.inv(vectors @ vectors.T)


_KINDS = ("auto", "weights", "path", "random")
_ROOM = 0.3  # Of the size of a path, around it
_LEAST = 0.1  # Of the larger side of the view, for the smaller one


@tracebacks.filtered
@operations.explained
def landscape(
    model,
    x,
    y=None,
    *,
    sample_weight=None,
    path=None,
    directions="auto",
    across=None,
    up=None,
    points=31,
    examples=None,
    batch_size=256,
    training=False,
    seed=0,
):
    """Finds the loss over a plane in the space of a model's weights.

    Of a model of two weights, as a line, that is all there is, and the path
    of gradient descent lies in it. Of others it is a slice:

    - `"path"`: through the weights of a path at which the loss is least,
      along the path's two principal directions, of length 1;
    - `"random"`: through the weights now, along two random directions in
      which each filter is as long as its weights, and biases and weights of
      normalization are not moved. At a distance of 1, a filter has changed by
      as much as it has.

    Where a path goes that diverges does not count for the plane and the view:
    only its points at which the loss is at most 4 times that at its start.

    The model is as before. `gdtrain.plots.landscape` draws what was found.

    Args:
        model: A `keras.Model`, built and compiled with a loss.
        x: The inputs, as in `keras.Model.fit`: arrays or tensors, also in
            lists and dicts, or a `tf.data.Dataset`, which is read once.
        y: The targets, likewise. Defaults to `None`: `x` has them.
        sample_weight: A weight for each example. Defaults to `None`, 1.
        path: Where training went: a `gdtrain.callbacks.WeightPath`, an array
            `[n, weights]`, or a dict of several by a label for each. Defaults
            to `None`, no path.
        directions: `"weights"` for a model of two weights, `"path"`,
            `"random"`, or `"auto"`, the default: the first of them that can
            be.
        across: `(low, high)`, where the plane begins and ends along the first
            direction. Defaults to where the paths are, with some room;
            without a path, and along random directions, 1 to both sides.
        up: The same of the second direction.
        points: How many places to look at along each of them. Defaults to 31,
            961 losses in all.
        examples: How many examples to look at, spread evenly. Defaults to
            `None`, all.
        batch_size: How many are worked on at a time. Defaults to 256.
        training: The mode of dropout and batch normalization. Defaults to
            `False`: moving averages are used as they are now.
        seed: Of random directions. Defaults to 0: the same ones each time.

    Returns:
        A `gdtrain.tuning.landscape.LossSurface`.

    Raises:
        RuntimeError: if the model is not compiled or not built.
        ValueError: if an argument cannot be used, or fits no such model.
        TypeError: if the data or the path are of another kind.

    Example:

    >>> import keras, gdtrain
    >>> line = keras.layers.Dense(1, kernel_initializer="zeros")
    >>> model = keras.Sequential([keras.Input([1]), line])
    >>> model.compile("sgd", "mse")
    >>> x = np.array([[-1.0], [1.0]])
    >>> surface = landscape(model, x, 2 * x, points=3)
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
    return find(
        survey,
        path,
        directions=directions,
        across=across,
        up=up,
        points=points,
        seed=seed,
    )


def find(
    survey, path, *, directions="auto", across=None, up=None, points=31, seed=0
):
    """What `landscape` does, by a `LossSurvey` that was made before."""
    kind = _kind(directions, survey, path)
    count = checks.positive_integer("points", points)
    limits = [_limits("across", across), _limits("up", up)]
    paths = weight_space.paths_by_label(path, survey.size)
    kept, losses = weight_space.good_points(paths, survey)
    center, found = _plane(kind, survey, kept, losses, seed)
    if len(kept) and kind != "random":
        view = _around(project(kept, center, found.vectors))
    else:
        here = project(survey.point(), center, found.vectors)
        view = np.stack([here - 1, here + 1])
    ends = [
        given or tuple(wide) for given, wide in zip(limits, view.T, strict=True)
    ]
    sides = [np.linspace(low, high, count) for low, high in ends]
    return LossSurface(
        losses=survey.over(center, found.vectors, *sides),
        across=sides[0],
        up=sides[1],
        center=center,
        vectors=found.vectors,
        names=found.names,
        paths={
            label: project(points, center, found.vectors)
            for label, points in paths.items()
        },
    )


def _plane(kind, survey, kept, losses, seed):
    """`(center, Directions)` of the plane."""
    if kind == "weights":
        found = directions_of_weights.of_two_weights(
            survey.weights, survey.model.name
        )
        return np.zeros(2), found
    if kind == "path":
        center = kept[np.argmin(losses)]
        return center, directions_of_weights.principal(kept, center, seed)
    values = survey.values()
    found = directions_of_weights.filter_normalized(
        survey.weights, values, seed
    )
    return survey.point(), found


def _kind(directions, survey, path):
    """Which plane it is to be."""
    if directions not in _KINDS:
        raise ValueError(
            f"`directions` must be one of {_KINDS}. Received: "
            f'directions={directions!r}. Write "auto".'
        )
    if directions == "weights" and survey.size != 2:
        raise ValueError(
            'directions="weights" needs a model of two trainable weights. '
            f'Received one of {survey.size:,}. Write "random", or pass a '
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


def _limits(name, limits):
    """`limits` as two floats, or `None`."""
    if limits is None:
        return None
    pair = tuple(float(limit) for limit in limits)
    if len(pair) != 2 or not (np.isfinite(pair).all() and pair[0] < pair[1]):
        raise ValueError(
            f"`{name}` must be (low, high), finite numbers. Received: "
            f"{name}={limits!r}. Write for example (-1, 1)."
        )
    return pair


def _around(places):
    """Low and high ends `[2, 2]` of both sides, with places within."""
    low, high = places.min(axis=0), places.max(axis=0)
    sizes = high - low
    sizes = np.maximum(sizes, _LEAST * (sizes.max() or 1 / _LEAST))
    reach = (0.5 + _ROOM) * sizes
    return np.stack([(low + high) / 2 - reach, (low + high) / 2 + reach])

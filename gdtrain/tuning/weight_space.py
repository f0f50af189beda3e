"""Directions in the space of weights, and paths of trainings in it."""

from typing import Any, NamedTuple

import numpy as np

from gdtrain.telemetry import record

_FLAT = 1e-5  # Of the first principal direction: less is rounding of float32


class Directions(NamedTuple):
    """What a slice through a loss surface is spanned by.

    Args:
        vectors: Float64 `[2, weights]`.
        names: What each of them is, two strings.
    """

    vectors: Any
    names: tuple[str, str]


def of_two_weights(variables, model_name):
    """The two numbers of a model that has no more.

    Args:
        variables: Its trainable variables, one of two numbers or two of one.
        model_name: The name of the model.
    """
    names = [record.within(v.path, model_name) for v in variables]
    if len(names) == 1:
        names = [f"{names[0]}[{place}]" for place in range(2)]
    return Directions(np.eye(2), (names[0], names[1]))


def filter_normalized(variables, values, seed):
    """Two random directions, in which each filter is as long as its weights.

        direction[filter] = random * norm(weights[filter]) / norm(random)

    A filter is what a convolution or dense layer makes one output of: a slice
    along the last axis. Weights of one axis or none, such as biases and those
    of normalization, stay as they are.

    Args:
        variables: The trainable variables.
        values: Their values, a list of arrays.
        seed: Of the random numbers.

    Raises:
        ValueError: if no weight has two axes or more, or all those are 0.

    References:
        Li et al., 2018, section 4, arXiv:1712.09913.
    """
    generator = np.random.default_rng(seed)
    values = [np.asarray(value, np.float64) for value in values]
    if all(value.ndim < 2 for value in values):
        names = [variable.name for variable in variables]
        raise ValueError(
            "Random directions need weights of two axes or more, whose "
            f"filters give the scale. Received: a model with {names}. Pass "
            'the path of a training, or use directions="weights" for a model '
            "of two weights."
        )
    if not any(value.any() for value in values if value.ndim > 1):
        raise ValueError(
            "Random directions are as long as the filters of the weights, "
            "which must not all be zero. Received: a model whose are. Pass "
            "the path of a training, or begin with other weights."
        )
    vectors = [
        np.concatenate([_like(generator, value).ravel() for value in values])
        for _ in range(2)
    ]
    return Directions(
        np.stack(vectors),
        ("random direction 1", "random direction 2"),
    )


def _like(generator, value):
    """Random numbers with the norms of a weight's filters."""
    if value.ndim < 2:
        return np.zeros_like(value)
    random = generator.normal(size=value.shape)
    axes = tuple(range(value.ndim - 1))
    length = np.sqrt(np.square(random).sum(axes))
    return random * (np.sqrt(np.square(value).sum(axes)) / length)


def principal(points, center, seed):
    """The two directions, of length 1, that most of a path is in.

    Those of the plane through `center` from which the points are least far,
    in the mean of squares: the largest singular vectors of
    `points - center`. Of points on a line, or fewer than three, the others
    are random ones at right angles.

    Args:
        points: Float `[n, weights]`.
        center: Float `[weights]`.
        seed: Of random directions.

    References:
        Li et al., 2018, section 7, arXiv:1712.09913.
    """
    away = np.asarray(points, np.float64) - center
    _, sizes, vectors = np.linalg.svd(away, full_matrices=False)
    squares = np.square(sizes) / (np.square(sizes).sum() or 1)
    good = min(2, int(np.sum(sizes > _FLAT * sizes[0])))
    basis = list(vectors[:good])
    names = [
        f"principal direction {place + 1}, {squares[place]:.1%} of the path"
        for place in range(good)
    ]
    generator = np.random.default_rng(seed)
    while len(basis) < 2:
        vector = generator.normal(size=center.shape)
        for other in basis:
            vector -= (vector @ other) * other
        basis.append(vector / np.linalg.norm(vector))
        names.append("random direction")
    return Directions(np.stack(basis), (names[0], names[1]))


_MANY = 64  # Points of a path that are looked at to find where it is good
_TIMES = 4  # The loss at the start: from there on, a path is lost


def paths_by_label(path, size):
    """Paths as arrays, by label.

    Args:
        path: A `gdtrain.callbacks.WeightPath` or another object with
            `weights`, an array, a dict of such, or `None`.
        size: How many weights the model has.

    Returns:
        A dict of float64 `[n, size]`; the label of a single path is `""`.

    Raises:
        ValueError: if they have no points, begin with what is not finite, or
            are of another model.

    Example:

    >>> by_label([[1, 2], [3, 4]], size=2)
    {'': array([[1., 2.], [3., 4.]])}
    """
    if path is None:
        return {}
    if not isinstance(path, dict):
        path = {"": path}
    paths = {}
    for label, one in path.items():
        points = np.asarray(getattr(one, "weights", one), np.float64)
        if points.ndim != 2 or points.shape[1] != size or not len(points):
            raise ValueError(
                f"`path` must be points [n, {size}], one number for each "
                f"trainable weight. Received: shape {list(points.shape)}. "
                "Give the `WeightPath` to the `fit` of this model first."
            )
        if not np.isfinite(points[0]).all():
            raise ValueError(
                "`path` must begin with finite weights. Received: "
                f"{points[0][:8]} at the start of {label!r}. Train again from "
                "weights that are finite."
            )
        paths[label] = points
    return paths


def good_points(paths, survey):
    """Points of paths at which the loss is not far above that at the start.

    Args:
        paths: What `by_label` returned.
        survey: A `LossSurvey`.

    Returns:
        `(points, losses)`, float64 `[n, weights]` and `[n]`: some of each
        path, its first one always.
    """
    kept, found = [np.zeros([0, survey.size])], [np.zeros(0)]
    for points in paths.values():
        places = np.linspace(0, len(points) - 1, min(len(points), _MANY))
        points = points[np.unique(places.round().astype(int))]
        losses = survey.at(points)
        limit = losses[0] + (_TIMES - 1) * abs(losses[0])
        good = (losses <= limit) & np.isfinite(points).all(axis=1)
        good[0] = True
        kept.append(points[good])
        found.append(losses[good])
    return np.concatenate(kept), np.concatenate(found)

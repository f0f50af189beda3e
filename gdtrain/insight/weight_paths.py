"""Where trainings went in the space of their weights."""

import numpy as np

_MANY = 64  # Points of a path that are looked at to find where it is good
_TIMES = 4  # The loss at the start: from there on, a path is lost


def by_label(path, size):
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

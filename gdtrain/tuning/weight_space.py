"""The space of weights: the loss in it, directions, paths of trainings."""

from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from gdtrain.callbacks.weight_path import WeightPath
from gdtrain.curvature.objective import Objective
from gdtrain.telemetry.row_layout import path_within

_FLAT = 1e-5  # Of the first principal direction: less is rounding of float32


class LossSurvey(Objective):
    """The loss at points and over planes, where weights are one vector.

    The model is not changed.

    Args:
        model: A `keras.Model`, built and compiled with a loss.
        data: `x`, `y` and `sample_weight`, as in `keras.Model.fit`.
        options: `examples`, `batch_size` and `training` of `Objective`.
    """

    def __init__(self, model: keras.Model, *data: Any, **options: Any) -> None:
        super().__init__(model, *data, **options)
        self._plane = self._over
        if not model.run_eagerly:
            shapes = [self.size], [2, self.size], [None, 2]
            program = tf.function(self._over, autograph=False)
            # Called by itself, TensorFlow would warn of the fifth survey.
            self._plane = program.get_concrete_function(
                *(tf.TensorSpec(shape, self.dtype) for shape in shapes)
            )

    def point(self) -> np.ndarray:
        """The weights now as one vector, float64 `[weights]`."""
        flat = [value.numpy().ravel() for value in self.values()]
        return np.concatenate(flat).astype(np.float64)

    def at(self, points: np.ndarray) -> np.ndarray:
        """The loss at each of some points.

        Args:
            points: Float `[n, weights]`.

        Returns:
            Float64 `[n]`.
        """
        vectors = (tf.cast(point, self.dtype) for point in points)
        return np.array([float(self.loss(self.split(v))) for v in vectors])

    def over(
        self, center: np.ndarray, vectors: np.ndarray, x: Any, y: Any
    ) -> np.ndarray:
        """The loss over a plane, in one program; see `LossSurface`.

            losses[j, i] = loss(center + x[i] vectors[0] + y[j] vectors[1])

        Returns:
            Float64 `[len(y), len(x)]`.
        """
        places = np.stack(np.meshgrid(x, y), -1).reshape(-1, 2)
        given = [tf.constant(a, self.dtype) for a in (center, vectors, places)]
        losses = self._plane(*given)
        return losses.numpy().astype(np.float64).reshape(len(y), len(x))

    def _over(
        self, center: tf.Tensor, vectors: tf.Tensor, places: tf.Tensor
    ) -> tf.Tensor:
        """Losses `[n]` at places `[n, 2]` of a plane; traced."""

        def loss(place: tf.Tensor) -> tf.Tensor:
            point = center + tf.linalg.matvec(vectors, place, transpose_a=True)
            return self.loss(self.split(point))

        # One at a time, in the memory of one model
        return tf.map_fn(
            loss, places, fn_output_signature=self.dtype, parallel_iterations=1
        )


class Directions(NamedTuple):
    """Two vectors that span a plane in the space of weights.

    Args:
        vectors: Float64 `[2, weights]`.
        names: Their names, two strings.
    """

    vectors: np.ndarray
    names: tuple[str, str]


def of_two_weights(
    variables: list[keras.Variable], model_name: str
) -> Directions:
    """The axes of a model of two weights.

    Args:
        variables: Its trainable variables, one of two numbers or two of one.
        model_name: The name of the model.
    """
    names = [path_within(v.path, model_name) for v in variables]
    if len(names) == 1:
        names = [f"{names[0]}[{place}]" for place in range(2)]
    return Directions(np.eye(2), (names[0], names[1]))


def filter_normalized(
    variables: list[keras.Variable], values: list[np.ndarray], seed: int
) -> Directions:
    """Two random directions with the norm of each filter of the weights.

        direction[filter] = random * norm(weights[filter]) / norm(random)

    A filter is the slice along the last axis that makes one output of a
    convolution or dense layer. Weights of fewer than two axes, such as biases
    and those of normalization, are not moved.

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
            "Random directions have the norms of the filters of the weights, "
            "which must not all be zero. Received: a model whose kernels are "
            "all zero. Pass the path of a training, or begin with other "
            "weights."
        )
    vectors = [
        np.concatenate([_like(generator, value).ravel() for value in values])
        for _ in range(2)
    ]
    return Directions(
        np.stack(vectors), ("random direction 1", "random direction 2")
    )


def _like(generator: np.random.Generator, value: np.ndarray) -> np.ndarray:
    """Random numbers with the norms of a weight's filters."""
    if value.ndim < 2:
        return np.zeros_like(value)
    random = generator.normal(size=value.shape)
    axes = tuple(range(value.ndim - 1))
    length = np.sqrt(np.square(random).sum(axes))
    return random * (np.sqrt(np.square(value).sum(axes)) / length)


def principal(points: Any, center: np.ndarray, seed: int) -> Directions:
    """The first two principal directions of a path, of length 1.

    They are the largest singular vectors of `points - center`, and span the
    plane through `center` with the least mean square distance from the
    points. Of points on a line, or fewer than three, missing ones are random
    and orthogonal.

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


_MANY = 64  # Points of a path whose losses are computed
_TIMES = 4  # The loss at the start: points above it count as diverged


def paths_by_label(path: Any, size: int) -> dict[str, np.ndarray]:
    """Paths as arrays, by label.

    Args:
        path: A `gdtrain.callbacks.WeightPath`, an array, a dict of such, or
            `None`.
        size: How many weights the model has.

    Returns:
        A dict of float64 `[n, size]`; the label of a single path is `""`.

    Raises:
        ValueError: if they have no points, do not begin with a finite point, or
            are of a model of a different size.

    Example:

    >>> paths_by_label([[1, 2], [3, 4]], size=2)
    {'': array([[1., 2.], [3., 4.]])}
    """
    if path is None:
        return {}
    if not isinstance(path, dict):
        path = {"": path}
    paths = {}
    for label, one in path.items():
        one = one.weights if isinstance(one, WeightPath) else one
        points = np.asarray(one, np.float64)
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


def good_points(
    paths: dict[str, np.ndarray], survey: LossSurvey
) -> tuple[np.ndarray, np.ndarray]:
    """Points of paths at which the loss is not far above that at the start.

    Args:
        paths: What `paths_by_label` returned.
        survey: Computes the losses.

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

"""A slice through the loss surface of a model, and paths on it."""

import dataclasses
from typing import Any

import numpy as np


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

"""What the first layers with weights receive, and how it is scaled."""

import math
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from gdtrain.keras_bridge import layers

_L = keras.layers
#: Layers whose kernel is multiplied by what they receive
_WEIGHTED = (
    _L.Dense,
    _L.EinsumDense,
    _L.Conv1D,
    _L.Conv2D,
    _L.Conv3D,
    _L.DepthwiseConv2D,
    _L.SeparableConv1D,
    _L.SeparableConv2D,
    _L.RNN,
    _L.Bidirectional,
)
#: Layers whose output has the values of the input, or a part of them
_SAME_VALUES = (
    _L.AveragePooling1D,
    _L.AveragePooling2D,
    _L.Concatenate,
    _L.Cropping1D,
    _L.Cropping2D,
    _L.Dropout,
    _L.Flatten,
    _L.GlobalAveragePooling1D,
    _L.GlobalAveragePooling2D,
    _L.InputLayer,
    _L.Masking,
    _L.MaxPooling1D,
    _L.MaxPooling2D,
    _L.Permute,
    _L.RepeatVector,
    _L.Reshape,
    _L.UpSampling1D,
    _L.UpSampling2D,
    _L.ZeroPadding1D,
    _L.ZeroPadding2D,
)
_NORMALIZING = (
    _L.BatchNormalization,
    _L.GroupNormalization,
    _L.LayerNormalization,
)
_MOST_NUMBERS = 2**20


class Entering(NamedTuple):
    """What one layer receives, where that is the user's own input.

    Args:
        layer: The layer's name.
        values: Rows of examples and places, float64 `[rows, features]`.
        is_normalized: Whether the layer's output is normalized next, so that
            offset and size of the input do not matter.
    """

    layer: str
    values: np.ndarray
    is_normalized: bool


def entering(model: keras.Model, x: Any) -> list[Entering]:
    """What the first layers receive, each once.

    Whatever comes before them, as a `Rescaling` or an `Embedding`, has done
    its work: layers behind those that change values are not first ones.

    Args:
        model: Built.
        x: Examples, as the model takes them.

    Example:

    >>> model = keras.Sequential([keras.Input([1]), keras.layers.Dense(1)])
    >>> [found] = entering(model, tf.constant([[3.0], [5.0]]))
    >>> found.values.tolist(), scale_of(found.values).size
    ([[3.0], [5.0]], 4.123105625617661)
    """
    calls: list[tuple[Any, list[Any], list[Any]]] = []

    def note(operation: Any, inputs: list, output: Any) -> None:
        if _is_whole(operation):
            calls.append((operation, inputs, keras.tree.flatten(output)))

    with (
        keras.StatelessScope(collect_losses=True),
        layers.compute_in_float32(model),
        layers.observe_calls(model, note),
    ):
        model(x, training=False)
    made_by = {
        id(tensor): (operation, inputs)
        for operation, inputs, outputs in calls
        for tensor in outputs
        # What passes through, as in a `Dropout`, was made before.
        if tf.is_tensor(tensor) and not any(tensor is one for one in inputs)
    }
    given = [np.asarray(one) for one in keras.tree.flatten(x)]

    def is_own(tensor: Any) -> bool:
        """Whether no layer before has changed the values."""
        if not tf.is_tensor(tensor):
            return False
        if id(tensor) not in made_by:  # Of operations that are no layers, too
            return any(_is_same(tensor, one) for one in given)
        operation, inputs = made_by[id(tensor)]
        return isinstance(operation, _SAME_VALUES) and any(map(is_own, inputs))

    normalized = {
        id(tensor)
        for operation, inputs, _ in calls
        if isinstance(operation, _NORMALIZING)
        for tensor in inputs
    }
    found: dict[str, Entering] = {}
    for operation, inputs, outputs in calls:
        own = [one for one in inputs[:1] if is_own(one)]
        if isinstance(operation, _WEIGHTED) and own and own[0].shape.rank > 1:
            found.setdefault(
                operation.name,
                Entering(
                    operation.name,
                    _rows(own[0]),
                    any(id(one) in normalized for one in outputs),
                ),
            )
    return list(found.values())


def _is_same(tensor: tf.Tensor, given: np.ndarray) -> bool:
    """Whether a tensor has the values of an array, but for rounding."""
    values = np.asarray(tensor)
    if values.size != given.size or given.dtype.kind not in "biuf":
        return False
    return np.allclose(values.ravel(), given.ravel(), equal_nan=True)


def _is_whole(operation: Any) -> bool:
    """Whether a call stands for itself, not for those of layers within."""
    return isinstance(operation, _WEIGHTED) or not (
        isinstance(operation, keras.Layer) and layers.child_layers(operation)
    )


def _rows(tensor: tf.Tensor) -> np.ndarray:
    """Rows of features, equally many of each example, spread evenly."""
    values = np.asarray(tensor)
    count, features = len(values), values.shape[-1]
    values = values.reshape(count, -1, features)
    most = max(_MOST_NUMBERS // (features * count), 1)
    taken = min(values.shape[1], most)
    places = np.arange(taken) * values.shape[1] // taken
    return values[:, places].reshape(-1, features).astype(np.float64)


class InputScale(NamedTuple):
    """Of what a layer receives, numbers without a unit.

    Args:
        offset: sqrt(sum of squared means / sum of variances) of features.
        spread: The largest range of a feature over that of the lower
            quartile.
        size: The median of the features' root mean squares, without zeros.
    """

    offset: float
    spread: float
    size: float

    def conditions(self, *, is_normalized: bool, is_adaptive: bool) -> dict:
        """How many times as many steps descent needs, for each of them.

        Squared errors have the curvature E[(x, 1) (x, 1)'] along the first
        layer's weights and bias. Its largest eigenvalue limits the learning
        rate, its smallest says how many steps that takes:

            offset:  1 + offset**2
            spread:  spread**2, or `spread` if each weight has a rate of its
                     own, as in Adam
            size:    size**2 or 1 / size**2, of weights against biases

        Args:
            is_normalized: As in `Entering`.
            is_adaptive: Whether each weight has a rate of its own.
        """
        found = {"spread": self.spread if is_adaptive else self.spread**2}
        if not is_normalized:
            found["offset"] = 1 + self.offset**2
            found["size"] = max(self.size, 1 / self.size) ** 2
        return found


def scale_of(values: np.ndarray) -> InputScale | None:
    """The scale of features, `[rows, features]`; `None` if none varies.

    Example:

    >>> scale_of(np.array([[0.0, 10.0], [2.0, 1010.0]])).spread
    500.0
    """
    if not np.isfinite(values).all():
        return None
    ranges = np.ptp(values, 0)
    values = values[:, ranges > 0]
    if not values.size:
        return None
    ranges = ranges[ranges > 0]
    squares, used = (values**2).sum(0), (values != 0).sum(0)
    return InputScale(
        math.sqrt((values.mean(0) ** 2).sum() / values.var(0).sum()),
        float(ranges.max() / np.quantile(ranges, 0.25, method="lower")),
        float(np.median(np.sqrt(squares / np.maximum(used, 1)))),
    )

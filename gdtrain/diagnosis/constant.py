"""The loss that the best constant output reaches."""

from typing import Any

import numpy as np
import tensorflow as tf

from gdtrain.diagnosis.outputs import Output

_LEAST = 1e-7  # Of a probability, as in Keras
_BY_MEAN = {
    "mean_squared_error",
    "poisson",
    "binary_crossentropy",
    "categorical_crossentropy",
}
_BY_MEDIAN = {"mean_absolute_error"}
_BETWEEN = {"huber", "log_cosh"}  # Their best constant is between these two


def loss_of_constant(
    output: Output, targets: Any, weights: Any = None
) -> float | None:
    """The least loss of an output that is the same for all examples.

    Exact for squared and absolute errors and cross-entropies; at most a
    little too large for Huber's and log-cosh.

    Args:
        output: Its loss must be known.
        targets: Of all examples.
        weights: Sample weights, `[n]`. Defaults to `None`, 1.

    Returns:
        `None` where it is not known.

    Example:

    >>> import keras
    >>> loss = keras.losses.mean_squared_error
    >>> output = Output("", "linear", loss.__name__, None, 1, False, loss)
    >>> loss_of_constant(output, [1.0, 3.0])
    1.0
    """
    candidates = _candidates(output, targets, weights)
    if not candidates or output.reduction not in (
        None,
        "mean",
        "sum_over_batch_size",
    ):
        return None
    found = [_loss(output, targets, one, weights) for one in candidates]
    return min(found)


def _candidates(output: Output, targets: Any, weights: Any) -> list[np.ndarray]:
    """Constant outputs `[units]`, of which one is the best."""
    name, arguments = output.loss, output.arguments
    if targets is None or name is None:
        return []
    values = np.asarray(targets)
    if values.dtype.kind not in "biuf" or not len(values):
        return []
    w = np.ones(len(values)) if weights is None else np.asarray(weights)
    if w.shape != (len(values),) or not w.sum() > 0:
        return []
    if name == "sparse_categorical_crossentropy":
        if arguments.get("ignore_class") is not None:
            return []
        values = np.eye(output.units)[values.reshape(len(values), -1)]
        name = "categorical_crossentropy"
    if values.ndim == 1:
        values = values[:, np.newaxis]
    values = values.astype(np.float64)
    inner = values.reshape(len(values), -1, values.shape[-1])
    mean = np.tensordot(w / w.sum(), inner.mean(1), 1)
    if name in _BY_MEAN:
        return [_as_output(mean, name, output)]
    median = np.median(inner.reshape(-1, inner.shape[-1]), 0)
    if name in _BETWEEN:
        return [mean, median, (mean + median) / 2]
    if name in _BY_MEDIAN and weights is None:
        return [median]
    return []


def _as_output(mean: np.ndarray, name: str, output: Output) -> np.ndarray:
    """The mean of targets as what the loss takes."""
    smoothing = output.arguments.get("label_smoothing", 0.0)
    if name == "categorical_crossentropy":
        mean = mean * (1 - smoothing) + smoothing / len(mean)
        share = np.clip(mean, _LEAST, 1)
        return np.log(share) if output.from_logits else share
    if name == "binary_crossentropy":
        mean = mean * (1 - smoothing) + smoothing / 2
        share = np.clip(mean, _LEAST, 1 - _LEAST)
        if output.from_logits:
            return np.log(share / (1 - share))
        return share
    return mean


def _loss(
    output: Output, targets: Any, constant: np.ndarray, weights: Any
) -> float:
    """The loss of a constant output."""
    targets = tf.convert_to_tensor(targets)
    if output.loss != "sparse_categorical_crossentropy":
        targets = tf.cast(targets, tf.float32)
        if targets.shape.rank == 1:
            targets = targets[:, tf.newaxis]
        shape = targets.shape
    else:
        if targets.shape.rank > 1 and targets.shape[-1] == 1:
            targets = targets[..., 0]
        shape = [*targets.shape, output.units]
    given = tf.broadcast_to(tf.cast(constant, tf.float32), shape)
    assert output.function is not None  # Its loss is known.
    losses = output.function(targets, given, **output.arguments)
    losses = np.asarray(losses, np.float64)
    losses = losses.reshape(len(losses), -1).mean(1)
    if weights is not None:
        losses = losses * np.asarray(weights)
    return float(losses.mean())

"""What a model has learned, and what a straight line would still add."""

import dataclasses
import functools
import math
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from gdtrain.diagnosis.outputs import Output
from gdtrain.diagnosis.verdict import confidence

EXAMPLES = 1024  # As many show it.
_PART = 64  # Examples that the model is called with
_SHARE = 10  # Examples for each number that is fitted


class Errors(NamedTuple):
    """What an output still gets wrong, one row an example.

    Of cross-entropies the errors are those of probabilities: the gradient of
    the loss along the logits. Of counts, along the logarithms of rates.

    Args:
        left: Targets minus predictions, float64 `[n, k]`.
        constant: Targets minus their means.
        predicted: Float64 `[n, k]`.
    """

    left: np.ndarray
    constant: np.ndarray
    predicted: np.ndarray

    @property
    def explained(self) -> float:
        """Share of the variance of targets; NaN if predictions are not finite.

        0 of the best constant, 1 of a model that is always right.
        """
        return 1 - float((self.left**2).sum() / (self.constant**2).sum())

    def gain(self, features: np.ndarray) -> float:
        """Share of the variance that a line in the features would add.

        A linear function, with a constant, is fitted to what is left, and
        what it explains by chance is subtracted.

        Args:
            features: Float64 `[n, m]`; as many principal components of the
                standardized ones are used as examples can fit.
        """
        if not np.isfinite(self.left).all():
            return 0.0
        axes = principal(features, len(self.left) // _SHARE)
        count, used = axes.shape
        fitted = axes.T @ self.left  # Axes are orthonormal.
        whole = (self.left**2).sum()
        unexplained = whole - (fitted**2).sum()
        kept = unexplained * count / max(count - used, 1)
        return float(max(whole - kept, 0.0) / (self.constant**2).sum())


def principal(features: np.ndarray, most: int) -> np.ndarray:
    """Orthonormal columns: a constant, and directions of most variance.

    Args:
        features: `[n, m]`; constant ones count for nothing.
        most: How many columns there may be.

    Example:

    >>> principal(np.array([[0.0], [200.0]]), 2).round(2).tolist()
    [[0.71, -0.71], [0.71, 0.71]]
    """
    count = len(features)
    constant = np.full((count, 1), 1 / np.sqrt(count))
    varying = features[:, np.ptp(features, 0) > 0]
    if not varying.size:
        return constant
    standard = (varying - varying.mean(0)) / varying.std(0)
    if standard.shape[1] > count:
        values, axes = np.linalg.eigh(standard @ standard.T)
    else:
        values, directions = np.linalg.eigh(standard.T @ standard)
        with np.errstate(all="ignore"):
            axes = standard @ directions / np.sqrt(values)
    large = values > 1e-9 * values[-1]
    axes = axes[:, large][:, ::-1][:, : max(most - 1, 1)]
    return np.concatenate([constant, axes], 1)


def errors_of(
    loss: str, targets: np.ndarray, given: np.ndarray, is_logits: bool
) -> Errors | None:
    """The `Errors` of one output; `None` of a loss that is not known.

    Args:
        loss: The name of Keras's function.
        targets: As the loss takes them, `[n, ...]`.
        given: Predictions, `[n, ..., units]`.
        is_logits: Whether the loss takes them for logits.

    Example:

    >>> y = np.array([[1.0], [3.0]])
    >>> errors_of("mean_squared_error", y, y - 1, False).explained
    0.0
    """
    count, units = len(given), given.shape[-1]
    if loss == "sparse_categorical_crossentropy":
        numbers = targets.reshape(given.shape[:-1]).astype(np.int64)
        if numbers.min() < 0 or numbers.max() >= units:
            return None
        targets = np.eye(units)[numbers]
    if loss.endswith("categorical_crossentropy"):
        given = softmax(given) if is_logits else given
        given = given / given.sum(-1, keepdims=True)
    elif loss.startswith("binary"):
        given = 1 / (1 + np.exp(-given)) if is_logits else given
    elif loss not in {*REGRESSION, "poisson"}:
        return None
    if targets.size != given.size:
        return None
    y, predicted = targets.reshape(count, -1), given.reshape(count, -1)
    errors = Errors(y - predicted, y - y.mean(0), predicted)
    return errors if (errors.constant**2).sum() > 0 else None


REGRESSION = {
    "mean_squared_error",
    "mean_absolute_error",
    "huber",
    "log_cosh",
}


def softmax(logits: np.ndarray) -> np.ndarray:
    """Along the last axis."""
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


LEARNED = 0.9  # Share of the variance of targets: it trains well as it is
GAIN = 0.05  # Share of it that a line would add
NOTHING = 0.05  # Share of it: the model is no better than a constant
UNSURE = 0.6


class Missed(NamedTuple):
    """What a model missed, in words, how sure that is, and its share."""

    confidence: float
    text: str
    gain: float


def missed_by(errors: Errors, features: np.ndarray, line: str) -> Missed | None:
    """What a model missed that a line in some features says.

    Args:
        errors: Of one output.
        features: Float64 `[n, m]`.
        line: The line in words.

    Returns:
        `None` if that is nothing to speak of, or the model has learned.
    """
    explained = errors.explained
    if math.isnan(explained):
        return Missed(UNSURE, "The outputs are not finite.", 0.0)
    if explained >= LEARNED:
        return None
    gain = errors.gain(features)
    if gain >= GAIN:
        return Missed(
            confidence(gain / GAIN),
            f"The model explains {max(explained, 0):.0%} of the variance of "
            f"the targets; {line} would explain {explained + gain:.0%}.",
            gain,
        )
    if explained < NOTHING:
        return Missed(UNSURE, "The model is no better than a constant.", gain)
    return None


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a model gives for examples at one output, and the targets.

    Args:
        output: Its activation and loss.
        given: Float64 `[n, ..., units]`.
        targets: As the loss takes them, `[n, ...]`; `None` if there are none.
    """

    output: Output
    given: np.ndarray
    targets: np.ndarray | None

    @property
    def is_logits(self) -> bool:
        """Whether the loss takes what is given for logits.

        A softmax or sigmoid that is the last operation is followed back to
        its logits by Keras's losses, which are right in spite of
        `from_logits=True`.
        """
        return bool(self.output.from_logits) and not self.output.has_logits

    @functools.cached_property
    def errors(self) -> Errors | None:
        """See `errors_of`."""
        if self.targets is None or self.output.loss is None:
            return None
        return errors_of(
            self.output.loss, self.targets, self.given, self.is_logits
        )


def answers(
    model: keras.Model, outputs: list[Output], x: Any, targets: list[Any]
) -> list[Answer]:
    """What a model gives for examples, in parts; it stays as it is.

    Args:
        model: Built.
        outputs: Of it.
        x: Tensors of examples.
        targets: Of each output; `None` where unknown.
    """
    count = len(keras.tree.flatten(x)[0])
    parts = []
    for start in range(0, count, _PART):
        rows = slice(start, start + _PART)
        some = keras.tree.map_structure(lambda leaf, r=rows: leaf[r], x)
        with keras.StatelessScope(collect_losses=True):
            parts.append(keras.tree.flatten(model(some, training=False)))
    found = []
    for output, values, y in zip(
        outputs, zip(*parts, strict=True), targets, strict=True
    ):
        given = np.concatenate([np.asarray(one, np.float64) for one in values])
        found.append(
            Answer(output, given, None if y is None else np.asarray(y))
        )
    return found


def well_learned(answers: list[Answer], share: float = LEARNED) -> bool:
    """Whether every output that can be judged explains its targets.

    Args:
        answers: Of all outputs.
        share: Of the variance of targets.
    """
    errors = [one.errors for one in answers if one.errors is not None]
    return bool(errors) and all(one.explained >= share for one in errors)


def loss_of_longer(
    model: keras.Model,
    outputs: list[Output],
    x: Any,
    targets: list[Any],
    factor: float,
    loss_weights: list[float],
) -> float:
    """The weighted sum of the losses with kernels multiplied by a factor.

    Args:
        model: Built; it stays as it is.
        outputs: Of it, each with a loss that is known.
        x: Tensors of examples.
        targets: Of each output.
        factor: 1 for the weights as they are.
        loss_weights: Of each output.
    """
    weights = [
        factor * v if len(v.shape) > 1 else tf.convert_to_tensor(v)
        for v in model.trainable_variables
    ]
    others = [v.value for v in model.non_trainable_variables]
    count, total = len(keras.tree.flatten(x)[0]), 0.0
    for start in range(0, count, _PART):
        some, y = keras.tree.map_structure(
            lambda leaf, s=start: leaf[s : s + _PART], (x, targets)
        )
        given, _ = model.stateless_call(weights, others, some, training=False)
        values = keras.tree.flatten(given)
        for output, one, value, times in zip(
            outputs, y, values, loss_weights, strict=True
        ):
            assert output.function is not None  # Its loss is known.
            is_sparse = output.loss == "sparse_categorical_crossentropy"
            if not is_sparse and one.shape.rank == value.shape.rank - 1:
                one = one[..., tf.newaxis]  # As a Keras loss would
            losses = output.function(one, value, **output.arguments)
            total += times * float(tf.reduce_mean(losses)) * len(value)
    return total / count


def relative_length(model: keras.Model) -> float:
    """See `Task.relative_length`.

    Example:

    >>> model = keras.Sequential([keras.Input([2]), keras.layers.Dense(2)])
    >>> model.set_weights([np.full([2, 2], 0.5**0.5), np.zeros(2)])
    >>> round(relative_length(model), 6)
    1.0
    """
    found = []
    for variable in model.trainable_variables:
        shape = tuple(variable.shape)
        if len(shape) > 1:
            (last, units), places = shape[-2:], math.prod(shape[:-2])
            new = math.sqrt(2 / (places * (last + units)))
            size = np.sqrt(np.mean(np.square(np.asarray(variable.value))))
            found.append(float(size) / new)
    return max(found, default=math.inf)

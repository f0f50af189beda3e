"""Which labels a loss can use: kind, shape, values."""

import dataclasses
import math
import warnings
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from gdtrain.common.explained import more
from gdtrain.keras_bridge import losses
from gdtrain.mistakes.wording import may_be_equal, place, sizes, written

_LABELS: dict[Callable, str] = {
    keras.losses.sparse_categorical_crossentropy: "class numbers",
    keras.losses.categorical_crossentropy: "one-hot",
    keras.losses.categorical_focal_crossentropy: "one-hot",
    keras.losses.categorical_hinge: "one-hot",
    keras.losses.kl_divergence: "one-hot",
    keras.losses.binary_crossentropy: "probabilities",
    keras.losses.binary_focal_crossentropy: "probabilities",
}


@dataclasses.dataclass(frozen=True)
class KnownLoss:
    """One of Keras's losses, compiled for an output.

    Args:
        name: The name of the function that it computes.
        labels: What it takes: `"class numbers"`, `"one-hot"`,
            `"probabilities"` (from 0 to 1, for each value) or `"values"`.
        arguments: Further arguments of the function.
        output: The output that it is for, in words.
    """

    name: str
    labels: str
    arguments: dict[str, Any]
    output: str


def known(loss: Any, output: str | None) -> KnownLoss | None:
    """What is known of a loss of Keras's; `None` for a user's own.

    Args:
        loss: A loss as `compile` resolves it.
        output: The name of its output, or of the loss where that has none.

    Example:

    >>> known(keras.losses.MeanSquaredError(), "price").output
    "output 'price'"
    """
    function, arguments = losses.function_of_loss(loss)
    if function is None:
        return None
    name = function.__name__
    has_name = output and output not in (loss.name, name)
    words = f"output '{output}'" if has_name else "the output"
    labels = _LABELS.get(function, "values")
    return KnownLoss(name, labels, arguments, words)


def refuse_text(loss: KnownLoss, y_true: Any) -> None:
    """Refuses labels of text, which Keras's losses would cast to numbers.

    Raises:
        ValueError: if labels are text.
    """
    if getattr(y_true, "dtype", None) != tf.string:
        return
    raise ValueError(
        f"The labels of {loss.output} must be numbers. Received: text (dtype "
        f"string) of shape {written(sizes(y_true) or ())}. Number the classes, "
        "`names, y = numpy.unique(y, return_inverse=True)`, or use "
        "`keras.layers.StringLookup`. Convert numbers that were read as "
        'text by `y.astype("float32")`.' + more("labels")
    )


def reason(loss: KnownLoss, y_true: Any, y_pred: Any) -> str | None:
    """Why a loss failed; `None` if unknown."""
    name = f"The loss {loss.name} of {loss.output}"
    if y_true is None:
        return (
            f"{name} needs labels. Received: none; y is None, or the data "
            "are x alone. Pass `fit(x, y)`, or batches `(x, y)`."
        )
    labels, outputs = sizes(y_true), sizes(y_pred)
    if not labels or not outputs:
        return None
    received = (
        f"Received: labels of shape {written(labels)} and dtype "
        f"{tf.as_dtype(y_true.dtype).name}, and an output of shape "
        f"{written(outputs)}."
    )
    if loss.labels == "class numbers":
        return _of_class_numbers(name, labels, outputs, received)
    if may_be_equal(labels, outputs):
        return None
    is_flat = len(labels) < len(outputs)
    if loss.labels == "one-hot" and (is_flat or labels[-1] == 1):
        return (
            f"{name} needs one-hot labels, of the shape of the output. "
            f"{received} If the labels are class numbers, compile with "
            'loss="sparse_categorical_crossentropy", or pass '
            f"`keras.utils.to_categorical(y, {outputs[-1]})`."
        )
    if loss.labels == "probabilities" and is_flat and len(outputs) == 2:
        return (
            f"{name} needs a label, 0 or 1, for each value of the output. "
            f"{received} For two classes, end with a layer of 1 unit; for "
            "more, with a unit for each, softmax and "
            'loss="sparse_categorical_crossentropy".'
        )
    units = labels[-1] if len(labels) == len(outputs) else 1
    return (
        f"{name} needs labels of the shape of the output. {received} Give the "
        f"last layer {units} unit{'' if units == 1 else 's'}, or change the "
        "labels. For class numbers, use "
        'loss="sparse_categorical_crossentropy".'
    )


def _of_class_numbers(
    name: str, labels: list, outputs: list, received: str
) -> str | None:
    *shape, classes = outputs
    if len(labels) == len(outputs) and labels[-1] != 1:
        return (
            f"{name} needs class numbers, one for each {classes} values of "
            f"the output. {received} If the labels are one-hot, compile with "
            'loss="categorical_crossentropy", or pass `y.argmax(-1)`.'
        )
    if may_be_equal(labels, shape) or may_be_equal(labels[:-1], shape):
        return None
    return (
        f"{name} needs class numbers of the shape of the output without its "
        f"last axis. {received} Give each of the {classes} values a label, or "
        f"have the network end with {classes} values for each example."
    )


def mismatch(y_true: Any, y_pred: Any, names: Any) -> str | None:
    """Why labels do not match outputs; `None` if they may.

    Args:
        y_true, y_pred: Structures of labels and of outputs.
        names: Of the outputs, as far as known.
    """
    known = list(y_pred) if isinstance(y_pred, dict) else names
    if isinstance(y_true, dict):
        if not known or None in known or set(y_true) == set(known):
            return None
        return (
            f"Labels in a dict must have the names of the outputs, "
            f"{', '.join(map(repr, known))}. Received: labels named "
            f"{', '.join(map(repr, y_true))}. Rename them, or the layers."
        )
    labels, outputs = keras.tree.flatten(y_true), keras.tree.flatten(y_pred)
    if len(labels) == len(outputs):
        return None
    which = f", {', '.join(map(repr, known))}" if known else ""
    return (
        f"The model has {len(outputs)} output(s){which}, and needs labels for "
        f"each. Received: {len(labels)} array(s) of labels. Pass a list or "
        "a dict of arrays as y, one for each output; for outputs without a "
        "loss, compile with None as their loss."
    )


#: How many labels are checked, at most: a few milliseconds
MOST = 2**21


def rule_of(loss: KnownLoss, y_pred: Any) -> "Rule | None":
    """What a loss requires of the values of labels; `None` if nothing."""
    if loss.labels == "probabilities":
        return Probabilities(loss.name, loss.output)
    if loss.labels != "class numbers":
        return None
    axis = loss.arguments.get("axis", -1)
    if y_pred.shape.rank is None or y_pred.shape[axis] is None:
        return None
    return ClassNumbers(
        loss.name,
        loss.output,
        int(y_pred.shape[axis]),
        loss.arguments.get("ignore_class"),
    )


@dataclasses.dataclass(frozen=True)
class ClassNumbers:
    """Labels must be whole numbers from 0 to below the number of classes.

    For others, Keras raises an error on a CPU and computes NaN under XLA and
    on a GPU; it truncates fractions.

    Args:
        loss: The name of the loss.
        output: The output, in words.
        classes: How many there are.
        ignored: A number that stands for no label, or `None`.

    Example:

    >>> ClassNumbers("a_loss", "the output", 3).check(np.array([0, 3]))
    Traceback (most recent call last):
    ValueError: The labels of the output must be class numbers, whole...
    """

    loss: str
    output: str
    classes: int
    ignored: int | None = None

    def check(self, labels: Any, name: str = "y") -> None:
        """Checks labels, the first `MOST` of an array.

        Args:
            labels: An array or tensor with a first axis of examples.
            name: What the user calls it.

        Raises:
            ValueError: if a label cannot be used.
        """
        values = _first_of(labels)
        wrong = self._wrong(values)
        if wrong is None:
            return
        index = tuple(np.argwhere(wrong)[0])
        first = f"{place(name, map(int, index))} = {values[index]}"
        raise ValueError(
            f"The labels of {self.output} must be class numbers, whole "
            f"numbers from 0 to {self.classes - 1}, as the loss is "
            f"{self.loss} and the output has {self.classes} value"
            f"{'' if self.classes == 1 else 's'} "
            f"for each label. {_received(name, labels, values)}; "
            f"{int(wrong.sum()):,} cannot be used, the first of which is "
            f"{first}. {self._advice(values, wrong)}" + more("labels")
        )

    def _wrong(self, values: np.ndarray) -> np.ndarray | None:
        """Which labels cannot be used; `None` if all of them can."""
        if values.dtype.kind not in "iuf" or not values.size:
            return None
        is_float = values.dtype.kind == "f"
        if not is_float and values.min() >= 0 and values.max() < self.classes:
            return None
        wrong = ~((values >= 0) & (values < self.classes))  # NaN is wrong.
        if is_float:
            wrong |= values != np.floor(values)
        if self.ignored is not None:
            wrong &= values != self.ignored
        return wrong if wrong.any() else None

    def _advice(self, values: np.ndarray, wrong: np.ndarray) -> str:
        if not np.isfinite(values[wrong]).all():
            return "Omit the examples that have no label."
        if (values[wrong] != np.floor(values[wrong])).any():
            return (
                "Keras would truncate the fractions. For numbers that are not "
                'classes, use a loss such as "mse" and an output of 1 unit.'
            )
        low, high = int(values.min()), int(values.max())
        if self.classes == 1:
            return (
                'For two classes, use loss="binary_crossentropy" and an '
                f"output of 1 unit; else give the output {high + 1} units."
            )
        if low > 0 and high - low < self.classes:
            return f"Number the classes from 0: pass `y - {low}`."
        if low < 0:
            return (
                "Where a negative number stands for no label, use `keras."
                f"losses.SparseCategoricalCrossentropy(ignore_class={low})`."
            )
        classes = np.unique(values).size
        if classes == high + 1:
            return f"Give the output {classes} units."
        return (
            "Number the classes without gaps, `y = numpy.unique(y, "
            f"return_inverse=True)[1]`; give the output {classes} units or "
            "more."
        )


@dataclasses.dataclass(frozen=True)
class Probabilities:
    """Labels should be 0, 1 or in between, else the loss has no minimum.

    A warning and no error, since it may be meant.

    Args:
        loss: The name of the loss.
        output: The output, in words.
    """

    loss: str
    output: str

    def check(self, labels: Any, name: str = "y") -> None:
        """Warns of other labels, among the first `MOST`.

        Args:
            labels: An array or tensor with a first axis of examples.
            name: What the user calls it.
        """
        values = _first_of(labels)
        if values.dtype.kind not in "iuf" or not values.size:
            return
        low, high = values.min(), values.max()
        if not (low < 0 or high > 1):
            return
        advice = "Scale them to 0 to 1."
        if set(np.unique(values[:1000])) <= {-1, 1}:
            advice = "Pass `(y + 1) / 2` for labels of -1 and 1."
        elif values.dtype.kind != "f":
            advice = (
                "For class numbers, use an output of a unit for each class "
                'and loss="sparse_categorical_crossentropy".'
            )
        warnings.warn(
            f"The labels of {self.output} should be from 0 to 1, as the loss "
            f"is {self.loss}, which has no minimum for others. "
            f"{_received(name, labels, values)}. {advice}" + more("labels"),
            stacklevel=2,
        )


def _first_of(labels: Any) -> np.ndarray:
    """The first labels of an array, `MOST` or those of one example."""
    size = max(1, math.prod(labels.shape[1:]))
    return np.asarray(labels[: max(1, MOST // size)])


def _received(name: str, labels: Any, values: np.ndarray) -> str:
    flat, part = values.ravel(), ""
    if len(values) < len(labels):
        part = f" (of the first {values.size:,}, which were looked at)"
    return (
        f"Received: {name} of dtype {values.dtype} and shape "
        f"{tuple(labels.shape)}, with values from {np.fmin.reduce(flat)} to "
        f"{np.fmax.reduce(flat)}{part}"
    )


Rule = ClassNumbers | Probabilities

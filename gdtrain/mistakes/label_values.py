"""Which values labels may have, by the loss that gets them."""

import dataclasses
import math
import warnings
from typing import Any

import numpy as np

from gdtrain.mistakes.losses import KnownLoss

#: How many labels are looked at, at most: a few milliseconds
MOST = 2**21


def rule_of(loss: KnownLoss, y_pred: Any) -> "ClassNumbers | Shares | None":
    """What a loss asks of the values of labels; `None` if nothing."""
    if loss.takes_probabilities:
        return Shares(loss.name, loss.output)
    if not loss.takes_class_numbers:
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

    Of others, Keras makes an error on a CPU and NaN under XLA and on a GPU;
    it cuts off fractions.

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
            ValueError: if a label is something else.
        """
        values = _first_of(labels)
        wrong = self._wrong(values)
        if wrong is None:
            return
        index = tuple(np.argwhere(wrong)[0])
        first = f"{name}{''.join(f'[{i}]' for i in index)} = {values[index]}"
        raise ValueError(
            f"The labels of {self.output} must be class numbers, whole "
            f"numbers from 0 to {self.classes - 1}, as the loss is "
            f"{self.loss} and the output has {_count(self.classes, 'value')} "
            f"for each label. {_received(name, labels, values)}; "
            f"{int(wrong.sum()):,} cannot be used, the first of which is "
            f"{first}. {self._advice(values, wrong)}"
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
            return "Leave out the examples that have no label."
        if (values[wrong] != np.floor(values[wrong])).any():
            return (
                "Keras would cut off the fractions. For numbers that are not "
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
class Shares:
    """Labels should be 0, 1 or in between, else the loss has no minimum.

    As it still is a number, which may be meant so, it is told and trained.

    Args:
        loss: The name of the loss.
        output: The output, in words.
    """

    loss: str
    output: str

    def check(self, labels: Any, name: str = "y") -> None:
        """Warns of labels that are not, among the first `MOST`.

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
            f"{_received(name, labels, values)}. {advice}",
            stacklevel=2,
        )


def _first_of(labels: Any) -> np.ndarray:
    """The first labels of an array, `MOST` or those of one example."""
    size = max(1, math.prod(labels.shape[1:]))
    return np.asarray(labels[: max(1, MOST // size)])


def _received(name: str, labels: Any, values: np.ndarray) -> str:
    flat, looked = values.ravel(), ""
    if len(values) < len(labels):
        looked = f" (of the first {values.size:,}, which were looked at)"
    return (
        f"Received: {name} of dtype {values.dtype} and shape "
        f"{tuple(labels.shape)}, with values from {np.fmin.reduce(flat)} to "
        f"{np.fmax.reduce(flat)}{looked}"
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"

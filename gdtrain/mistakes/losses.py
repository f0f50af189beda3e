"""Which of Keras's losses a compiled loss is."""

import dataclasses
from collections.abc import Callable
from typing import Any

import keras

from gdtrain import keras_bridge

_OF_CLASS_NUMBERS = (keras.losses.sparse_categorical_crossentropy,)
_OF_ONE_HOT = (
    keras.losses.categorical_crossentropy,
    keras.losses.categorical_focal_crossentropy,
    keras.losses.categorical_hinge,
    keras.losses.kl_divergence,
)
_OF_PROBABILITIES = (
    keras.losses.binary_crossentropy,
    keras.losses.binary_focal_crossentropy,
)


@dataclasses.dataclass(frozen=True)
class KnownLoss:
    """One of Keras's losses, compiled for an output.

    Args:
        function: The function that it computes.
        arguments: Further arguments of it.
        output: The output that it is for, in words.
    """

    function: Callable
    arguments: dict[str, Any]
    output: str

    @property
    def name(self) -> str:
        return self.function.__name__

    @property
    def takes_class_numbers(self) -> bool:
        return self.function in _OF_CLASS_NUMBERS

    @property
    def takes_one_hot(self) -> bool:
        return self.function in _OF_ONE_HOT

    @property
    def takes_probabilities(self) -> bool:
        """Whether labels are 0, 1 or in between, for each value."""
        return self.function in _OF_PROBABILITIES


def known(loss: Any, output: str | None) -> KnownLoss | None:
    """The loss of Keras's that `loss` is; `None` if it is the user's own.

    Args:
        loss: A loss as `compile` resolves it.
        output: The name of its output, or of the loss where that has none.

    Example:

    >>> known(keras.losses.MeanSquaredError(), "price").output
    "output 'price'"
    """
    function, arguments = keras_bridge.function_of_loss(loss)
    if function is None:
        return None
    has_name = output and output not in (loss.name, function.__name__)
    words = f"output '{output}'" if has_name else "the output"
    return KnownLoss(function, arguments, words)

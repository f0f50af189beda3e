"""Operations of TensorFlow that fail while a step runs, explained."""

import functools
import re
from collections.abc import Callable
from typing import Any, TypeVar

import tensorflow as tf

from gdtrain.keras_bridge import errors

_Method = TypeVar("_Method", bound=Callable[..., Any])

# What TensorFlow says, and what the user should know
_EXPLANATIONS = (
    (
        re.compile(
            r"Received a label value of (-?\d+) which is outside the valid "
            r"range of \[0, (\d+)\)"
        ),
        "A label must be a class number from 0 to below {1}, as the output "
        "that it is for has {1} values. Received: the label {0}. Number the "
        "classes from 0, or give the output more units.",
    ),
    (
        re.compile(
            r"node \S*compile_loss/(?:.|\n)*ncompatible shapes: (\[.*?\]) vs\. "
            r"(\[.*?\])"
        ),
        "The loss needs labels of the shape of the output. Received: shapes "
        "{0} and {1}. Change the labels, or the units of the last layer. For "
        'class numbers, use loss="sparse_categorical_crossentropy".',
    ),
    (
        re.compile(r"Cast string to (\w+) is not supported"),
        "What a model computes with must be numbers. Received: text (dtype "
        "string), for numbers of dtype {0}. Make numbers of it: `x.astype("
        '"float32")` for numbers that were read as text, '
        "`keras.layers.StringLookup` or `keras.layers.TextVectorization` for "
        "words.",
    ),
)


def explained(method: _Method) -> _Method:
    """Has errors of operations in a method say what they mean, where known.

    That comes in front of what TensorFlow says.
    """

    @functools.wraps(method)
    def explaining(*args: Any, **kwargs: Any) -> Any:
        try:
            return method(*args, **kwargs)
        except tf.errors.OpError as error:
            _explain(error)
            raise

    return explaining  # type: ignore[return-value]


def _explain(error: tf.errors.OpError) -> None:
    message = str(error.message)
    for pattern, text in _EXPLANATIONS:
        found = pattern.search(message)
        if found and not message.startswith(text[:20]):
            errors.set_message(
                error, f"{text.format(*found.groups())}\n\n{message}"
            )

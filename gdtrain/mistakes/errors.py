"""Errors that show the user's lines, as Keras's do, and say what they mean."""

import contextlib
import functools
import os
import pathlib
import re
import sysconfig
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, TypeVar

import keras
import tensorflow as tf

from gdtrain.common.explained import more
from gdtrain.keras_bridge import errors

_Function = TypeVar("_Function", bound=Callable[..., Any])

_HERE = str(pathlib.Path(__file__).parents[1]) + os.sep  # gdtrain
_STANDARD_LIBRARY = sysconfig.get_path("stdlib") + os.sep
_PACKAGES = tuple(
    sysconfig.get_path(name) + os.sep for name in ("purelib", "platlib")
)

# What operations of TensorFlow say, and what the user should know
_EXPLANATIONS = (
    (
        re.compile(
            r"Received a label value of (-?\d+) which is outside the valid "
            r"range of \[0, (\d+)\)"
        ),
        "A label must be a class number from 0 to below {1}, as the output "
        "that it is for has {1} values. Received: the label {0}. Number the "
        "classes from 0, or give the output more units." + more("labels"),
    ),
    (
        re.compile(
            r"node \S*compile_loss/(?:.|\n)*ncompatible shapes: (\[.*?\]) vs\. "
            r"(\[.*?\])"
        ),
        "The loss needs labels of the shape of the output. Received: shapes "
        "{0} and {1}. Change the labels, or the units of the last layer. For "
        'class numbers, use loss="sparse_categorical_crossentropy".'
        + more("labels"),
    ),
    (
        re.compile(r"Cast string to (\w+) is not supported"),
        "What a model computes with must be numbers. Received: text (dtype "
        "string), for numbers of dtype {0}. Make numbers of it: `x.astype("
        '"float32")` for numbers that were read as text, '
        "`keras.layers.StringLookup` or `keras.layers.TextVectorization` for "
        "words." + more("unusable-data"),
    ),
    (
        re.compile(
            r"assertion failed: \[b?'?(reproducible_workers=\d+)'?\] "
            r"\[(\d+)\] \[(\d+)\]"
        ),
        "With {0}, each of n replicas must receive 1/n of the examples of a "
        "batch, rounded as arrays are shared. Received: {2} examples on a "
        "replica that should have {1}. Let the batches of a dataset divide by "
        "the number of replicas, as by `batch(..., drop_remainder=True)`, or "
        "train on arrays." + more("reproducible-workers"),
    ),
)


class ReadableErrors:
    """While open, errors show the user's lines, and are explained.

    For methods that run the user's code, as Keras does for `fit`: frames of
    gdtrain, Keras and TensorFlow are dropped from tracebacks. The error stays
    the same object, with its message, notes, cause and context, whose
    tracebacks are filtered as well. The stack traces that TensorFlow writes
    into messages lose the same frames. If an operation failed for a reason
    that is known, that comes in front of what TensorFlow says.
    `keras.config.disable_traceback_filtering()` shows all frames.

    A context manager, as a decorator would add a frame of its own.

    Example:

    >>> with ReadableErrors():
    ...     3 / 2
    1.5
    """

    def __enter__(self) -> None:
        self._filters = keras.config.is_traceback_filtering_enabled()
        # TensorFlow's own filter would erase the causes of errors.
        self._instead_of_tensorflow = (
            self._filters and tf.debugging.is_traceback_filtering_enabled()
        )
        if self._instead_of_tensorflow:
            tf.debugging.disable_traceback_filtering()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._instead_of_tensorflow:
            tf.debugging.enable_traceback_filtering()
        if isinstance(error, tf.errors.OpError):
            _explain(error)
        if self._filters and isinstance(error, Exception):
            for each in _chain(error):
                if isinstance(each, tf.errors.OpError):
                    errors.drop_frames(each, _is_internal)
                each.__traceback__ = _users_part(each.__traceback__)


def readable(function: _Function) -> _Function:
    """A function that runs within `ReadableErrors`."""

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        with ReadableErrors():
            return function(*args, **kwargs)

    return run  # type: ignore[return-value]


@contextlib.contextmanager
def explained_by(
    reason: Callable[[Exception], str | None], *kinds: type[Exception]
) -> Iterator[None]:
    """While open, errors of some kinds become a `ValueError` with a reason.

    Args:
        reason: Returns why an error was raised; `None` if that is unknown.
        *kinds: Classes of errors.

    Example:

    >>> with explained_by(lambda error: "x must have a size.", TypeError):
    ...     len(3)
    Traceback (most recent call last):
    ValueError: x must have a size.
    """
    try:
        yield
    except kinds as error:
        found = reason(error)
        if found is None:
            raise
        raise ValueError(found) from error


def _explain(error: tf.errors.OpError) -> None:
    message = str(error.message)
    for pattern, text in _EXPLANATIONS:
        found = pattern.search(message)
        if found and not message.startswith(text[:20]):
            errors.set_message(
                error, f"{text.format(*found.groups())}\n\n{message}"
            )


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error, its causes and the errors that it was raised in."""
    seen: set[int] = set()
    left: list[BaseException | None] = [error]
    while left:
        each = left.pop()
        if each is not None and id(each) not in seen:
            seen.add(id(each))
            yield each
            left += [each.__cause__, each.__context__]


def _users_part(traceback: TracebackType | None) -> TracebackType | None:
    """A traceback of those frames that are the user's; of the last if none.

    Frames of the standard library between two dropped ones, such as entering
    a context manager, are dropped with them.
    """
    entries, kept = [], []
    after_internal = False
    while traceback is not None:
        path = traceback.tb_frame.f_code.co_filename
        after_internal = _is_internal(path) or (
            after_internal
            and path.startswith(_STANDARD_LIBRARY)
            and not path.startswith(_PACKAGES)
        )
        entries.append(traceback)
        if not after_internal:
            kept.append(traceback)
        traceback = traceback.tb_next
    joined = None
    for entry in reversed(kept or entries[-1:]):
        joined = TracebackType(
            joined, entry.tb_frame, entry.tb_lasti, entry.tb_lineno
        )
    return joined


def _is_internal(path: str) -> bool:
    """Whether a file is part of gdtrain, Keras or TensorFlow."""
    return path.startswith(_HERE) or errors.is_internal_file(path)

"""Tracebacks that show the user's frames, as Keras's do."""

import contextlib
import functools
import os
import pathlib
import sysconfig
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, TypeVar

import keras
import tensorflow as tf

from gdtrain.keras_bridge import errors

_Function = TypeVar("_Function", bound=Callable[..., Any])

_HERE = str(pathlib.Path(__file__).parents[1]) + os.sep  # gdtrain
_STANDARD_LIBRARY = sysconfig.get_path("stdlib") + os.sep
_PACKAGES = tuple(
    sysconfig.get_path(name) + os.sep for name in ("purelib", "platlib")
)


def filtered(function: _Function) -> _Function:
    """Drops frames of gdtrain, Keras and TensorFlow from tracebacks.

    For methods that run the user's code, as Keras does for `fit`: an error
    shows the user's lines that led to it. The error stays the same object,
    with its message, notes, cause and context, whose tracebacks are filtered
    as well. The stack traces that TensorFlow writes into messages lose the
    same frames.
    `keras.config.disable_traceback_filtering()` shows all frames.

    Example:

    >>> @filtered
    ... def half(x):
    ...     return x / 2
    >>> half(3)
    1.5
    """

    @functools.wraps(function)
    def filtering(*args: Any, **kwargs: Any) -> Any:
        if not keras.config.is_traceback_filtering_enabled():
            return function(*args, **kwargs)
        try:
            with _tensorflow_filters_nothing():
                return function(*args, **kwargs)
        except Exception as error:
            for each in _chain(error):
                _shorten_message(each)
                each.__traceback__ = _users_part(each.__traceback__)
            raise

    return filtering  # type: ignore[return-value]


@contextlib.contextmanager
def _tensorflow_filters_nothing() -> Iterator[None]:
    """Keeps TensorFlow's own filter from erasing the causes of errors."""
    if not tf.debugging.is_traceback_filtering_enabled():
        yield
        return
    tf.debugging.disable_traceback_filtering()
    try:
        yield
    finally:
        tf.debugging.enable_traceback_filtering()


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
    entries = []
    last = traceback
    after_internal = False
    while traceback is not None:
        path = traceback.tb_frame.f_code.co_filename
        after_internal = _is_internal(path) or (
            after_internal and _is_of_standard_library(path)
        )
        if not after_internal:
            entries.append(traceback)
        last, traceback = traceback, traceback.tb_next
    if last is not None and not entries:
        entries.append(last)
    joined = None
    for entry in reversed(entries):
        joined = TracebackType(
            joined, entry.tb_frame, entry.tb_lasti, entry.tb_lineno
        )
    return joined


def _is_internal(path: str) -> bool:
    """Whether a file is part of gdtrain, Keras or TensorFlow."""
    return path.startswith(_HERE) or errors.is_internal_file(path)


def _is_of_standard_library(path: str) -> bool:
    return path.startswith(_STANDARD_LIBRARY) and not path.startswith(_PACKAGES)


def _shorten_message(error: BaseException) -> None:
    """Drops internal frames from stack traces within a message."""
    if isinstance(error, tf.errors.OpError):
        errors.drop_frames(error, _is_internal)

"""Errors of TensorFlow: their messages and the stack traces in them."""

import re
from collections.abc import Callable

import tensorflow as tf
from keras.src.utils import traceback_utils

# A frame of a stack trace, as `traceback.format_list` writes it
_FRAME = re.compile(
    r'^  File "(?P<path>[^"\n]+)", line \d+, in .*\n(?:    .*\n)*\n?',
    re.MULTILINE,
)


def is_internal_file(path: str) -> bool:
    """Whether Keras drops frames of this file from tracebacks.

    These are its own files and TensorFlow's. Needs `include_frame`; without
    it no error shows a short traceback.
    """
    return not traceback_utils.include_frame(path)


def drop_frames(
    error: tf.errors.OpError, is_internal: Callable[[str], bool]
) -> None:
    """Drops some frames from the stack traces in an error's message.

    TensorFlow writes there where the operation that failed was made.

    Args:
        error: The error, whose message is changed.
        is_internal: Whether to drop the frames of a file, by its path.
    """

    def shortened(match: re.Match[str]) -> str:
        return "" if is_internal(match["path"]) else match[0]

    set_message(error, _FRAME.sub(shortened, error.message))


def set_message(error: tf.errors.OpError, message: str) -> None:
    """Sets the message of an error of TensorFlow's.

    Needs `_message`, which TensorFlow itself sets after the error is made;
    without it messages stay as TensorFlow writes them.
    """
    error._message = message

"""Failures that do not end training, reported as warnings."""

import contextlib
import errno
import logging
import os
import re
import sys
import warnings
from collections.abc import Iterator

from gdtrain.common.explained import without_more

_log = logging.getLogger("gdtrain")

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")  # As in Keras's messages
_LENGTH = 200  # Most characters of an error that are shown
_PLAIN = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "no more of the disk may be used",
    errno.ENOENT: "the file or its folder is gone",
    errno.EACCES: "writing there is not allowed",
    errno.EROFS: "the disk can only be read",
    errno.ENOLCK: "this file system has no locks",
    errno.EOPNOTSUPP: "this file system has no locks",
}


class RepeatedCrash(RuntimeError):
    """A run has ended three times by the same error at the same step."""


def warn(what: str, error: BaseException, then: str) -> None:
    """Warns about an error and never raises, even where warnings are errors.

    The traceback goes to the log ("gdtrain", DEBUG).

    Args:
        what: What ended, for example `"Writing has stopped"`.
        error: An exception.
        then: A sentence on what continues.

    Example:

    >>> import warnings
    >>> error = OSError(28, "No space left on device")
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("always")
    ...     with warnings.catch_warnings(record=True) as caught:
    ...         warn("Writing has stopped", error, "Training continues.")
    >>> print(caught[0].message)
    Writing has stopped: the disk is full (OSError: [Errno 28] No space left
    on device). Training continues.
    """
    plain = _plainly(error)
    cause = _one_line(error)
    if plain:
        cause = f"{plain} ({_one_line(error.__cause__ or error)})"
    message = f"{what}: {cause}. {then}"
    _log.debug("%s:", what, exc_info=error)
    try:
        warnings.warn(message, stacklevel=3)
    except Warning:
        print(message, file=sys.stderr)


class FailureReporter:
    """Turns exceptions into warnings, so that one failing part stands alone.

    Example:

    >>> reporter = FailureReporter()
    >>> with reporter.catch("The summary of the model is skipped"):
    ...     print("written")
    written
    """

    def __init__(self) -> None:
        self._reported: set[tuple[str, str]] = set()

    @contextlib.contextmanager
    def catch(
        self,
        what: str,
        then: str = "All else is written, and training continues.",
    ) -> Iterator[None]:
        """Turns an exception within into a warning, which is given once.

        Args:
            what: The consequence, a sentence without a full stop.
            then: A sentence on what continues.
        """
        try:
            yield
        except Exception as error:  # Code of users may raise anything.
            failure = what, type(error).__name__
            if failure not in self._reported:
                self._reported.add(failure)
                warn(what, error, then)


def _one_line(error: BaseException) -> str:
    """The type of an error and its message, on one line."""
    name, text = type(error).__name__, _text(error).rstrip(".")
    if len(text) > _LENGTH:
        text = text[:_LENGTH] + "..."
    return f"{name}: {text}" if text else name


def _text(error: BaseException) -> str:
    """The message of an error, on one line."""
    try:
        text, _ = without_more(_COLOURS.sub("", str(error)))
        return " ".join(text.split())
    except Exception:  # Even `__str__` may be a user's own.
        return ""


def _plainly(error: BaseException) -> str:
    """The cause in plain words; empty if it has none."""
    for code, words in _PLAIN.items():
        if isinstance(error, OSError) and error.errno == code:
            return words
        # TensorFlow's errors have no number, but the system's own words.
        if os.strerror(code) in _text(error):
            return words
    return ""

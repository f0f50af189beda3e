"""What went wrong in writing, in plain words."""

import errno
import os
import sys
import traceback
import warnings

_PLAIN = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "no more of the disk may be used",
    errno.ENOENT: "the file or its folder is gone",
    errno.EACCES: "writing there is not allowed",
    errno.EROFS: "the disk can only be read",
    errno.ENOLCK: "this file system has no locks",
    errno.EOPNOTSUPP: "this file system has no locks",
}


def warn(what, error, then):
    """Warns of an error and never raises, even where warnings are errors.

    Args:
        what: What ended, for example `"Writing has stopped"`.
        error: An exception.
        then: A sentence on what goes on.

    Example:

    >>> import warnings
    >>> error = OSError(28, "No space left on device")
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("always")
    ...     with warnings.catch_warnings(record=True) as caught:
    ...         warn("Writing has stopped", error, "Training goes on.")
    >>> print(caught[0].message)
    Writing has stopped: the disk is full. Training goes on. The error was:
    OSError: [Errno 28] No space left on device
    """
    plain = _plainly(error)
    told = traceback.format_exception(error)
    message = (
        f"{what}{': ' + plain if plain else ''}. {then} The error was:\n"
        # The way to the error is of use only where the words are not.
        + (told[-1] if plain else "".join(told)).strip()
    )
    try:
        warnings.warn(message, stacklevel=3)
    except Warning:
        print(message, file=sys.stderr)


def _plainly(error):
    """The cause in plain words; empty if it has none."""
    for code, words in _PLAIN.items():
        if getattr(error, "errno", None) == code:
            return words
        # TensorFlow's errors have no number, but the system's own words.
        if os.strerror(code) in str(error):
            return words
    return ""

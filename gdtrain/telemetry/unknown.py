"""Says what cannot be measured, and why."""

import functools
import logging

_log = logging.getLogger("gdtrain")


@functools.cache  # Steps are traced several times; once is enough.
def say_left_out(name, reason):
    """Logs that a quantity is left out.

    Args:
        name: Its name.
        reason: What it lacks, to follow "as".
    """
    _log.warning("The quantity %s is left out, as %s.", name, reason)

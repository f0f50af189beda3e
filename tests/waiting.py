"""Waiting in tests: for what must come, and not for a time."""

import time

#: After so long a test fails rather than wait for ever. No test needs a tenth
#: of it, on a machine that is ten times slower than most.
SECONDS = 1800


def until(condition):
    """Returns what `condition()` gives, once that is true."""
    deadline = time.monotonic() + SECONDS
    while not (found := condition()):
        assert time.monotonic() < deadline, "This never came."
        time.sleep(0.01)
    return found

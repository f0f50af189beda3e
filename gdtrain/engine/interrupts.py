"""Ctrl-C waits for the end of a block."""

import contextlib
import signal
import threading


class Interrupts:
    """Keeps Ctrl-C out of a block, whose rows would be lost.

    A `KeyboardInterrupt` that is raised while a program runs would come
    between the steps that it ran and the knowledge of them.
    """

    def __init__(self):
        self._pending = False

    @contextlib.contextmanager
    def held_back(self):
        """While open, Ctrl-C is noted down."""
        if not _can_be_held_back():
            yield
            return

        def note(number, frame):
            # Once more: whoever presses it twice does not want to wait.
            signal.signal(signal.SIGINT, signal.default_int_handler)
            self._pending = True

        before = signal.signal(signal.SIGINT, note)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def raise_pending(self):
        """Raises the `KeyboardInterrupt` that was held back, if any."""
        if self._pending:
            self._pending = False
            raise KeyboardInterrupt


def _can_be_held_back():
    """Whether Ctrl-C does what it does by default, in this thread."""
    return (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )

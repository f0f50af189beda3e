"""Signals that ask a process to stop, heeded when it suits."""

import signal
from typing import Any

from gdtrain import forks
from gdtrain.signal_handlers import SignalHandlers


class StopSignals:
    """Notes SIGTERM and Ctrl-C while open, and leaves it to others to stop.

    In the main thread alone, and where a signal does what it does by default.
    A second Ctrl-C is heeded at once. Processes that are forked meanwhile do
    what they do by default.

    Example:

    >>> signals = StopSignals()
    >>> signals.begin()
    >>> signal.raise_signal(signal.SIGTERM)
    >>> signals.received == signal.SIGTERM
    True
    >>> signals.stop()
    Traceback (most recent call last):
        ...
    SystemExit: 143
    """

    def __init__(self) -> None:
        self.received: Any = None  # The number of the signal
        self._handlers = SignalHandlers()

    def begin(self) -> None:
        """Takes the place of the handlers that are there by default."""
        self.received = None
        forks.register(self)
        for number in (signal.SIGINT, signal.SIGTERM):
            self._handlers.set(number, self._note)

    def end(self) -> None:
        """Puts the handlers back, and heeds what has come since."""
        self._handlers.restore()
        forks.unregister(self)
        if self.received is not None:
            self.stop()

    def stop(self) -> None:
        """Stops the program as the signal would have, once all is saved.

        Raises:
            KeyboardInterrupt: for Ctrl-C.
            SystemExit: for SIGTERM, with the exit code 143 that shells know.
        """
        number, self.received = self.received, None
        self.end()
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + number)

    def after_fork_in_child(self) -> None:
        """Forgets, in a forked process, what the parent was told."""
        self.received = None

    def _note(self, number: int, frame: Any) -> None:
        if self.received == number == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = number

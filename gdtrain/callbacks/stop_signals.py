"""Signals that ask a process to stop, heeded when it suits."""

import signal
import threading
from typing import Any


class StopSignals:
    """Notes SIGTERM and Ctrl-C while open, and leaves it to others to stop.

    In the main thread alone, and where a signal does what it does by default.
    A second Ctrl-C is heeded at once.

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

    _DEFAULTS: dict[int, Any] = {
        signal.SIGINT: signal.default_int_handler,
        signal.SIGTERM: signal.SIG_DFL,
    }

    def __init__(self):
        self.received: Any = None  # The number of the signal
        self._replaced = []

    def begin(self):
        """Takes the place of the handlers that are there by default."""
        self.received = None
        if threading.current_thread() is not threading.main_thread():
            return
        for number, default in self._DEFAULTS.items():
            if number not in self._replaced and (
                signal.getsignal(number) is default
                or signal.getsignal(number) == default
            ):
                signal.signal(number, self._note)
                self._replaced.append(number)

    def end(self):
        """Puts the handlers back, and heeds what has come since."""
        while self._replaced:
            number = self._replaced.pop()
            signal.signal(number, self._DEFAULTS[number])
        if self.received is not None:
            self.stop()

    def stop(self):
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

    def _note(self, number, frame):
        if self.received == number == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = number

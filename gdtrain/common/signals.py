"""Signal handlers; Ctrl-C waits for the end of a block."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

from gdtrain.common import forks

_DEFAULTS: dict[int, Any] = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGTERM: signal.SIG_DFL,
}


class SignalHandlers(forks.ForkAware):
    """Handlers that replace Python's own, until `restore`.

    A forked process has Python's own again, so that a worker process can be
    terminated.

    Example:

    >>> handlers = SignalHandlers()
    >>> handlers.set(signal.SIGTERM, lambda number, frame: print(number))
    >>> signal.raise_signal(signal.SIGTERM)
    15
    >>> handlers.restore()
    >>> signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    True
    """

    def __init__(self) -> None:
        self._set: dict[int, Callable] = {}
        self._waiting: set[int] = set()  # While a thread forks

    def set(self, number: int, handler: Callable) -> None:
        """Handles a signal, unless a different library does.

        Does nothing outside the main thread.

        Args:
            number: `signal.SIGINT` or `signal.SIGTERM`.
            handler: As in `signal.signal`.
        """
        in_main = threading.current_thread() is threading.main_thread()
        if in_main and signal.getsignal(number) == _DEFAULTS[number]:
            forks.register(self)
            self._set[number] = handler
            signal.signal(number, handler)

    def restore(self) -> None:
        """Restores Python's handlers, except of signals set since."""
        forks.unregister(self)
        while self._set:
            number, handler = self._set.popitem()
            if signal.getsignal(number) == handler:
                signal.signal(number, _DEFAULTS[number])

    def before_fork(self) -> None:
        """Blocks signals: Python loses those that reach a child at once."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, self._set)
        self._waiting = set(self._set) - before

    def after_fork_in_parent(self) -> None:
        """Unblocks signals."""
        signal.pthread_sigmask(signal.SIG_UNBLOCK, self._waiting)

    def after_fork_in_child(self) -> None:
        """Restores Python's handlers in a forked process."""
        self.restore()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, self._waiting)


class Interrupts:
    """Delays Ctrl-C to the end of a block, whose rows would be lost.

    A `KeyboardInterrupt` that is raised while a program runs would leave
    unknown which steps it ran.
    """

    def __init__(self) -> None:
        self._pending = False
        self._handlers = SignalHandlers()

    @contextlib.contextmanager
    def held_back(self) -> Iterator[None]:
        """While open, Ctrl-C is recorded."""
        self._handlers.set(signal.SIGINT, self._note)
        try:
            yield
        finally:
            self._handlers.restore()

    def raise_pending(self) -> None:
        """Raises the `KeyboardInterrupt` that was delayed, if any."""
        if self._pending:
            self._pending = False
            raise KeyboardInterrupt

    def _note(self, number: int, frame: Any) -> None:
        # Ctrl-C pressed a second time does not wait.
        self._handlers.restore()
        self._pending = True


class StopSignals(forks.ForkAware):
    """Records SIGTERM and Ctrl-C, so that a program can stop when it is ready.

    Works in the main thread, for signals with Python's default handler. A
    second Ctrl-C is raised at once. Processes that are forked meanwhile have
    the default handlers.

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
        self.received: int | None = None  # The number of the signal
        self._handlers = SignalHandlers()

    def begin(self) -> None:
        """Replaces the default handlers."""
        self.received = None
        forks.register(self)
        for number in (signal.SIGINT, signal.SIGTERM):
            self._handlers.set(number, self._note)

    def end(self) -> None:
        """Restores the handlers, and stops if a signal has come."""
        self._handlers.restore()
        forks.unregister(self)
        if self.received is not None:
            self.stop()

    def stop(self) -> None:
        """Stops the program as the received signal would have.

        Raises:
            KeyboardInterrupt: for Ctrl-C.
            SystemExit: for SIGTERM, with the exit code 143 that shells know.
        """
        number, self.received = self.received, None
        self.end()
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + (number or 0))

    def after_fork_in_child(self) -> None:
        """Drops, in a forked process, what its parent received."""
        self.received = None

    def _note(self, number: int, frame: Any) -> None:
        if self.received == number == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = number

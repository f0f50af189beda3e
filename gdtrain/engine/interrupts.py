"""Ctrl-C waits for the end of a block."""

import contextlib
import signal
from collections.abc import Iterator
from typing import Any

from gdtrain.signal_handlers import SignalHandlers


class Interrupts:
    """Keeps Ctrl-C out of a block, whose rows would be lost.

    A `KeyboardInterrupt` that is raised while a program runs would come
    between the steps that it ran and the knowledge of them.
    """

    def __init__(self) -> None:
        self._pending = False
        self._handlers = SignalHandlers()

    @contextlib.contextmanager
    def held_back(self) -> Iterator[None]:
        """While open, Ctrl-C is noted down."""
        self._handlers.set(signal.SIGINT, self._note)
        try:
            yield
        finally:
            self._handlers.restore()

    def raise_pending(self) -> None:
        """Raises the `KeyboardInterrupt` that was held back, if any."""
        if self._pending:
            self._pending = False
            raise KeyboardInterrupt

    def _note(self, number: int, frame: Any) -> None:
        # Once more: whoever presses it twice does not want to wait.
        self._handlers.restore()
        self._pending = True

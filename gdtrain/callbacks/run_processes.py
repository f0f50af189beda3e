"""Processes of a run: signals that stop it, workers that agree."""

import signal
from typing import Any

import tensorflow as tf

from gdtrain.common import forks
from gdtrain.common.signals import SignalHandlers


class StopSignals(forks.ForkAware):
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


class Workers:
    """The processes of a strategy.

    Args:
        strategy: A `tf.distribute.Strategy`.

    Example:

    >>> workers = Workers(tf.distribute.get_strategy())
    >>> workers.count, workers.name, workers.numbers(7)
    (1, '', [7])
    """

    def __init__(self, strategy):
        self._strategy = strategy
        resolver: Any = getattr(strategy, "cluster_resolver", None)
        tasks = resolver.cluster_spec().as_dict() if resolver else {}
        self.count = sum(map(len, tasks.values())) if tasks else 1
        #: The name of this process, empty if it is the only one
        self.name = ""
        #: Whether it speaks for all
        self.is_first = True
        if self.count > 1:
            chief = "chief" in tasks
            self.is_first = resolver.task_id == 0 and (
                resolver.task_type == "chief" or not chief
            )
            self.name = f"{resolver.task_type}-{resolver.task_id}"

    def numbers(self, number):
        """The numbers that all of them say, a list; each waits for all."""
        if self.count == 1:
            return [number]
        strategy = self._strategy
        own = strategy.experimental_distribute_values_from_function(
            lambda _: tf.constant([number], tf.int64)
        )
        return strategy.gather(own, axis=0).numpy().tolist()

    def any(self, flag):
        """Whether any of them says yes."""
        return bool(max(self.numbers(int(flag))))

"""Checkpoints that all processes of a run have in common."""

import math

import tensorflow as tf

from gdtrain.checkpoint.backups import Backups
from gdtrain.loop.fit_state import State


class Workers:
    """The processes of a strategy.

    Args:
        strategy: A `tf.distribute.Strategy`.

    Attributes:
        count: How many there are.
        name: The name of this process; empty if it is the only one.
        is_first: Whether this process prints for all of them.

    Example:

    >>> workers = Workers(tf.distribute.get_strategy())
    >>> workers.count, workers.name, workers.numbers(7)
    (1, '', [7])
    """

    def __init__(self, strategy: tf.distribute.Strategy) -> None:
        self._strategy = strategy
        # Strategies of one process have none.
        resolver = strategy.cluster_resolver
        tasks = resolver.cluster_spec().as_dict() if resolver else {}
        self.count = sum(map(len, tasks.values())) if tasks else 1
        self.name = ""
        self.is_first = True
        if resolver and self.count > 1:
            chief = "chief" in tasks
            self.is_first = resolver.task_id == 0 and (
                resolver.task_type == "chief" or not chief
            )
            self.name = f"{resolver.task_type}-{resolver.task_id}"

    def numbers(self, number: int) -> list[int]:
        """The number of each process; waits for all of them."""
        if self.count == 1:
            return [number]
        strategy = self._strategy
        own = strategy.experimental_distribute_values_from_function(
            lambda _: tf.constant([number], tf.int64)
        )
        return strategy.gather(own, axis=0).numpy().tolist()

    def any(self, flag: bool) -> bool:
        """Whether any process has a true `flag`; waits for all of them."""
        return bool(max(self.numbers(int(flag))))


def newest(
    backups: Backups, workers: Workers, epochs: int, before: int | None = None
) -> State | None:
    """The newest state that all processes have; `None` if there is none.

    Args:
        backups: Those of this process.
        workers: All processes.
        epochs: For how many epochs: a run that ended earlier, unless it was
            stopped, is continued from its last unfinished state.
        before: Only states of fewer steps than this; `None` for all.
    """
    most = math.inf if before is None else 2 * before - 1
    while True:
        found = _newest(backups, epochs, most)
        number = -1
        if found is not None:
            number = _number(found["steps_done"], found["is_finished"])
        numbers = workers.numbers(number)
        if min(numbers) == max(numbers):
            return found
        most = min(numbers)


def _newest(
    backups: Backups, epochs: int, most: float, finished: bool = True
) -> State | None:
    """The newest state of one process, with at most this number."""
    found = backups.newest(
        lambda entry: (
            _number(entry.step, entry.finished) <= most
            and finished >= entry.finished
        )
    )
    state: State | None = None if found is None else found[1]
    if state is None or not state["is_finished"] or state["is_stopped"]:
        return state
    if state["epoch"] < epochs:  # It has epochs to come.
        return _newest(backups, epochs, most, finished=False)
    return state


def _number(step: int, finished: bool) -> int:
    """Orders the states of a run: a finished one comes last."""
    return 2 * step + finished

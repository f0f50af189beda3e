"""Checkpoints that all processes of a run have in common."""

from typing import Any

import tensorflow as tf

from gdtrain.checkpoint.backups import Backups

State = dict[str, Any]  # What `FitState.capture` gives


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
        # Only strategies of several processes have one.
        resolver = getattr(strategy, "cluster_resolver", None)
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
    bound = None if before is None else 2 * before - 1
    while True:
        found = _newest(backups, epochs, bound)
        numbers = workers.numbers(-1 if found is None else _number(found))
        if min(numbers) == max(numbers):
            return found
        bound = min(numbers)


def _newest(backups: Backups, epochs: int, bound: int | None) -> State | None:
    """The newest state of one process, with at most this number."""
    found = backups.newest(
        lambda entry: bound is None or 2 * entry.step + entry.finished <= bound
    )
    if found is not None and _has_epochs_left(found[1], epochs):
        found = backups.newest(
            lambda entry: (
                not entry.finished
                and (bound is None or 2 * entry.step <= bound)
            )
        )
    return None if found is None else found[1]


def _number(state: State) -> int:
    """Orders the states of a run: a finished one comes last."""
    return 2 * state["steps_done"] + state["is_finished"]


def _has_epochs_left(state: State, epochs: int) -> bool:
    """Whether a run that ended has epochs to come."""
    return (
        state["is_finished"]
        and not state["is_stopped"]
        and state["epoch"] < epochs
    )

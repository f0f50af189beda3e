"""Checkpoints that all processes of a run have in common."""

import math

from gdtrain.checkpoint.backups import Backups
from gdtrain.distributed.workers import Workers
from gdtrain.loop.fit_state import State


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

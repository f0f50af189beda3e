"""Checkpoints that all processes of a run have in common."""

import functools
import math

from gdtrain.checkpoint.groups import GroupBackups, GroupEntry
from gdtrain.distributed.workers import Workers, listed
from gdtrain.loop.fit_state import State
from gdtrain.state import moving


def newest(
    backups: GroupBackups,
    workers: Workers,
    epochs: int,
    before: int | None = None,
) -> State | None:
    """The newest state that all processes can continue from.

    `None` if there is none.

    Args:
        backups: Those that this process can read.
        workers: All processes.
        epochs: For how many epochs: a run that ended earlier, unless it was
            stopped, is continued from its last unfinished state.
        before: Only states of fewer steps than this; `None` for all.

    Raises:
        FileNotFoundError: if another number of workers saved a newer state,
            which not all of those now can read.
    """
    join = functools.partial(moving.joined, index=workers.index)
    most = math.inf

    def accept(entry: GroupEntry) -> bool:
        return entry.number <= most and (before is None or entry.step < before)

    def find() -> tuple[GroupEntry, State] | None:
        found = backups.newest(join, accept)
        if found is None or not _has_epochs_to_come(found[1], epochs):
            return found
        return backups.newest(
            join, lambda entry: accept(entry) and not entry.finished
        )

    while True:
        found = workers.together(find)
        numbers = workers.numbers(-1 if found is None else found[0].number)
        if min(numbers) == max(numbers):
            return None if found is None else found[1]
        newest_entry = GroupEntry.of(max(numbers))
        if not newest_entry.is_own:
            behind = [i for i, n in enumerate(numbers) if n < max(numbers)]
            how = f"which {listed(behind)} cannot read"
            raise backups.unreadable(newest_entry, how)
        most = min(numbers)


def _has_epochs_to_come(state: State, epochs: int) -> bool:
    """Whether a run that ended was meant to have fewer epochs."""
    is_over = state["is_finished"] and not state["is_stopped"]
    return is_over and state["epoch"] < epochs

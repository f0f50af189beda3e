"""The checkpoints of a run of several processes, whose number may change.

One process saves in the folder itself. Each of several has a folder below,
such as `worker-0-of-4`. A step counts as saved by a group once each of its
processes has saved it.
"""

import contextlib
import os
import re
import shutil
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from gdtrain.checkpoint import files
from gdtrain.checkpoint.backups import Backups, first_undamaged
from gdtrain.common.explained import more
from gdtrain.distributed.workers import Workers

_FOLDER = re.compile(r"worker-[0-9]+-of-([0-9]+)")
_MOST_WORKERS = 2**20


class GroupEntry(NamedTuple):
    """A step that some workers saved; the newest is the largest.

    Args:
        step, finished: As in `gdtrain.checkpoint.backups.Entry`.
        is_own: Whether as many workers saved it as there are now.
        workers: How many saved it.
    """

    step: int
    finished: bool
    is_own: bool
    workers: int

    @property
    def number(self) -> int:
        """A number with the same order, at least 0."""
        place = 2 * (2 * self.step + self.finished) + self.is_own
        return place * _MOST_WORKERS + self.workers

    @classmethod
    def of(cls, number: int) -> "GroupEntry":
        """The entry that has this number."""
        place, workers = divmod(number, _MOST_WORKERS)
        step, flags = divmod(place, 4)
        return cls(step, bool(flags & 2), bool(flags & 1), workers)


class GroupBackups:
    """The checkpoints of all workers of a run, of which one is this process.

    With an unchanged number of workers, each reads its own folder alone, which
    may be on a disk of its own machine. With another number, it reads those of
    all workers that saved.

    Args:
        directory: The folder.
        keep: As in `Backups`, of this number of workers. What other numbers
            saved is removed once all workers have saved a step.
        workers: The processes that train now.
        least: How many each of several workers keeps at least. One that is
            killed may have written two fewer than another: one was being
            written, and one had still to be captured.

    Attributes:
        own: The `Backups` of this process.

    Example:

    >>> import tempfile
    >>> import tensorflow as tf
    >>> folder = tempfile.mkdtemp()
    >>> for index in range(2):  # As if by two workers
    ...     one = Backups(f"{folder}/worker-{index}-of-2", keep=2)
    ...     path = one.save(7, {"sum": 10 + index})
    >>> workers = Workers(tf.distribute.get_strategy())
    >>> backups = GroupBackups(folder, 2, workers)
    >>> backups.newest(lambda states: {"sum": sum(s["sum"] for s in states)})
    (GroupEntry(step=7, finished=False, is_own=False, workers=2), {'sum': 21})
    >>> backups.save(8, {"sum": 30})
    >>> os.listdir(folder)
    ['step-000000000008']
    """

    def __init__(
        self,
        directory: str | os.PathLike,
        keep: int,
        workers: Workers,
        least: int = 3,
    ) -> None:
        self._directory = os.fspath(directory)
        self._count = workers.count
        if self._count > 1:
            keep = max(keep, least)
        self.own = Backups(self._folders(self._count)[workers.index], keep)

    def newest(
        self,
        join: Callable[[Iterator[Any]], Any],
        accept: Callable[[GroupEntry], bool] = lambda entry: True,
    ) -> tuple[GroupEntry, Any] | None:
        """Reads the newest that is not damaged; `None` if there is none.

        Args:
            join: Makes a state of those of all workers, which it gets one by
                one, if another number of workers saved them.
            accept: Says of an entry whether it may be used.

        Returns:
            `(entry, state)`.

        Raises:
            Damaged, WrongFormat: as `Backups.newest`.
            FileNotFoundError: if some workers saved a newer one, and the
                folders of others of them are missing.
        """
        paths = self._paths()
        entries = sorted(filter(accept, paths), reverse=True)
        if entries and not paths[entries[0]]:
            missing = ", ".join(self._missing(entries[0].workers))
            raise self.unreadable(entries[0], f"without {missing}")

        def read(entry: GroupEntry) -> Any:
            states = map(files.read, paths[entry])
            return next(states) if entry.is_own else join(states)

        whole = {entry: paths[entry][0] for entry in entries if paths[entry]}
        return first_undamaged(whole, read, self._directory)

    def save(self, step: int, tree: Any, finished: bool = False) -> None:
        """Writes a checkpoint of this process: see `Backups.save`.

        Once those of all workers can be seen, what other numbers of workers
        saved is removed, as training continues from here.
        """
        name = os.path.basename(self.own.save(step, tree, finished))
        others = self._others()
        if others and all(
            os.path.isdir(os.path.join(folder, name))
            for folder in self._folders(self._count)
        ):
            for count in others:
                self._remove(count)

    def unreadable(self, entry: GroupEntry, how: str) -> FileNotFoundError:
        """The error if some workers now cannot read what others saved.

        Args:
            entry: What was saved.
            how: What is missing where.
        """
        there, now = entry.workers, self._count
        return FileNotFoundError(
            "To change the number of workers, each must be able to read what "
            f"all of them saved. Received: step {entry.step} in "
            f"{self._directory!r}, {how}; it was saved by {there}, now there "
            f"are {now}. Copy the folder to each machine, or use a disk that "
            f"all share, or start {there}; or delete what these saved, to "
            "train without it." + more("damaged-checkpoint")
        )

    def _folders(self, count: int) -> list[str]:
        """Where each of so many workers saves."""
        if count == 1:
            return [self._directory]
        return [
            os.path.join(self._directory, f"worker-{index}-of-{count}")
            for index in range(count)
        ]

    def _others(self) -> list[int]:
        """The other numbers of workers of which something is here."""
        alone = Backups(self._directory, keep=1)
        matches = map(_FOLDER.match, alone.names())
        found = {int(match[1]) for match in matches if match}
        if alone.steps():
            found.add(1)
        return sorted(found - {self._count})

    def _paths(self) -> dict[GroupEntry, list[str]]:
        """Where the states of each entry are, or nothing if a folder is not.

        What some workers have not saved, though they have a folder, is no
        entry.
        """
        count = self._count
        found = {
            GroupEntry(*place, True, count): [path]
            for place, path in _steps(self.own.directory).items()
        }
        for count in self._others():
            folders = list(filter(os.path.isdir, self._folders(count)))
            saved = [_steps(folder) for folder in folders]
            for place in set().union(*saved):
                entry = GroupEntry(*place, False, count)
                if len(saved) < count:
                    found[entry] = []  # Nobody knows what is in the others.
                elif all(place in one for one in saved):
                    found[entry] = [one[place] for one in saved]
        return found

    def _remove(self, count: int) -> None:
        """Removes what so many workers saved, each folder whole or not at all.

        Two workers may do so at once; what fails is tried at the next `save`.
        """
        paths = self._folders(count)
        if count == 1:
            paths = list(_steps(self._directory).values())
        for path in paths:
            with contextlib.suppress(OSError):
                os.rename(path, path + ".part")
            shutil.rmtree(path + ".part", ignore_errors=True)

    def _missing(self, count: int) -> list[str]:
        """Names of the folders that so many workers should have here."""
        folders = self._folders(count)
        return [os.path.basename(f) for f in folders if not os.path.isdir(f)]


def _steps(folder: str) -> dict[tuple[int, bool], str]:
    """Paths of the checkpoints in a folder, by step and whether finished."""
    entries = Backups(folder, keep=1).steps()
    return {(one.step, one.finished): one.path for one in entries}

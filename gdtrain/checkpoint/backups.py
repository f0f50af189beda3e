"""The checkpoints of a run, of which the newest are kept."""

import operator
import os
import re
import shutil
import tempfile
import warnings
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

from gdtrain.checkpoint import files
from gdtrain.checkpoint.manifest import Damaged
from gdtrain.common.checks import positive_integer
from gdtrain.common.explained import more

# One that is old is there while it is replaced.
_NAME = re.compile(r"(step-([0-9]{12})(-finished)?)(\.old)?")
_LEFTOVER = re.compile(_NAME.pattern + r"\.part")
_MOST = 10**12 - 1

_Entry = TypeVar("_Entry")


class Entry(NamedTuple):
    """A checkpoint that is there, whether damaged or not."""

    step: int
    finished: bool
    path: str


class Backups:
    """A folder of checkpoints of one run.

    At each moment of a `save`, also if the process is killed, a checkpoint
    can be read if one could be read before.

    Args:
        directory: The folder, on a disk of this machine. `save` makes it.
        keep: How many unfinished checkpoints are kept. The newest finished
            one is kept besides.

    Raises:
        TypeError: if `keep` is not an integer.
        ValueError: if `keep` is below 1 or the folder is a URL.

    Example:

    >>> backups = Backups(tempfile.mkdtemp(), keep=2)
    >>> for step in (10, 20, 30):
    ...     path = backups.save(step, {"loss": 1 / step})
    >>> [entry.step for entry in backups.steps()]
    [30, 20]
    >>> entry, tree = backups.newest()
    >>> entry.step, tree["loss"] == 1 / 30
    (30, True)
    """

    def __init__(self, directory: str | os.PathLike, keep: int) -> None:
        self.directory = os.path.abspath(directory)
        self._keep = positive_integer("keep", keep)
        if "://" in os.fspath(directory):
            raise ValueError(
                "The backup folder must be on a disk of this machine. "
                f"Received: {directory!r}. Give a path, and copy the folder."
            )

    def path(self, step: int, finished: bool = False) -> str:
        """Where the checkpoint of a step is or would be.

        Args:
            step: The number of steps that were done, at least 0.
            finished: Whether the training had reached its end.

        Raises:
            TypeError: if `step` is not an integer.
            ValueError: if it is below 0 or has more than 12 digits.
        """
        if not 0 <= operator.index(step) <= _MOST:
            raise ValueError(
                f"`step` must be from 0 to {_MOST}. Received: step={step}. "
                "Give the number of steps that were done."
            )
        name = f"step-{step:012d}" + ("-finished" if finished else "")
        return os.path.join(self.directory, name)

    def steps(self) -> list[Entry]:
        """Lists the checkpoints, newest first.

        Of the same step, the finished one comes first. Other names are
        ignored, and so are folders that are not written to the end.
        """
        names = set(self.names())
        entries = []
        for match in filter(None, map(_NAME.fullmatch, names)):
            name, step, finished, old = match.groups()
            path = os.path.join(self.directory, match[0])
            # An old one counts if the one to replace it was not put there.
            if not (old and name in names) and os.path.isdir(path):
                entries.append(Entry(int(step), bool(finished), path))
        return sorted(entries, reverse=True)

    def save(self, step: int, tree: Any, finished: bool = False) -> str:
        """Writes a checkpoint, then removes those that are not kept.

        One of the same step is replaced. Those of later steps are removed:
        training went back to before them.

        Args:
            step: The number of steps that were done.
            tree: The state; see `gdtrain.checkpoint.files.pack`.
            finished: Whether the training has reached its end.

        Returns:
            The path of the checkpoint.

        Raises:
            TypeError: if the tree holds what cannot be saved.
            OSError: if it cannot be written, when the others are as they
                were, or if a surplus one cannot be removed then.
        """
        path = self.path(step, finished)
        self._sweep()
        files.write(path, tree)
        for entry in self._surplus(step):
            # Half of one is never seen under its name.
            part = entry.path + ".part"
            os.rename(entry.path, part)
            shutil.rmtree(part, ignore_errors=True)  # The next `save` sweeps.
        return path

    def newest(
        self, accept: Callable[[Entry], bool] = lambda entry: True
    ) -> tuple[Entry, Any] | None:
        """Reads the newest checkpoint that is not damaged.

        Args:
            accept: Says of an `Entry` whether it may be used.

        Returns:
            `(entry, tree)`, or `None` if there is no checkpoint.

        Warns:
            UserWarning: of each newer one that is damaged.

        Raises:
            Damaged: if there are checkpoints and all are damaged.
            WrongFormat: if a different version of gdtrain wrote one.
        """
        paths = {entry: entry.path for entry in filter(accept, self.steps())}
        return first_undamaged(
            paths, lambda entry: files.read(entry.path), self.directory
        )

    def check_writable(self) -> None:
        """Makes the folder, and writes a file there and removes it.

        Raises:
            OSError: if that fails, with the same number.
        """
        try:
            os.makedirs(self.directory, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=self.directory) as file:
                file.write(b"probe")
                file.flush()
        except OSError as error:
            message = (
                "The backup folder must be writable. Received: "
                f"{self.directory!r}, where writing failed: "
                f"{error.strerror}. Give another folder, or make room or "
                "rights there"
            )
            raise OSError(error.errno, message) from error

    def names(self) -> list[str]:
        """The names in the folder; none if it is not there."""
        try:
            return os.listdir(self.directory)
        except FileNotFoundError:
            return []

    def _surplus(self, step: int) -> list[Entry]:
        """Checkpoints that are not kept once a step was saved."""
        entries = self.steps()
        earlier = [entry for entry in entries if entry.step <= step]
        unfinished = [entry for entry in earlier if not entry.finished]
        finished = [entry for entry in earlier if entry.finished]
        later = entries[: -len(earlier)]  # The one just saved is an earlier.
        return later + unfinished[self._keep :] + finished[1:]

    def _sweep(self) -> None:
        """Removes what a killed process left, but no checkpoint."""
        used = {entry.path for entry in self.steps()}
        for name in self.names():
            path = os.path.join(self.directory, name)
            match = _NAME.fullmatch(name)
            old = match and match[4] and path not in used
            if old or _LEFTOVER.fullmatch(name):
                shutil.rmtree(path, ignore_errors=True)


def first_undamaged(
    entries: Mapping[_Entry, str],
    read: Callable[[_Entry], Any],
    directory: str,
) -> tuple[_Entry, Any] | None:
    """Reads the first checkpoint that is not damaged.

    Args:
        entries: Paths by entry, newest first.
        read: Reads one.
        directory: Where they are.

    Returns:
        `(entry, tree)`, or `None` if there are none.

    Raises:
        Damaged, WrongFormat: as `Backups.newest`.
    """
    errors = []
    for entry, path in entries.items():
        try:
            tree = read(entry)
        except Damaged as error:
            errors.append(error)
            continue
        for damage in errors:
            warnings.warn(
                f"A checkpoint is damaged: {damage} The one before it is "
                f"used: {path}" + more("damaged-checkpoint"),
                stacklevel=3,
            )
        return entry, tree
    if errors:
        each = "".join(f"\n- {error}" for error in errors)
        raise Damaged(
            "A checkpoint must be as it was written. Received: "
            f"{directory}, where all are damaged:{each}\nNothing was "
            "overwritten. Restore these files, or give another folder, or "
            "delete this one to train from the start."
            + more("damaged-checkpoint")
        )
    return None

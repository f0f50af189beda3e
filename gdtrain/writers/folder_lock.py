"""A lock by which only one run at a time writes to a folder."""

import contextlib
import os
from typing import IO

try:
    import fcntl
except ImportError:  # Windows has no such locks.
    fcntl = None  # type: ignore[assignment]

from gdtrain.common import failures, forks
from gdtrain.common.explained import more

_NAME = "gdtrain.lock"  # TensorBoard reads all names that hold "tfevents".


def was_locked(directory: str | os.PathLike) -> bool:
    """Whether a run has locked a folder before, or does so now.

    Example:

    >>> import tempfile
    >>> was_locked(tempfile.mkdtemp())
    False
    """
    return os.path.exists(os.path.join(directory, _NAME))


class FolderLock(forks.ForkAware):
    """Keeps a second run from writing to a folder.

    It is a lock of the operating system, on a file in the folder. It ends
    with `release`, and with the process, however that ends; the file stays.
    Forked processes do not hold it. Where there are no such locks, as in
    `gs://` folders and on Windows, nothing is locked; where an existing
    folder cannot be locked, a warning says so.

    Args:
        directory: The folder; made if it is missing.

    Raises:
        RuntimeError: if this or another process has locked it.

    Example:

    >>> import tempfile
    >>> folder = tempfile.mkdtemp()
    >>> lock = FolderLock(folder)
    >>> FolderLock(folder)
    Traceback (most recent call last):
        ...
    RuntimeError: Only one run at a time may write to a folder. Received...
    >>> lock.release()
    """

    def __init__(self, directory: str | os.PathLike) -> None:
        self._file: IO[str] | None = None
        directory = os.fspath(directory)
        if fcntl is None or "://" in directory:
            return
        try:
            os.makedirs(directory, exist_ok=True)
        except OSError:
            return  # The writer's own error will say what is wrong.
        try:
            # Mode "a" neither truncates another's file nor needs one.
            file = open(os.path.join(directory, _NAME), "a+")
            try:
                self._lock(directory, file)
            finally:
                if self._file is None:
                    file.close()
        except OSError as error:
            failures.warn(
                f"The folder {directory!r} could not be locked",
                error,
                "Training continues; see to it that no other run writes there."
                + more("folder-in-use"),
            )

    def release(self) -> None:
        """Ends the lock. Does nothing if it has ended."""
        if self._file is not None:
            forks.unregister(self)
            file, self._file = self._file, None
            with contextlib.suppress(OSError), file:
                # Closing is not enough if a forked process has the file too.
                fcntl.flock(file, fcntl.LOCK_UN)

    def after_fork_in_child(self) -> None:
        """Leaves the lock to the parent process."""
        forks.unregister(self)
        if self._file is not None:
            self._file.close()
            self._file = None

    def _lock(self, directory: str, file: IO[str]) -> None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RuntimeError(_refusal(directory, file)) from None
        self._file = file
        forks.register(self)
        with contextlib.suppress(OSError):  # A full disk can lock.
            os.ftruncate(file.fileno(), 0)
            os.write(file.fileno(), str(os.getpid()).encode())  # No buffer


def _refusal(directory: str, file: IO[str]) -> str:
    """The error message of a folder that is locked."""
    file.seek(0)
    process = file.read() or "of an unknown id"
    if process == str(os.getpid()):
        process += ", this one,"
    return (
        "Only one run at a time may write to a folder. Received: "
        f"{directory!r}, which process {process} is writing to. Give each "
        "run a folder of its own, or wait until the other one has ended."
        + more("folder-in-use")
    )

"""One run a folder."""

import contextlib
import os
from typing import IO, Any

try:
    import fcntl
except ImportError:  # Windows has no such locks.
    fcntl = None  # type: ignore[assignment]

from gdtrain.common import failures, forks

_NAME = "gdtrain.lock"  # TensorBoard reads all names that hold "tfevents".


class FolderLock:
    """Keeps a second run from writing to a folder.

    The lock is the system's, on a file in the folder. It ends with `release`,
    and with the process, however that ends; the file stays. Processes that
    are forked meanwhile have no part in it. Where there are no such locks, as
    in `gs://` folders and on Windows, nothing is locked; where a folder that
    is there cannot be locked, a warning says so.

    Args:
        directory: The folder; made if it is not there.

    Raises:
        RuntimeError: if it is locked, by this process or another one.

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
        self._file: Any = None
        directory = os.fspath(directory)
        if fcntl is None or "://" in directory:
            return
        try:
            os.makedirs(directory, exist_ok=True)
        except OSError:
            return  # Who writes there will tell what is wrong.
        try:
            # Neither empties the file of another nor needs it to be there
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
                "Training goes on; see to it that no other run writes there.",
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
        """Leaves the lock to the parent, with whose end it is to end."""
        forks.unregister(self)
        self._file.close()
        self._file = None

    def _lock(self, directory: str, file: IO[str]) -> None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RuntimeError(_refusal(directory, file)) from None
        self._file = file
        forks.register(self)
        with contextlib.suppress(OSError):  # A full disk locks all the same.
            _sign(file)


def _sign(file: IO[str]) -> None:
    """Says in the file which process has the lock."""
    os.ftruncate(file.fileno(), 0)
    os.write(file.fileno(), str(os.getpid()).encode())  # Nothing is buffered


def _refusal(directory: str, file: IO[str]) -> str:
    """Why the lock cannot be had, and what to do."""
    file.seek(0)
    process = file.read() or "of an unknown id"
    if process == str(os.getpid()):
        process += ", this one,"
    return (
        "Only one run at a time may write to a folder. Received: "
        f"{directory!r}, which process {process} is writing to. Give each "
        "run a folder of its own, or wait until the other one has ended."
    )

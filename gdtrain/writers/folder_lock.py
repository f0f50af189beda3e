"""One run a folder."""

import os

try:
    import fcntl
except ImportError:  # Windows has no such locks.
    fcntl = None  # type: ignore[assignment]

_NAME = "gdtrain.lock"  # TensorBoard reads all names that hold "tfevents".


class FolderLock:
    """Keeps a second run from writing to a folder.

    The lock is the system's, on a file in the folder. It ends with `release`,
    and with the process, however that ends; the file stays. Where there are
    no such locks, as in `gs://` folders and on Windows, nothing is locked.

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

    def __init__(self, directory):
        self._file = None
        directory = os.fspath(directory)
        if fcntl is None or "://" in directory:
            return
        try:
            os.makedirs(directory, exist_ok=True)
            # Neither empties the file of another nor needs it to be there
            file = open(os.path.join(directory, _NAME), "a+")
        except OSError:
            return  # Who writes there will tell what is wrong.
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _sign(file)
            self._file = file
        except BlockingIOError:
            raise RuntimeError(_refusal(directory, file)) from None
        except OSError:
            pass  # This file system has no locks.
        finally:
            if self._file is None:
                file.close()

    def release(self):
        """Ends the lock. Does nothing if it has ended."""
        if self._file is not None:
            # Closing is not enough if a forked process has the file too.
            fcntl.flock(self._file, fcntl.LOCK_UN)
            self._file.close()
            self._file = None


def _sign(file):
    """Says in the file which process has the lock."""
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()


def _refusal(directory, file):
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

"""The cache folder: what can be made again is kept there."""

import contextlib
import errno
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from typing import IO

from gdtrain.common.failures import FailureReporter

_PART = ".part"  # The ending of a file that is being written
_ABANDONED_SECONDS = 24 * 3600  # Since the last write: its process was killed

_reporter = FailureReporter()


def folder(cache_dir: str | os.PathLike | None = None) -> str:
    """The path of the cache folder, which may be deleted at any time.

    Args:
        cache_dir: By default `$XDG_CACHE_HOME/gdtrain`, or
            `~/.cache/gdtrain` if that is not set.
    """
    if cache_dir is not None:
        return os.path.abspath(os.path.expanduser(cache_dir))
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.path.join(home, "gdtrain")


def path(folder: str, kind: str, contents: Iterable[str], ending: str) -> str:
    """The path of the file that keeps what is made of some contents."""
    key = hashlib.sha256("\n".join(contents).encode()).hexdigest()[:32]
    return os.path.join(folder, kind + key + ending)


def keeping(folder: str) -> contextlib.AbstractContextManager[None]:
    """Turns an error in writing to the cache folder into a warning."""
    return _reporter.catch(
        f"Nothing is kept in the cache folder {folder!r}",
        "What is there stays in memory; the next run makes it again.",
    )


@contextlib.contextmanager
def writing(path: str, size_bytes: int) -> Iterator[IO[bytes]]:
    """A new file, which has its name once all of it is on the disk.

    Processes that write the same file do not meet: the last one replaces what
    is there by the same content.

    Args:
        path: Of the file. The folder is made.
        size_bytes: About how much will be written.

    Raises:
        OSError: if it cannot be written, at once if there is too little room.
    """
    folder = os.path.dirname(path)
    os.makedirs(folder, exist_ok=True)
    _delete_abandoned(folder)
    if size_bytes > shutil.disk_usage(folder).free:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), folder)
    file = tempfile.NamedTemporaryFile(dir=folder, suffix=_PART, delete=False)
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(file.name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.remove(file.name)
        raise


def _delete_abandoned(folder: str) -> None:
    """Deletes what processes that were killed have left."""
    before = time.time() - _ABANDONED_SECONDS
    for name in os.listdir(folder):
        path = os.path.join(folder, name)
        with contextlib.suppress(OSError):  # Another process is faster.
            if name.endswith(_PART) and os.path.getmtime(path) < before:
                os.remove(path)

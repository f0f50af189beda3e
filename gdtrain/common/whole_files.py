"""Files and folders that are written whole or not at all."""

import contextlib
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator

try:
    import fcntl
except ImportError:  # Windows has no such locks.
    fcntl = None  # type: ignore[assignment]


_ENDING = ".part"  # Of the name of a folder beside a file


@contextlib.contextmanager
def written_aside(
    filepath: str | os.PathLike, ending: str
) -> Iterator[pathlib.Path]:
    """A path to write to, which is moved to `filepath` at the end.

    It is in a hidden folder of its own beside `filepath`, as only a move
    within a disk is whole. After an error nothing is left of it. What a
    killed process leaves is deleted when `filepath` is written again; not on
    Windows and on network disks without locks.

    Args:
        filepath: The file or folder; replaced if it exists and is of the same
            kind.
        ending: Of the path to write to, for example `".npz"`.

    Raises:
        OSError: if it cannot be written, or a file would replace a folder.

    Example:

    >>> path = pathlib.Path(tempfile.mkdtemp(), "numbers.txt")
    >>> with written_aside(path, ".txt") as aside:
    ...     _ = aside.write_text("1 2 3")
    >>> path.read_text(), len(os.listdir(path.parent))
    ('1 2 3', 1)
    """
    filepath = pathlib.Path(filepath)
    with _naming(filepath), _folder_beside(filepath) as folder:
        aside = folder / f"written{ending}"
        yield aside
        if filepath.is_dir() and aside.is_dir():
            # A folder is replaced only by two moves, and only by a folder: a
            # file given the path of one must not delete what is in it.
            os.replace(filepath, folder / "replaced")
        os.replace(aside, filepath)


def check_can_be_written(file: pathlib.Path) -> None:
    """Raises an error if a file cannot be written, before the work for it.

    Raises:
        ValueError: says why.
    """
    if file.exists() and not file.is_file():
        raise ValueError(f"cannot write {file}: it is no file. Name another.")
    there = next(path for path in file.parents if path.exists())
    try:
        with tempfile.TemporaryFile(dir=there) as probe:
            probe.write(b"0")
    except OSError as error:
        raise ValueError(
            f"cannot write to {file.parent}: {error.strerror}. Name another "
            "folder."
        ) from error


@contextlib.contextmanager
def _naming(filepath: pathlib.Path) -> Iterator[None]:
    """Makes errors of what is written aside name the file instead."""
    try:
        yield
    except OSError as error:
        name = error.filename
        hidden = str(filepath.parent / f".{filepath.name}.")
        if not error.errno or (name and not str(name).startswith(hidden)):
            raise
        raise OSError(error.errno, error.strerror, str(filepath)) from error


@contextlib.contextmanager
def _folder_beside(filepath: pathlib.Path) -> Iterator[pathlib.Path]:
    """A new folder, locked as long as it is used by a process that lives."""
    prefix = f".{filepath.name}."
    for name in os.listdir(filepath.parent):
        if name.startswith(prefix) and name.endswith(_ENDING):
            _delete_abandoned(filepath.parent / name)
    while True:
        with (
            tempfile.TemporaryDirectory(
                _ENDING, prefix, filepath.parent, ignore_cleanup_errors=True
            ) as folder,
            _locked(folder),
        ):
            # Another process may have deleted it before it was locked.
            if os.path.exists(folder):
                yield pathlib.Path(folder)
                return


def _delete_abandoned(folder: pathlib.Path) -> None:
    """Deletes a folder if the process that made it was killed."""
    with _locked(folder) as is_abandoned:
        if is_abandoned:
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _locked(folder: str | os.PathLike) -> Iterator[bool]:
    """Locks a folder; gives whether that was possible."""
    if fcntl is None:
        yield False
        return
    with contextlib.ExitStack() as stack:
        is_locked = False
        with contextlib.suppress(OSError):  # It is locked, or no folder.
            descriptor = os.open(folder, os.O_RDONLY)
            stack.callback(os.close, descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_locked = True
        yield is_locked

"""Files and folders that are written whole or not at all."""

import contextlib
import os
import pathlib
import tempfile
from collections.abc import Iterator


@contextlib.contextmanager
def written_aside(
    filepath: str | os.PathLike, ending: str
) -> Iterator[pathlib.Path]:
    """A path to write to, which is moved to `filepath` at the end.

    It is in a folder of its own beside `filepath`, as only a move within a
    disk is whole. After an error nothing is left of it.

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
    with tempfile.TemporaryDirectory(
        prefix=f".{filepath.name}.", dir=filepath.parent
    ) as folder:
        aside = pathlib.Path(folder, "written" + ending)
        yield aside
        if filepath.is_dir() and aside.is_dir():
            # A folder is replaced only by two moves, and only by a folder: a
            # file given the path of one must not delete what is in it.
            os.replace(filepath, pathlib.Path(folder, "replaced"))
        os.replace(aside, filepath)

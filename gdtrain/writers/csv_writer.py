"""A CSV file that grows with training."""

import contextlib
import csv
import errno
import io
import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from gdtrain.common import checks, failures
from gdtrain.common.explained import more
from gdtrain.writers.writer import Array, Mask, Names, in_parts

_BYTES = 2**20  # Copied, or collected, at a time
_CELLS = 2000  # Formatted at a time, as no other thread runs meanwhile


class GrowingFile:
    """A file that is open only while something is added to it.

    So each addition notices if the file or its folder is gone, and nothing
    has to be closed.

    Args:
        path: Of the file. With the first addition its folder is made, and a
            file in its place is replaced.

    Example:

    >>> import os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "file")
    >>> file = GrowingFile(path)
    >>> file.append(b"a\\n")
    >>> file.append(b"b\\n")
    >>> file.rewrite(b"A\\n", 2, bytes.upper)
    >>> file.size, open(path).read()
    (4, 'A\\nB\\n')
    """

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = checks.absolute(path)
        self.size = 0  # In bytes; 0 before the file was begun

    def append(self, lines: bytes) -> None:
        """Adds lines, all or none; without lines, only checks the file.

        Raises:
            OSError: if the file was deleted or changed, or there is no room.
        """
        if not (lines or self.size):
            return
        with self._explained():
            if not self.size:
                os.makedirs(os.path.dirname(self.path) or ".", exist_ok=True)
                open(self.path, "wb").close()
            if os.path.getsize(self.path) != self.size:
                raise OSError(errno.EBUSY, "the file was changed by others")
            try:
                with open(self.path, "ab") as file:
                    file.write(lines)
            except BaseException:  # After Ctrl-C too, no half line is to stay.
                with contextlib.suppress(OSError):
                    os.truncate(self.path, self.size)
                raise
            self.size += len(lines)

    def rewrite(
        self, first: bytes, skipped: int, change: Callable[[bytes], bytes]
    ) -> None:
        """Replaces the file by a changed copy, whole or not at all.

        Args:
            first: Bytes to begin with.
            skipped: How many bytes of the old file they replace.
            change: Changes the rest, some bytes at a time.

        Raises:
            OSError: as in `append`; the old file is as it was.
        """
        part = f"{self.path}.part"
        with self._explained():
            try:
                with open(self.path, "rb") as old, open(part, "wb") as new:
                    old.seek(skipped)
                    new.write(first)
                    while lines := old.read(_BYTES):
                        new.write(change(lines))
                    size = new.tell()
                os.replace(part, self.path)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.remove(part)
                raise
        self.size = size

    def cut(self, size: int) -> None:
        """Drops all after the first `size` bytes of an existing file.

        Raises:
            OSError: if it has fewer bytes.
        """
        with self._explained():
            if size and os.path.getsize(self.path) < size:
                self.size = size  # It is not taken for a new one.
                raise OSError(errno.EBUSY, "the file was changed by others")
            if size:
                os.truncate(self.path, size)
        self.size = size

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Makes an `OSError` say what must hold, and of which file."""
        try:
            yield
        except OSError as error:
            raise OSError(
                error.errno,
                "A file must stay in place, with room on its disk, while it "
                f"is written. Received: {error.strerror}. Give a path that "
                "lasts",
                self.path,
            ) from error


class CSVWriter:
    """Writes a CSV file with a line a step: `step,loss,gradient_norm`.

    A cell is empty where nothing was measured; `nan` and `inf` are values
    that were. Each float32 reads back exactly. Names that come later become
    columns at the end; then the file is rewritten, once.

    The file is open only while lines are added, a megabyte at a time and at
    each flush. A writer begins with an empty file; all that it writes, before
    and after `close`, goes there.

    Args:
        path: Of the file. Its folder is made, and a file in its place is
            replaced, when there is something to write.

    Example:

    >>> import os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "run.csv")
    >>> writer = CSVWriter(path)
    >>> writer.write([1, 2], ["loss"], [[0.5], [0.1]])
    >>> writer.write([3], ["kl", "loss"], [[7, 0]], [[True, False]])
    >>> writer.close()
    >>> print(open(path).read())
    step,loss,kl
    1,0.5,
    2,0.1,
    3,,7.0
    """

    def __init__(self, path: str | os.PathLike) -> None:
        self._file = GrowingFile(path)
        self._columns: dict[str, int] = {}  # Name: index
        self._header = b""
        self._waiting = bytearray()  # Lines that are not in the file yet

    def write(
        self, steps: Array, names: Names, values: Array, measured: Mask = None
    ) -> None:
        """Adds steps. See `gdtrain.writers.Writer`.

        Raises:
            OSError: if the file cannot be written.
        """
        new = [name for name in names if name not in self._columns]
        if new:
            self._widen(new)
        for part in in_parts(steps, names, values, measured, _CELLS):
            cells = part.array.astype("S")  # The shortest that reads back
            if part.mask is not None:
                cells[~part.mask] = b""
            self._waiting += _lines(part.steps, self._placed(names, cells))
            if len(self._waiting) >= _BYTES:
                self.flush()

    def flush(self) -> None:
        """Writes what waits to the file, which must be as it was left.

        Raises:
            OSError: if it was deleted or changed, or cannot be written. What
                waits is tried again with the next flush.
        """
        first = b"" if self._file.size else self._header
        self._file.append(first + self._waiting)
        self._waiting = bytearray()

    def close(self) -> None:
        """Flushes."""
        self.flush()

    def get_state(self) -> dict[str, Any]:
        """How far the file is written, after a flush if possible."""
        with contextlib.suppress(OSError):  # As `flush` itself will say
            self.flush()
        return {"size": self._file.size, "columns": list(self._columns)}

    def set_state(self, state: dict[str, Any]) -> None:
        """Continues where `get_state` was called; drops what came later.

        If the file is gone, it begins again, with a warning.

        Raises:
            OSError: if the file is too short.
        """
        self._waiting = bytearray()
        try:
            self._file.cut(state["size"])
        except FileNotFoundError as error:
            failures.warn(
                f"{self._file.path!r} begins again",
                error,
                "It has the steps from here on." + more("writing-stopped"),
            )
        self._header = _header(state["columns"])
        self._columns = {name: i for i, name in enumerate(state["columns"])}

    def _widen(self, new: list[str]) -> None:
        """Adds columns, in the file too if it was begun."""
        self.flush()
        names = [*self._columns, *new]
        header = _header(names)
        if self._file.size:
            self._file.rewrite(
                header,
                len(self._header),  # A quoted name may hold an end of line.
                lambda lines: lines.replace(b"\n", b"," * len(new) + b"\n"),
            )
        self._header = header
        self._columns = {name: index for index, name in enumerate(names)}

    def _placed(self, names: Names, cells: np.ndarray) -> np.ndarray:
        """Cells `[n, m]` in the columns of the file; empty elsewhere."""
        if list(names) == list(self._columns):
            return cells
        placed = np.zeros([len(cells), len(self._columns)], cells.dtype)
        placed[:, [self._columns[name] for name in names]] = cells
        return placed


def _header(names: Names) -> bytes:
    """The first line, if there are names; one with a comma is quoted."""
    if not names:
        return b""
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(["step", *names])
    return line.getvalue().encode()


def _lines(steps: np.ndarray, cells: np.ndarray) -> bytes:
    """Lines of the file, as bytes."""
    return b"".join(
        b",".join([b"%d" % step, *row]) + b"\n"
        for step, row in zip(steps.tolist(), cells.tolist(), strict=True)
    )

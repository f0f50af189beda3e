"""A file that lines are added to, whole or not at all."""

import contextlib
import errno
import os

from gdtrain import paths

_BYTES = 2**20  # Copied at a time


class GrowingFile:
    """A file that is open only while something is added to it.

    So it is seen at each addition if the file or its folder is gone, and
    nothing has to be closed.

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

    def __init__(self, path):
        self.path = paths.absolute(path)
        self.size = 0  # In bytes; 0 before the file was begun

    def append(self, lines):
        """Adds lines, all or none; if there are none, looks for the file.

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
            self._append(lines)

    def rewrite(self, first, skipped, change):
        """Writes the file anew, aside, and puts it in place of the old one.

        Args:
            first: Bytes to begin with.
            skipped: How many bytes of the old file they stand for.
            change: Gives what to write for some bytes of the rest.

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

    def cut(self, size):
        """Drops all after the first `size` bytes of the file that is there.

        Raises:
            OSError: if it has not as many.
        """
        with self._explained():
            if size and os.path.getsize(self.path) < size:
                self.size = size  # It is not taken for a new one.
                raise OSError(errno.EBUSY, "the file was changed by others")
            if size:
                os.truncate(self.path, size)
        self.size = size

    def _append(self, lines):
        try:
            with open(self.path, "ab") as file:
                file.write(lines)
        except BaseException:  # After Ctrl-C too, no half line is to stay.
            with contextlib.suppress(OSError):
                os.truncate(self.path, self.size)
            raise
        self.size += len(lines)

    @contextlib.contextmanager
    def _explained(self):
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

"""Decoded photos and features in a cache folder: made once, then read."""

import contextlib
import hashlib
import math
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from gdtrain.checkpoint.files import Arrays, read_arrays
from gdtrain.common.explained import more
from gdtrain.data import choice
from gdtrain.images import cache
from gdtrain.images.parallel import Progress, in_parallel

_VERSION = 4  # Of what the files hold; those of another are not read.
_PART_BYTES = 2**26  # Of rows that are made at once on their way to a file

#: Makes the rows at some positions in an array that has a row for each of
#: them. Returns why others cannot be made, by position.
MakeRows = Callable[[Sequence[int], np.ndarray], dict[int, str]]


class NoRoom(ValueError):
    """Rows fit neither in memory nor in the cache folder."""


class File(Protocol):
    """A file, and the digest of its content when it was found."""

    @property
    def path(self) -> str: ...

    @property
    def digest(self) -> str: ...


class ChangedFile(ValueError):
    """A file is not what it was when it was found.

    Args:
        path: The file.
        reason: What happened, in a few words.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(
            f"{path} was there when the photos were listed, and now {reason}. "
            "Read the photos again."
        )
        self.path = path
        self.reason = reason


class Rows(NamedTuple):
    """Rows of an array, such as decoded photos.

    Attributes:
        rows: `[n, ...]`, read-only: one for each content of which it can be
            made, in the order of the contents.
        failed: Why those of others cannot be made, by digest.
    """

    rows: np.ndarray
    failed: dict[str, str]


def decoded(
    files: Sequence[File],
    *,
    size: tuple[int, int],
    decode: Callable[..., np.ndarray],
    channels: int = 3,
    fit: str = "stretch",
    cache_dir: str | os.PathLike | None = None,
    verbose: Any = 0,
) -> Rows:
    """Decodes photos in parallel, once, and keeps them as `kept_rows` does.

    Args:
        files: The photos.
        size: Height and width of the images.
        decode: Called with the content of a file, bytes, and `size`,
            `channels` and `fit`; returns an image. A `ValueError` says that
            the content is damaged, with its attribute `reason`.
        channels, fit: For `decode`.
        cache_dir: As in `kept_rows`.
        verbose: 0 for no progress bar.

    Returns:
        Images, uint8 `[n, height, width, channels]`.

    Raises:
        ChangedFile: if a file is gone or has changed since it was found.
        ValueError: as in `kept_rows`.
    """

    def make(positions: Sequence[int], images: np.ndarray) -> dict[int, str]:
        damaged: dict[int, str] = {}

        def decode_one(i: int) -> None:
            content = _content(files[positions[i]])
            try:
                images[i] = decode(
                    content, size=size, channels=channels, fit=fit
                )
            except ValueError as error:
                damaged[positions[i]] = getattr(error, "reason", str(error))

        in_parallel(
            decode_one,
            len(positions),
            lambda done: bar.update(positions[done - 1] + 1),
        )
        return damaged

    with Progress(len(files), "photo", verbose) as bar:
        return kept_rows(
            [file.digest for file in files],
            make,
            kind=f"photos-{fit}",
            shape=(*size, channels),
            dtype="uint8",
            cache_dir=cache_dir,
        )


def kept_rows(
    digests: Sequence[str],
    make: MakeRows,
    *,
    kind: str,
    shape: tuple[int, ...],
    dtype: str,
    cache_dir: str | os.PathLike | None = None,
) -> Rows:
    """Rows of an array, each of which is made once and kept in the cache.

    The next call, in this process or another, makes rows of no contents but
    new ones. The result is a read-only memory map, but if new rows join old
    ones and all fit in the memory that `gdtrain.data` may take. A slice of a
    memory map is one too, so give the contents in the order in which slices
    are needed.

    Several processes may do this at once. What one that was killed has
    written is not read.

    Args:
        digests: Of the contents of which rows are made, one by one.
        make: Called with positions in `digests`, and an array to fill with a
            row for each of them. Returns why others cannot be made, by
            position.
        kind: What the rows are, in the plural, a hyphen, and what else they
            follow from, in letters, digits and hyphens.
        shape: Of a row.
        dtype: Of numbers in it.
        cache_dir: As in `gdtrain.images.cache.folder`. If nothing can be
            written there, a warning says so once, and rows that fit in memory
            stay there.

    Raises:
        NoRoom: if the rows fit neither in memory nor in the folder.

    Example:

    >>> import tempfile
    >>> def make(positions, rows):
    ...     print("made:", positions)
    ...     rows[:, 0] = np.square(positions)
    ...     return {}
    >>> kept = {"kind": "squares", "shape": (1,), "dtype": "int32"}
    >>> kept["cache_dir"] = tempfile.mkdtemp()
    >>> kept_rows(["a", "b", "c"], make, **kept).rows.tolist()
    made: [0, 1, 2]
    [[0], [1], [4]]
    >>> kept_rows(["a", "c", "d"], make, **kept).rows.tolist()
    made: [2]
    [[0], [4], [4]]
    """
    folder = cache.folder(cache_dir)
    numbers = "x".join(map(str, shape))
    kind = f"{kind}-{numbers}-{np.dtype(dtype).name}-{_VERSION}-"
    path = cache.path(folder, kind, digests, cache.PACK_ENDING)
    pack = cache.read_pack(path)
    if pack is None:
        row = np.empty(shape, dtype)
        work = _Work(digests, make, cache.known_rows(folder, kind), row)
        fits = _fits_in_memory(work.size_bytes)
        if fits and work.has_known:  # Else what is kept would be copied.
            return _in_memory(work, folder, kind)
        try:
            pack = _on_disk(work, path)
        except OSError as error:
            if not fits:
                raise _no_room(kind, folder, error) from error
            return _in_memory(work.again(), folder, kind)
        cache.delete_contained(folder, kind, path)
    return Rows(pack.rows, pack.failed)


def kept(
    key: str,
    make: Callable[[], Arrays],
    *,
    cache_dir: str | os.PathLike | None = None,
) -> Arrays:
    """Arrays that are made once, and after that read from the cache folder.

    Args:
        key: A text that differs where the arrays would: of the digests of
            what they are made of, for example.
        make: Makes the arrays, of numbers, by name.
        cache_dir: As in `kept_rows`.

    Example:

    >>> import tempfile
    >>> folder = tempfile.mkdtemp()
    >>> kept("squares", lambda: {"y": np.arange(3) ** 2}, cache_dir=folder)
    {'y': array([0, 1, 4])}
    >>> kept("squares", lambda: {"y": 1 / 0}, cache_dir=folder)
    {'y': array([0, 1, 4])}
    """
    folder = cache.folder(cache_dir)
    path = cache.path(folder, f"arrays-{_VERSION}-", [key], ".npz")
    # If anything is wrong with the file, the arrays are made again.
    with contextlib.suppress(Exception), open(path, "rb") as file:
        return read_arrays(file)
    arrays = make()
    size_bytes = sum(array.nbytes for array in arrays.values())
    with cache.keeping(folder), cache.writing(path, size_bytes) as new:
        np.savez(new, **arrays)
    return arrays


def _content(file: File) -> bytes:
    """The content of a file, which must be what it was."""
    try:
        with open(file.path, "rb") as opened:
            content = opened.read()
    except OSError as error:
        reason = f"it cannot be read: {error.strerror}"
        raise ChangedFile(file.path, reason) from error
    if hashlib.sha256(content).hexdigest() != file.digest:
        raise ChangedFile(file.path, "it has changed")
    return content


class _Work:
    """Rows to be found or made.

    Attributes:
        row: An array of the shape and dtype of a row.
        has_known: Whether some rows are found.
        count, size_bytes: Of all rows, if all can be made.
        digests: Of the contents of the rows so far.
        new: Contents that were not known: "", or why no row can be made.
        failed: Why rows cannot be made, by digest.
    """

    def __init__(
        self,
        contents: Sequence[str],
        make: MakeRows,
        known: dict[str, np.ndarray | str],
        row: np.ndarray,
    ) -> None:
        self.row = row
        self.count = len(contents)
        self.size_bytes = self.count * row.nbytes
        self.digests: list[str] = []
        self.new: dict[str, str] = {}
        self.failed: dict[str, str] = {}
        self._contents = contents
        self._make = make
        self._known = known
        self.has_known = not known.keys().isdisjoint(contents)

    def again(self) -> "_Work":
        """The same, from its beginning."""
        return _Work(self._contents, self._make, self._known, self.row)

    def parts(self, length: int) -> Iterator[np.ndarray]:
        """All rows, in arrays of so many contents."""
        for start in range(0, self.count or 1, length):
            yield self._part(start, self._contents[start : start + length])

    def _part(self, start: int, contents: Sequence[str]) -> np.ndarray:
        """The rows of some contents, which begin at a position."""
        first: dict[str, int] = {}
        for i, digest in enumerate(contents, start):
            if digest not in self._known:
                first.setdefault(digest, i)
        positions = list(first.values())
        made = np.empty([len(positions), *self.row.shape], self.row.dtype)
        failed = self._make(positions, made) if positions else {}
        self.new |= {d: failed.get(i, "") for d, i in first.items()}
        found: dict[str, np.ndarray | str] = {
            digest: failed.get(i, row)
            for (digest, i), row in zip(first.items(), made, strict=True)
        }
        rows = []
        for digest in contents:
            row = found.get(digest, self._known.get(digest, ""))
            if isinstance(row, str):
                self.failed[digest] = row
            else:
                self.digests.append(digest)
                rows.append(row)
        if len(positions) == len(rows):
            return made
        return np.stack(rows) if rows else made[:0]


def _in_memory(work: _Work, folder: str, kind: str) -> Rows:
    """Rows in memory, of which the new ones are written to a file."""
    (rows,) = work.parts(work.count or 1)
    rows.flags.writeable = False  # As a memory map, which comes next time
    if work.new:
        new = {d: i for i, d in enumerate(work.digests) if d in work.new}
        failed = {digest: why for digest, why in work.new.items() if why}
        is_all = len(new) == len(rows)
        parts = [rows] if is_all else (rows[[i]] for i in new.values())
        path = cache.path(folder, kind, work.new, cache.PACK_ENDING)
        size_bytes = len(new) * work.row.nbytes
        with cache.keeping(folder), cache.writing(path, size_bytes) as file:
            cache.write_pack(file, parts, work.row, new, failed)
    return Rows(rows, work.failed)


def _on_disk(work: _Work, path: str) -> cache.Pack:
    """Rows as a memory map of a new file."""
    length = max(1, _PART_BYTES // work.row.nbytes)
    with cache.writing(path, work.size_bytes) as file:
        parts = work.parts(length)
        cache.write_pack(file, parts, work.row, work.digests, work.failed)
    pack = cache.read_pack(path)
    if pack is None:
        raise ValueError(
            f"{path} was deleted while photos were decoded."
            + more("photo-cache")
        )
    return pack


def _no_room(kind: str, folder: str, error: OSError) -> NoRoom:
    what = kind.partition("-")[0]
    return NoRoom(
        f"The {what} are too large for the memory that they may take, and "
        f"cannot be kept in {folder!r}: {error.strerror}. Choose a smaller "
        "`size`, or set `cache_dir` to a folder on a disk that has room."
        + more("photo-cache")
    )


def _fits_in_memory(size_bytes: int) -> bool:
    """Whether rows may be kept in memory.

    Half of the memory that is available is left to everything else.
    """
    available = math.inf
    with contextlib.suppress(OSError, ValueError):  # Only Linux has the file.
        with open("/proc/meminfo") as file:
            lines = dict(line.split(":") for line in file)
        available = 1024 * int(lines["MemAvailable"].split()[0])
    return size_bytes <= min(choice.memory_limit(), available / 2)

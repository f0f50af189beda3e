"""Decoded photos and features in a cache folder: made once, then read."""

import contextlib
import functools
import hashlib
import math
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple, Protocol

import numpy as np

from gdtrain.checkpoint.files import Arrays, read_arrays
from gdtrain.data import choice
from gdtrain.images import cache, packs
from gdtrain.images.packs import Pack

_VERSION = 1  # Of what the files hold; those of another are not read.
_AHEAD = 64  # Results of threads that wait until they are taken


class File(Protocol):
    """A file, and the digest of its content when it was found."""

    @property
    def path(self) -> str: ...

    @property
    def digest(self) -> str: ...


class Decoded(NamedTuple):
    """Decoded photos.

    Attributes:
        images: uint8 `[n, height, width, channels]`: a row for each file that
            can be decoded, in the order of the files.
        damaged: Why the others cannot be decoded, by digest.
    """

    images: np.ndarray
    damaged: dict[str, str]


def decoded(
    files: Sequence[File],
    *,
    size: tuple[int, int],
    decode: Callable[..., np.ndarray],
    channels: int = 3,
    fit: str = "stretch",
    cache_dir: str | os.PathLike | None = None,
) -> Decoded:
    """Decodes photos in parallel, once, and keeps them in the cache folder.

    The next call with the same contents, in this process or another, reads
    the images. Of other collections, it decodes what is new in them.

    Images that may be kept in memory, as by `gdtrain.data`, are; larger ones
    are a read-only memory map. A slice of it is a memory map too, so give the
    files in the order in which slices are needed: training, then held out.

    Several processes may do this at once. What one that was killed has
    written is not read.

    Args:
        files: The photos.
        size: Height and width of the images.
        decode: Called with the content of a file, bytes, and `size`,
            `channels` and `fit`; returns an image. A `ValueError` says that
            the content is damaged, with its attribute `reason`.
        channels, fit: For `decode`.
        cache_dir: As in `gdtrain.images.cache.folder`. If nothing can be
            written there, a warning says so once, and images that fit in
            memory stay there.

    Raises:
        ValueError: if a file is gone or has changed since it was found, or
            the images fit neither in memory nor in the folder.
    """
    shape = *size, channels
    folder = cache.folder(cache_dir)
    kind = f"photos-{'x'.join(map(str, shape))}-{fit}-{_VERSION}-"
    digests = [file.digest for file in files]
    path = cache.path(folder, kind, digests, packs.ENDING)
    pack = packs.read(path)
    if pack is None:
        decode = functools.partial(
            decode, size=size, channels=channels, fit=fit
        )
        rows = _Rows(files, decode, packs.known(folder, kind), shape)
        if _fits_in_memory(rows.size_bytes):
            return _in_memory(rows, path)
        pack = _on_disk(rows, path)
    images = pack.images
    if _fits_in_memory(images.nbytes):
        images = np.array(images)
    return Decoded(images, pack.damaged)


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
        cache_dir: As in `decoded`.

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


def in_parallel(function: Callable, items: Iterable) -> Iterator[Any]:
    """The results of a function, called by threads, in the order of the items.

    A few calls are ahead of what was taken, so that few results wait.
    """
    pending: deque[Future] = deque()
    pool = ThreadPoolExecutor()
    try:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) > _AHEAD:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


class _Rows:
    """Images of files, to be iterated over once.

    Attributes:
        shape: Of an image.
        size_bytes: Of all images, if none is damaged.
        is_known: Whether nothing is decoded.
        digests: Of the images that have come.
        damaged: Why others will not come, by digest.
    """

    def __init__(
        self,
        files: Sequence[File],
        decode: Callable[[bytes], np.ndarray],
        known: dict[str, np.ndarray | str],
        shape: tuple[int, int, int],
    ) -> None:
        self.shape = shape
        self.size_bytes = len(files) * math.prod(shape)
        self.is_known = all(file.digest in known for file in files)
        self.digests: list[str] = []
        self.damaged: dict[str, str] = {}
        self._files = files
        self._decode = decode
        self._known = known

    def __len__(self) -> int:
        """The number of images, if none is damaged."""
        return len(self._files)

    def __iter__(self) -> Iterator[np.ndarray]:
        images = in_parallel(self._image, self._files)
        for file, image in zip(self._files, images, strict=True):
            if isinstance(image, str):
                self.damaged[file.digest] = image
            else:
                self.digests.append(file.digest)
                yield image

    def _image(self, file: File) -> np.ndarray | str:
        """An image, or what is wrong with the content of its file."""
        if file.digest in self._known:
            return self._known[file.digest]
        content = _content(file)
        try:
            return self._decode(content)
        except ValueError as error:
            return getattr(error, "reason", str(error))


def _content(file: File) -> bytes:
    """The content of a file, which must be what it was."""
    try:
        with open(file.path, "rb") as opened:
            content = opened.read()
    except OSError as error:
        raise ValueError(
            f"{file.path} was there when the photos were listed, and now it "
            f"cannot be read: {error.strerror}. Read the photos again."
        ) from error
    if hashlib.sha256(content).hexdigest() != file.digest:
        raise ValueError(
            f"{file.path} has changed since the photos were listed. Read the "
            "photos again."
        )
    return content


def _in_memory(rows: _Rows, path: str) -> Decoded:
    """Images in memory, which are also written to a file if they are new."""
    images = np.empty([len(rows), *rows.shape], np.uint8)
    count = 0
    for row in rows:
        images[count] = row
        count += 1
    images = images[:count]
    if not rows.is_known:
        with cache.keeping(os.path.dirname(path)):
            _write(path, images, rows)
    return Decoded(images, rows.damaged)


def _on_disk(rows: _Rows, path: str) -> Pack:
    """Images as a memory map of a new file."""
    try:
        _write(path, rows, rows)
    except OSError as error:
        raise ValueError(
            "The photos are too large for the memory that they may take, and "
            f"cannot be kept in {os.path.dirname(path)!r}: {error.strerror}. "
            "Choose a smaller `size`, or set `cache_dir` to a folder on a "
            "disk that has room."
        ) from error
    pack = packs.read(path)
    if pack is None:
        raise ValueError(f"{path} was deleted while photos were decoded.")
    return pack


def _write(path: str, images: Iterable[np.ndarray], rows: _Rows) -> None:
    """Writes images, which are those of the rows."""
    with cache.writing(path, rows.size_bytes) as file:
        packs.write(file, images, rows.shape, rows.digests, rows.damaged)


def _fits_in_memory(size_bytes: int) -> bool:
    """Whether images may be kept in memory.

    Half of the memory that is available is left to everything else.
    """
    available = math.inf
    with contextlib.suppress(OSError, ValueError):  # Only Linux has the file.
        with open("/proc/meminfo") as file:
            lines = dict(line.split(":") for line in file)
        available = 1024 * int(lines["MemAvailable"].split()[0])
    return size_bytes <= min(choice.memory_limit(), available / 2)

"""Photos in all the forms in which people have them, and answers to them."""

import concurrent.futures
import dataclasses
import itertools
import os
import reprlib
import warnings
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from gdtrain.common import checks
from gdtrain.common.explained import more
from gdtrain.images import finding
from gdtrain.images.decoding import DamagedImage, Fit, Image, decode
from gdtrain.images.photos import named


@dataclasses.dataclass(frozen=True, eq=False)
class Answer:
    """What a classifier says of one photo.

    Args:
        name: The most probable class.
        probability: Its probability.
        probabilities: Those of all classes, float32 `[classes]`.
        is_none: Whether the photo is unlike all that was learned.
        file: The photo's file; empty if it was not one.

    Example:

    >>> print(Answer("hot dog", 0.97, np.array([0.97, 0.03])))
    hot dog (0.97)
    >>> print(Answer("hot dog", 0.97, np.array([0.97, 0.03]), is_none=True))
    none of these (nearest: hot dog)
    """

    name: str
    probability: float
    probabilities: np.ndarray
    is_none: bool = False
    file: str = ""

    def __str__(self) -> str:
        if self.is_none:
            return f"none of these (nearest: {self.name})"
        return f"{self.name} ({self.probability:.2f})"


def batches(
    photos: Any,
    shape: tuple[int, int, int],
    fit: Fit,
    *,
    batch_size: int,
    on_error: str,
) -> Iterator[tuple[list[Any], np.ndarray]]:
    """Reads photos, several at once.

    Args:
        photos: A photo or several, of any size: the path of a file or of a
            folder, with all photos in it and below; the bytes of a file, or
            one opened in binary mode; a Pillow image; an array or tensor,
            `[height, width]`, `[height, width, channels]` or
            `[n, height, width, channels]`, of 1, 3 or 4 channels and numbers
            from 0 to 255; or an iterable of these.
        shape: Height, width and channels that the arrays get. Arrays that
            have them stay as they are.
        fit: How photos of other sizes are made to fit, as in `decode`.
        batch_size: How many are in memory at once.
        on_error: What happens with photos that cannot be read: "raise" names
            all of them at the end, "skip" warns.

    Yields:
        `(sources, images)`: photos that can be read as they were given, and
        float32 `[n, height, width, channels]`.

    Raises:
        ValueError, TypeError: if photos cannot be read.

    Example:

    >>> black = np.zeros([9, 4, 3], np.uint8)
    >>> for sources, images in batches(
    ...     [black] * 3, (6, 6, 3), "pad", batch_size=2, on_error="raise"
    ... ):
    ...     print(len(sources), images.shape)
    2 (2, 6, 6, 3)
    1 (1, 6, 6, 3)
    """
    checks.one_of("on_error", on_error, ("raise", "skip"))
    batch_size = checks.positive_integer("batch_size", batch_size)

    def read(source: Any) -> np.ndarray | DamagedImage:
        try:
            return _pixels(source, shape, fit)
        except DamagedImage as error:
            return error

    damaged: list[DamagedImage] = []
    count = 0
    sources = _single_photos(photos)
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        while chunk := list(itertools.islice(sources, batch_size)):
            count += len(chunk)
            good = []
            for source, image in zip(chunk, pool.map(read, chunk)):
                if isinstance(image, DamagedImage):
                    damaged.append(image)
                else:
                    good.append((source, image))
            if good:
                kept, images = zip(*good)
                yield list(kept), np.stack(images).astype(np.float32)
    if damaged:
        _report(damaged, count, on_error)


def path_of(source: Any) -> str:
    """The path of a photo; empty if it did not come from a file."""
    return os.fspath(source) if _is_path(source) else ""


def _report(damaged: list[DamagedImage], count: int, on_error: str) -> None:
    """Raises or warns, with all photos that cannot be read."""
    reasons = [
        f"{error.path or 'one without a file'} ({error.reason})"
        for error in damaged
    ]
    of = f"{len(damaged):,} of {count:,} photos"
    text = f"{of} cannot be read: {named(reasons)}."
    if on_error == "skip":
        warnings.warn(text, stacklevel=5)
    elif len(damaged) == 1:
        raise damaged[0]
    else:
        raise ValueError(
            f"{text} Give whole pictures, or on_error='skip'."
            + more("unreadable-photos")
        )


def _pixels(source: Any, shape: tuple[int, int, int], fit: Fit) -> np.ndarray:
    """A photo as an array of this shape."""
    if isinstance(source, np.ndarray):
        source = _checked(source)
        if source.shape == shape:
            return source
        source = source.round().astype(np.uint8)
    elif _is_path(source) and "://" in os.fspath(source):
        raise DamagedImage(
            os.fspath(source), "it is an address, to be downloaded first"
        )
    return decode(source, size=shape[:2], channels=shape[2], fit=fit)


def _is_path(source: Any) -> bool:
    return isinstance(source, str | os.PathLike)


def _single_photos(photos: Any) -> Iterator[Any]:
    """Each photo of what `classify` takes."""
    # Files that are open, and tensors of any library, by Python's interfaces
    if hasattr(photos, "read"):
        photos = photos.read()
    elif hasattr(photos, "__array__") and not isinstance(
        photos, str | bytes | Image.Image
    ):
        photos = np.asarray(photos)
    if _is_path(photos):
        is_folder = os.path.isdir(photos)
        yield from finding.photos_in(photos) if is_folder else [photos]
    elif isinstance(photos, bytes | bytearray | memoryview):
        yield bytes(photos)
    elif isinstance(photos, Image.Image) or _is_one(photos):
        yield photos
    elif isinstance(photos, Iterable) and not isinstance(photos, Mapping):
        for photo in photos:
            yield from _single_photos(photo)
    else:
        raise TypeError(
            "Photos must be paths, bytes, Pillow images or arrays of numbers "
            f"from 0 to 255. Received: {reprlib.repr(photos)} of type "
            f"{type(photos).__name__}."
        )


def _is_one(array: Any) -> bool:
    """Whether it is an array that is not one of several photos."""
    if not isinstance(array, np.ndarray):
        return False
    return array.ndim == 0 or array.ndim != 4 and array.dtype.kind not in "OUS"


def _checked(array: np.ndarray) -> np.ndarray:
    """Refuses numbers that a photo does not have."""
    if array.dtype.kind not in "uif" or array.ndim < 2 or not array.size:
        raise ValueError(
            "An array must be [height, width, channels], of numbers from 0 to "
            f"255. Received: shape {list(array.shape)}, dtype {array.dtype}."
            + more("photo-arrays")
        )
    low, high = array.min(), array.max()
    is_scaled = array.dtype.kind == "f" and bool(0 <= low and 0 < high <= 1)
    if not 0 <= low <= high <= 255 or is_scaled:
        remedy = " Multiply by 255 what was scaled to between 0 and 1."
        raise ValueError(
            "An array must have numbers from 0 to 255. Received: numbers "
            f"from {low:.3g} to {high:.3g}.{remedy * is_scaled}"
            + more("photo-arrays")
        )
    return array

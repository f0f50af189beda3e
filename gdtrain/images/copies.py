"""Copies of photos: byte by byte, or saved again in another size or kind.

A photo that is learned and held out makes the accuracy look better than it is.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from PIL import Image

from gdtrain.images.photos import PhotoFile

MAX_BITS = 4  # In which the look hashes of copies differ
MAX_DISTANCE = 8.0  # Root mean square difference of their thumbnails, of 255
MAX_STRETCH = 1.03  # By which their aspect ratios differ: sizes are rounded

SHAPE = 16, 18  # Of a thumbnail
_BIT_COUNTS = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)
_BIT_COUNTS = _BIT_COUNTS.sum(axis=1, dtype=np.uint8)
_PAIRS = 2**20  # That are compared at once


def copies(
    training: Sequence[PhotoFile],
    held_out: Sequence[PhotoFile],
    thumbnails: np.ndarray,
    aspects: Mapping[str, float],
) -> list[PhotoFile]:
    """Finds held-out photos that are learned as well.

    They have the same content, or look the same at the same aspect ratio, as
    photos do that were saved again in another size, kind or quality.

    Args:
        training, held_out: The photos.
        thumbnails: Of those to learn from and then those held out.
        aspects: Width by height, by digest.

    Returns:
        Those of `held_out`, as duplicates, with the photo they are copies of.
    """
    by_digest = {file.digest: file for file in training}
    shapes = np.array([aspects[file.digest] for file in training])
    small = thumbnails[: len(training)]
    originals: dict[int, PhotoFile] = {}
    for i, similar in _similar(small, thumbnails[len(training) :]):
        ratios = aspects[held_out[i].digest] / shapes[similar]
        similar = similar[(1 / MAX_STRETCH < ratios) & (ratios < MAX_STRETCH)]
        differences = small[similar] - thumbnails[len(training) + i].astype(
            np.float32
        )
        squares = np.square(differences).mean(axis=(1, 2, 3))
        similar = similar[squares <= MAX_DISTANCE**2]
        if len(similar):
            originals[i] = training[similar[0]]
    for i, file in enumerate(held_out):
        if file.digest in by_digest:
            originals[i] = by_digest[file.digest]
    return [
        held_out[i].left_out("duplicate", _reason(held_out[i], original))
        for i, original in sorted(originals.items())
    ]


def thumbnail(image: np.ndarray) -> np.ndarray:
    """Scales uint8 `[height, width, channels]` to `[16, 18, channels]`."""
    pixels = image[..., 0] if image.shape[-1] == 1 else image
    large = Image.fromarray(np.ascontiguousarray(pixels))
    small = large.resize(SHAPE[::-1], Image.Resampling.BOX)
    return np.asarray(small).reshape(*SHAPE, -1)


def look_hashes(thumbnails: np.ndarray) -> np.ndarray:
    """Hashes that are nearly the same for copies of a photo.

    Bit i says whether the grey photo of 9 x 8 pixels becomes brighter from a
    pixel to the next one in its row. A copy of other size, kind or quality
    differs in at most a few of the 64 bits; photos of other things, in 32 on
    average. (N. Krawetz, "Kind of Like That", hackerfactor.com, 2013.)

    Args:
        thumbnails: `[n, 16, 18, channels]`.

    Returns:
        uint64 `[n]`.

    Example:

    >>> ramp = np.tile(np.arange(0, 250, 5, dtype=np.uint8), [40, 1])
    >>> images = ramp[..., np.newaxis], ramp[:, ::-1, np.newaxis]
    >>> hashes = look_hashes(np.stack([thumbnail(i) for i in images]))
    >>> [int(number) for number in hashes]
    [18446744073709551615, 0]
    """
    grey = thumbnails.mean(axis=-1, dtype=np.float32)
    grey = grey.reshape(-1, 8, 2, 9, 2).mean(axis=(2, 4))
    # By more than 1 of 255, which is what compression adds to a flat area.
    bits = (grey[:, :, 1:] > grey[:, :, :-1] + 1).reshape(-1, 64)
    return np.packbits(bits, axis=1).view(np.uint64).ravel()


def near_pairs(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Pairs of numbers that differ in at most `MAX_BITS` of their 64 bits.

    Four bits are in four of the eight bytes, so the other four are equal. So
    for each choice of four bytes, numbers are sorted by these, and those in
    which these are equal are compared. (M. Norouzi et al., "Fast Search in
    Hamming Space with Multi-Index Hashing", CVPR 2012.)

    Args:
        first, second: uint64 `[m]` and `[n]`.

    Returns:
        Positions in both, int `[pairs, 2]`, sorted.

    Example:

    >>> first = np.array([0, 2**63], np.uint64)
    >>> near_pairs(first, np.array([31, 15], np.uint64)).tolist()
    [[0, 1]]
    """
    found = [np.zeros(0, np.int64)]
    for some in itertools.combinations(range(8), 8 - MAX_BITS):
        keys, others = (
            np.ascontiguousarray(numbers.view(np.uint8).reshape(-1, 8)[:, some])
            .view(np.uint32)
            .ravel()
            for numbers in (first, second)
        )
        order = np.argsort(others)
        low, high = (
            np.searchsorted(others[order], keys, side)
            for side in ("left", "right")
        )
        for i, places in _ranges(low, high):
            j = order[places]
            apart = (first[i] ^ second[j]).view(np.uint8).reshape(-1, 8)
            close = _BIT_COUNTS[apart].sum(axis=1) <= MAX_BITS
            found.append(i[close] * len(second) + j[close])
    return np.stack(divmod(np.unique(np.concatenate(found)), len(second)), 1)


def _ranges(
    low: np.ndarray, high: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """All `(i, j)` with `low[i] <= j < high[i]`, in arrays of bounded size."""
    counts = high - low
    ends = np.cumsum(counts)
    for start in range(0, int(counts.sum()), _PAIRS):
        numbers = np.arange(start, min(start + _PAIRS, ends[-1]))
        i = np.searchsorted(ends, numbers, "right")
        yield i, numbers - (ends - counts)[i] + low[i]


def _similar(
    first: np.ndarray, second: np.ndarray
) -> Iterator[tuple[int, np.ndarray]]:
    """For thumbnails of `second`, those of `first` with a near look hash."""
    kinds, kind = np.unique(look_hashes(first), return_inverse=True)
    others, other = np.unique(look_hashes(second), return_inverse=True)
    pairs = near_pairs(others, kinds)
    # Where the photos with each hash begin, in their order by hash
    order = np.argsort(kind, kind="stable")
    starts = np.searchsorted(kind[order], np.arange(len(kinds) + 1))
    limits = np.searchsorted(pairs[:, 0], np.arange(len(others) + 1))
    for i, number in enumerate(other):
        near = pairs[limits[number] : limits[number + 1], 1]
        if len(near):
            parts = [order[starts[k] : starts[k + 1]] for k in near]
            yield i, np.sort(np.concatenate(parts))


def _reason(copy: PhotoFile, original: PhotoFile) -> str:
    text = f"the same picture as {original.path}"
    if copy.class_name != original.class_name:
        text += f", which is learned as '{original.class_name}'"
    return text

"""Which photos are held out, and which of those are learned as well."""

import dataclasses
import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from gdtrain.images import decoding, store
from gdtrain.images.photos import Part, PhotoFile

MAX_BITS = 4  # In which the look hashes of copies differ
MAX_DISTANCE = 8.0  # Root mean square difference of their thumbnails, of 255
MAX_STRETCH = 1.03  # By which their aspect ratios differ: sizes are rounded
_ROWS = 256  # Held-out photos that are compared at once
_PAIRS = 100_000


def split(
    files: Sequence[PhotoFile], share: float, seed: int
) -> tuple[list[PhotoFile], list[PhotoFile]]:
    """Holds out a share of each class, by the content of the photos.

    A photo is held out if the hash of its content and the seed is below
    `share` of the largest hash. That depends on no other photo, so it stays
    when others are added or renamed, and the number held out is near `share`
    of the class, not equal to it. Small classes would be far from it by
    chance: of `k = share * n` photos, `k / 2` to `2 k` are held out, and at
    least one is on either side.

    Args:
        files: The photos, at least two of each class.
        share: The share that is held out, 0 to 1.
        seed: Draws other photos.

    Returns:
        Photos to learn from, and those held out, with their `part`.
    """
    by_class = defaultdict(list)
    for file in files:
        by_class[file.class_name].append(file)
    training: list[PhotoFile] = []
    held_out: list[PhotoFile] = []
    for _, of_class in sorted(by_class.items()):
        ranked = sorted(
            (_rank(file, seed), file.path, file) for file in of_class
        )
        size = len(ranked)
        count = sum(rank < share for rank, _, _ in ranked)
        expected = round(share * size)
        count = min(
            max(count, expected // 2, 1), max(2 * expected, 1), size - 1
        )
        held_out += [_in_part(f, "held out") for _, _, f in ranked[:count]]
        training += [_in_part(f, "training") for _, _, f in ranked[count:]]
    return training, held_out


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
    originals: dict[int, PhotoFile] = {}
    for i, j in _similar_pairs(thumbnails, len(training)):
        ratio = aspects[held_out[i].digest] / aspects[training[j].digest]
        if 1 / MAX_STRETCH < ratio < MAX_STRETCH:
            originals.setdefault(i, training[j])
    by_digest = {file.digest: file for file in training}
    for i, file in enumerate(held_out):
        if file.digest in by_digest:
            originals[i] = by_digest[file.digest]
    return [
        dataclasses.replace(
            held_out[i],
            part="",
            status="duplicate",
            reason=_reason(held_out[i], original),
        )
        for i, original in sorted(originals.items())
    ]


def _reason(copy: PhotoFile, original: PhotoFile) -> str:
    text = f"the same picture as {original.path}"
    if copy.class_name != original.class_name:
        text += f", which is learned as '{original.class_name}'"
    return text


def thumbnails(images: np.ndarray) -> np.ndarray:
    """Thumbnails of images, uint8 `[n, 16, 18, channels]`."""
    small = np.empty([len(images), 16, 18, images.shape[-1]], np.uint8)

    def make(i: int) -> None:
        small[i] = decoding.thumbnail(images[i])

    store.in_parallel(make, len(images))
    return small


def _rank(file: PhotoFile, seed: int) -> float:
    """A number from 0 to 1 for the content of a file."""
    drawn = hashlib.sha256(f"{seed},{file.digest}".encode()).digest()
    return int.from_bytes(drawn[:8], "big") / 2**64


def _in_part(file: PhotoFile, part: Part) -> PhotoFile:
    return dataclasses.replace(file, part=part)


def _similar_pairs(small: np.ndarray, count: int) -> Iterator[tuple[int, int]]:
    """Yields `(i, j)` if `small[count + i]` looks as `small[:count][j]`."""
    # Bits as -1 and 1: a product is 64 less twice the bits that differ.
    signs = np.where(decoding.look_bits(small), 1, -1).astype(np.float32)
    for start in range(count, len(small), _ROWS):
        rows = slice(start, start + _ROWS)
        close = signs[rows] @ signs[:count].T >= 64 - 2 * MAX_BITS
        pairs = np.argwhere(close) + [start, 0]
        for begin in range(0, len(pairs), _PAIRS):
            some = pairs[begin : begin + _PAIRS]
            first, second = (
                small[column].astype(np.float32) for column in some.T
            )
            squares = np.square(first - second).mean(axis=(1, 2, 3))
            for i, j in some[squares <= MAX_DISTANCE**2]:
                yield int(i) - count, int(j)

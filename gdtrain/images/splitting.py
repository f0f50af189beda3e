"""Which photos are held out."""

import dataclasses
import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence

from gdtrain.common.explained import more
from gdtrain.images.finding import Found
from gdtrain.images.photos import Part, PhotoFile


def into_parts(
    photos: Sequence[PhotoFile], found: Found, share: float, seed: int
) -> tuple[list[PhotoFile], list[PhotoFile]]:
    """Photos to learn from and those held out, by their folders or by `split`.

    Raises:
        ValueError: if a class has too few.
    """
    check_counts(photos, found)
    if not found.has_parts:
        return split(photos, share, seed)
    photos = sorted(photos, key=lambda file: (file.class_name, file.path))
    training = [file for file in photos if file.part == "training"]
    return training, [file for file in photos if file.part == "held out"]


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


def check_counts(photos: Sequence[PhotoFile], found: Found) -> None:
    """Each class must have photos to learn from, and one to hold out."""
    parts = Counter((f.class_name, f.part) for f in photos)
    for name in found.class_names:
        count = parts[name, "training"] if found.has_parts else parts[name, ""]
        needed = 1 if found.has_parts else 2
        if count >= needed:
            continue
        place = found.places.get(name, f"the class '{name}' of {found.source}")
        if found.has_parts:
            raise ValueError(
                f"{found.source} must have a picture to learn from in each "
                f"class. It has none of '{name}', which is held out: {place}. "
                "Add some, or remove the folder." + more("photo-folders")
            )
        raise ValueError(
            f"{place} must have two or more pictures, one to learn from and "
            f"one to hold out. It has {count}. Add some, or remove it."
            + more("photo-folders")
        )


def _rank(file: PhotoFile, seed: int) -> float:
    """A number from 0 to 1 for the content of a file."""
    drawn = hashlib.sha256(f"{seed},{file.digest}".encode()).digest()
    return int.from_bytes(drawn[:8], "big") / 2**64


def _in_part(file: PhotoFile, part: Part) -> PhotoFile:
    return dataclasses.replace(file, part=part)

"""Images that are in memory, as `Photos`."""

import hashlib
from collections.abc import Sequence

import numpy as np

from gdtrain.common.explained import more
from gdtrain.images import finding, reading, splitting, tables
from gdtrain.images.photos import (
    LabelledImages,
    PhotoFile,
    Photos,
    counted,
    named,
)


def from_arrays(
    images: np.ndarray,
    labels: Sequence | np.ndarray,
    *,
    class_names: Sequence[str] | None = None,
    held_out: float = 0.2,
    seed: int = 0,
) -> Photos:
    """Makes `Photos` of images that are in memory.

    Args:
        images: uint8 `[n, height, width]` or `[n, height, width, 1 or 3]`.
        labels: `[n]`: names of classes, or integers from 0.
        class_names: The classes in their order. Defaults to all labels,
            sorted.
        held_out, seed: As in `read_folder`.

    Returns:
        `Photos`, without files.

    Raises:
        ValueError: if images and labels do not fit each other, or there are
            fewer than two classes, or fewer than two images in a class.

    Example:

    >>> images = np.arange(400, dtype=np.uint8).reshape(100, 2, 2)
    >>> from_arrays(images, ["cat", "dog"] * 50).class_names
    ['cat', 'dog']
    """
    reading.Settings(held_out=held_out, seed=seed)
    images, given, labels = np.asarray(images), labels, np.asarray(labels)
    if images.ndim == 3:
        images = images[..., np.newaxis]
    if (
        images.ndim != 4
        or images.shape[-1] not in (1, 3)
        or images.dtype != np.uint8
    ):
        raise ValueError(
            "`images` must be uint8 [n, height, width] or [n, height, width, "
            "1 or 3], of numbers from 0 to 255. Received: "
            f"{images.dtype} {list(images.shape)}. Scale them, then write "
            '`.astype("uint8")`.' + more("photo-arrays")
        )
    if labels.shape != (len(images),):
        raise ValueError(
            f"`labels` must have one label for each of {len(images):,} "
            f"images. Received: an array of shape {labels.shape}."
        )
    missing = [i for i, v in enumerate(given) if tables.is_missing(v)]
    if missing:
        raise ValueError(
            "`labels` must have a label for each image. There is none at "
            f"{named(missing)}."
        )
    names, positions = _positions(labels, class_names)
    files = [
        PhotoFile(
            f"image {i}",
            names[label],
            "",
            hashlib.sha256(image.tobytes()).hexdigest(),
            "read",
        )
        for i, (image, label) in enumerate(zip(images, positions))
    ]
    found = finding.Found("images", files, [], names, {}, False, {}, [])
    parts = splitting.into_parts(files, found, held_out, seed)
    learned = {file.digest for file in parts[0]}
    others = [file for file in parts[1] if file.digest not in learned]
    height, width = images.shape[1:3]
    sentences = [
        f"{counted(len(images), 'picture')} of {height} x {width} pixels."
    ]
    if len(others) < len(parts[1]):
        copies = counted(len(parts[1]) - len(others), "picture")
        sentences.append(
            f"Not held out, since it is learned as well: {copies}."
        )
    rows = {file.path: i for i, file in enumerate(files)}

    def labelled(part: Sequence[PhotoFile]) -> LabelledImages:
        at = np.array([rows[file.path] for file in part], int)
        return LabelledImages(images[at], positions[at])

    return Photos(
        names,
        labelled(parts[0]),
        labelled(others),
        [],
        " ".join(sentences),
    )


def _positions(
    labels: np.ndarray, class_names: Sequence[str] | None
) -> tuple[list[str], np.ndarray]:
    """The names of the classes, and the position of each label in them."""
    if labels.dtype.kind not in "iuUOS":
        raise ValueError(
            "`labels` must be names or integers. Received: "
            f"{labels.dtype}, such as {labels.ravel()[:1].tolist()}."
        )
    are_numbers = labels.dtype.kind in "iu"
    values = labels if are_numbers else labels.astype(str)
    if class_names is None:
        unique, positions = np.unique(values, return_inverse=True)
        names = [str(value) for value in unique]
    else:
        names = list(class_names)
        places = range(len(names)) if are_numbers else names
        where = {value: i for i, value in enumerate(places)}
        unknown = sorted(set(values.tolist()) - set(where))
        if unknown:
            raise ValueError(
                f"`class_names` must name the class of each label. Received: "
                f"{named(names)}, and labels such as {named(unknown)}."
            )
        positions = np.array([where[value] for value in values.tolist()], int)
    if len(names) < 2:
        raise ValueError(
            f"`labels` must have two or more classes. Received: {len(names)}."
        )
    return names, positions

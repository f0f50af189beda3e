"""A folder of photos, one folder a class, as arrays to train on."""

import collections
import dataclasses
import os
import pathlib
from collections.abc import Iterable

import numpy as np

from gdtrain.images import file

# Windows saves JPEG as .jfif, too.
ENDINGS = (".jpg", ".jpeg", ".jfif", ".jpe", ".png")
SYSTEM_FILES = ("thumbs.db", "desktop.ini")  # Windows's, in any case
MAX_NAMED = 10  # Files that a message names


@dataclasses.dataclass(frozen=True)
class LabelledImages:
    """Images and their classes.

    Args:
        images: uint8 `[n, height, width, channels]`.
        labels: Positions in `ImageData.class_names`, int `[n]`.

    Example:

    >>> len(LabelledImages(np.zeros([2, 8, 8, 3], np.uint8), np.array([0, 1])))
    2
    """

    images: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)


@dataclasses.dataclass(frozen=True)
class ImageData:
    """Images to train on, and others to find out what was learned.

    Args:
        description: What they are, for a person to read.
        class_names: The name of each class.
        training: The images to train on.
        held_out: The others.

    Example:

    >>> few = LabelledImages(np.zeros([1, 8, 8, 3], np.uint8), np.array([0]))
    >>> ImageData("Two images.", ["cat"], training=few, held_out=few).shape
    (8, 8, 3)
    """

    description: str
    class_names: list[str]
    training: LabelledImages
    held_out: LabelledImages

    @property
    def shape(self) -> tuple[int, ...]:
        """Height, width and channels of an image."""
        return self.training.images.shape[1:]


def read_folder(
    path: str | os.PathLike,
    *,
    size: tuple[int, int] = (96, 96),
    held_out: float = 0.2,
    seed: int = 0,
) -> ImageData:
    """Reads a folder with a folder of JPEG and PNG files for each class.

    A class is named after its folder, with spaces for underscores. Files that
    are not images by their ending, and images outside the folder of a class,
    are skipped, and the description says so.

    Args:
        path: The folder of class folders.
        size: `(height, width)` to which images are cropped and scaled.
        held_out: The share of each class that is held out, at least one
            image. Defaults to 0.2.
        seed: Draws the images that are held out, an integer of at least 0.

    Returns:
        `ImageData`, its images in RGB.

    Raises:
        ValueError: if the folder cannot be read, there are fewer than two
            classes, a class has fewer than two images, or images cannot be
            read: all of them are named at once.

    Example:

    >>> import tempfile
    >>> from PIL import Image
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> for name in ("hot_dog", "not_hot_dog"):
    ...     (folder / name).mkdir()
    ...     for i in range(5):
    ...         Image.new("L", (8, 8)).save(folder / name / f"{i}.png")
    >>> data = read_folder(folder, size=(32, 32))
    >>> data.class_names, data.training.images.shape, len(data.held_out)
    (['hot dog', 'not hot dog'], (8, 32, 32, 3), 2)
    """
    folder = pathlib.Path(path)
    classes = _find_classes(folder)
    generator = np.random.default_rng(seed)
    training: list[tuple[pathlib.Path, int]] = []
    others: list[tuple[pathlib.Path, int]] = []
    lines = [f"{'class':24}{'to learn from':>15}{'held out':>12}"]
    for label, (name, paths) in enumerate(classes.items()):
        drawn = [(paths[i], label) for i in generator.permutation(len(paths))]
        count = min(max(1, round(held_out * len(paths))), len(paths) - 1)
        others += drawn[:count]
        training += drawn[count:]
        lines.append(f"{name:24}{len(paths) - count:15,}{count:12,}")
    height, width = size
    lines.append(f"Pictures are cut and scaled to {height} x {width} pixels.")
    found = {path for paths in classes.values() for path in paths}
    lines += _skipped(_files_in(folder) - found)
    images, labels = _read_all(training + others, size)
    count = len(training)
    return ImageData(
        "\n".join(lines),
        list(classes),
        LabelledImages(images[:count], labels[:count]),
        LabelledImages(images[count:], labels[count:]),
    )


def _find_classes(folder: pathlib.Path) -> dict[str, list[pathlib.Path]]:
    """The paths of the images of each class, by its name."""
    folders = [path for path in _contents(folder) if path.is_dir()]
    if len(folders) < 2:
        raise ValueError(
            f"{folder} must have two or more folders, one for each class of "
            f"pictures. It has {len(folders)}. Sort the pictures into "
            "folders named after what they show. "
            + " ".join(_skipped(_files_in(folder)))
        )
    classes: dict[str, list[pathlib.Path]] = {}
    for path in folders:
        name = path.name.replace("_", " ")
        if name in classes:
            raise ValueError(
                f"{folder} has two folders for the class '{name}'. Rename "
                f"{path} or join the two."
            )
        classes[name] = _find_images(path)
    return classes


def _find_images(folder: pathlib.Path) -> list[pathlib.Path]:
    """The paths of the images in the folder of a class."""
    paths = [p for p in _contents(folder) if _is_image(p) and p.is_file()]
    if len(paths) < 2:
        raise ValueError(
            f"{folder} must have two or more JPEG or PNG files, one to learn "
            f"from and one to hold out. It has {len(paths)}. Add some, or "
            "remove the folder. "
            + " ".join(_skipped(_files_in(folder) - set(paths)))
        )
    return paths


def _contents(folder: pathlib.Path) -> list[pathlib.Path]:
    """The paths in a folder, sorted, without hidden ones."""
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        raise ValueError(
            f"cannot read the folder {folder}: {error.strerror}. Give a "
            "folder that has a folder of pictures for each class."
        ) from error
    # Such as .git, and the ._name.jpg that macOS puts beside a name.jpg.
    return [path for path in paths if not path.name.startswith(".")]


def _is_image(path: pathlib.Path) -> bool:
    """Whether a file is an image that can be read, by its ending."""
    return path.suffix.lower() in ENDINGS


def _files_in(folder: pathlib.Path) -> set[pathlib.Path]:
    """The user's own files in a folder and below it."""
    return {
        path
        for path in folder.rglob("*")
        if not path.is_dir()
        and path.name.lower() not in SYSTEM_FILES
        and not any(
            part.startswith(".") for part in path.relative_to(folder).parts
        )
    }


def _skipped(files: Iterable[pathlib.Path]) -> list[str]:
    """Sentences that say which files are skipped, and why."""
    misplaced = sorted(path for path in files if _is_image(path))
    others = collections.Counter(
        path.suffix.lower() or "without an ending"
        for path in files
        if not _is_image(path)
    )
    sentences = []
    if misplaced:
        sentences.append(
            f"Skipped: {_counted(misplaced)} that do not lie in the folder "
            f"of a class: {_named(misplaced)}."
        )
    if others:
        most_first = sorted(others.items(), key=lambda item: (-item[1], item))
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in most_first)
        sentences.append(
            f"Skipped: files that are neither JPEG nor PNG by their ending "
            f"({kinds}). Save pictures among them as JPEG or PNG."
        )
    return sentences


def _counted(pictures: list) -> str:
    return f"{len(pictures):,} picture{'' if len(pictures) == 1 else 's'}"


def _named(things: list) -> str:
    """The first of them, and that there are more."""
    names = ", ".join(map(str, things[:MAX_NAMED]))
    return names + (", ..." if len(things) > MAX_NAMED else "")


def _read_all(
    labelled: list[tuple[pathlib.Path, int]], size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Reads the images of all paths: `(images, labels)`."""
    images, errors = [], []
    for path, _ in labelled:
        try:
            images.append(file.read_image(path, size=size))
        except ValueError as error:
            errors.append((path, error))
    if len(errors) == 1:
        raise errors[0][1]
    if errors:
        reasons = [
            f"{path} ({file.reason(error.__cause__, path)})"
            for path, error in sorted(errors, key=lambda pair: pair[0])
        ]
        raise ValueError(
            f"{len(errors):,} of {_counted(labelled)} cannot be read: "
            f"{_named(reasons)}. Give whole JPEG or PNG files, or remove "
            "these."
        )
    return np.stack(images), np.array([label for _, label in labelled])

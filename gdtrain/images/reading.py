"""Folders and tables of photos, as arrays to train on."""

import collections
import dataclasses
import numbers
import os
from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np

from gdtrain.common import checks
from gdtrain.common.explained import more
from gdtrain.images import (
    copies,
    decoding,
    finding,
    splitting,
    store,
    tables,
)
from gdtrain.images.parallel import in_parallel
from gdtrain.images.photos import (
    LabelledImages,
    PhotoFile,
    Photos,
    counted,
    named,
    named_with_reasons,
)


def read_folder(
    path: str | os.PathLike,
    *,
    size: int | tuple[int, int] = 224,
    held_out: float = 0.2,
    seed: int = 0,
    fit: decoding.Fit = "stretch",
    channels: int = 3,
    on_error: Literal["raise", "skip"] = "raise",
    cache_dir: str | os.PathLike | None = None,
    verbose: Any = "auto",
) -> Photos:
    """Reads a folder with a folder of photos for each class.

    A class is named after its folder, with spaces for underscores, and has
    the photos in all folders below it. Folders above, with nothing but
    folders, are parts of the name: `animals/cats`. With `train` and `test` or
    `validation` above the classes, these say what is held out; of all three,
    `test` is held out and `validation` is learned.

    Files are known by their content. `print` of the result says what was read
    and what was not, and why. A photo that is learned and held out, byte by
    byte or saved again, is not held out, since it would make the accuracy look
    better than it is.

    Args:
        path: The folder of class folders.
        size: `(height, width)` to which photos are scaled, or one number for
            both. Defaults to 224, as most backbones have it.
        held_out: The share of each class that is held out, at least one
            photo, and about this many: a photo is drawn by its content alone,
            so it stays held out when others are added. Defaults to 0.2.
        seed: Draws the photos that are held out, an integer of at least 0.
        fit: "stretch", "crop" or "pad", as in `decode`.
        channels: 3 for colors (the default), or 1 for grey.
        on_error: What a damaged photo does: "raise" an error that names all
            damaged ones (the default), or "skip" them.
        cache_dir: Where decoded photos are kept, so that the next call does
            not decode them. Defaults to `$XDG_CACHE_HOME/gdtrain`, or
            `~/.cache/gdtrain`; it may be deleted at any time.
        verbose: 0 for no output. Defaults to "auto", a progress bar where it
            takes more than a few seconds.

    Returns:
        `Photos`.

    Raises:
        ValueError: if the folder cannot be read, there are fewer than two
            classes, a class has too few photos, or photos are damaged.

    Example:

    >>> import pathlib, tempfile
    >>> from PIL import Image
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> for name, step in ("hot_dog", 5), ("not_hot_dog", -5):
    ...     (folder / name).mkdir()
    ...     for i in range(1, 6):
    ...         ramp = np.arange(50, dtype=np.uint8)[::step] * 5
    ...         image = Image.fromarray(np.tile(ramp, [4 * i, 1]))
    ...         image.save(folder / name / f"{i}.png")
    >>> photos = read_folder(folder, size=32, cache_dir=folder / ".cache")
    >>> photos.class_names, photos.shape
    (['hot dog', 'not hot dog'], (32, 32, 3))
    >>> len(photos.training) + len(photos.held_out)
    10
    """
    settings = Settings(
        size, held_out, seed, fit, channels, on_error, cache_dir, verbose
    )
    return _read(finding.find_in_folder(path, verbose), settings)


def read_table(
    table: str | os.PathLike | tables.Table,
    *,
    file_column: str = "file",
    label_column: str = "label",
    root: str | os.PathLike | None = None,
    size: int | tuple[int, int] = 224,
    held_out: float = 0.2,
    seed: int = 0,
    fit: decoding.Fit = "stretch",
    channels: int = 3,
    on_error: Literal["raise", "skip"] = "raise",
    cache_dir: str | os.PathLike | None = None,
    verbose: Any = "auto",
) -> Photos:
    """Reads the photos that a table lists with their labels.

    Args:
        table: A CSV file with a header (separated by commas, semicolons or
            tabs), a DataFrame, or a dictionary of columns.
        file_column: The column of paths.
        label_column: The column of class names.
        root: The folder in which paths begin. Defaults to that of the CSV
            file, and to the working directory for other tables.
        size, held_out, seed, fit, channels, on_error, cache_dir, verbose: As
            in `read_folder`.

    Returns:
        `Photos`.

    Raises:
        ValueError: as `read_folder`, or if the table lacks a column or a
            value.

    Example:

    >>> read_table({"file": ["1.jpg", "2.jpg"], "label": ["cat", "dog"]})
    Traceback (most recent call last):
        ...
    ValueError: 2 of 2 pictures cannot be read: 1.jpg (No such file or
    directory), 2.jpg (No such file or directory). Give whole pictures, or
    remove these; `on_error="skip"` leaves them out.
    More: python -m gdtrain explain unreadable-photos
    """
    settings = Settings(
        size, held_out, seed, fit, channels, on_error, cache_dir, verbose
    )
    found = tables.find_in_table(
        table, file_column, label_column, root, verbose
    )
    return _read(found, settings)


_FITTED = {"stretch": "scaled", "crop": "cropped", "pad": "padded"}


@dataclasses.dataclass(frozen=True)
class Settings:
    """The arguments of `read_folder`, checked before anything is read."""

    size: int | tuple[int, int] = 224
    held_out: float = 0.2
    seed: int = 0
    fit: decoding.Fit = "stretch"
    channels: int = 3
    on_error: str = "raise"
    cache_dir: str | os.PathLike | None = None
    verbose: Any = "auto"

    def __post_init__(self) -> None:
        checks.height_and_width("size", self.size)
        is_number = isinstance(self.held_out, numbers.Real)
        if not is_number or not 0 <= self.held_out <= 1:
            raise ValueError(
                "`held_out` must be a share from 0 to 1. Received: held_out="
                f"{self.held_out!r}. Write 0.2 to hold out a fifth."
            )
        if not isinstance(self.seed, numbers.Integral) or self.seed < 0:
            raise ValueError(
                "`seed` must be an integer of at least 0. Received: seed="
                f"{self.seed!r}."
            )
        checks.one_of("fit", self.fit, get_args(decoding.Fit))
        checks.one_of("channels", self.channels, (1, 3))
        checks.one_of("on_error", self.on_error, ("raise", "skip"))

    @property
    def height_and_width(self) -> tuple[int, int]:
        """The size of the images."""
        return checks.height_and_width("size", self.size)


def _read(found: finding.Found, settings: Settings) -> Photos:
    """Decodes, splits, and leaves out what is damaged or a copy."""
    photos, left_out = found.photos, list(found.left_out)
    damaged = [file for file in left_out if file.status == "damaged"]
    decoded_paths: list[str] = []
    while True:
        if damaged and settings.on_error == "raise":
            more = _damaged(photos, _decode(photos, settings).failed)
            raise _error(damaged + more, len(photos) + len(damaged))
        training, held_out = splitting.into_parts(
            photos, found, settings.held_out, settings.seed
        )
        files = training + held_out
        # Without the damaged photos, the others mostly keep their order.
        if [file.path for file in files] != decoded_paths:
            decoded, gone = _decode_present(files, settings)
        removed = damaged = gone + _damaged(files, decoded.failed)
        whole = [file for file in files if file.digest not in decoded.failed]
        decoded_paths = [file.path for file in whole]
        if not removed:
            thumbnails = _thumbnails(files, decoded.rows, settings)
            removed = copies.copies(
                training, held_out, thumbnails, found.aspects
            )
        if not removed:
            break
        paths = {file.path for file in removed}
        photos = [file for file in photos if file.path not in paths]
        left_out += removed
    labels = {name: i for i, name in enumerate(found.class_names)}
    count = len(training)

    def labelled(images: np.ndarray, files: list[PhotoFile]) -> LabelledImages:
        positions = [labels[file.class_name] for file in files]
        return LabelledImages(images, np.array(positions, int), files)

    height, width = settings.height_and_width
    sentences = [
        f"Photos of {found.source}, {_FITTED[settings.fit]} to {height} x "
        f"{width} pixels.",
        *found.notes,
        *_ambiguous(photos),
    ]
    return Photos(
        found.class_names,
        labelled(decoded.rows[:count], training),
        labelled(decoded.rows[count:], held_out),
        training + held_out + left_out,
        " ".join(sentences),
        settings.fit,
    )


def _decode_present(
    files: Sequence[PhotoFile], settings: Settings
) -> tuple[store.Rows, list[PhotoFile]]:
    """Decodes photos; or else says which are gone, if these are skipped."""
    try:
        return _decode(files, settings), []
    except store.ChangedFile as error:
        if settings.on_error == "raise":
            raise
        reasons = {error.path: error.reason}
    for file in files:  # With a folder, all photos in it are gone.
        if not os.path.exists(file.path):
            reasons.setdefault(file.path, "it is gone")
    gone = [
        file.left_out("damaged", reasons[file.path])
        for file in files
        if file.path in reasons
    ]
    return store.Rows(np.zeros(0), {}), gone


def _decode(files: Sequence[PhotoFile], settings: Settings) -> store.Rows:
    return store.decoded(
        files,
        size=settings.height_and_width,
        decode=decoding.decode,
        channels=settings.channels,
        fit=settings.fit,
        cache_dir=settings.cache_dir,
        verbose=settings.verbose,
    )


def _thumbnails(
    files: Sequence[PhotoFile], images: np.ndarray, settings: Settings
) -> np.ndarray:
    """Thumbnails of decoded photos, kept, since images may be many."""

    def make(positions: Sequence[int], small: np.ndarray) -> dict[int, str]:
        def make_one(i: int) -> None:
            small[i] = copies.thumbnail(images[positions[i]])

        in_parallel(make_one, len(positions))
        return {}

    numbers = "x".join(map(str, images.shape[1:]))
    return store.kept_rows(
        [file.digest for file in files],
        make,
        kind=f"thumbnails-{settings.fit}-{numbers}",
        shape=(*copies.SHAPE, settings.channels),
        dtype="uint8",
        cache_dir=settings.cache_dir,
    ).rows


def _damaged(
    files: Sequence[PhotoFile], reasons: dict[str, str]
) -> list[PhotoFile]:
    return [
        file.left_out("damaged", reasons[file.digest])
        for file in files
        if file.digest in reasons
    ]


def _error(damaged: list[PhotoFile], count: int) -> ValueError:
    """Names all damaged photos at once."""
    if len(damaged) == 1:
        return decoding.DamagedImage(
            damaged[0].path,
            damaged[0].reason,
            "Give a whole picture, or remove this one; "
            '`on_error="skip"` leaves it out.',
        )
    damaged = sorted(damaged, key=lambda file: file.path)
    return ValueError(
        f"{len(damaged):,} of {counted(count, 'picture')} cannot be read: "
        f"{named_with_reasons(damaged)}. Give whole pictures, or remove these; "
        '`on_error="skip"` leaves them out.' + more("unreadable-photos")
    )


def _ambiguous(photos: Sequence[PhotoFile]) -> list[str]:
    """Says which photos have two labels."""
    by_digest = collections.defaultdict(list)
    for file in photos:
        by_digest[file.digest].append(file)
    pairs = [
        " = ".join(f"{file.path} ({file.class_name})" for file in files)
        for files in by_digest.values()
        if len({file.class_name for file in files}) > 1
    ]
    if not pairs:
        return []
    return [
        f"The same picture is in two classes: {named(pairs)}. One of them is "
        "wrong."
    ]

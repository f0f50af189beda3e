"""Finds the photos in a folder, and looks at their headers."""

import hashlib
import os
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple, NoReturn

from gdtrain.common.explained import more
from gdtrain.images import decoding, layout
from gdtrain.images.parallel import Progress, in_parallel
from gdtrain.images.photos import (
    NO_PICTURE,
    Part,
    PhotoFile,
    sentences,
)

# A file is a photo if it is one by content, or should be by its ending.
# Windows saves JPEG as .jfif, too.
_ENDINGS = "jpg jpeg jfif jpe png webp gif bmp tif tiff avif heic heif"
ENDINGS = tuple(f".{ending}" for ending in _ENDINGS.split())
SYSTEM_FILES = ("thumbs.db", "desktop.ini")  # Windows's, in any case
SYSTEM_FOLDERS = ("__macosx",)  # In ZIP files of macOS


class Found(NamedTuple):
    """What is to be read.

    Attributes:
        source: The folder or table, for messages.
        photos: Those that can be decoded, as far as their headers say.
        left_out: The others, and files that are no photos.
        class_names: All classes, sorted.
        places: What messages call a class, by its name.
        has_parts: Whether photos have their `part` already.
        aspects: Width by height of the photos, by digest.
        notes: Sentences on how the folder was understood.
    """

    source: str
    photos: list[PhotoFile]
    left_out: list[PhotoFile]
    class_names: list[str]
    places: dict[str, str]
    has_parts: bool
    aspects: dict[str, float]
    notes: list[str]


def find_in_folder(path: str | os.PathLike, verbose: Any = 0) -> Found:
    """Finds the photos in a folder, with their classes and parts.

    Args:
        path: The folder.
        verbose: 0 for no progress bar.

    Raises:
        ValueError: if the folder cannot be read, there are fewer than two
            classes, or a class is empty or has the name of another.
    """
    root = pathlib.Path(path)
    names, folders = _walk(root)
    paths = [os.path.join(path, *parts) for parts in names]
    examined = examine_all(paths, verbose)
    found = dict(zip(names, examined))
    understood = layout.understand(
        root, [n for n in names if found[n].file.reason != NO_PICTURE], folders
    )
    files = []
    for parts, one in found.items():
        file = one.file
        if parts in understood.places:
            file = in_class(file, *understood.places[parts])
        elif parts in understood.misplaced:
            why = understood.misplaced[parts]
            file = file.left_out("skipped", why)
        files.append(file)
    class_names = sorted(understood.class_folders)
    if len(class_names) < 2:
        advice = "Sort the pictures into folders named after what they show."
        raise ValueError(
            f"{root} must have two or more folders, one for each class of "
            f"pictures. It has {len(class_names)}. "
            + " ".join([advice, *sentences(files)])
            + more("photo-folders")
        )
    return Found(
        str(root),
        [file for file in files if file.status == "read"],
        [file for file in files if file.status != "read"],
        class_names,
        {
            name: str(root.joinpath(*folder))
            for name, folder in understood.class_folders.items()
        },
        understood.has_parts,
        {one.file.digest: one.aspect for one in examined},
        understood.notes,
    )


def photos_in(folder: str | os.PathLike) -> list[str]:
    """The photos in a folder and below it, sorted, without hidden ones.

    Those that are photos by content, and those that should be by their ending.

    Raises:
        ValueError: if the folder cannot be read or has none.
    """
    root = pathlib.Path(folder)
    paths = [str(root.joinpath(*parts)) for parts in _walk(root)[0]]
    photos = [path for path in paths if _looks_like_photo(path)]
    if not photos:
        raise ValueError(
            f"{root} has no pictures. Give a folder that has."
            + more("photo-folders")
        )
    return photos


def check_folder(path: str) -> None:
    """Raises a `ValueError` if a folder cannot be read."""
    try:
        os.scandir(path).close()
    except OSError as error:
        _fail(error)


def _fail(error: OSError) -> NoReturn:
    raise ValueError(
        f"cannot read the folder {error.filename}: {error.strerror}. Give "
        "a folder that has a folder of pictures for each class."
        + more("photo-folders")
    ) from error


def _looks_like_photo(path: str) -> bool:
    if path.lower().endswith(ENDINGS):
        return True
    if not os.path.isfile(path):  # Such as a pipe, which would never end
        return False
    with open(path, "rb") as file:
        return bool(decoding.kind_of(file.read(decoding.HEAD_BYTES)))


class Examined(NamedTuple):
    """A file, and width by height of the photo in it, 0 if not known."""

    file: PhotoFile
    aspect: float


def in_class(file: PhotoFile, class_name: str, part: Part) -> PhotoFile:
    """The same file, with a class and a part."""
    return PhotoFile(
        file.path, class_name, part, file.digest, file.status, file.reason
    )


def examine_all(
    paths: Sequence[str], verbose: Any, are_photos: bool = False
) -> list[Examined]:
    """Reads files but does not decode them.

    Args:
        paths: The files.
        verbose: 0 for no progress bar.
        are_photos: Whether they should be photos whatever their endings.
    """
    found: dict[int, Examined] = {}

    def examine(i: int) -> None:
        is_photo = are_photos or paths[i].lower().endswith(ENDINGS)
        found[i] = _examine(paths[i], is_photo)

    with Progress(len(paths), "file", verbose) as bar:
        in_parallel(examine, len(paths), bar.update)
    return [found[i] for i in range(len(paths))]


def _examine(path: str, is_photo: bool) -> Examined:
    try:
        with decoding.naming(path):
            if not os.path.exists(path) or os.path.isfile(path):
                with open(path, "rb") as file:
                    head = file.read(decoding.HEAD_BYTES)
                    if is_photo or decoding.kind_of(head):
                        return _examine_photo(path, file)
            elif is_photo:  # Such as a pipe, which would never end
                raise decoding.DamagedImage(path, "it is no file")
    except decoding.DamagedImage as error:
        if is_photo:
            damaged = PhotoFile(path, "", "", "", "damaged", error.reason)
            return Examined(damaged, 0)
        if isinstance(error.__cause__, OSError):  # It may be a photo.
            reason = f"in a file that cannot be read ({error.reason})"
            return Examined(PhotoFile(path, "", "", "", "skipped", reason), 0)
    return Examined(PhotoFile(path, "", "", "", "skipped", NO_PICTURE), 0)


def _examine_photo(path: str, file: Any) -> Examined:
    file.seek(0)
    digest = hashlib.file_digest(file, "sha256").hexdigest()
    file.seek(0)
    width, height = decoding.upright_size(decoding.opened(file))
    photo = PhotoFile(path, "", "", digest, "read")
    return Examined(photo, width / height)


def _walk(
    root: pathlib.Path,
) -> tuple[list[layout.Names], list[layout.Names]]:
    """Files and folders below a folder, sorted, without hidden ones."""

    files, folders = [], []
    seen = set()
    for path, inner, names in os.walk(root, onerror=_fail, followlinks=True):
        # A link to a folder above would never end.
        is_again = os.path.realpath(path) in seen
        seen.add(os.path.realpath(path))
        # Hidden are .git, and the ._name.jpg of macOS beside a name.jpg.
        inner[:] = sorted(
            name
            for name in inner
            if not is_again
            and not name.startswith(".")
            and name.lower() not in SYSTEM_FOLDERS
        )
        here = pathlib.Path(path).relative_to(root).parts
        folders += [(*here, name) for name in inner]
        files += [
            (*here, name)
            for name in sorted(names)
            if not is_again
            and not name.startswith(".")
            and name.lower() not in SYSTEM_FILES
        ]
    return sorted(files), folders

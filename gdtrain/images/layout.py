"""Which folders are parts and classes, by nothing but the names of files."""

import pathlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeAlias

from gdtrain.common.explained import more
from gdtrain.images.photos import Part

Names: TypeAlias = tuple[str, ...]  # Folders and a file, from the top down

TRAINING = ("train", "training")
VALIDATION = ("validation", "valid", "val")
TEST = ("test", "testing")

_WITHOUT_CLASS = "not in the folder of a class"
_OUTSIDE = "not in the folders that are learned and held out"


class Layout(NamedTuple):
    """How a folder is understood.

    Attributes:
        places: Class and part of each photo; the part is "" if no folder
            gives it.
        misplaced: Why the others have no class.
        class_folders: A folder of each class, by name.
        has_parts: Whether folders give the parts.
        notes: Sentences for a person to read.
    """

    places: dict[Names, tuple[str, Part]]
    misplaced: dict[Names, str]
    class_folders: dict[str, Names]
    has_parts: bool
    notes: list[str]


def understand(
    root: pathlib.Path, photos: Sequence[Names], folders: Sequence[Names]
) -> Layout:
    """Finds the classes and parts of photos.

    The class of a photo is the topmost folder on the way to it that holds
    photos itself; folders above, with nothing but folders, are parts of its
    name, unless all classes lie in them. `train` with `test` or `validation`
    beside it are no classes, if they have folders of photos.

    Args:
        root: The folder, for messages.
        photos: The paths of all photos, relative to the root.
        folders: Those of all folders.

    Raises:
        ValueError: if two folders make one class, or a class is empty.

    Example:

    >>> paths = ["big/cats/1.jpg", "big/cats/2020/2.jpg", "dogs/3.jpg"]
    >>> photos = [tuple(path.split("/")) for path in paths]
    >>> list(understand(pathlib.Path("."), photos, []).places.values())
    [('big/cats', ''), ('big/cats', ''), ('dogs', '')]
    """
    base = len(_common(photos))
    parts, notes = _parts([names[base:] for names in photos])
    start = base + bool(parts)

    def part_of(names: Names) -> Part | None:
        return parts.get(names[base]) if parts else ""

    inside = [n for n in photos if len(n) > start and part_of(n) is not None]
    start += len(_common([names[start:] for names in inside]))
    ends = _class_ends(inside, start)
    class_folders: dict[str, Names] = {}
    places: dict[Names, tuple[str, Part]] = {}
    for names, end in ends.items():
        name = _class_name(names[start:end])
        folder = class_folders.setdefault(name, names[:end])
        if folder[start:] != names[start:end]:
            raise ValueError(
                f"{root} has two folders for the class '{name}'. Rename "
                f"{root.joinpath(*names[:end])} or join the two."
                + more("photo-folders")
            )
        places[names] = name, part_of(names) or ""
    misplaced = {
        names: _WITHOUT_CLASS
        if len(names) <= base + 1 or part_of(names) is not None
        else _OUTSIDE
        for names in photos
        if names not in places
    }
    _check_names(root, class_folders)
    parents = {names[: end - 1] for names, end in ends.items()}
    used = {names[:i] for names in photos for i in range(len(names))}
    for folder in folders:
        is_empty = folder[:-1] in parents and folder not in used
        if is_empty and _class_name(folder[start:]) not in class_folders:
            raise ValueError(
                f"{root.joinpath(*folder)} must have two or more pictures, "
                "one to learn from and one to hold out. It has 0. Add some, "
                "or remove the folder." + more("photo-folders")
            )
    has_parts = "held out" in parts.values()
    return Layout(places, misplaced, class_folders, has_parts, notes)


def _common(photos: Iterable[Names]) -> Names:
    """The folders that lead to all photos, those on the way left out.

    The last folders are not among them, since they may be classes.
    """
    folders = [names[:-1] for names in photos if len(names) > 1]
    common = 0
    while folders:
        first = {folder[common] for folder in folders}
        if len(first) > 1 or any(len(f) == common + 1 for f in folders):
            break
        common += 1
    return folders[0][:common] if folders else ()


def _parts(photos: Sequence[Names]) -> tuple[dict[str, Part], list[str]]:
    """The part of each folder that is one, and sentences on them."""

    def named(names: tuple[str, ...], depth: int) -> list[str]:
        found = {p[0] for p in photos if len(p) > depth}
        return sorted(name for name in found if name.lower() in names)

    training, validation, test = (
        named(names, 2) for names in (TRAINING, VALIDATION, TEST)
    )
    others = named(VALIDATION + TEST, 1)
    if not training or not others:
        return {}, []
    parts: dict[str, Part] = dict.fromkeys(others, "")  # Without classes
    if not test and not validation:
        return parts | dict.fromkeys(training, ""), []
    held_out, learned = test or validation, training
    notes = []
    if test and validation:
        learned = training + validation
        notes.append(
            f"`{test[0]}` is held out; `{validation[0]}` is learned, as "
            f"`{training[0]}` is."
        )
    parts |= dict.fromkeys(learned, "training")
    return parts | dict.fromkeys(held_out, "held out"), notes


def _class_ends(photos: Sequence[Names], start: int) -> dict[Names, int]:
    """Where the topmost folder that holds photos ends, in their names."""
    holding = {names[start:-1] for names in photos if len(names) > start + 1}
    ends = {}
    for names in photos:
        for end in range(start + 1, len(names)):
            if names[start:end] in holding:
                ends[names] = end
                break
    return ends


def _class_name(folder: Names) -> str:
    return "/".join(folder).replace("_", " ")


def _check_names(root: pathlib.Path, classes: Iterable[str]) -> None:
    """Refuses `train` and `test` with photos and no classes."""
    names = list(classes)
    are_parts = [n.lower() in TRAINING + VALIDATION + TEST for n in names]
    if names and all(are_parts):
        raise ValueError(
            f"{root} has photos in {' and '.join(names)}, and no folders of "
            "classes there. Sort the pictures into folders named after what "
            "they show." + more("photo-folders")
        )

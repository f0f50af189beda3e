"""Finds the photos in a folder or a table, and looks at their headers."""

import csv
import dataclasses
import hashlib
import os
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, NoReturn, Protocol

from gdtrain.images import decoding, layout
from gdtrain.images.parallel import Progress, in_parallel
from gdtrain.images.photos import (
    NO_PICTURE,
    Part,
    PhotoFile,
    counted,
    named,
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


class Table(Protocol):
    """Columns by name, as in a DataFrame or a dictionary of lists."""

    def __iter__(self) -> Iterator[Any]: ...

    def __getitem__(self, name: str, /) -> Any: ...


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
    examined = _examined(paths, verbose)
    found = dict(zip(names, examined))
    understood = layout.understand(
        root, [n for n in names if found[n].file.reason != NO_PICTURE], folders
    )
    files = []
    for parts, one in found.items():
        file = one.file
        if parts in understood.places:
            file = _in_class(file, *understood.places[parts])
        elif parts in understood.misplaced:
            why = understood.misplaced[parts]
            file = dataclasses.replace(file, status="skipped", reason=why)
        files.append(file)
    class_names = sorted(understood.class_folders)
    if len(class_names) < 2:
        raise ValueError(
            f"{root} must have two or more folders, one for each class of "
            f"pictures. It has {len(class_names)}. Sort the pictures into "
            f"folders named after what they show. {' '.join(sentences(files))}"
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


def find_in_table(
    table: str | os.PathLike | Table,
    file_column: str,
    label_column: str,
    root: str | os.PathLike | None,
    verbose: Any = 0,
) -> Found:
    """Finds the photos in a table of files and labels.

    Raises:
        ValueError: if the table cannot be read, lacks a column or a value,
            or there are fewer than two classes.
    """
    columns = file_column, label_column
    if isinstance(table, (str, os.PathLike)):
        source = os.fspath(table)
        root = os.path.dirname(source) if root is None else root
        rows = _read_csv(source, columns)
    else:
        source = "the table"
        _check_columns(source, list(table), columns)
        rows = _rows(source, [list(table[column]) for column in columns])
    for column, values in zip(columns, zip(*rows)):
        empty = [i for i, v in enumerate(values, 1) if is_missing(v)]
        if empty:
            raise ValueError(
                f"{source} must have a {column} in each row. It has none in "
                f"row {named(empty)}. Add it, or remove the row."
            )
    for i, (path, _) in enumerate(rows, 1):
        if not isinstance(path, (str, os.PathLike)):
            raise ValueError(
                f"{source} must have the path of a file in each row. It has "
                f"{path!r} in row {i}. Name the right column by `file_column`."
            )
    rows = [(os.fspath(path), str(label)) for path, label in rows]
    repeated = len(rows) - len(set(rows))
    rows = list(dict.fromkeys(rows))
    notes = []
    if repeated:
        notes = [f"Left out: {counted(repeated, 'row')} that came before."]
    labels = [label for _, label in rows]
    class_names = sorted(set(labels))
    if len(class_names) < 2:
        raise ValueError(
            f"{source} must have two or more classes in the column "
            f"{label_column!r}. It has {len(class_names)}."
        )
    paths = [os.path.join(root or "", path) for path, _ in rows]
    examined = _examined(paths, verbose, are_photos=True)
    files = [
        _in_class(one.file, label, "") for one, label in zip(examined, labels)
    ]
    return Found(
        source,
        [file for file in files if file.status == "read"],
        [file for file in files if file.status != "read"],
        class_names,
        {name: f"the class '{name}' of {source}" for name in class_names},
        False,
        {one.file.digest: one.aspect for one in examined},
        notes,
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
        raise ValueError(f"{root} has no pictures. Give a folder that has.")
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
    ) from error


def _looks_like_photo(path: str) -> bool:
    if path.lower().endswith(ENDINGS):
        return True
    if not os.path.isfile(path):  # Such as a pipe, which would never end
        return False
    with open(path, "rb") as file:
        return bool(decoding.kind_of(file.read(decoding.HEAD_BYTES)))


class _Examined(NamedTuple):
    file: PhotoFile
    aspect: float  # 0 if it is not known


def _in_class(file: PhotoFile, class_name: str, part: Part) -> PhotoFile:
    return PhotoFile(
        file.path, class_name, part, file.digest, file.status, file.reason
    )


def _examined(
    paths: Sequence[str], verbose: Any, are_photos: bool = False
) -> list[_Examined]:
    """Reads files but does not decode them.

    Args:
        paths: The files.
        verbose: 0 for no progress bar.
        are_photos: Whether they should be photos whatever their endings.
    """
    found: dict[int, _Examined] = {}

    def examine(i: int) -> None:
        is_photo = are_photos or paths[i].lower().endswith(ENDINGS)
        found[i] = _examine(paths[i], is_photo)

    with Progress(len(paths), "file", verbose) as bar:
        in_parallel(examine, len(paths), bar.update)
    return [found[i] for i in range(len(paths))]


def _examine(path: str, is_photo: bool) -> _Examined:
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
            return _Examined(damaged, 0)
        if isinstance(error.__cause__, OSError):  # It may be a photo.
            reason = f"in a file that cannot be read ({error.reason})"
            return _Examined(PhotoFile(path, "", "", "", "skipped", reason), 0)
    return _Examined(PhotoFile(path, "", "", "", "skipped", NO_PICTURE), 0)


def _examine_photo(path: str, file: Any) -> _Examined:
    file.seek(0)
    digest = hashlib.file_digest(file, "sha256").hexdigest()
    file.seek(0)
    width, height = decoding.upright_size(decoding.opened(file))
    photo = PhotoFile(path, "", "", digest, "read")
    return _Examined(photo, width / height)


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


def _rows(source: str, columns: Sequence[list]) -> list[tuple]:
    """The rows of a table that has columns."""
    lengths = [len(column) for column in columns]
    if len(set(lengths)) > 1:
        raise ValueError(
            f"{source} must have columns of the same length. It has "
            f"{lengths[0]:,} files and {lengths[1]:,} labels."
        )
    return list(zip(*columns))


def is_missing(value: Any) -> bool:
    """Whether a value of a table is none: `None`, "", or unequal to itself."""
    try:
        return value is None or value == "" or bool(value != value)
    except TypeError:  # `pandas.NA` is neither equal nor unequal.
        return True


def _read_csv(path: str, columns: tuple[str, str]) -> list[tuple]:
    """The two columns of a CSV file, with commas, semicolons or tabs."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            header = file.readline()
            delimiter = max(",;\t", key=header.count)
            file.seek(0)
            reader = csv.DictReader(file, delimiter=delimiter)
            _check_columns(path, reader.fieldnames or [], columns)
            return [tuple(row[name] for name in columns) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise ValueError(
            f"cannot read the table {path}: {why}. Give a CSV file in UTF-8 "
            f"with the columns {columns[0]} and {columns[1]}."
        ) from error


def _check_columns(
    source: str, present: Sequence[str], columns: Iterable[str]
) -> None:
    for column in columns:
        if column not in present:
            raise ValueError(
                f"{source} has no column {column!r}. It has "
                f"{', '.join(map(repr, present)) or 'none'}. Name the right "
                "one by `file_column` or `label_column`."
            )

"""Photos with their classes, and the table of what became of each file."""

import collections
import dataclasses
import html
import pathlib
from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np

from gdtrain.images.decoding import Fit

Part = Literal["training", "held out", ""]
Status = Literal["read", "damaged", "skipped", "duplicate"]

MAX_NAMED = 10  # Files that a message names
NO_PICTURE = "no picture"  # The reason of files that do not seem to be photos
_UNEQUAL = 5  # Times as many photos in a class as in another, to be said


@dataclasses.dataclass(frozen=True)
class PhotoFile:
    """What became of a file.

    Args:
        path: The file.
        class_name: Its class, or "" if it has none.
        part: "training" or "held out", or "" if it is in neither.
        digest: The SHA-256 of its content, or "" if that is not known.
        status: "read", "damaged", "skipped" or "duplicate".
        reason: Why it was not read, in a few words, or "".

    Example:

    >>> file = PhotoFile("a.jpg", "cat", "", "", "damaged", "it ends early")
    >>> file.path, file.status
    ('a.jpg', 'damaged')
    """

    path: str
    class_name: str
    part: Part
    digest: str
    status: Status
    reason: str = ""

    def left_out(self, status: Status, reason: str) -> "PhotoFile":
        """The same file, in neither part.

        Args:
            status, reason: Its own.

        Example:

        >>> file = PhotoFile("a.jpg", "cat", "training", "", "read")
        >>> file.left_out("damaged", "it ends early").part
        ''
        """
        return dataclasses.replace(self, part="", status=status, reason=reason)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class LabelledImages:
    """Images and their classes.

    Args:
        images: uint8 `[n, height, width, channels]`; may be a memory map.
        labels: Positions in `Photos.class_names`, int `[n]`.
        files: Where they come from, `n` or none.

    Example:

    >>> LabelledImages(np.zeros([2, 8, 8, 3], np.uint8), np.array([0, 1]))
    LabelledImages(2 images, 8 x 8 x 3)
    """

    images: np.ndarray
    labels: np.ndarray
    files: list[PhotoFile] = dataclasses.field(default_factory=list)

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        shape = " x ".join(map(str, self.images.shape[1:]))
        return f"LabelledImages({counted(len(self), 'image')}, {shape})"


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Photos:
    """Images to learn from, and others to find out what was learned.

    `print(photos)` shows a table of what was read and what was not, and why.

    Args:
        class_names: The name of each class.
        training: The images to learn from.
        held_out: The others.
        files: What became of each file, or none if they come from no files.
        description: Sentences on what they are.
        fit: How photos were made to fit, as in `decode`; for a classifier,
            which must do the same with others.

    Example:

    >>> few = LabelledImages(np.zeros([2, 8, 8, 3], np.uint8), np.arange(2))
    >>> photos = Photos(["cat", "dog"], few, few, [], "Four black squares.")
    >>> print(photos)
    Four black squares.
    class                          learned    held out
    cat                                  1           1
    dog                                  1           1
    all                                  2           2
    >>> photos.shape, photos.class_weight()
    ((8, 8, 3), {0: 1.0, 1: 1.0})
    """

    class_names: list[str]
    training: LabelledImages
    held_out: LabelledImages
    files: list[PhotoFile]
    description: str
    fit: Fit = "stretch"

    @property
    def shape(self) -> tuple[int, ...]:
        """Height, width and channels of an image."""
        return self.training.images.shape[1:]

    def class_weight(self) -> dict[int, float]:
        """Weights that give each class the same part in the loss.

        `n / (k * n_c)` for a class with `n_c` of `n` images in `k` classes;
        for the argument `class_weight` of `fit`.
        """
        counts = self._counts(self.training)
        mean = counts.sum() / len(counts)
        return {i: float(mean / max(n, 1)) for i, n in enumerate(counts)}

    def __str__(self) -> str:
        header, *rows = self._table()
        width = max(24, *(len(row[0]) for row in rows))
        lines = [
            f"{row[0]:{width}}" + "".join(f"{cell:>12}" for cell in row[1:])
            for row in (header, *rows)
        ]
        return "\n".join([self.description, *lines, *self._notes()])

    def __repr__(self) -> str:
        return (
            f"Photos({len(self.class_names)} classes, "
            f"{len(self.training):,} learned, {len(self.held_out):,} held out, "
            f"{' x '.join(map(str, self.shape))})"
        )

    def _repr_html_(self) -> str:
        """The table, as notebooks show it."""
        header, *rows = self._table()
        tag = [("th", header), *(("td", row) for row in rows)]
        table = "".join(
            f"<tr>{''.join(f'<{t}>{html.escape(c)}</{t}>' for c in row)}</tr>"
            for t, row in tag
        )
        texts = [self.description, *self._notes()]
        first, *others = (f"<p>{html.escape(text)}</p>" for text in texts)
        return f"{first}<table>{table}</table>{''.join(others)}"

    def _counts(self, part: LabelledImages) -> np.ndarray:
        return np.bincount(part.labels, minlength=len(self.class_names))

    def _table(self) -> list[list[str]]:
        """Header, a row for each class, and sums; no columns without use."""
        names = self.class_names
        columns = {
            "learned": self._counts(self.training),
            "held out": self._counts(self.held_out),
        }
        heads = {
            "damaged": "damaged",
            "skipped": "skipped",
            "duplicate": "copies",
        }
        # Files without a class are in the sums alone.
        sums = {head: int(counts.sum()) for head, counts in columns.items()}
        for status, head in heads.items():
            files = [f.class_name for f in self.files if f.status == status]
            if files:
                found = collections.Counter(files)
                columns[head] = np.array([found[name] for name in names])
                sums[head] = len(files)
        return [
            ["class", *columns],
            *(
                [name, *(f"{counts[i]:,}" for counts in columns.values())]
                for i, name in enumerate(names)
            ),
            ["all", *(f"{number:,}" for number in sums.values())],
        ]

    def _notes(self) -> list[str]:
        """Sentences on what was not read, and on classes of unequal size."""
        notes = sentences(self.files)
        counts = self._counts(self.training)
        if len(counts) and counts.max() >= _UNEQUAL * max(counts.min(), 1):
            most, fewest = (
                f"'{self.class_names[i]}' ({counts[i]:,})"
                for i in (counts.argmax(), counts.argmin())
            )
            notes.append(
                f"The classes are of very unequal size: {most}, {fewest}. "
                "`class_weight=photos.class_weight()` gives each the same "
                "weight."
            )
        return notes


def sentences(files: Iterable[PhotoFile]) -> list[str]:
    """Says which files were not read, and why.

    Example:

    >>> sentences([PhotoFile("a.txt", "", "", "", "skipped", NO_PICTURE)])
    ['Skipped: 1 file that is no picture (1 .txt).']
    """
    by_status = collections.defaultdict(list)
    for file in sorted(files, key=lambda file: file.path):
        by_status[file.status, file.reason == NO_PICTURE].append(file)
    texts = []
    if damaged := by_status["damaged", False]:
        texts.append(
            f"Left out: {counted(len(damaged), 'damaged picture')}: "
            f"{named_with_reasons(damaged)}."
        )
    by_reason = collections.defaultdict(list)
    for file in by_status["skipped", False]:
        by_reason[file.reason].append(file.path)
    for reason, paths in by_reason.items():
        texts.append(
            f"Skipped: {counted(len(paths), 'picture')} {reason}: "
            f"{named(paths)}."
        )
    if others := by_status["skipped", True]:
        kinds = collections.Counter(
            pathlib.PurePath(file.path).suffix.lower() or "without an ending"
            for file in others
        )
        most_first = sorted(kinds.items(), key=lambda item: (-item[1], item))
        texts.append(
            f"Skipped: {counted(len(others), 'file')} that "
            f"{'is no picture' if len(others) == 1 else 'are no pictures'} "
            f"({', '.join(f'{count:,} {kind}' for kind, count in most_first)})."
        )
    if copies := by_status["duplicate", False]:
        texts.append(
            f"Not held out, since it is learned as well: "
            f"{counted(len(copies), 'picture')}: {named_with_reasons(copies)}."
        )
    return texts


def counted(number: int, noun: str) -> str:
    """A number of things.

    Example:

    >>> counted(1, "picture"), counted(2000, "picture")
    ('1 picture', '2,000 pictures')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def named(things: Sequence[object]) -> str:
    """The first of them, and whether there are more."""
    names = ", ".join(map(str, things[:MAX_NAMED]))
    # The name of a file may be no text, and could not be printed.
    names = names.encode(errors="backslashreplace").decode()
    return names + (", ..." if len(things) > MAX_NAMED else "")


def named_with_reasons(files: Sequence[PhotoFile]) -> str:
    """As `named`, with the reason of each file."""
    return named([f"{file.path} ({file.reason})" for file in files])

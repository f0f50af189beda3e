"""`python -m gdtrain images describe`: says what photos show."""

import argparse
import csv
import os
import pathlib
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TextIO

import keras

from gdtrain.common.explained import more
from gdtrain.common.whole_files import check_can_be_written, written_aside
from gdtrain.images import finding, train_command
from gdtrain.images.answers import Answer
from gdtrain.images.loading import load

_EXAMPLES = """\
examples:
  python -m gdtrain images describe new.jpg
  python -m gdtrain images describe one.jpg two.jpg
  python -m gdtrain images describe folder --csv answers.csv

Columns of the table: file; class, the most probable one; probability, its own;
is none of these, 1 for a photo that is like nothing learned; and for each class
"probability of CLASS". Exit code: 0; 1 if some of several photos cannot be
read, which are named at the end; 2, with nothing written, for anything else.
"""


def add(commands: Any) -> None:
    """Adds the command to those of a parser."""
    parser = commands.add_parser(
        "describe",
        help="say what photos show",
        description="Says what photos show, and each photo of folders.",
        epilog=_EXAMPLES,
    )
    option = parser.add_argument
    option("photos", metavar="PHOTO_OR_FOLDER", nargs="+")
    option(
        "--model",
        default=train_command.MODEL,
        type=pathlib.Path,
        help="that train saved (default: %(default)s)",
    )
    option(
        "--csv",
        metavar="FILE",
        help="also write a table; - for standard output, and nothing else",
    )
    parser.set_defaults(
        run=_describe, parser=parser, after_stop="Nothing was written."
    )


def _describe(options: argparse.Namespace) -> None:
    """Prints what photos show, and writes it to a table."""
    table = None if options.csv in (None, "-") else pathlib.Path(options.csv)
    if table:
        check_can_be_written(table)
    if not options.model.exists():
        raise ValueError(
            f"there is no model {options.model}. Run `python -m gdtrain images "
            "train FOLDER`, or name another by `--model`."
            + more("classifier-files")
        )
    files = [file for given in options.photos for file in _files(given)]
    is_one = len(options.photos) == 1 and not os.path.isdir(options.photos[0])
    model = load(options.model)
    is_shown = len(files) > 1 and sys.stdout.isatty() and options.csv != "-"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        answers = model.classify(
            _counted(files) if is_shown else files,
            on_error="raise" if is_one else "skip",
        )
    said = [str(warning.message) for warning in caught]
    if not answers:
        raise ValueError(said[-1])
    names = model.class_names
    if table:
        table.parent.mkdir(parents=True, exist_ok=True)
        with (
            written_aside(table, ".csv") as aside,
            # Names of files need not be UTF-8.
            open(aside, "w", newline="", encoding="utf-8",
                 errors="surrogateescape") as file,
        ):  # fmt: skip
            _write_csv(file, names, answers)
    if options.csv == "-":
        _write_csv(sys.stdout, names, answers)
    else:
        for answer in answers:
            line = f"{answer}" if is_one else f"{answer.file}: {answer}"
            print(line.encode(errors="backslashreplace").decode())
    for text in said:
        warnings.warn(text, stacklevel=2)
    if len(answers) < len(files):
        options.parser.exit(1)


def _files(given: str) -> Sequence[str]:
    """The photos of a folder, or a photo itself.

    Raises:
        ValueError: if there is no such file or folder.
    """
    if not os.path.lexists(given):
        raise ValueError(
            f"there is no file or folder {given}. Give a photo, or a folder of "
            "photos."
        )
    return finding.photos_in(given) if os.path.isdir(given) else [given]


def _counted(files: Sequence[str]) -> Iterator[str]:
    """The files, with a progress bar."""
    bar = keras.utils.Progbar(len(files), unit_name="photo")
    for count, file in enumerate(files, 1):
        bar.update(count)
        yield file


def _write_csv(
    file: TextIO, class_names: list[str], answers: Iterable[Answer]
) -> None:
    """Writes a row a photo, with the probability of each class."""
    writer = csv.writer(file)
    classes = [f"probability of {name}" for name in class_names]
    header = ["file", "class", "probability", "is none of these"]
    writer.writerow([*header, *classes])
    for answer in answers:
        numbers = [answer.probability, *answer.probabilities]
        first, *others = (f"{number:.4f}" for number in numbers)
        row = [answer.file, answer.name, first, int(answer.is_none), *others]
        writer.writerow(row)

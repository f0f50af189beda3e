"""`python -m gdtrain images`: a folder of photos in, words out."""

import argparse
import csv
import hashlib
import os
import pathlib
import shutil
import sys
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TextIO

import keras

from gdtrain.common import checks
from gdtrain.common.command_line import Parser
from gdtrain.common.whole_files import written_aside
from gdtrain.images import finding, reading
from gdtrain.images.answers import Answer
from gdtrain.images.backbones import open_backbone
from gdtrain.images.classifier import load
from gdtrain.images.close_up import with_close_up
from gdtrain.images.fine_tune import EPOCHS, fine_tune
from gdtrain.images.photos import Photos
from gdtrain.images.reading import read_folder

_OUTPUT = pathlib.Path("output/images")  # `train` writes it, `describe` reads.
_MODEL, _PAGE = "model.keras", "report.html"
_NOT_USABLE = OSError, ValueError, ImportError, ArithmeticError, MemoryError

_EXAMPLES = """\
examples:
  python -m gdtrain images train photos        photos/cat/*, photos/dog/*, ...
  python -m gdtrain images describe new.jpg    cat (0.97)
"""
_TRAIN_EXAMPLES = """\
examples:
  python -m gdtrain images train photos
  python -m gdtrain images train photos --backbone EfficientNetB0 --output food
  python -m gdtrain images train photos --weights mobilenet.h5

The first downloads the backbone's weights once; the last needs no network.
After Ctrl-C, or a power cut, the same command continues.
"""
_DESCRIBE_EXAMPLES = """\
examples:
  python -m gdtrain images describe new.jpg
  python -m gdtrain images describe folder --csv answers.csv

Columns of the table: file; class, the most probable one; probability, its own;
is none of these, 1 for a photo that is like nothing learned; and for each class
"probability of CLASS". Exit code: 0; 1 if some photos of a folder cannot be
read, which are named at the end; 2, with nothing written, for anything else.
"""


def main(arguments: Sequence[str]) -> None:
    """Trains a classifier of photos, or asks one.

    Args:
        arguments: What follows `images`.

    Raises:
        SystemExit: with code 2 and one line on standard error, if something
            that was given cannot be used; with 1 if some photos of a folder
            cannot be read; with 130 after Ctrl-C.
    """
    parser = Parser(
        prog="python -m gdtrain images",
        description="A folder of photos in, words out.",
        epilog=_EXAMPLES,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_train(commands)
    _add_describe(commands)
    options = parser.parse(arguments)
    command: Parser = options.parser

    def show(message: Any, *_: Any, **__: Any) -> None:
        text = " ".join(command.in_options(str(message)).split())
        print(f"warning: {text}", file=sys.stderr)

    try:
        with warnings.catch_warnings():
            # Of characters that Matplotlib's font lacks
            warnings.filterwarnings("ignore", "Glyph")
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.showwarning = show
            options.run(options)
    except _NOT_USABLE as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        parser.exit(2, f"error: {command.in_options(reason)}\n")
    except KeyboardInterrupt:
        parser.exit(130, f"stopped by Ctrl-C. {options.after_stop}\n")


def _add_train(commands: Any) -> None:
    parser = commands.add_parser(
        "train",
        help="learn to tell photos apart",
        description="Fine-tunes a backbone on a folder with a folder of "
        "photos for each class,\nand says how good it is on photos held out.",
        epilog=_TRAIN_EXAMPLES,
    )
    add = parser.add_argument
    add("folder", metavar="FOLDER", help="has a folder for each class")
    add(
        "--backbone",
        default="MobileNetV3Large",
        help="a name of keras.applications, or a .keras file "
        "(default: %(default)s)",
    )
    add(
        "--weights",
        default="imagenet",
        metavar="FILE",
        type=lambda text: None if text == "none" else text,
        help="the backbone's; by default those of ImageNet, which are "
        "downloaded; none for random ones",
    )
    add(
        "--close-up",
        action="store_true",
        help="look at the middle of each photo as well, closer: often right "
        "more often, in four times the time; trains no blocks",
    )
    add(
        "--output",
        default=_OUTPUT,
        type=pathlib.Path,
        help=f"the folder of {_MODEL} (default: %(default)s)",
    )
    add(
        "--log-dir",
        help=f"for TensorBoard, and {_PAGE} (default: logs in --output)",
    )
    add("--backup-dir", help="of an unfinished training (default: in --output)")
    add(
        "--cache-dir",
        help="for decoded photos and features (default: ~/.cache/gdtrain)",
    )
    add(
        "--size",
        type=int,
        default=224,
        help="of photos, in pixels (default: 224)",
    )
    add(
        "--held-out",
        type=float,
        default=0.2,
        help="share that judges (default: 0.2)",
    )
    add(
        "--epochs",
        type=int,
        default=EPOCHS,
        help="of the top of the backbone (default: %(default)s)",
    )
    add(
        "--unfreeze",
        type=int,
        default=True,
        metavar="BLOCKS",
        help="blocks of the backbone that are trained; 0 for none",
    )
    add("--seed", type=int, default=0, help="of all that is drawn (default: 0)")
    add(
        "--balanced",
        dest="class_weight",
        action="store_true",
        help="weigh classes as if they were of one size",
    )
    add(
        "--on-error",
        choices=["raise", "skip"],
        default="raise",
        help="skip trains without photos that cannot be read",
    )
    parser.set_defaults(
        run=_train,
        parser=parser,
        after_stop="The same command continues from what it has done.",
    )


def _add_describe(commands: Any) -> None:
    parser = commands.add_parser(
        "describe",
        help="say what photos show",
        description="Says what a photo, or each photo of a folder, shows.",
        epilog=_DESCRIBE_EXAMPLES,
    )
    add = parser.add_argument
    add("photos", metavar="PHOTO_OR_FOLDER")
    add(
        "--model",
        default=_OUTPUT / _MODEL,
        type=pathlib.Path,
        help="that train saved (default: %(default)s)",
    )
    add(
        "--csv",
        metavar="FILE",
        help="also write a table; - for standard output, and nothing else",
    )
    parser.set_defaults(
        run=_describe, parser=parser, after_stop="Nothing was written."
    )


def _train(options: argparse.Namespace) -> None:
    """Fine-tunes a backbone on a folder; saves it and a page about it."""
    output, log_dir = options.output, options.log_dir or options.output / "logs"
    _check(options, log_dir)
    backbone = open_backbone(
        options.backbone, size=options.size, weights=options.weights
    )
    if options.close_up:
        backbone = with_close_up(backbone)
    photos = read_folder(
        options.folder,
        size=options.size,
        held_out=options.held_out,
        seed=options.seed,
        on_error=options.on_error,
        cache_dir=options.cache_dir,
    )
    print(options.parser.in_options(str(photos)))
    model = fine_tune(
        photos,
        backbone,
        epochs=options.epochs,
        unfreeze=options.unfreeze,
        seed=options.seed,
        log_dir=log_dir,
        backup_dir=options.backup_dir or _backup_of(options, photos),
        cache_dir=options.cache_dir,
        class_weight=photos.class_weight() if options.class_weight else None,
    )
    model.save(output / _MODEL)
    shutil.rmtree(output / "backup", ignore_errors=True)
    print(f"Model: {output / _MODEL}")
    if model.fine_tuning.report is not None:
        print(model.fine_tuning.report)


def _check(options: argparse.Namespace, log_dir: str | os.PathLike) -> None:
    """Raises an error for what cannot be used, before anything is read."""
    checks.positive_integer("epochs", options.epochs)
    reading.Settings(options.size, options.held_out, options.seed)
    try:
        os.scandir(options.folder).close()
    except OSError as error:
        raise ValueError(
            f"cannot read the folder {options.folder}: {error.strerror}. Give "
            "a folder that has a folder of pictures for each class."
        ) from error
    _check_writable(options.output / _MODEL)
    for folder in log_dir, options.backup_dir, options.cache_dir:
        if folder is not None:
            _check_writable(pathlib.Path(folder, _PAGE))


def _backup_of(options: argparse.Namespace, photos: Photos) -> pathlib.Path:
    """The folder of the checkpoints of this training, and of no other."""
    names = "backbone weights close_up size seed epochs unfreeze class_weight"
    settings = [getattr(options, name) for name in names.split()]
    learned = [(file.digest, file.class_name) for file in photos.training.files]
    key = hashlib.sha256(repr([settings, learned]).encode()).hexdigest()
    return options.output / "backup" / key[:16]


def _describe(options: argparse.Namespace) -> None:
    """Prints what photos show, and writes it to a table."""
    table = None if options.csv in (None, "-") else pathlib.Path(options.csv)
    if table:
        _check_writable(table)
    if not options.model.exists():
        raise ValueError(
            f"there is no model {options.model}. Run `python -m gdtrain images "
            "train FOLDER`, or name another by `--model`."
        )
    is_folder = os.path.isdir(options.photos)
    files = finding.photos_in(options.photos) if is_folder else [options.photos]
    model = load(options.model)
    is_shown = len(files) > 1 and sys.stdout.isatty() and options.csv != "-"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        answers = model.classify(
            _counted(files) if is_shown else files,
            on_error="skip" if is_folder else "raise",
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
            line = f"{answer.file}: {answer}" if is_folder else f"{answer}"
            print(line.encode(errors="backslashreplace").decode())
    for text in said:
        warnings.warn(text, stacklevel=2)
    if len(answers) < len(files):
        options.parser.exit(1)


def _check_writable(file: pathlib.Path) -> None:
    """Raises an error if a file cannot be written, before the work for it."""
    if file.exists() and not file.is_file():
        raise ValueError(f"cannot write {file}: it is no file. Name another.")
    there = next(path for path in file.parents if path.exists())
    try:
        with tempfile.TemporaryFile(dir=there) as probe:
            probe.write(b"0")
    except OSError as error:
        raise ValueError(
            f"cannot write to {file.parent}: {error.strerror}. Name another "
            "folder."
        ) from error


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

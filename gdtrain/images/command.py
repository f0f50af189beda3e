"""`python -m gdtrain images`: a folder of photos in, words out."""

import argparse
import csv
import os
import pathlib
import sys
import tempfile
from collections.abc import Iterator, Sequence

import keras

from gdtrain.common.whole_files import written_aside
from gdtrain.images.answers import Answer
from gdtrain.images.classifier import load
from gdtrain.images.finding import photos_in
from gdtrain.images.fine_tune import fine_tune
from gdtrain.images.reading import read_folder
from gdtrain.images.reporting import report

_OUTPUT = pathlib.Path("output/images")  # `train` writes it, `describe` reads.
_MODEL = "model.keras"
_NOT_USABLE = OSError, ValueError, ImportError, ArithmeticError, MemoryError


def main(arguments: Sequence[str] | None = None) -> None:
    """Trains a classifier of photos, or asks one.

    Args:
        arguments: What follows `images`. Defaults to those of the program.

    Raises:
        SystemExit: with code 2 and one line on standard error, if something
            that was given cannot be used; with 130 after Ctrl-C.
    """
    parser = argparse.ArgumentParser(
        prog="python -m gdtrain images",
        description="A folder of photos in, words out.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_train(commands)
    _add_describe(commands)
    options = parser.parse_args(arguments)
    try:
        options.run(options)
    except _NOT_USABLE as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        parser.exit(2, f"error: {reason}\n")
    except KeyboardInterrupt:
        parser.exit(130, "stopped by Ctrl-C\n")


def _add_train(commands: "argparse._SubParsersAction") -> None:
    parser = commands.add_parser(
        "train",
        help="learn to tell photos apart",
        description="Fine-tunes a backbone on a folder with a folder of "
        "photos for each class, and says how good it is on photos held out.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("folder", metavar="FOLDER", help="has a folder for each class")
    add(
        "--backbone",
        default="MobileNetV3Large",
        help="a name of keras.applications, or a .keras file",
    )
    add(
        "--weights",
        default="imagenet",
        metavar="FILE",
        help="the backbone's; imagenet is downloaded",
    )
    add("--output", default=_OUTPUT, type=pathlib.Path, help="a folder")
    add("--log-dir", help="for TensorBoard; logs in --output if not given")
    add("--backup-dir", help="where an interrupted training continues from")
    add("--cache-dir", help="for decoded photos and features")
    add("--size", type=int, default=224, help="of photos, in pixels")
    add("--held-out", type=float, default=0.2, help="share that judges")
    add("--seed", type=int, default=0, help="of all that is drawn")
    add(
        "--balanced",
        action="store_true",
        help="weigh classes as if they were of one size",
    )
    add(
        "--on-error",
        choices=["raise", "skip"],
        default="raise",
        help="skip trains without photos that cannot be read",
    )
    parser.set_defaults(run=_train)


def _add_describe(commands: "argparse._SubParsersAction") -> None:
    parser = commands.add_parser(
        "describe",
        help="say what photos show",
        description="Says what a photo, or each photo of a folder, shows.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("photos", metavar="PHOTO_OR_FOLDER")
    add("--model", default=_OUTPUT / _MODEL, help="that `train` saved")
    add("--csv", type=pathlib.Path, metavar="FILE", help="also write a table")
    add(
        "--on-error",
        choices=["raise", "skip"],
        default="raise",
        help="skip leaves out files that cannot be read",
    )
    parser.set_defaults(run=_describe)


def _train(options: argparse.Namespace) -> None:
    """Fine-tunes a backbone on a folder; saves it and a page about it."""
    output = options.output
    _check_writable(output)
    photos = read_folder(
        options.folder,
        size=options.size,
        held_out=options.held_out,
        seed=options.seed,
        on_error=options.on_error,
        cache_dir=options.cache_dir,
    )
    print(photos)
    log_dir = options.log_dir or output / "logs"
    model = fine_tune(
        photos,
        options.backbone,
        weights=options.weights,
        seed=options.seed,
        log_dir=log_dir,
        backup_dir=options.backup_dir,
        cache_dir=options.cache_dir,
        class_weight=photos.class_weight() if options.balanced else None,
    )
    output.mkdir(parents=True, exist_ok=True)
    model.save(output / _MODEL)
    found = report(
        model,
        photos,
        cross_validated=model.fine_tuning.cross_validated,
        path=output / "report.html",
    )
    print(found)
    print(f"Model: {output / _MODEL}. Report: {output}/report.html")


def _describe(options: argparse.Namespace) -> None:
    """Prints what photos show, and writes it to a table."""
    if options.csv:
        _check_writable(options.csv.parent)
    is_folder = os.path.isdir(options.photos)
    files = photos_in(options.photos) if is_folder else [options.photos]
    model = load(options.model)
    answers = model.classify(_counted(files), on_error=options.on_error)
    if options.csv:
        options.csv.parent.mkdir(parents=True, exist_ok=True)
        with written_aside(options.csv, ".csv") as aside:
            _write_csv(aside, model.class_names, answers)
    for answer in answers:
        print(f"{answer.file}: {answer}" if is_folder else answer)


def _check_writable(folder: pathlib.Path) -> None:
    """Raises an error for a folder that cannot be written, before work."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise ValueError(
            f"cannot write to {folder}: {error.strerror}. Name another folder."
        ) from error


def _counted(files: Sequence[str]) -> Iterator[str]:
    """The files, with a progress bar in a terminal."""
    is_shown = len(files) > 1 and sys.stdout.isatty()
    bar = keras.utils.Progbar(len(files), unit_name="photo")
    for count, file in enumerate(files, 1):
        if is_shown:
            bar.update(count)
        yield file


def _write_csv(
    path: pathlib.Path, class_names: list[str], answers: list[Answer]
) -> None:
    """Writes a row a photo, with the probability of each class."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "class", "is none of these", *class_names])
        for answer in answers:
            shares = [f"{share:.4f}" for share in answer.probabilities]
            row = [answer.file, answer.name, int(answer.is_none), *shares]
            writer.writerow(row)

"""`python -m gdtrain images train`: fine-tunes a backbone on a folder."""

import argparse
import hashlib
import os
import pathlib
import shutil
from typing import Any

from gdtrain.common import checks
from gdtrain.common.whole_files import check_can_be_written
from gdtrain.images import finding, reading
from gdtrain.images.backbones import open_backbone
from gdtrain.images.close_up import with_close_up
from gdtrain.images.fine_tune import EPOCHS, fine_tune
from gdtrain.images.photos import Photos
from gdtrain.images.reading import read_folder

MODEL = pathlib.Path("output/images/model.keras")  # By default
_PAGE = "report.html"

_EXAMPLES = """\
examples:
  python -m gdtrain images train photos
  python -m gdtrain images train photos --backbone EfficientNetB0 --output food
  python -m gdtrain images train photos --weights mobilenet.h5

The first downloads the backbone's weights once; the last needs no network.
After Ctrl-C, or a power cut, the same command continues.
"""


def add(commands: Any) -> None:
    """Adds the command to those of a parser."""
    parser = commands.add_parser(
        "train",
        help="learn to tell photos apart",
        description="Fine-tunes a backbone on a folder with a folder of "
        "photos for each class,\nand says how good it is on photos held out.",
        epilog=_EXAMPLES,
    )
    option = parser.add_argument
    option("folder", metavar="FOLDER", help="has a folder for each class")
    option(
        "--backbone",
        default="MobileNetV3Large",
        help="a name of keras.applications, or a .keras file "
        "(default: %(default)s)",
    )
    option(
        "--weights",
        default="imagenet",
        metavar="FILE",
        type=lambda text: None if text == "none" else text,
        help="the backbone's; by default those of ImageNet, which are "
        "downloaded; none for random ones",
    )
    option(
        "--close-up",
        action="store_true",
        help="look at the middle of each photo as well, closer: often right "
        "more often, in four times the time; trains no blocks",
    )
    option(
        "--output",
        default=MODEL.parent,
        type=pathlib.Path,
        help=f"the folder of {MODEL.name} (default: %(default)s)",
    )
    option(
        "--log-dir",
        help=f"for TensorBoard, and {_PAGE} (default: logs in --output)",
    )
    option(
        "--backup-dir", help="of an unfinished training (default: in --output)"
    )
    option(
        "--cache-dir",
        help="for decoded photos and features (default: ~/.cache/gdtrain)",
    )
    option(
        "--size",
        type=int,
        default=224,
        help="of photos, in pixels (default: 224)",
    )
    option(
        "--held-out",
        type=float,
        default=0.2,
        help="share that judges (default: 0.2)",
    )
    option(
        "--epochs",
        type=int,
        default=EPOCHS,
        help="of the top of the backbone (default: %(default)s)",
    )
    option(
        "--unfreeze",
        type=int,
        default=True,
        metavar="BLOCKS",
        help="blocks of the backbone that are trained; 0 for none",
    )
    option(
        "--seed", type=int, default=0, help="of all that is drawn (default: 0)"
    )
    option(
        "--balanced",
        dest="class_weight",
        action="store_true",
        help="weigh classes as if they were of one size",
    )
    option(
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


def _train(options: argparse.Namespace) -> None:
    """Fine-tunes a backbone on a folder; saves it and a page about it."""
    output, log_dir = options.output, options.log_dir or options.output / "logs"
    _check(options, log_dir)
    path = output / MODEL.name
    if path.exists():
        print(f"{path} will be replaced; `--output FOLDER` keeps it.")
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
    model.save(path)
    shutil.rmtree(output / "backup", ignore_errors=True)
    print(f"Model: {path}")
    if model.fine_tuning.report is not None:
        print(model.fine_tuning.report)


def _check(options: argparse.Namespace, log_dir: str | os.PathLike) -> None:
    """Raises an error for what cannot be used, before anything is read."""
    checks.positive_integer("epochs", options.epochs)
    reading.Settings(options.size, options.held_out, options.seed)
    finding.check_folder(options.folder)
    check_can_be_written(options.output / MODEL.name)
    for folder in log_dir, options.backup_dir, options.cache_dir:
        if folder is not None:
            check_can_be_written(pathlib.Path(folder, _PAGE))


def _backup_of(options: argparse.Namespace, photos: Photos) -> pathlib.Path:
    """The folder of the checkpoints of this training, and of no other."""
    names = "backbone weights close_up size seed epochs unfreeze class_weight"
    settings = [getattr(options, name) for name in names.split()]
    learned = [(file.digest, file.class_name) for file in photos.training.files]
    key = hashlib.sha256(repr([settings, learned]).encode()).hexdigest()
    return options.output / "backup" / key[:16]

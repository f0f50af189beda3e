"""The file of a photo classifier: written whole or not at all, and read."""

import dataclasses
import json
import os
import pathlib
import shutil
import zipfile
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gdtrain.checkpoint import files
from gdtrain.common.explained import more
from gdtrain.images.decoding import Fit
from gdtrain.images.none_of_these import NoneOfThese
from gdtrain.keras_bridge import models

_FACTS = "classifier.json"
_ARRAYS = "none_of_these.npz"
_CONFIG = "config.json"  # Keras's
_OWN_COMPILE_CONFIG = "gdtrain_compile_config"  # In `config.json`


@dataclasses.dataclass
class Facts:
    """What a classifier knows beside its layers.

    Args:
        class_names: The name of each class.
        fit: How photos of other sizes are made to fit, as in `decode`.
        none_of_these: Which photos are unlike all that was learned.
        program: Features and probabilities of photos, once compiled.
    """

    class_names: Sequence[str]
    fit: Fit
    none_of_these: NoneOfThese | None = None
    program: Callable[..., Any] | None = None


def write_facts(folder: pathlib.Path, facts: Facts, **for_readers: Any) -> None:
    """Writes facts to a folder.

    Args:
        folder: The folder.
        facts: The facts.
        **for_readers: What the layers say too, for readers of the file.
    """
    none = facts.none_of_these
    packed, arrays = files.pack(None if none is None else vars(none))
    text = _text(facts, **for_readers, none_of_these=packed)
    (folder / _FACTS).write_text(text)
    if arrays:
        np.savez(folder / _ARRAYS, **arrays)


def add_facts(export: pathlib.Path, facts: Facts, **for_readers: Any) -> None:
    """Adds facts to a SavedModel or a TFLite file, for readers of it."""
    text = _text(facts, **for_readers)
    if export.is_dir():
        # TensorFlow keeps this folder for what is not in the graph.
        folder = export / "assets.extra"
        folder.mkdir()
        (folder / _FACTS).write_text(text)
    else:
        # As metadata of TFLite are: interpreters do not read what follows.
        with zipfile.ZipFile(export, "a") as archive:
            archive.writestr(_FACTS, text)


def _text(facts: Facts, **more: Any) -> str:
    names = list(facts.class_names)
    return json.dumps(
        {"class_names": names, "fit": facts.fit, **more}, indent=1
    )


def read_facts(folder: pathlib.Path) -> Facts:
    """Reads what `write_facts` wrote."""
    text = json.loads((folder / _FACTS).read_text())
    none = None
    if text["none_of_these"] is not None:
        with open(folder / _ARRAYS, "rb") as file:
            arrays = files.read_arrays(file)
        none = NoneOfThese.__new__(NoneOfThese)
        vars(none).update(files.unpack(text["none_of_these"], arrays))
    return Facts(text["class_names"], text["fit"], none)


def make_readable_without_gdtrain(path: pathlib.Path) -> None:
    """Turns what Keras wrote into a file that Keras reads without gdtrain.

    The classes are Keras's, and how the model was compiled is left to
    `load` where it needs something of gdtrain's.
    """
    part = path.with_name("part")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(part, "w") as new:
        for entry in old.infolist():
            if entry.filename == _CONFIG:
                config = models.readable_without_gdtrain(
                    json.loads(old.read(entry))
                )
                compile_config = config["compile_config"]
                if '"gdtrain>' in json.dumps(compile_config):
                    config["compile_config"] = None
                    config[_OWN_COMPILE_CONFIG] = compile_config
                new.writestr(_CONFIG, json.dumps(config))
                continue
            with old.open(entry) as source, new.open(entry, "w") as target:
                shutil.copyfileobj(source, target)
    os.replace(part, path)


def own_compile_config(path: pathlib.Path) -> dict[str, Any] | None:
    """How a model was compiled, if only gdtrain can restore that."""
    if path.suffix != ".keras":
        raise ValueError("its name does not end in .keras")
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        if _CONFIG not in names:
            raise ValueError("it is not a file of Keras's")
        if f"assets/{_FACTS}" not in names:
            raise ValueError(
                "it is another model, without the names of classes"
            )
        if archive.testzip() is not None:  # Keras does not always look.
            raise zipfile.BadZipFile
        return json.loads(archive.read(_CONFIG)).get(_OWN_COMPILE_CONFIG)


def check_writable(filepath: Any, overwrite: bool, ending: str) -> None:
    """Raises an error if a file cannot be written under this name.

    Raises:
        ValueError: if the name has another ending.
        FileExistsError: if it exists and may not be replaced.
    """
    if not os.fspath(filepath).endswith(ending):
        raise ValueError(
            f"The name of the file must end in {ending}. "
            f"Received: {os.fspath(filepath)!r}."
        )
    if not overwrite and os.path.exists(filepath):
        raise FileExistsError(
            f"{os.fspath(filepath)} exists already. Save under another name, "
            "or write overwrite=True." + more("classifier-files")
        )


def check_saved_model(path: str | os.PathLike) -> None:
    """Raises a `FileExistsError` unless a SavedModel may be written there."""
    path = pathlib.Path(path)
    is_replaceable = not path.exists() or (
        path.is_dir()
        and (not any(path.iterdir()) or (path / "saved_model.pb").is_file())
    )
    if not is_replaceable:
        raise FileExistsError(
            f"{path} exists and is not a SavedModel. Give another folder."
            + more("classifier-files")
        )

"""The file of an image classifier: the network, and what its classes are."""

import json
import os
import zipfile

from _console import InputError, complete_file, import_quietly

CLASS_NAMES = "class_names.json"


def save(path, network, class_names):
    """Saves a network, and the names of its classes in the same file.

    It becomes a plain `keras.Sequential`, which `keras.saving.load_model`
    loads without gdtrain and without this script; to train it on, give it to
    `gdtrain.from_keras` and compile it. The names are one more file within
    the zip file that a .keras file is, which Keras leaves alone.

    Args:
        path: The file to write, ending in .keras.
        network: A `gdtrain.Sequential` that takes pictures of uint8.
        class_names: A list of strings.
    """
    keras = import_quietly("keras")
    inputs = keras.Input(network.input_shape[1:], dtype="uint8")
    plain = keras.Sequential([inputs, *network.layers], name=network.name)
    with complete_file(path) as unfinished:
        plain.save(unfinished)
        with zipfile.ZipFile(unfinished, "a") as file:
            file.writestr(CLASS_NAMES, json.dumps(class_names))


def read_class_names(path):
    """Reads the names of the classes from what `save` wrote.

    Returns:
        A list of strings.

    Raises:
        InputError: if there is no such file, or it is something else.
    """
    if not os.path.isfile(path):
        raise InputError(
            f"there is no model {path}. Train one first, without --predict, "
            "or name one with --model."
        )
    try:
        with zipfile.ZipFile(path) as file:
            return json.loads(file.read(CLASS_NAMES))
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise not_a_model(path) from error


def load(path):
    """Loads the network from what `save` wrote.

    Returns:
        A `keras.Sequential`, not compiled.

    Raises:
        InputError: if Keras cannot load it.
    """
    keras = import_quietly("keras")
    try:
        return keras.saving.load_model(path, compile=False)
    except Exception as error:  # Of many kinds, from all over Keras.
        raise not_a_model(path) from error


def not_a_model(path):
    """Makes the error for a file that is damaged or of another origin."""
    return InputError(
        f"{path} is not a model that image_classifier.py saved, or is "
        "damaged. Train one, without --predict, or name another with --model."
    )

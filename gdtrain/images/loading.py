"""Opens the file of a photo classifier."""

import os
import pathlib
import zipfile

import keras

from gdtrain.common.explained import more
from gdtrain.images import classifier_file
from gdtrain.images.classifier import PhotoClassifier
from gdtrain.images.features import first_line


def load(path: str | os.PathLike) -> PhotoClassifier:
    """Opens a file that the `save` of a photo classifier wrote.

    Args:
        path: The `.keras` file.

    Returns:
        The classifier, compiled as it was when it was saved.

    Raises:
        ValueError: if the file cannot be read or holds something else.

    Example:

    >>> load("model.keras")
    Traceback (most recent call last):
        ...
    ValueError: cannot load model.keras as a photo classifier: No such file
    or directory. Give a whole file that the `save` of a photo classifier
    wrote.
    More: python -m gdtrain explain classifier-files
    """
    path = pathlib.Path(path)
    try:
        compile_config = classifier_file.own_compile_config(path)
        model = keras.saving.load_model(path)
        if compile_config:
            model.compile_from_config(compile_config)
            model.load_weights(path)  # Those of the optimizer
    except Exception as error:  # Keras raises of every kind for damaged files
        why = _reason(error)
        raise ValueError(
            f"cannot load {path} as a photo classifier: {why}. "
            "Give a whole file that the `save` of a photo classifier wrote."
            + more("classifier-files")
        ) from error
    return model


def _reason(error: Exception) -> str:
    """Says in one line why a file cannot be loaded."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, zipfile.BadZipFile):
        return "it is damaged, or no file of Keras's"
    return first_line(error)

"""A convolutional network for pictures: what it is, how it is trained."""

import json
import math
import os
import pathlib
import sys
import zipfile
from typing import NamedTuple

import _quiet  # noqa: F401
import keras
import numpy as np
from keras import layers

import gdtrain

CLASS_NAMES = "class_names.json"


class Recipe(NamedTuple):
    """What suits a kind of pictures."""

    vary: list  # Layers that vary the pictures learned from.
    blocks: list  # Filters of convolutions; a block halves the picture.
    units: int  # Of the layer before the last.
    dropout: float
    epochs: int
    batch_size: int
    learning_rate: float  # Of the first step; it falls to 0.


def recipe_for(data: str) -> Recipe:
    """The `Recipe` for `digits`, `fashion_mnist` or the path of a folder."""
    if data == "digits":
        shift = layers.RandomTranslation(0.1, 0.1, fill_mode="constant")
        return Recipe([shift], [(32, 64)], 128, 0.5, 30, 64, 0.1)
    if data == "fashion_mnist":
        return Recipe([], [(32,), (64,)], 128, 0.3, 10, 64, 0.05)
    vary = [layers.RandomFlip("horizontal"), layers.RandomRotation(0.05)]
    vary += [layers.RandomTranslation(0.1, 0.1), layers.RandomZoom(0.2)]
    blocks = [(16,), (32,), (64,), (64,)]
    return Recipe(vary, blocks, 64, 0.5, 40, 16, 0.02)


def make(data: gdtrain.images.Photos, recipe: Recipe) -> gdtrain.Sequential:
    """Makes a network from pictures as they are read to probabilities."""
    # He et al., 2015: with Keras's default, numbers shrink at each relu.
    relu = {"activation": "relu", "kernel_initializer": "he_normal"}
    network = [keras.Input(data.shape, dtype="uint8"), *recipe.vary]
    network.append(layers.Rescaling(1 / 255, offset=-0.3))  # Mean about 0
    for block in recipe.blocks:
        for filters in block:
            network.append(layers.Conv2D(filters, 3, padding="same", **relu))
        network.append(layers.MaxPooling2D())
    classes = len(data.class_names)
    network += [
        layers.Flatten(),
        layers.Dropout(recipe.dropout),
        layers.Dense(recipe.units, name="hidden", **relu),
        layers.Dropout(recipe.dropout),
        layers.Dense(classes, activation="softmax", name="probabilities"),
    ]
    return gdtrain.Sequential(network, name="classifier")


def train(network, data, recipe: Recipe, log_folder: pathlib.Path) -> None:
    """Descends the gradient; `ArithmeticError` if training diverges.

    What is held out is neither learned from nor used to choose anything.
    """
    steps = recipe.epochs * math.ceil(len(data.training) / recipe.batch_size)
    rate = keras.optimizers.schedules.CosineDecay(recipe.learning_rate, steps)
    network.compile(
        gdtrain.GradientDescent(rate, momentum=0.9, nesterov=True),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    held_out = data.held_out.images, data.held_out.labels
    pictures = gdtrain.plots.Predictions(*held_out, data.class_names)
    network.fit(
        data.training.images,
        data.training.labels,
        batch_size=recipe.batch_size,
        epochs=recipe.epochs,
        validation_data=held_out,
        validation_batch_size=256,
        # A bar that moves needs a terminal; a file gets a line an epoch.
        verbose=1 if sys.stdout.isatty() else 2,
        callbacks=[
            gdtrain.callbacks.TensorBoard(log_folder, pictures=[pictures]),
            Divergence(guessing=math.log(len(data.class_names))),
        ],
    )


class Divergence(keras.callbacks.Callback):
    """Ends training after an epoch in which it diverged.

    Weights may be infinite behind a loss that is not: where a layer's inputs
    are not numbers, a maximum with 0 may make them 0.
    """

    def __init__(self, guessing: float) -> None:
        super().__init__()
        self.guessing = guessing  # The loss of a network that knows nothing.

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        loss, what = (logs or {})["loss"], None
        # The mean of a good run's first epoch is about that of guessing.
        if not loss <= 100 * self.guessing:
            what = f"the loss became {loss:.3g}"
        elif wrong := sum(
            np.sum(~np.isfinite(weight)) for weight in self.model.get_weights()
        ):
            what = f"{wrong:,} weights became infinite or NaN"
        if what:
            raise ArithmeticError(
                f"{what} in epoch {epoch + 1}: the learning rate is too "
                "large. Give a smaller --learning-rate. No model was saved."
            )


def save(path: pathlib.Path, network: keras.Model, class_names: list) -> None:
    """Saves a network, and the names of its classes in the same file.

    It becomes a plain `keras.Sequential`, which Keras alone can load. The
    names are one more file in the zip file that it is, which Keras ignores.
    """
    inputs = keras.Input(network.input_shape[1:], dtype="uint8")
    plain = keras.Sequential([inputs, *network.layers], name=network.name)
    # So that `path` is always a whole model: this one, or the one before.
    part = path.with_name(f".{os.getpid()}-{path.name}")
    try:
        plain.save(part)
        with zipfile.ZipFile(part, "a") as file:
            file.writestr(CLASS_NAMES, json.dumps(class_names))
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def load(path: str) -> tuple[keras.Model, list[str]]:
    """Loads `(network, class names)` from what `save` wrote."""
    if not os.path.isfile(path):
        raise ValueError(f"there is no model {path}. Train one first.")
    try:
        with zipfile.ZipFile(path) as file:
            class_names = json.loads(file.read(CLASS_NAMES))
        return keras.saving.load_model(path, compile=False), class_names
    except Exception as error:  # Of many kinds, from all over Keras.
        raise ValueError(
            f"{path} is damaged, or not a model that image_classifier.py "
            "saved. Name another with --model."
        ) from error

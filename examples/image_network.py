"""A convolutional network for pictures: what it is, how it is trained."""

import dataclasses
import math
import sys
from collections.abc import Callable

import gdtrain
import keras
import numpy as np
from _console import InputError
from keras import layers


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What suits a kind of pictures.

    Args:
        vary: Makes the layers that vary the pictures learned from.
        blocks: Filters of the convolutions of each block; after a block, the
            picture is halved.
        units: Size of the layer before the last.
        dropout: Share of numbers that are left out in learning.
        epochs: How often each picture is learned from.
        batch_size: Pictures in a step.
        learning_rate: That of the first step.
    """

    vary: Callable
    blocks: tuple
    units: int
    dropout: float
    epochs: int
    batch_size: int
    learning_rate: float


def shift():
    """Layers that move digits a little: up or down, left or right."""
    return [layers.RandomTranslation(0.1, 0.1, fill_mode="constant")]


def leave():
    """No layers: clothes lie in their pictures in one way."""
    return []


def distort():
    """Layers that vary photos, which may show a thing in any way."""
    return [
        layers.RandomFlip("horizontal"),
        layers.RandomRotation(0.05),
        layers.RandomTranslation(0.1, 0.1),
        layers.RandomZoom(0.2),
    ]


DIGITS = Recipe(shift, ((32, 64),), 128, 0.5, 30, 64, 0.1)
CLOTHES = Recipe(leave, ((32,), (64,)), 128, 0.3, 10, 64, 0.05)
PHOTOS = Recipe(distort, ((16,), (32,), (64,), (64,)), 64, 0.5, 40, 16, 0.02)


def recipe_for(data, **changes):
    """The `Recipe` for `digits`, `fashion_mnist` or the path of a folder.

    Args:
        data: The word, or the path.
        **changes: Fields to change, unless `None`.
    """
    recipe = {"digits": DIGITS, "fashion_mnist": CLOTHES}.get(data, PHOTOS)
    given = {name: x for name, x in changes.items() if x is not None}
    return dataclasses.replace(recipe, **given)


def make(data, recipe, seed):
    """Makes a network that gives the probability of each class.

    It takes pictures as they are read, numbers from 0 to 255, so that the
    scaling is part of it and saved with it.

    Args:
        data: The `image_data.Data` that it will learn from.
        recipe: A `Recipe`.
        seed: Of the first weights, and of all that training draws.

    Returns:
        A `gdtrain.Sequential`, not compiled.
    """
    keras.utils.set_random_seed(seed)
    # He et al., 2015: with Keras's default, numbers shrink at each relu.
    relu = {"activation": "relu", "kernel_initializer": "he_normal"}
    network = [
        keras.Input(data.shape, dtype="uint8"),
        *recipe.vary(),
        layers.Rescaling(1 / 255, offset=-0.3),  # Mean about 0
    ]
    for block in recipe.blocks:
        network += [
            layers.Conv2D(filters, 3, padding="same", **relu)
            for filters in block
        ]
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


def train(network, data, recipe, log_folder):
    """Descends the gradient, with momentum.

    Args:
        network: What `make` made.
        data: `image_data.Data`. What is held out is looked at after each
            epoch, but neither learned from nor used to choose anything.
        recipe: A `Recipe`.
        log_folder: Where TensorBoard's log goes.

    Raises:
        InputError: if training diverges: the loss or a weight is not finite,
            or the loss is far from what guessing costs.
    """
    steps = recipe.epochs * math.ceil(len(data.training) / recipe.batch_size)
    learning_rate = keras.optimizers.schedules.CosineDecay(
        recipe.learning_rate, decay_steps=steps
    )
    network.compile(
        gdtrain.GradientDescent(learning_rate, momentum=0.9, nesterov=True),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    pictures = gdtrain.plots.Predictions(
        data.held_out.images[:16],
        data.held_out.labels[:16],
        data.class_names,
    )
    network.fit(
        data.training.images,
        data.training.labels,
        batch_size=recipe.batch_size,
        epochs=recipe.epochs,
        validation_data=(data.held_out.images, data.held_out.labels),
        validation_batch_size=256,
        # A bar that moves needs a terminal; a file gets a line an epoch.
        verbose=1 if sys.stdout.isatty() else 2,
        callbacks=[
            gdtrain.callbacks.TensorBoard(log_folder, pictures=[pictures]),
            Divergence(guessing=math.log(len(data.class_names))),
        ],
    )


class Divergence(keras.callbacks.Callback):
    """Ends training at the end of an epoch in which it diverged.

    Weights may be infinite behind a loss that is not: where a layer's inputs
    are not numbers, a maximum with 0 may make them 0.

    Args:
        guessing: The loss of a network that knows nothing.
    """

    def __init__(self, guessing):
        super().__init__()
        self.guessing = guessing

    def on_epoch_end(self, epoch, logs=None):
        """Raises an `InputError` if it did."""
        loss = logs["loss"]
        # The mean of a good run's first epoch is about that of guessing.
        if not loss <= 100 * self.guessing:
            self.end(epoch, f"the loss became {loss:.3g}")
        wrong = sum(
            int(np.size(w) - np.isfinite(w).sum())
            for w in self.model.get_weights()
        )
        if wrong:
            self.end(epoch, f"{wrong:,} weights became infinite or NaN")

    def end(self, epoch, what):
        """Raises the error, which says what happened."""
        raise InputError(
            f"{what} in epoch {epoch + 1}: the learning rate is too large. "
            "Give a smaller --learning-rate. No model was saved."
        )

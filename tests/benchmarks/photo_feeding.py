"""Photos a second in training on a folder, against Keras's own way.

A tiny model is trained on photos of about 500 x 400 pixels at 224 x 224:

* keras: `keras.utils.image_dataset_from_directory` and `keras.Model.fit`, which
  decode in each epoch;
* gdtrain: `gdtrain.images.read_folder` and `gdtrain.Model.fit`, which decode
  before the first one;
* gdtrain again: the same, with what the run before has kept in its cache.

Times are from before the folder is read to the end of an epoch.
"""

import pathlib
import time

import keras
import numpy as np
from PIL import Image

import gdtrain
from gdtrain.images import read_folder

SIZE = 224
BATCH = 32
WAYS = ["keras", "gdtrain", "gdtrain again"]


def draw(folder, count):
    """Draws photos of two classes: blurred colors, and noise as of a camera."""
    random = np.random.default_rng(0)
    for number in range(count):
        width = int(random.integers(450, 551))
        height = int(random.integers(360, 441))
        colors = random.integers(0, 256, [10, 12, 3], dtype=np.uint8)
        photo = Image.fromarray(colors).resize((width, height), Image.BICUBIC)
        noise = random.integers(-8, 9, [height, width, 1], dtype=np.int16)
        pixels = np.clip(np.asarray(photo) + noise, 0, 255).astype("uint8")
        path = pathlib.Path(folder, "ab"[number % 2], f"{number}.jpg")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path, quality=90)


def network(base):
    """A model whose steps take next to no time."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    model = base(
        [
            keras.Input([SIZE, SIZE, 3]),
            layers.Rescaling(1 / 255),
            layers.Conv2D(8, 4, strides=4, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(2),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss)
    return model


class Clock(keras.callbacks.Callback):
    """Seconds from its start to the end of each epoch."""

    def __init__(self):
        super().__init__()
        self.start = time.perf_counter()
        self.seconds = []

    def on_epoch_end(self, epoch, logs=None):
        self.seconds.append(time.perf_counter() - self.start)


def train(way, folder, epochs):
    """Trains in one of the ways.

    Returns:
        Photos a second: in the first epoch, and in all of them.
    """
    base = keras.Sequential if way == "keras" else gdtrain.Sequential
    model = network(base)
    clock = Clock()
    arguments = {"epochs": epochs, "verbose": 0, "callbacks": [clock]}
    if way == "keras":
        data = keras.utils.image_dataset_from_directory(
            folder, image_size=(SIZE, SIZE), batch_size=BATCH, verbose=False
        )
        count = len(data.file_paths)
        model.fit(data, **arguments)
    else:
        photos = read_folder(folder, size=(SIZE, SIZE), held_out=0).training
        count = len(photos.labels)
        model.fit(photos.images, photos.labels, batch_size=BATCH, **arguments)
    return count / clock.seconds[0], epochs * count / clock.seconds[-1]

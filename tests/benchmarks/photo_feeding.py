"""Photos a second in training on a folder, against Keras's own way.

    python -m tests.benchmarks.photo_feeding [--photos N] [--epochs N]

Draws JPEGs of about 500 x 400 pixels and trains a tiny model on them at 224 x
224, in a fresh process each time:

* keras: `keras.utils.image_dataset_from_directory` and `keras.Model.fit`, which
  decode in each epoch;
* gdtrain: `gdtrain.images.read_folder` and `gdtrain.Model.fit`, which decode
  before the first one;
* gdtrain again: the same, with what the run before has kept in its cache.

Times are from before the folder is read to the end of an epoch. It is no test:
on a busy machine they vary, and CPU time less so. Takes three minutes on two
cores.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras  # noqa: E402
import numpy as np  # noqa: E402
from PIL import Image  # noqa: E402

import gdtrain  # noqa: E402
from gdtrain.images import read_folder  # noqa: E402
from tests.benchmarks import machine, tables  # noqa: E402

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
        path = folder / "ab"[number % 2] / f"{number}.jpg"
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
    """What one way took.

    Returns:
        `(photos, seconds, cpu_seconds)`: how many there are, the seconds to
        the end of each epoch, and those of all cores together.
    """
    base = keras.Sequential if way == "keras" else gdtrain.Sequential
    model = network(base)
    clock, cpu = Clock(), time.process_time()
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
    return count, clock.seconds, time.process_time() - cpu


def measured(way, folder, epochs):
    """Photos a second in a fresh process.

    Returns:
        Those of the first epoch, of all, and of all by CPU time.
    """
    command = [sys.executable, "-m", "tests.benchmarks.photo_feeding"]
    command += [f"--way={way}", f"--folder={folder}", f"--epochs={epochs}"]
    environment = os.environ | {"XDG_CACHE_HOME": f"{folder}-cache"}
    done = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, check=True
    )
    count, seconds, cpu = json.loads(done.stdout.splitlines()[-1])
    photos = epochs * count
    return count / seconds[0], photos / seconds[-1], photos / cpu


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=int, default=2000)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.way:
        print(json.dumps(train(given.way, given.folder, given.epochs)))
        return
    with tempfile.TemporaryDirectory() as root:
        folder = pathlib.Path(root, "photos")
        draw(folder, given.photos)
        found = {way: measured(way, folder, given.epochs) for way in WAYS}
    columns = ["first epoch", "all epochs", "all, by CPU time"]
    title = f"photos a second, {given.epochs} epochs"
    rows = [[title, *columns, *("ratio" for _ in columns)]]
    for way, speeds in found.items():
        ratios = np.divide(speeds, found["keras"])
        cells = [f"{speed:,.0f}" for speed in speeds]
        rows.append([way, *cells, *(f"{ratio:.2f}" for ratio in ratios)])
    tables.print_table(rows)
    print(machine.summary(machine.describe()))


if __name__ == "__main__":
    main()

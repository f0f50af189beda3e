"""Whether `fit` trains as fast as its data come: `tf.data`, and a `PyDataset`.

    python -m tests.benchmarks.input_feeding [--processes 5]

In each fresh process, batches of photos are iterated alone, and a tiny model is
trained on them by gdtrain and by Keras. The table has the time of an epoch of
`fit` over that of the batches alone: the median over processes of the ratio of
medians, with the least and the most; and the share of time that gdtrain's steps
waited for their batches, by `input_wait`. It is no test: on a busy machine the
figures vary. Takes four minutes on two cores.
"""

import argparse
import io
import statistics
import time

import keras
import numpy as np
import tensorflow as tf
from PIL import Image

import gdtrain
from tests.benchmarks import machine, processes, tables
from tests.benchmarks.photo_feeding import Clock

SIZE = 128
BATCH = 32
BATCHES = 12  # Of an epoch
EPOCHS = 3


def photos():
    """JPEG files of noise in blurred colors, as bytes, and labels."""
    random = np.random.default_rng(0)
    files = []
    for _ in range(BATCH * BATCHES):
        colors = random.integers(0, 256, [12, 12, 3], dtype=np.uint8)
        photo = Image.fromarray(colors).resize([320, 240], Image.BICUBIC)
        file = io.BytesIO()
        photo.save(file, "JPEG", quality=90)
        files.append(file.getvalue())
    return files, random.integers(0, 2, len(files))


class Photos(keras.utils.PyDataset):
    """Batches of photos that Pillow decodes and NumPy mirrors."""

    def __init__(self):
        super().__init__()
        self._files, self._labels = photos()

    def __len__(self):
        return BATCHES

    def __getitem__(self, index):
        rows = slice(index * BATCH, (index + 1) * BATCH)
        decoded = [
            Image.open(io.BytesIO(file)).resize([SIZE, SIZE], Image.BILINEAR)
            for file in self._files[rows]
        ]
        pixels = np.stack(decoded).astype("float32") / 255
        return pixels[:, :, ::-1], self._labels[rows]


def pipeline():
    """Batches of photos that TensorFlow decodes and changes."""

    def decode(file, label):
        pixels = tf.image.resize(tf.io.decode_jpeg(file, 3), [SIZE, SIZE])
        pixels = tf.image.random_flip_left_right(pixels / 255)
        return tf.image.random_brightness(pixels, 0.2), label

    data = tf.data.Dataset.from_tensor_slices(photos()).shuffle(1000)
    data = data.map(decode, tf.data.AUTOTUNE)
    return data.batch(BATCH, drop_remainder=True).prefetch(tf.data.AUTOTUNE)


SOURCES = {"tf.data": pipeline, "PyDataset": Photos}
PEERS = {"gdtrain": gdtrain.Sequential, "Keras": keras.Sequential}


def alone(data):
    """Seconds of each epoch of batches that nobody trains on."""
    seconds = []
    for _ in range(EPOCHS):
        start = time.perf_counter()
        for _ in data:
            pass
        seconds.append(time.perf_counter() - start)
    return seconds


def train(base, data):
    """Trains a model whose steps take next to no time.

    Returns:
        Seconds of each epoch but the first, which compiles, and the share of
        them that was waited, by gdtrain.
    """
    layers = [keras.Input([SIZE, SIZE, 3])]
    layers += [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2)]
    model = base(layers)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss)
    callbacks = [Clock()]
    if base is gdtrain.Sequential:
        callbacks.append(gdtrain.callbacks.Telemetry(["input_wait"]))
    model.fit(
        data, shuffle=False, epochs=1 + EPOCHS, verbose=0, callbacks=callbacks
    )
    seconds = np.diff(callbacks[0].seconds).tolist()
    if len(callbacks) == 1:
        return seconds, None
    waited = callbacks[1]["input_wait"][BATCHES:].sum()
    return seconds, float(waited / sum(seconds))


def measure(source):
    """Of one source: `fit` over alone by name of the peer, and "waited"."""
    data = SOURCES[source]()
    alone(data)  # Warms up
    before = alone(data)
    ours, waited = train(PEERS["gdtrain"], data)
    between = alone(data)
    theirs, _ = train(PEERS["Keras"], data)
    after = alone(data)
    median = statistics.median
    return {
        "alone": median(before + between + after),
        "gdtrain": median(ours) / median(before + between),
        "Keras": median(theirs) / median(between + after),
        "waited": waited,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, default=5)
    options = parser.parse_args()
    print(machine.summary(machine.describe()))
    rows = [["", "ms a batch alone", "gdtrain", "Keras", "waited"]]
    for source in SOURCES:
        found = [
            processes.call("input_feeding.measure", source=source).value
            for _ in range(options.processes)
        ]
        of = {name: [one[name] for one in found] for name in found[0]}
        batch = statistics.median(of["alone"]) / BATCHES * 1e3
        ratios = [tables.spread(of[peer], "{:.3f}") for peer in PEERS]
        waited = f"{statistics.median(of['waited']):.0%}"
        rows.append([source, f"{batch:.1f}", *ratios, waited])
    tables.print_table(rows)


if __name__ == "__main__":
    main()

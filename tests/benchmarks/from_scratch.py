"""Digits and clothes from scratch, calibration, and a head on its own."""

import pathlib
import sys
import time

import keras
import numpy as np
from sklearn.datasets import load_digits

import gdtrain
from gdtrain import images

EXAMPLES = pathlib.Path(__file__).parents[2] / "examples"
layers = keras.layers


def learn(folder, data, seed, epochs=None):
    """Runs `examples/image_classifier.py`.

    Returns:
        The share of held-out images that are right; the expected calibration
        error, and that of answers that are right as often as they say.
    """
    sys.path.insert(0, str(EXAMPLES))
    import image_classifier as example

    argv = [f"--data={data}", f"--seed={seed}", f"--output={folder}"]
    argv += [f"--epochs={epochs}"] if epochs else []
    model, share = example.main(argv)
    *_, held_out, labels = example.DATA[data][0]()[0]
    probabilities = model.predict(held_out, verbose=0)
    return float(share), *calibration_errors(probabilities, labels)


def calibration_errors(probabilities, labels):
    """The expected calibration error, and how much of it chance explains.

    Few photos have an error above 0 even if each probability is true: the
    second number is the mean over labels that are drawn by the probabilities.
    """
    probabilities = np.asarray(probabilities, np.float64)
    random = np.random.default_rng(0)
    ends = np.cumsum(probabilities, axis=1)
    ends /= ends[:, -1:]
    true = [
        np.sum(random.uniform(size=[len(ends), 1]) > ends, axis=1)
        for _ in range(200)
    ]
    measure = images.expected_calibration_error
    by_chance = np.mean([measure(probabilities, drawn) for drawn in true])
    return measure(probabilities, labels), float(by_chance)


def digits_as_photos():
    """Digits as photos of 16 x 16 in color, uint8, and what they are."""
    photos, labels = load_digits(return_X_y=True)
    photos = np.kron(photos.reshape(-1, 8, 8), np.ones([1, 2, 2])) * 15.9
    return np.repeat(photos[..., np.newaxis], 3, 3).astype("uint8"), labels


def backbone_of_digits(photos, labels):
    """A network of four convolutions that has learned some digits."""
    inputs = keras.Input([16, 16, 3])
    x = layers.Rescaling(1 / 255)(inputs)
    for channels, strides in (16, 1), (32, 2), (64, 2), (128, 1):
        x = layers.Conv2D(channels, 3, strides, padding="same", use_bias=False)(
            x
        )
        x = layers.ReLU()(layers.BatchNormalization()(x))
    features = layers.GlobalAveragePooling2D()(x)
    model = gdtrain.Model(inputs, layers.Dense(5)(features))
    model.compile(
        keras.optimizers.Adam(3e-3),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    model.fit(photos, labels, epochs=10, batch_size=32, verbose=0)
    return keras.Model(inputs, features)


def fine_tuned_digits(seed):
    """Learns the digits 5 to 9 with a backbone that has learned 0 to 4.

    Returns:
        As `learn`.
    """
    keras.utils.set_random_seed(seed)
    photos, labels = digits_as_photos()
    known = labels < 5
    backbone = backbone_of_digits(photos[known], labels[known])
    others = images.from_arrays(
        photos[~known], labels[~known] - 5, held_out=0.5, seed=seed
    )
    model = images.fine_tune(
        others, backbone, seed=seed, augmentation=0, verbose=0
    )
    probabilities = model.predict(others.held_out.images, verbose=0)
    labels = others.held_out.labels
    share = float(np.mean(probabilities.argmax(axis=1) == labels))
    return share, *calibration_errors(probabilities, labels)


def head(photos=160, width=1280):
    """Seconds that `fit_head` takes, its program made as well."""
    random = np.random.default_rng(0)
    labels = np.arange(photos) % 2
    features = random.normal(size=[photos, width]) + 0.1 * labels[:, np.newaxis]
    start = time.perf_counter()
    images.fit_head(features.astype("float32"), labels, classes=2)
    return time.perf_counter() - start

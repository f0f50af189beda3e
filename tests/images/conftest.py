"""Digits as photos: a backbone of five of them, and the other five."""

import keras
import numpy as np
import pytest
from sklearn.datasets import load_digits

import gdtrain
from gdtrain.images.photos import LabelledImages, Photos

layers = keras.layers


def digits_as_photos():
    """All digits, uint8 `[1797, 16, 16, 3]`, and what they are."""
    images, labels = load_digits(return_X_y=True)
    images = np.kron(images.reshape(-1, 8, 8), np.ones([1, 2, 2]))
    photos = np.repeat(images[..., np.newaxis] * 15.9, 3, axis=3)
    return photos.astype(np.uint8), labels


@pytest.fixture(scope="session")
def backbone_of_digits(tmp_path_factory):
    """The file of a backbone that was trained on the digits 0 to 4."""
    keras.utils.set_random_seed(0)
    photos, labels = digits_as_photos()
    photos, labels = photos[labels < 5], labels[labels < 5]
    inputs = keras.Input([16, 16, 3])
    x = layers.Rescaling(1 / 255)(inputs)
    for number, (channels, strides) in enumerate(
        [(8, 1), (16, 2), (32, 2), (32, 1)], 1
    ):
        x = layers.Conv2D(
            channels,
            3,
            strides,
            padding="same",
            use_bias=False,
            name=f"block{number}_conv",
        )(x)
        x = layers.BatchNormalization(name=f"block{number}_bn")(x)
        x = layers.ReLU()(x)
    features = layers.GlobalAveragePooling2D()(x)
    model = gdtrain.Model(inputs, layers.Dense(5)(features))
    model.compile(
        keras.optimizers.Adam(3e-3),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=False,
    )
    model.fit(photos, labels, epochs=4, batch_size=32, verbose=0)
    path = tmp_path_factory.mktemp("backbone") / "digits.keras"
    keras.Model(inputs, features).save(path)
    return path


def other_digits_of():
    """The digits 5 to 9: 100 to learn from, 300 held out."""
    photos, labels = digits_as_photos()
    rows = np.flatnonzero(labels >= 5)
    np.random.default_rng(0).shuffle(rows)
    training, held_out = (
        LabelledImages(photos[part], labels[part] - 5, [])
        for part in (rows[:100], rows[100:400])
    )
    return Photos(list("56789"), training, held_out, [], "Digits.")


@pytest.fixture(scope="session")
def other_digits():
    """See `other_digits_of`."""
    return other_digits_of()

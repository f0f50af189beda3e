"""Memory maps that are larger than memory are trained on as they are."""

import keras
import numpy as np
import pytest

import gdtrain
from gdtrain.callbacks import BackupAndRestore
from gdtrain.data import choice

SHAPE = 512, 512, 3
PHOTOS = 2**20  # 768 GiB that take no room on the disk, and fit no memory


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    path = tmp_path_factory.mktemp("photos") / "photos"
    with open(path, "wb") as file:
        file.truncate(PHOTOS * int(np.prod(SHAPE)))
    return np.memmap(path, np.uint8, "r", 0, (PHOTOS, *SHAPE))


@pytest.fixture(autouse=True)
def little_memory(monkeypatch):
    monkeypatch.setattr(choice, "memory_limit", lambda: 2**20)


def network():
    model = gdtrain.Sequential(
        [
            keras.Input(SHAPE, dtype="uint8"),
            keras.layers.Rescaling(1 / 255),
            keras.layers.AveragePooling2D(256),
            keras.layers.Flatten(),
            keras.layers.Dropout(0.2),
            keras.layers.Dense(2),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss)
    return model


class Enough(Exception):
    """A few batches are enough."""


class Stop(keras.callbacks.Callback):
    """Ends training, evaluation or prediction after three batches."""

    def on_train_batch_end(self, batch, logs=None):
        if batch == 2:
            raise Enough

    on_test_batch_end = on_predict_batch_end = on_train_batch_end


@pytest.mark.mostly_long("fit", "in part", "predict")
@pytest.mark.parametrize(
    "way", ["fit", "class_weight", "split", "in part", "evaluate", "predict"]
)
def test_they_are_not_copied(photos, tmp_path, way):
    model, labels = network(), np.arange(PHOTOS) % 2
    arguments = {"batch_size": 16, "verbose": 0}
    model.fit(photos[:32], labels[:32], **arguments)
    arguments["callbacks"] = [Stop()]
    backup = BackupAndRestore(tmp_path, every_steps=1)
    ways = {
        "fit": lambda: model.fit(
            photos, labels, **arguments | {"callbacks": [backup, Stop()]}
        ),
        "class_weight": lambda: model.fit(
            photos, labels, class_weight={0: 1.0, 1: 2.0}, **arguments
        ),
        "split": lambda: model.fit(
            photos, labels, validation_split=0.2, **arguments
        ),
        "in part": lambda: model.fit(
            photos, labels, steps_per_epoch=3, **arguments
        ),
        "evaluate": lambda: model.evaluate(photos, labels, **arguments),
        "predict": lambda: model.predict(photos, **arguments),
    }
    with pytest.raises(Enough):  # And not a MemoryError
        ways[way]()


def test_training_on_one_resumes_exactly(tmp_path):
    random = np.random.default_rng(0)
    images = random.integers(0, 256, [12, *SHAPE], dtype=np.uint8)
    np.save(tmp_path / "images.npy", images)

    def weights(images, *callbacks):
        keras.utils.set_random_seed(0)
        model = network()
        model.fit(
            images,
            np.arange(12) % 2,
            batch_size=2,
            epochs=2,
            verbose=0,
            callbacks=list(callbacks),
        )
        return model.get_weights()

    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    backup = BackupAndRestore(tmp_path / "backup", every_steps=1)
    with pytest.raises(Enough):
        weights(mapped, backup, Stop())
    resumed = weights(mapped, backup)
    for one, other in zip(resumed, weights(images), strict=True):
        np.testing.assert_array_equal(one, other)

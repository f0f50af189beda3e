"""Photos are changed at random in training, and resume exactly."""

from contextlib import nullcontext

import keras
import numpy as np
import pytest
import tensorflow as tf

import gdtrain
from gdtrain.callbacks import BackupAndRestore
from gdtrain.data import choice
from gdtrain.images.augmentation import augmentation

PHOTOS = np.random.default_rng(0).integers(0, 256, [12, 16, 20, 3], "uint8")
LABELS = np.arange(12) % 2


def changed(photos, **arguments):
    (layer,) = augmentation(**arguments)
    return np.asarray(layer(photos, training=True))


def test_outside_training_nothing_changes():
    (layer,) = augmentation()
    photos = np.asarray(layer(PHOTOS))
    assert photos.dtype == np.float32
    np.testing.assert_array_equal(photos, PHOTOS)


def test_each_photo_is_changed_on_its_own_and_stays_in_range():
    same = np.repeat(PHOTOS[:1], 12, axis=0)
    found = changed(same)
    assert found.shape == same.shape
    assert found.min() >= 0 and found.max() <= 255
    assert len({photo.tobytes() for photo in found}) == 12


def test_half_of_the_photos_are_mirrored():
    ramp = np.broadcast_to(np.arange(20.0)[:, None], [400, 16, 20, 3])
    found = changed(ramp, seed=1)
    is_mirrored = found[:, 0, 0, 0] > found[:, 0, -1, 0]
    assert 0.4 < is_mirrored.mean() < 0.6


def test_up_to_a_quarter_of_height_and_width_is_cut_off():
    ramp = np.linspace(50.0, 150.0, 101)
    photos = np.broadcast_to(ramp[:, None, None], [400, 101, 4, 1])
    found = changed(photos, seed=1)[:, :, 0, 0]
    shares = np.ptp(found, axis=1) / 100
    assert 0.75 * 0.8 <= shares.min() < 0.65 and 1.1 < shares.max() <= 1.2


def test_almost_no_strength_only_mirrors():
    found = changed(PHOTOS, strength=1e-6)
    for photo, one in zip(PHOTOS, found, strict=True):
        mirrored = np.abs(one - photo[:, ::-1]).max()
        assert min(np.abs(one - photo).max(), mirrored) < 0.01


def test_no_strength_has_no_layers():
    assert augmentation(0) == []


def test_a_seed_repeats_the_changes():
    first, again = (changed(PHOTOS, seed=3) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, changed(PHOTOS, seed=4))


@pytest.mark.parametrize("strength", [-0.1, 3.1, float("nan")])
def test_other_strengths_are_refused(strength):
    with pytest.raises(ValueError, match="from 0, .* to 3. Received"):
        augmentation(strength)


def test_its_settings_are_saved_with_a_model(tmp_path):
    model = keras.Sequential([keras.Input([16, 20, 3]), *augmentation(0.5)])
    model.save(tmp_path / "model.keras")
    (layer,) = keras.saving.load_model(tmp_path / "model.keras").layers
    assert (layer.strength, layer.seed) == (0.5, None)


def test_mixed_precision_is_followed():
    (layer,) = augmentation()
    layer.dtype_policy = "mixed_float16"
    assert layer(PHOTOS, training=True).dtype == "float16"


def test_each_replica_draws_changes_of_its_own(two_replicas):
    expected = changed(PHOTOS, seed=3)
    with two_replicas.scope():
        (layer,) = augmentation(seed=3)

    @tf.function
    def run():
        return two_replicas.run(lambda: layer(PHOTOS, training=True))

    found = [
        photos.numpy()
        for _ in range(2)
        for photos in two_replicas.experimental_local_results(run())
    ]
    assert len({photos.tobytes() for photos in found}) == 4
    np.testing.assert_array_equal(found[0], expected)


class Stop(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if self.model.optimizer.iterations == 5:
            raise KeyboardInterrupt


def weights_after_fit(
    folder=None, callbacks=(), photos=PHOTOS, scope=nullcontext
):
    with scope():
        model = make_model()
    if folder is not None:
        callbacks = [BackupAndRestore(folder, save_freq=1), *callbacks]
    model.fit(
        photos,
        LABELS,
        batch_size=4,
        epochs=3,
        verbose=0,
        callbacks=list(callbacks),
    )
    return model.get_weights()


def make_model():
    model = gdtrain.Sequential(
        [
            keras.Input([16, 20, 3], dtype="uint8"),
            *augmentation(),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Conv2D(2, 3),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(2),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss)
    return model


@pytest.mark.mostly_long("two replicas")
@pytest.mark.parametrize("where", ["device", "disk", "two replicas"])
def test_training_resumes_exactly_within_an_epoch(
    tmp_path, where, monkeypatch, two_replicas
):
    on = two_replicas.scope if where == "two replicas" else nullcontext
    keras.utils.set_random_seed(1)
    whole = weights_after_fit(scope=on)
    photos = PHOTOS
    if where == "disk":
        monkeypatch.setattr(choice, "memory_limit", lambda: 0)
        np.save(tmp_path / "photos.npy", PHOTOS)
        photos = np.load(tmp_path / "photos.npy", mmap_mode="r")
    keras.utils.set_random_seed(1)
    with pytest.raises(KeyboardInterrupt):
        weights_after_fit(tmp_path, [Stop()], photos, on)
    keras.utils.set_random_seed(1)
    resumed = weights_after_fit(tmp_path, photos=photos, scope=on)
    for one, other in zip(whole, resumed, strict=True):
        np.testing.assert_array_equal(one, other)

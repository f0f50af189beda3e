"""A backbone that looks at the middle of a photo as well."""

import numpy as np
import pytest
import tensorflow as tf

from gdtrain.images import fine_tune, open_backbone, with_close_up
from tests.images import plain_keras
from tests.images.test_classifier import assert_exports_agree

PHOTOS = np.random.default_rng(0).integers(0, 256, [3, 16, 16, 3], np.uint8)


@pytest.fixture(scope="module")
def backbone(backbone_of_digits):
    return open_backbone(backbone_of_digits, size=16)


def test_features_are_those_of_the_photo_and_then_of_its_middle(backbone):
    photos = PHOTOS.astype(np.float32)
    middle = tf.image.resize(photos[:, 4:12, 4:12], [16, 16]).numpy()
    expected = [backbone.model.predict_on_batch(x) for x in (photos, middle)]
    found = with_close_up(backbone, share=0.5, mirror=False)
    np.testing.assert_allclose(
        found.model.predict_on_batch(photos),
        np.concatenate(expected, axis=1),
        rtol=1e-5,
        atol=1e-5,
    )
    assert found.trainable_blocks == []
    assert found.fingerprint != backbone.fingerprint
    assert found.fingerprint != with_close_up(backbone).fingerprint


def test_a_mirrored_photo_has_the_same_features(backbone):
    model = with_close_up(backbone).model
    np.testing.assert_allclose(
        model.predict_on_batch(PHOTOS[:, :, ::-1]),
        model.predict_on_batch(PHOTOS),
        rtol=1e-5,
        atol=1e-5,
    )


@pytest.mark.parametrize("share", [1.0, 1.5, 0.01, 0.99])
def test_a_share_that_is_no_part_of_the_photo_is_refused(backbone, share):
    with pytest.raises(ValueError, match=r"`share` must be .* 16 x 16 pixels"):
        with_close_up(backbone, share=share)


@pytest.fixture(scope="module")
def tuned(backbone, other_digits):
    """The head of the photo alone, and that with a close-up."""
    return [
        fine_tune(other_digits, given, unfreeze=unfreeze, verbose=0)
        for given, unfreeze in (
            (backbone, False),
            (with_close_up(backbone, mirror=False), True),
        )
    ]


def test_other_digits_are_told_apart_better_with_it(tuned, other_digits):
    images, labels = other_digits.held_out.images, other_digits.held_out.labels
    answers = (model.predict(images, verbose=0).argmax(1) for model in tuned)
    alone, closer = (np.mean(found == labels) for found in answers)
    assert closer > alone + 0.02
    assert tuned[1].fine_tuning.tuned_accuracy is None


@pytest.mark.long
def test_plain_keras_and_exports_agree(tuned, other_digits, tmp_path):
    model, photos = tuned[1], other_digits.held_out.images[:8]
    plain_keras.assert_predicts_the_same(model, photos, tmp_path)
    model.export_saved_model(tmp_path / "saved")
    model.export_tflite(tmp_path / "model.tflite")
    assert_exports_agree(model, photos, tmp_path)

"""Each model of `keras.applications` gets the photos that it requires."""

import importlib

import keras
import numpy as np
import pytest

from gdtrain.images.backbones import (
    NAMES,
    correct_variance,
    open_backbone,
    preprocess,
)

PHOTOS = np.random.default_rng(0).integers(0, 256, [2, 5, 7, 3], np.uint8)
MEAN = np.array([0.485, 0.456, 0.406])  # Of ImageNet
DEVIATION = np.array([0.229, 0.224, 0.225])
#: Of each family, a small model and the least size of a photo that it takes
FAMILIES = {
    "ConvNeXtTiny": 32,
    "DenseNet121": 32,
    "EfficientNetB0": 32,
    "EfficientNetV2B0": 32,
    "InceptionResNetV2": 75,
    "InceptionV3": 75,
    "MobileNet": 32,
    "MobileNetV2": 32,
    "MobileNetV3Small": 32,
    "NASNetMobile": 32,
    "ResNet50": 32,
    "ResNet50V2": 32,
    "VGG16": 32,
    "VGG19": 32,
    "Xception": 71,
}


def module_of(name):
    """The module of a model of `keras.applications`, that of its family."""
    return importlib.import_module(getattr(keras.applications, name).__module__)


def preprocessing_model(name):
    photos = keras.Input(PHOTOS.shape[1:])
    return keras.Model(photos, preprocess(name, photos))


def test_the_names_are_all_models_of_keras_applications():
    found = [name for name in dir(keras.applications) if name[0].isupper()]
    assert len(found) > 30
    assert sorted(found) == list(NAMES)


def test_a_model_of_each_family_is_tested():
    families = {module_of(name) for name in NAMES}
    assert {module_of(name) for name in FAMILIES} == families


@pytest.mark.parametrize("name", NAMES)
def test_photos_are_those_of_the_familys_own_preprocess_input(name):
    expected = module_of(name).preprocess_input(PHOTOS.astype("float32"))
    actual = preprocessing_model(name).predict_on_batch(PHOTOS)
    # Rounding of float32: an ulp of 255 is 2e-5.
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("name", ["MobileNetV2", "DenseNet121", "VGG16"])
def test_a_saved_preprocessing_loads_without_gdtrain(name, tmp_path):
    model = preprocessing_model(name)
    assert model.weights == []
    model.save(tmp_path / "photos.keras")
    loaded = keras.saving.load_model(tmp_path / "photos.keras")
    np.testing.assert_array_equal(
        loaded.predict_on_batch(PHOTOS), model.predict_on_batch(PHOTOS)
    )


def test_preprocessing_computes_in_float32_under_mixed_precision():
    expected = preprocessing_model("DenseNet121").predict_on_batch(PHOTOS)
    keras.config.set_dtype_policy("mixed_float16")
    try:
        actual = preprocessing_model("DenseNet121").predict_on_batch(PHOTOS)
    finally:
        keras.config.set_dtype_policy("float32")
    np.testing.assert_array_equal(actual, expected)


@pytest.mark.long
@pytest.mark.parametrize("name", FAMILIES)
def test_features_are_those_of_the_application_on_its_own_photos(
    name, tmp_path
):
    size = FAMILIES[name]
    photos = np.random.default_rng(0).integers(0, 256, [2, size, size, 3])
    network = getattr(keras.applications, name)(
        include_top=False,
        weights=None,
        input_shape=(size, size, 3),
        pooling="avg",
    )
    network.save_weights(tmp_path / "own.weights.h5")
    backbone = open_backbone(
        name, size=size, weights=tmp_path / "own.weights.h5"
    )
    own = module_of(name).preprocess_input(photos.astype("float32"))
    expected = network.predict_on_batch(own)
    actual = backbone.model.predict_on_batch(photos.astype("uint8"))
    assert expected.std() > 0
    # Float32 through hundreds of layers
    np.testing.assert_allclose(
        actual, expected, rtol=1e-3, atol=1e-4 * abs(expected).max()
    )
    backbone.model.save(tmp_path / "backbone.keras")
    loaded = keras.saving.load_model(tmp_path / "backbone.keras")
    np.testing.assert_allclose(
        loaded.predict_on_batch(photos.astype("uint8")), actual, rtol=1e-5
    )
    assert len(backbone.trainable_blocks) > 2


@pytest.mark.long
# NASNet takes ImageNet weights for photos of one size only.
@pytest.mark.parametrize("name", [n for n in FAMILIES if n != "NASNetMobile"])
def test_imagenet_weights_are_the_same_by_download_and_by_path(
    name, tmp_path, monkeypatch
):
    """The file is made here, with what the real ones have in Normalization."""
    size, path = FAMILIES[name], tmp_path / "imagenet.h5"
    network = getattr(keras.applications, name)(
        include_top=False, weights=None, input_shape=(size, size, 3)
    )
    for layer in network.layers:
        if isinstance(layer, keras.layers.Normalization) and layer.weights:
            layer.set_weights([MEAN, DEVIATION, np.array(0)])
    network.save(path)  # In the older format, as the files of Keras are
    monkeypatch.setattr(
        "keras.src.utils.file_utils.get_file", lambda *a, **k: str(path)
    )
    by_name = open_backbone(name, size=size).model
    by_path = open_backbone(name, size=size, weights=path).model
    photos = np.random.default_rng(0).integers(0, 256, [2, size, size, 3])
    np.testing.assert_allclose(
        by_path.predict_on_batch(photos.astype("uint8")),
        by_name.predict_on_batch(photos.astype("uint8")),
        rtol=1e-3,
        atol=1e-6,
    )


@pytest.mark.parametrize("variance", [DEVIATION, DEVIATION**2])
def test_the_variance_of_imagenet_is_corrected_where_it_is_not_one(variance):
    normalization = keras.layers.Normalization()
    model = keras.Sequential([keras.Input((5, 7, 3)), normalization])
    normalization.set_weights([MEAN, variance, np.array(0)])
    normalization.finalize_state()
    correct_variance(model)
    np.testing.assert_allclose(
        model.predict_on_batch(PHOTOS / 255),
        (PHOTOS / 255 - MEAN) / DEVIATION,
        rtol=1e-4,
        atol=1e-5,
    )

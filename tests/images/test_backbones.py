"""A backbone by name, as a model, and from a file."""

import sys
import types

import keras
import numpy as np
import pytest
from keras import layers

from gdtrain.common.explained import without_more
from gdtrain.images import PhotoClassifier, open_backbone

PHOTOS = np.random.default_rng(0).integers(0, 256, [2, 16, 16, 3], np.uint8)


def body(channels=3, size=16):
    """A network without a head, and its input."""
    photos = keras.Input((size, size, channels))
    x = layers.Rescaling(1 / 255)(photos)
    for number, filters in enumerate((4, 8), start=1):
        x = layers.Conv2D(filters, 3, strides=2, name=f"block{number}_conv")(x)
        x = layers.BatchNormalization(name=f"block{number}_bn")(x)
        x = layers.ReLU()(x)
    return photos, x


def squeeze_and_excitation(x):
    weights = layers.GlobalAveragePooling2D(keepdims=True)(x)
    weights = layers.Conv2D(x.shape[-1], 1, activation="sigmoid")(weights)
    return layers.Multiply()([x, weights])


def classifier(**arguments):
    photos, x = body(**arguments)
    x = layers.GlobalMaxPooling2D(name="pooling")(squeeze_and_excitation(x))
    x = layers.Dropout(0.5)(layers.Dense(5, activation="relu")(x))
    return keras.Model(photos, layers.Dense(3, activation="softmax")(x))


def test_backbone_ends_at_the_last_global_pooling():
    model = classifier()
    pooling = keras.Model(model.inputs, model.get_layer("pooling").output)
    backbone = open_backbone(model, size=16)
    np.testing.assert_array_equal(
        backbone.model.predict_on_batch(PHOTOS),
        pooling.predict_on_batch(PHOTOS),
    )


@pytest.mark.parametrize("block", [lambda x: x, squeeze_and_excitation])
def test_feature_map_is_averaged(block):
    photos, x = body()
    model = keras.Model(photos, block(x))
    expected = model.predict_on_batch(PHOTOS).mean((1, 2))
    actual = open_backbone(model, size=16).model.predict_on_batch(PHOTOS)
    # Sums of float32 in another order
    np.testing.assert_allclose(actual, expected, rtol=1e-6)


@pytest.mark.parametrize(
    "head",
    [
        lambda x: layers.Dense(3)(layers.Flatten()(x)),
        lambda x: keras.ops.mean(x, axis=(1, 2)),
        lambda x: layers.GlobalAveragePooling2D()(x),
        lambda x: layers.Flatten()(
            layers.Conv2D(3, 1)(layers.GlobalAveragePooling2D(keepdims=True)(x))
        ),
        lambda x: layers.GlobalAveragePooling1D()(layers.Reshape([-1, 8])(x)),
        lambda x: layers.Reshape([-1, 8])(x),
    ],
    ids=["flatten", "mean", "pooling", "kept dimensions", "tokens", "sequence"],
)
def test_features_are_means_over_positions_under_each_kind_of_head(head):
    photos, x = body()
    expected = keras.Model(photos, x).predict_on_batch(PHOTOS).mean((1, 2))
    backbone = open_backbone(keras.Model(photos, head(x)), size=16)
    np.testing.assert_allclose(
        backbone.model.predict_on_batch(PHOTOS), expected, rtol=1e-6
    )


def test_poolings_that_are_joined_are_features():
    photos, x = body()
    pooled = [
        layers.GlobalAveragePooling2D()(x),
        layers.GlobalMaxPooling2D()(x),
    ]
    joined = layers.Concatenate()(pooled)
    model = keras.Model(photos, layers.Dense(3)(joined))
    assert open_backbone(model, size=16).model.output.shape == (None, 16)


def test_sequential_with_a_model_with_a_head_within():
    model = keras.Sequential(
        [keras.Input((16, 16, 3)), layers.Rescaling(1.0), classifier()]
    )
    backbone = open_backbone(model, size=16)
    assert backbone.model.output.shape == (None, 8)
    names = [[layer.name for layer in b] for b in backbone.trainable_blocks]
    assert ["block1_conv", "block1_bn"] in names


def test_models_within_a_model_become_layers_of_one():
    first, second = (keras.Model(*body(size=None)) for _ in range(2))
    photos = keras.Input((64, 64, 3))
    x = first(photos, training=False)
    x = layers.Conv2D(3, 1)(x)
    model = keras.Model(photos, second(x))
    model.set_weights([w + 0.01 for w in model.get_weights()])
    backbone = open_backbone(model, size=64)
    assert not any(
        isinstance(layer, keras.Model) for layer in backbone.model.layers
    )
    photos = np.random.default_rng(0).integers(0, 256, [2, 64, 64, 3], np.uint8)
    np.testing.assert_allclose(
        backbone.model.predict_on_batch(photos),
        model.predict_on_batch(photos).mean((1, 2)),
        rtol=1e-5,
        atol=1e-6,
    )


def test_a_layer_that_is_called_twice_stays_one_layer():
    photos = keras.Input((16, 16, 3))
    shared = layers.Conv2D(3, 3, padding="same")
    model = keras.Model(photos, shared(shared(photos)))
    backbone = open_backbone(model, size=16)
    assert len(backbone.model.weights) == 2
    np.testing.assert_allclose(
        backbone.model.predict_on_batch(PHOTOS),
        model.predict_on_batch(PHOTOS).mean((1, 2)),
        rtol=1e-4,
        atol=1e-3,
    )


def test_grey_photos_are_taken():
    backbone = open_backbone(classifier(channels=1), size=16)
    assert backbone.model.input.shape == (None, 16, 16, 1)


def test_a_model_of_any_size_is_made_for_the_size_of_the_photos():
    backbone = open_backbone(classifier(size=None), size=(16, 24))
    assert backbone.model.input.shape == (None, 16, 24, 3)


def test_a_model_that_is_given_is_left_as_it_is():
    model = classifier()
    before = model.get_weights()
    backbone = open_backbone(model, size=16)
    for variable in backbone.model.weights:
        variable.assign(variable + 1)
    assert all(layer.trainable for layer in model.layers)
    for variable, own in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), own)


def test_normalization_that_was_adapted_computes_with_its_own_numbers():
    normalization = layers.Normalization()
    normalization.adapt(PHOTOS.astype("float32"))
    inner = keras.Sequential([keras.Input((16, 16, 3)), normalization])
    photos = keras.Input((16, 16, 3))
    model = keras.Model(photos, layers.Conv2D(4, 3)(inner(photos)))
    expected = model.predict_on_batch(PHOTOS).mean((1, 2))
    actual = open_backbone(model, size=16).model.predict_on_batch(PHOTOS)
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-6)


def test_all_is_frozen_and_a_block_can_be_trained():
    backbone = open_backbone(classifier(), size=16)
    assert backbone.model.trainable_weights == []
    names = [[layer.name for layer in b] for b in backbone.trainable_blocks]
    assert names[-2:] == [
        ["block2_conv", "block2_bn"],
        ["block1_conv", "block1_bn"],
    ]
    for layer in backbone.trainable_blocks[-2]:
        layer.trainable = True
    assert len(backbone.model.trainable_weights) == 4


def test_a_frozen_model_has_the_same_blocks():
    model = classifier()
    count = len(open_backbone(model, size=16).trainable_blocks)
    model.trainable = False
    assert len(open_backbone(model, size=16).trainable_blocks) == count > 2


def test_blocks_without_names_are_stages_of_one_height_and_width():
    model = keras.Sequential(
        [
            keras.Input((16, 16, 3)),
            layers.Conv2D(4, 3, padding="same"),
            layers.BatchNormalization(),
            layers.Conv2D(4, 3, padding="same", strides=2),
            layers.Conv2D(8, 3, padding="same"),
            layers.GlobalAveragePooling2D(),
        ]
    )
    blocks = open_backbone(model, size=16).trainable_blocks
    assert [len(block) for block in blocks] == [2, 2]
    assert isinstance(blocks[-1][1], layers.BatchNormalization)


def test_a_layer_after_pooling_belongs_to_the_block_before_it():
    photos, x = body()
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Concatenate()([x, x])
    x = layers.LayerNormalization(name="top")(x)
    x = layers.Concatenate()([x, x])
    backbone = open_backbone(keras.Model(photos, x), size=16)
    assert [[layer.name for layer in b] for b in backbone.trainable_blocks] == [
        ["block2_conv", "block2_bn", "top"],
        ["block1_conv", "block1_bn"],
    ]


def test_blocks_of_one_resolution_differ_by_channels():
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(4, 3, padding="same"),
            layers.Conv2D(8, 3, padding="same"),
            layers.GlobalAveragePooling2D(),
        ]
    )
    blocks = open_backbone(model, size=8).trainable_blocks
    assert [block[0].filters for block in blocks] == [8, 4]


def test_fingerprint_is_of_architecture_size_and_weights_alone():
    model = classifier(size=None)
    fingerprint = open_backbone(model, size=16).fingerprint
    keras.layers.Dense(1), keras.layers.ReLU()  # Others get other names.
    again = keras.models.clone_model(model)
    again.set_weights(model.get_weights())
    assert open_backbone(again, size=16).fingerprint == fingerprint
    assert open_backbone(model, size=20).fingerprint != fingerprint
    kernel = again.get_layer("block2_conv").kernel
    kernel.assign(kernel * 1.001)
    assert open_backbone(again, size=16).fingerprint != fingerprint


def test_a_file_of_a_model_is_the_model(tmp_path):
    model = classifier()
    model.save(tmp_path / "model.keras")
    opened = open_backbone(tmp_path / "model.keras", size=16)
    assert opened.fingerprint == open_backbone(model, size=16).fingerprint


def test_names_of_layers_in_a_file_do_not_collide_with_new_ones(tmp_path):
    photos, x = body()
    x = layers.ReLU(name="features")(squeeze_and_excitation(x))
    model = keras.Model(photos, x)
    model.save(tmp_path / "model.keras")
    keras.backend.clear_session()  # As in a new process
    backbone = open_backbone(tmp_path / "model.keras", size=16)
    assert backbone.model.output.shape == (None, 8)


def test_weights_by_path_for_a_model_and_a_file(tmp_path):
    trained, other = classifier(), classifier()
    trained.save_weights(tmp_path / "own.weights.h5")
    other.save(tmp_path / "other.keras")
    expected = open_backbone(trained, size=16).fingerprint
    for source in (other, tmp_path / "other.keras"):
        opened = open_backbone(
            source, size=16, weights=tmp_path / "own.weights.h5"
        )
        assert opened.fingerprint == expected


class Subclass(keras.Model):
    def __init__(self, convolution):
        super().__init__()
        self.convolution = convolution

    def call(self, photos):
        return self.convolution(photos / 255)


def test_a_subclass_is_used_as_it_is():
    model = Subclass(layers.Conv2D(4, 3))
    backbone = open_backbone(model, size=16)
    assert backbone.model.output.shape == (None, 4)
    (block,) = backbone.trainable_blocks
    assert block == [model.convolution]
    fingerprint = open_backbone(model, size=16).fingerprint
    assert fingerprint == backbone.fingerprint


def test_a_saved_backbone_loads_without_gdtrain(tmp_path):
    backbone = open_backbone(classifier(), size=16)
    backbone.model.save(tmp_path / "backbone.keras")
    loaded = keras.saving.load_model(tmp_path / "backbone.keras")
    assert type(loaded) is type(keras.Model(loaded.inputs, loaded.outputs))
    np.testing.assert_array_equal(
        loaded.predict_on_batch(PHOTOS), backbone.model.predict_on_batch(PHOTOS)
    )


def pooled_classifier():
    """A `PhotoClassifier`, and its backbone."""
    backbone = open_backbone(classifier(), size=16)
    kernel, bias = np.ones([8, 2]), np.zeros(2)
    return backbone, PhotoClassifier.from_parts(
        backbone.model, kernel, bias, ["a", "b"], size=16
    )


def test_a_photo_classifier_gives_its_own_features(tmp_path):
    backbone, model = pooled_classifier()
    model.save(tmp_path / "model.keras")
    for source in model, tmp_path / "model.keras":
        opened = open_backbone(source, size=16)
        np.testing.assert_array_equal(
            opened.model.predict_on_batch(PHOTOS),
            backbone.model.predict_on_batch(PHOTOS),
        )
        assert len(opened.trainable_blocks) == len(backbone.trainable_blocks)


@pytest.mark.parametrize("policy", ["float16", "mixed_float16"])
def test_the_dtype_policy_of_a_model_is_kept(policy):
    keras.config.set_dtype_policy(policy)
    try:
        model = classifier()
    finally:
        keras.config.set_dtype_policy("float32")
    backbone = open_backbone(model, size=16)
    found = backbone.model.predict_on_batch(PHOTOS)
    assert found.dtype == np.float16 and np.isfinite(found).all()


def test_an_hdf5_file_of_a_model_is_the_model(tmp_path):
    model = classifier()
    model.save(tmp_path / "model.h5")
    opened = open_backbone(tmp_path / "model.h5", size=16)
    assert opened.fingerprint == open_backbone(model, size=16).fingerprint


def test_random_weights_of_a_name_are_said():
    with pytest.warns(UserWarning, match="has random weights: its features"):
        backbone = open_backbone("MobileNetV3Small", size=32, weights=None)
    assert backbone.model.output.shape == (None, 576)


def channels_first(pooled):
    photos = keras.Input((16, 16, 3))
    x = layers.Permute([3, 1, 2])(photos)
    x = layers.Conv2D(4, 3, data_format="channels_first")(x)
    pooling = layers.GlobalAveragePooling2D(data_format="channels_first")
    return keras.Model(photos, pooling(x) if pooled else x)


def test_channels_first_within_a_model_needs_its_own_pooling():
    backbone = open_backbone(channels_first(pooled=True), size=16)
    assert backbone.model.output.shape == (None, 4)
    said = message(channels_first(pooled=False))
    assert "data_format='channels_first'" in said


def message(backbone, error=ValueError, **arguments):
    """What is said of a backbone that cannot be opened, before the page."""
    with pytest.raises(error) as raised:
        open_backbone(backbone, **{"size": 16, **arguments})
    said, _ = without_more(str(raised.value))
    assert "\n" not in said
    return said


def test_an_unknown_name_is_refused_with_names_near_it():
    assert "MobileNetV3Large" in message("mobilnet_v3_large")


def test_a_download_that_fails_is_explained(monkeypatch):
    def fail(**arguments):
        raise Exception(
            "URL fetch failure on https://example.com/weights.h5: None -- "
            "[Errno -2] Name or service not known"
        )

    monkeypatch.setattr(keras.applications, "VGG16", fail)
    said = message("VGG16", size=32)
    assert said.startswith("No ImageNet weights for VGG16: URL fetch failure")
    assert "download that file elsewhere, and give it as `weights=PATH`" in said


@pytest.mark.parametrize("weights", [None, "imagenet"])
def test_a_size_that_an_application_does_not_take_is_refused(weights):
    said = message("InceptionV3", size=32, weights=weights)
    assert "does not take photos of 32 x 32" in said and "75x75" in said


def test_a_size_that_a_model_does_not_take_is_refused():
    said = message(classifier(), size=20)
    assert "does not take photos of 20 x 20 pixels: it takes 16 x 16" in said
    assert "does not take photos of 2 x 2" in message(
        classifier(size=None), size=2
    )


def test_weights_that_cannot_be_read_are_refused(tmp_path):
    missing = tmp_path / "missing.weights.h5"
    assert str(missing) in message("VGG16", size=32, weights=missing)
    assert "there is no such file" in message(
        "VGG16", size=32, weights="imagnet"
    )
    assert "`weights` must be" in message(
        "VGG16", error=TypeError, size=32, weights=True
    )
    other = keras.Sequential([keras.Input([2]), layers.Dense(1)])
    other.save_weights(tmp_path / "other.weights.h5")
    assert "without a classification head" in message(
        "VGG16", size=32, weights=tmp_path / "other.weights.h5"
    )


def test_a_file_that_is_no_model_is_refused(tmp_path):
    path = tmp_path / "text.keras"
    assert f"Cannot read the backbone {path}: there is no such" in message(path)
    path.write_text("text")
    assert f"Cannot read the backbone {path}: it is damaged" in message(path)
    path = tmp_path / "model.keras"
    classifier().save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert f"{path}: it is damaged, or no file of Keras's" in message(path)
    classifier().save_weights(tmp_path / "model.weights.h5")
    assert "Cannot read the backbone" in message(tmp_path / "model.weights.h5")


def test_a_folder_is_refused(tmp_path):
    classifier().export(tmp_path / "saved", verbose=False)
    said = message(tmp_path / "saved")
    assert f"The folder {tmp_path / 'saved'} is no backbone" in said
    assert ".keras file" in said


def test_a_model_of_no_pictures_is_refused():
    dense = keras.Sequential([keras.Input([2]), layers.Dense(1)])
    assert "not a model of pictures" in message(dense)
    a, b = keras.Input((16, 16, 3)), keras.Input((16, 16, 3))
    assert "not a model of pictures" in message(keras.Model([a, b], a + b))
    first = keras.Sequential([keras.Input((3, 16, 16)), layers.Flatten()])
    assert "not a model of pictures" in message(first)
    photos, x = body()
    two = keras.Model(photos, [x, layers.Flatten()(x)])
    assert "not a model of pictures" in message(two)
    unbuilt = keras.Sequential([layers.Dense(1), layers.Conv3D(1, 2)])
    assert "not a model of pictures" in message(unbuilt)


def test_a_model_without_features_is_refused():
    model = keras.Sequential(
        [keras.Input((16, 16, 3)), layers.Flatten(), layers.Dense(3)]
    )
    assert "has no features" in message(model)


@pytest.mark.parametrize("size", [0, (16, -1), (16, 2.5), (16, 16, 3)])
def test_a_size_that_is_no_number_of_pixels_is_refused(size):
    error = TypeError if size == (16, 2.5) else ValueError
    assert "`size`" in message(classifier(), error=error, size=size)


@pytest.mark.parametrize("backbone", [3, None, layers.Dense])
def test_another_kind_of_backbone_is_refused(backbone):
    assert "`backbone` must be" in message(backbone, error=TypeError)


@pytest.fixture
def keras_hub(monkeypatch):
    """A stand-in with the interface of KerasHub that is used."""

    class Backbone:
        presets = {"resnet_50_imagenet": {}}

        @staticmethod
        def from_preset(name, load_weights):
            return keras.Model(*body(size=None))

    class ImageConverter:
        @staticmethod
        def from_preset(name):
            return types.SimpleNamespace(scale=[2.0, 2.0, 2.0], offset=-1.0)

    hub = types.ModuleType("keras_hub")
    hub.__spec__ = types.SimpleNamespace(name="keras_hub")
    hub.models = types.SimpleNamespace(Backbone=Backbone)
    hub.layers = types.SimpleNamespace(ImageConverter=ImageConverter)
    monkeypatch.setitem(sys.modules, "keras_hub", hub)
    return hub


def test_a_preset_of_keras_hub_is_scaled_as_its_converter_says(keras_hub):
    network = keras.Model(*body(size=None))
    keras_hub.models.Backbone.from_preset = lambda name, load_weights: network
    opened = open_backbone("resnet_50_imagenet", size=16)
    photos = 2 * PHOTOS.astype("float32") - 1
    np.testing.assert_allclose(
        opened.model.predict_on_batch(PHOTOS),
        network.predict_on_batch(photos).mean((1, 2)),
        rtol=1e-5,
    )
    assert opened.model.trainable_weights == []
    assert len(opened.trainable_blocks) == 2


def test_names_near_it_are_presets_too(keras_hub):
    assert "resnet_50_imagenet" in message("resnet_50_imagenett")


def test_a_preset_that_cannot_be_opened_is_refused(keras_hub):
    def fail(name, load_weights):
        raise OSError("no network\nand more")

    keras_hub.models.Backbone.from_preset = fail
    assert "cannot be opened: no network" in message("resnet_50_imagenet")


def test_a_preset_folder_of_the_real_keras_hub(tmp_path):
    hub = pytest.importorskip("keras_hub")
    network = hub.models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[3],
        stackwise_num_filters=[64, 64],
        stackwise_num_blocks=[1, 1],
        stackwise_num_strides=[1, 2],
        block_type="basic_block",
        image_shape=(None, None, 3),
    )
    converter = hub.layers.ResNetImageConverter(
        image_size=(16, 16), scale=[0.1, 0.2, 0.3], offset=[1.0, 2.0, 3.0]
    )
    network.save_to_preset(str(tmp_path))
    converter.save_to_preset(str(tmp_path))
    opened = open_backbone(tmp_path, size=16)
    np.testing.assert_allclose(
        opened.model.predict_on_batch(PHOTOS),
        network.predict(converter(PHOTOS), verbose=0).mean((1, 2)),
        rtol=1e-4,
    )
    assert len(opened.trainable_blocks) == 3
    opened.model.save(tmp_path / "backbone.keras")


def test_an_opened_backbone_is_returned_if_it_takes_such_photos():
    backbone = open_backbone("MobileNetV3Small", size=32, weights=None)
    assert open_backbone(backbone, size=32) is backbone
    with pytest.raises(ValueError, match="it takes 32 x 32"):
        open_backbone(backbone, size=64)

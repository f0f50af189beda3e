"""Backbones: networks that turn photos into features."""

import dataclasses
import difflib
import importlib
import importlib.util
import os
import pathlib
import warnings
import zipfile
from collections.abc import Iterable

import keras
import numpy as np

from gdtrain.common import checks
from gdtrain.common.explained import more
from gdtrain.images import features
from gdtrain.images.features import first_line, not_of_size
from gdtrain.keras_bridge import layers

ENDINGS = (".keras", ".h5", ".hdf5")  # Of files with a whole model

#: From 0..255 to -1..1
_FROM_MINUS_1_TO_1 = (
    "InceptionResNetV2",
    "InceptionV3",
    "MobileNet",
    "MobileNetV2",
    "NASNetLarge",
    "NASNetMobile",
    "ResNet50V2",
    "ResNet101V2",
    "ResNet152V2",
    "Xception",
)
#: Less the mean of ImageNet, over its standard deviation, by channel
_STANDARDIZED = ("DenseNet121", "DenseNet169", "DenseNet201")
#: Blue, green, red, less the mean of ImageNet by channel
_CENTERED_BGR = ("ResNet50", "ResNet101", "ResNet152", "VGG16", "VGG19")
#: Nothing: the model itself takes 0..255
_WITHIN_THE_MODEL = (
    *(f"ConvNeXt{size}" for size in ("Tiny", "Small", "Base", "Large")),
    "ConvNeXtXLarge",
    *(f"EfficientNetB{depth}" for depth in range(8)),
    *(f"EfficientNetV2{size}" for size in ("B0", "B1", "B2", "B3")),
    *(f"EfficientNetV2{size}" for size in ("S", "M", "L")),
    "MobileNetV3Large",
    "MobileNetV3Small",
)
#: All models of `keras.applications`
NAMES = tuple(
    sorted(
        _FROM_MINUS_1_TO_1 + _STANDARDIZED + _CENTERED_BGR + _WITHIN_THE_MODEL
    )
)
_MEAN = (0.485, 0.456, 0.406)  # Of red, green and blue in ImageNet, from 0 to 1
_DEVIATION = (0.229, 0.224, 0.225)
_MEAN_BGR = (103.939, 116.779, 123.68)  # From 0 to 255


@dataclasses.dataclass(frozen=True)
class Backbone:
    """A network that turns photos into features, all of it frozen.

    Args:
        name: What it is, for a person to read.
        model: Photos 0..255 `[n, height, width, 3]`, uint8 or float, to
            features `[n, d]`, with its preprocessing within, of standard
            Keras layers where the network is.
        trainable_blocks: Its layers with weights in groups, from the top
            down: the first is next to the features. `layer.trainable = True`
            is all it takes to train one.
        fingerprint: Differs where architecture or weights do.

    Example:

    >>> network = keras.Sequential([
    ...     keras.Input((8, 8, 3)),
    ...     keras.layers.Conv2D(4, 3, name="edges"),
    ...     keras.layers.GlobalAveragePooling2D(),
    ... ])
    >>> [top, *_] = open_backbone(network, size=8).trainable_blocks
    >>> [layer.name for layer in top]
    ['edges']
    """

    name: str
    model: keras.Model
    trainable_blocks: list[list[keras.layers.Layer]]
    fingerprint: str


def open_backbone(
    backbone: str | os.PathLike | keras.Model | Backbone,
    *,
    size: int | tuple[int, int] = 224,
    weights: str | os.PathLike | None = "imagenet",
) -> Backbone:
    """Opens a network that turns photos into features.

    A classification head is left off: the features are those of the last
    global pooling, or the mean of the last feature map over its positions.

    Args:
        backbone: One of:

            - a name in `keras.applications`, such as `"MobileNetV3Large"`;
              the preprocessing that it requires is added;
            - a `keras.Model` that takes photos 0..255, so one with its
              preprocessing within, such as a `Rescaling` layer; it is copied,
              unless it is a subclass with its own `call`, which is used as it
              is. Grey photos `[n, height, width, 1]` are taken too;
            - the path of a file that such a model was saved to, `.keras` or
              `.h5`;
            - where KerasHub is installed, one of its presets, such as
              `"resnet_50_imagenet"`, with its scaling;
            - a `Backbone` of photos of this size, which is returned.
        size: Height and width of the photos in pixels, or one number for
            both. Defaults to 224.
        weights: `"imagenet"`, which Keras downloads if they are not in its
            cache; the path of a file of weights, without those of a head for
            a name; or None: random ones for a name. Models and files keep
            those that they have, unless it is a path.

    Returns:
        `Backbone`.

    Raises:
        TypeError: if `backbone` is of another kind.
        ValueError: if there is no such backbone, its weights cannot be had,
            it does not take photos of this size, or it has no features.

    Warns:
        UserWarning: if a name gets random weights.

    Example:

    >>> network = keras.Sequential([
    ...     keras.Input((32, 32, 3)),
    ...     keras.layers.Rescaling(1 / 255),
    ...     keras.layers.Conv2D(16, 3),
    ... ])
    >>> open_backbone(network, size=32).model.output.shape
    (None, 16)
    """
    shape = checks.height_and_width("size", size)
    if not isinstance(weights, str | os.PathLike | None):
        raise TypeError(
            '`weights` must be "imagenet", the path of a file, or None. '
            f"Received: weights={weights!r}."
        )
    if isinstance(backbone, Backbone):
        if (taken := backbone.model.input_shape[1:3]) != shape:
            takes = "it takes {} x {}".format(*taken)
            raise not_of_size(backbone.name, shape, takes)
        return backbone
    if isinstance(backbone, keras.Model):
        name = backbone.name
        if weights not in ("imagenet", None):
            backbone = keras.models.clone_model(backbone)
            _load_weights(backbone, weights, name)
        model = features.of_model(backbone, shape, name)
    elif not isinstance(backbone, (str, os.PathLike)):
        raise TypeError(
            "`backbone` must be a name in `keras.applications`, a "
            "`keras.Model`, or the path of its file. Received: "
            f"backbone={backbone!r} of type {type(backbone).__name__}"
        )
    elif (name := os.fspath(backbone)) in NAMES:
        model = _of_application(name, shape, weights)
        if weights is None:
            warnings.warn(
                f"The backbone {name} has random weights: its features say "
                "little of what photos show. Leave out `weights=None` for "
                "those of ImageNet, or give a file." + more("backbones"),
                stacklevel=2,
            )
    elif name.endswith(ENDINGS):
        whole = _loaded(name)
        if weights not in ("imagenet", None):
            _load_weights(whole, weights, name)
        model = features.of_model(whole, shape, name)
    else:
        model = _of_preset(name, shape, weights)
    blocks = _freeze(model)
    return Backbone(name, model, blocks, features.fingerprint(model))


def _of_application(
    name: str, size: tuple[int, int], weights: str | os.PathLike | None
) -> keras.Model:
    """A model of `keras.applications` behind its preprocessing."""
    photos = keras.Input((*size, 3), name="photos")
    is_imagenet = weights == "imagenet"
    try:
        with warnings.catch_warnings():
            # Weights of 224 x 224 serve other sizes: the head is left off.
            warnings.filterwarnings("ignore", "`input_shape` is undefined")
            model = getattr(keras.applications, name)(
                include_top=False,
                weights="imagenet" if is_imagenet else None,
                input_shape=(*size, 3),
                input_tensor=preprocess(name, photos),
                pooling="avg",
            )
    # A failed download raises a plain Exception.
    except Exception as error:
        is_size = "input_shape" in str(error) or "Input size" in str(error)
        if is_size or not is_imagenet:
            raise not_of_size(name, size, first_line(error)) from error
        raise ValueError(
            f"No ImageNet weights for {name}: {first_line(error)}. Connect to "
            "the network; or download that file elsewhere, and give it as "
            "`weights=PATH`; or, for random weights, `weights=None`."
            + more("backbones")
        ) from error
    if not is_imagenet and weights is not None:
        _load_weights(model, weights, name)
        correct_variance(model)
    if any(isinstance(layer, keras.Model) for layer in model.layers):
        return features.flat(model, model.inputs[0])
    return model


def preprocess(name: str, photos: keras.KerasTensor) -> keras.KerasTensor:
    """Adds to photos what a model of `keras.applications` requires of them.

    The same as `preprocess_input` in the module of the model, as standard
    layers without weights. They compute in float32 under any dtype policy.

    Args:
        name: One of `NAMES`.
        photos: Red, green and blue, 0..255 `[n, height, width, 3]`.

    Returns:
        What the model takes, `[n, height, width, 3]`.

    Example:

    >>> photos = keras.Input((1, 1, 3))
    >>> model = keras.Model(photos, preprocess("VGG16", photos))
    >>> model(keras.ops.convert_to_tensor([[[[0.0, 100.0, 255.0]]]])).numpy()
    array([[[[ 151.061,  -16.779, -123.68 ]]]], dtype=float32)
    """
    if name in _FROM_MINUS_1_TO_1:
        return keras.layers.Rescaling(1 / 127.5, -1.0, dtype="float32")(photos)
    if name in _STANDARDIZED:
        return _normalization(
            [255 * mean for mean in _MEAN],
            [(255 * deviation) ** 2 for deviation in _DEVIATION],
        )(photos)
    if name in _CENTERED_BGR:
        blue_first = keras.ops.flip(photos, axis=-1)
        return _normalization(_MEAN_BGR, [1.0, 1.0, 1.0])(blue_first)
    return photos


def correct_variance(model: keras.Model) -> None:
    """Corrects EfficientNets whose ImageNet weights come from a file.

    Those files have the standard deviation where the layer takes the variance.
    Keras corrects it by one more layer if `weights="imagenet"`, but not if
    weights are read from a path.
    See https://github.com/tensorflow/tensorflow/issues/49930
    """
    for layer in features.adapted(model):
        mean, variance, *rest = layer.get_weights()
        if np.allclose(variance.reshape(-1), _DEVIATION, atol=1e-3):
            layer.set_weights([mean, variance**2, *rest])
            layer.finalize_state()


def _normalization(
    mean: list[float] | tuple[float, ...], variance: list[float]
) -> keras.layers.Layer:
    return keras.layers.Normalization(
        mean=list(mean), variance=variance, dtype="float32"
    )


def _of_preset(
    name: str, size: tuple[int, int], weights: str | os.PathLike | None
) -> keras.Model:
    """A backbone of KerasHub behind its scaling; needs KerasHub."""
    if importlib.util.find_spec("keras_hub") is None:
        raise _unknown(name, NAMES)
    hub = importlib.import_module("keras_hub")
    presets = hub.models.Backbone.presets
    is_address = "://" in name or pathlib.Path(name, "config.json").exists()
    if not is_address and name not in presets:
        raise _unknown(name, [*NAMES, *presets])
    try:
        network = hub.models.Backbone.from_preset(
            name, load_weights=weights is not None
        )
        converter = hub.layers.ImageConverter.from_preset(name)
    except Exception as error:  # That of the hub that it downloads from
        raise ValueError(
            f"The preset {name} of KerasHub cannot be opened: "
            f"{first_line(error)}." + more("backbones")
        ) from error
    if weights not in ("imagenet", None):
        _load_weights(network, weights, name)
    scaling = keras.layers.Rescaling(
        1.0 if converter.scale is None else converter.scale,
        0.0 if converter.offset is None else converter.offset,
        dtype="float32",
        name="scaling",
    )
    return features.of_model(network, size, name, scaling)


def _freeze(model: keras.Model) -> list[list[keras.layers.Layer]]:
    """Freezes each layer, and returns them from the top down.

    A subclass within stays trainable: Keras hides all weights of a frozen
    model, those of its trainable layers too.
    """
    # `model.trainable = True` changes nothing in layers if it is true already.
    for layer in layers.all_layers(model):
        layer.trainable = True
    blocks = features.stages(model)
    for block in blocks:
        for layer in block:
            layer.trainable = False
    return blocks


def _loaded(path: str) -> keras.Model:
    """The model in a file."""
    try:
        _check_file(path)
        return keras.saving.load_model(path, compile=False)
    except Exception as error:  # Keras raises what it meets in the file.
        raise ValueError(
            f"Cannot read the backbone {path}: {first_line(error)}. Give the "
            "file of a model that was saved by Keras." + more("backbones")
        ) from error


def _load_weights(
    model: keras.Model, path: str | os.PathLike | None, name: str
) -> None:
    """Reads the weights of a model from a file."""
    assert path is not None
    try:
        _check_file(path)
        with warnings.catch_warnings():
            # One for each layer, before the error that says it of all
            warnings.filterwarnings("ignore", "Skipping nested container")
            model.load_weights(path)
    except Exception as error:  # Keras raises what it meets in the file.
        raise ValueError(
            f"Cannot read weights for {name} from {path}: {first_line(error)}. "
            "Give a file of weights of this architecture, without a "
            "classification head (`include_top=False`) for a name."
            + more("backbones")
        ) from error


def _check_file(path: str | os.PathLike) -> None:
    """Raises an error where Keras's own would not say what is wrong."""
    if not os.path.exists(path):
        raise ValueError("there is no such file")
    is_zip = os.fspath(path).endswith(".keras")
    if is_zip and not zipfile.is_zipfile(path):
        raise ValueError("it is damaged, or no file of Keras's")


def _unknown(name: str, names: Iterable[str]) -> ValueError:
    """The error that there is no such backbone, with names near it."""
    if os.path.isdir(name):
        return ValueError(
            f"The folder {name} is no backbone: the layers of a SavedModel "
            f"cannot be trained. Give the {ENDINGS[0]} file of a model."
            + more("backbones")
        )
    known = {each.lower(): each for each in names}
    near = difflib.get_close_matches(name.lower(), known, n=4, cutoff=0.5)
    meant = ", ".join(known[each] for each in near) or "MobileNetV3Large"
    return ValueError(
        f"There is no backbone '{name}'. Give a name in `keras.applications` "
        f"(such as {meant}), a `keras.Model`, or its file, which ends in "
        f"{ENDINGS[0]}. Presets of KerasHub need `pip install keras-hub`."
        + more("backbones")
    )

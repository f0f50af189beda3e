"""What each family of `keras.applications` requires of its photos."""

import keras
import numpy as np

from gdtrain.keras_bridge import layers

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
    for layer in _adapted(model):
        mean, variance, *rest = layer.get_weights()
        if np.allclose(variance.reshape(-1), _DEVIATION, atol=1e-3):
            layer.set_weights([mean, variance**2, *rest])
            layer.finalize_state()


def copy_weights(layer: keras.Layer, copy: keras.Layer) -> None:
    """Gives a copy of a layer its weights.

    After `set_weights` alone, `Normalization` goes on with the numbers that
    it had (Keras 3.15).
    """
    copy.set_weights(layer.get_weights())
    for part in _adapted(copy):
        part.finalize_state()


def _adapted(layer: keras.Layer) -> list[keras.layers.Normalization]:
    """Normalization layers with weights: those without have constants."""
    return [
        part
        for part in layers.all_layers(layer)
        if isinstance(part, keras.layers.Normalization) and part.weights
    ]


def _normalization(
    mean: list[float] | tuple[float, ...], variance: list[float]
) -> keras.layers.Layer:
    return keras.layers.Normalization(
        mean=list(mean), variance=variance, dtype="float32"
    )

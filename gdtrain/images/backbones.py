"""Backbones: networks that turn photos into features."""

import dataclasses
import difflib
import importlib
import importlib.util
import os
import pathlib
import warnings
from collections.abc import Callable, Iterable

import keras

from gdtrain.common import checks
from gdtrain.images import features, preprocessing
from gdtrain.keras_bridge import graph, layers

ENDINGS = (".keras", ".h5", ".hdf5")  # Of files with a whole model


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
    """

    name: str
    model: keras.Model
    trainable_blocks: list[list[keras.layers.Layer]]
    fingerprint: str


def open_backbone(
    backbone: str | os.PathLike | keras.Model,
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
            - the path of a file that such a model was saved to;
            - where KerasHub is installed, one of its presets, such as
              `"resnet_50_imagenet"`, with its scaling.
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

    Example:

    >>> backbone = open_backbone("MobileNetV3Small", size=32, weights=None)
    >>> backbone.model.output.shape
    (None, 576)
    """
    height, width = (size, size) if isinstance(size, int) else size
    shape = (
        checks.positive_integer("size", height),
        checks.positive_integer("size", width),
    )
    if isinstance(backbone, keras.Model):
        name = backbone.name
        if weights not in ("imagenet", None):
            backbone = keras.models.clone_model(backbone)
            _load_weights(backbone, weights, name)
        model = _of_model(backbone, shape, name)
    elif not isinstance(backbone, (str, os.PathLike)):
        raise TypeError(
            "`backbone` must be a name in `keras.applications`, a "
            "`keras.Model`, or the path of its file. Received: "
            f"backbone={backbone!r} of type {type(backbone).__name__}"
        )
    elif (name := os.fspath(backbone)) in preprocessing.NAMES:
        model = _of_application(name, shape, weights)
    elif name.endswith(ENDINGS):
        whole = _loaded(name)
        if weights not in ("imagenet", None):
            _load_weights(whole, weights, name)
        model = _of_model(whole, shape, name)
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
                input_tensor=preprocessing.preprocess(name, photos),
                pooling="avg",
            )
    # A failed download raises a plain Exception.
    except Exception as error:
        is_size = "input_shape" in str(error) or "Input size" in str(error)
        if is_size or not is_imagenet:
            raise _not_of_size(name, size, _reason(error)) from error
        raise ValueError(
            f"No ImageNet weights for {name}: {_reason(error)}. Connect to "
            "the network, give a file as `weights=PATH`, or, for random "
            "weights, `weights=None`."
        ) from error
    if not is_imagenet and weights is not None:
        _load_weights(model, weights, name)
        preprocessing.correct_variance(model)
    if any(isinstance(layer, keras.Model) for layer in model.layers):
        return _flat(model, model.inputs[0])
    return model


def _of_model(
    model: keras.Model,
    size: tuple[int, int],
    name: str,
    scaling: Callable[[keras.KerasTensor], keras.KerasTensor] = lambda x: x,
) -> keras.Model:
    """A copy of a model up to its features, for photos of this size."""
    if not graph.is_graph(model):
        return _of_subclass(model, size, name)
    taken = model.inputs[0]
    if (
        len(model.inputs) != 1
        or len(model.outputs) != 1
        or len(taken.shape) != 4
        or taken.shape[-1] not in (1, 3)
    ):
        raise ValueError(
            f"The backbone {name} is not a model of pictures: it must take "
            "one tensor [n, height, width, 3] and give one. It takes "
            f"{[tuple(tensor.shape) for tensor in model.inputs]} and gives "
            f"{[tuple(tensor.shape) for tensor in model.outputs]}."
        )
    for extent, own in zip(size, taken.shape[1:3], strict=True):
        if own not in (extent, None):
            takes = "it takes {} x {}".format(*taken.shape[1:3])
            raise _not_of_size(name, size, takes)
    photos = keras.Input((*size, taken.shape[-1]), dtype=taken.dtype)
    try:
        part = keras.Model(taken, features.cut_head(model), name=model.name)
    except ValueError as error:
        raise ValueError(
            f"The backbone {name} has no features: {_reason(error)}. Give a "
            "model with convolutions, or one that gives [n, height, width, d]."
        ) from error
    try:
        return _flat(part, photos, scaling)
    except Exception as error:  # Layers raise what they will.
        raise _not_of_size(name, size, _reason(error)) from error


def _flat(
    model: keras.Model,
    photos: keras.KerasTensor,
    scaling: Callable[[keras.KerasTensor], keras.KerasTensor] = lambda x: x,
) -> keras.Model:
    """A copy of a model without models in it, so that it can be cut."""
    output, pairs = graph.copy_flat(model, scaling(photos))
    for layer, copy in pairs:
        preprocessing.copy_weights(layer, copy)
    return features.add_pooling(keras.Model(photos, output, name=model.name))


def _of_subclass(
    model: keras.Model, size: tuple[int, int], name: str
) -> keras.Model:
    """A model that is no graph of layers, used as it is."""
    photos = keras.Input((*size, 3), name="photos")
    try:
        return features.add_pooling(keras.Model(photos, model(photos)))
    except Exception as error:  # Its `call` raises what it will.
        raise ValueError(
            f"The backbone {name} is not a model of pictures: for photos "
            f"[n, {size[0]}, {size[1]}, 3] it must give one tensor "
            f"[n, height, width, d] or [n, d]. {_reason(error)}."
        ) from error


def _of_preset(
    name: str, size: tuple[int, int], weights: str | os.PathLike | None
) -> keras.Model:
    """A backbone of KerasHub behind its scaling; needs KerasHub."""
    if importlib.util.find_spec("keras_hub") is None:
        raise _unknown(name, preprocessing.NAMES)
    hub = importlib.import_module("keras_hub")
    presets = hub.models.Backbone.presets
    is_address = "://" in name or pathlib.Path(name, "config.json").exists()
    if not is_address and name not in presets:
        raise _unknown(name, [*preprocessing.NAMES, *presets])
    try:
        network = hub.models.Backbone.from_preset(
            name, load_weights=weights is not None
        )
        converter = hub.layers.ImageConverter.from_preset(name)
    except Exception as error:  # That of the hub that it downloads from
        raise ValueError(
            f"The preset {name} of KerasHub cannot be opened: {_reason(error)}."
        ) from error
    if weights not in ("imagenet", None):
        _load_weights(network, weights, name)
    scaling = keras.layers.Rescaling(
        1.0 if converter.scale is None else converter.scale,
        0.0 if converter.offset is None else converter.offset,
        dtype="float32",
        name="scaling",
    )
    return _of_model(network, size, name, scaling)


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
        return keras.saving.load_model(path, compile=False)
    except Exception as error:  # Keras raises what it meets in the file.
        raise ValueError(
            f"Cannot read the backbone {path}: {_reason(error)}. Give the "
            "file of a model that was saved by Keras."
        ) from error


def _load_weights(
    model: keras.Model, path: str | os.PathLike | None, name: str
) -> None:
    """Reads the weights of a model from a file."""
    try:
        with warnings.catch_warnings():
            # One for each layer, before the error that says it of all
            warnings.filterwarnings("ignore", "Skipping nested container")
            model.load_weights(path)
    except Exception as error:  # Keras raises what it meets in the file.
        raise ValueError(
            f"Cannot read weights for {name} from {path}: {_reason(error)}. "
            "Give a file of weights of this architecture, without a "
            "classification head (`include_top=False`) for a name."
        ) from error


def _unknown(name: str, names: Iterable[str]) -> ValueError:
    """The error that there is no such backbone, with names near it."""
    known = {each.lower(): each for each in names}
    near = difflib.get_close_matches(name.lower(), known, n=4, cutoff=0.5)
    meant = ", ".join(known[each] for each in near) or "MobileNetV3Large"
    return ValueError(
        f"There is no backbone '{name}'. Give a name in `keras.applications` "
        f"(such as {meant}), a `keras.Model`, or its file, which ends in "
        f"{ENDINGS[0]}. Presets of KerasHub need `pip install keras-hub`."
    )


def _not_of_size(name: str, size: tuple[int, int], why: str) -> ValueError:
    height, width = size
    return ValueError(
        f"The backbone {name} does not take photos of {height} x {width} "
        f"pixels: {why}. Give its `size`, or another backbone."
    )


def _reason(error: Exception) -> str:
    """The first line of a message, without a full stop."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].rstrip(". ")

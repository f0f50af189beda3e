"""A model of pictures up to its features: its stages, its fingerprint."""

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import keras

from gdtrain.common.explained import more
from gdtrain.keras_bridge import graph
from gdtrain.keras_bridge import layers as keras_layers

_GLOBAL_POOLING = (
    keras.layers.GlobalAveragePooling1D,
    keras.layers.GlobalAveragePooling2D,
    keras.layers.GlobalMaxPooling1D,
    keras.layers.GlobalMaxPooling2D,
)
#: A block in the name of a layer: `block6a_expand_conv`, `conv5_block3_1_bn`,
#: `expanded_conv_14_project`, `convnext_tiny_stage_3_block_2_layernorm`
_BLOCK = re.compile(
    r".*(?:block|cell|expanded_conv|layer|stage)_?\d+[a-z]?(?=[_./]|$)"
)
#: Where a model's configuration has names of layers
_WITH_NAMES = {"name", "keras_history", "input_layers", "output_layers"}


def of_model(
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
            + more("backbones")
        )
    for extent, own in zip(size, taken.shape[1:3], strict=True):
        if own not in (extent, None):
            takes = "it takes {} x {}".format(*taken.shape[1:3])
            raise not_of_size(name, size, takes)
    photos = keras.Input((*size, taken.shape[-1]), dtype=taken.dtype)
    try:
        part = keras.Model(taken, cut_head(model), name=model.name)
        if len(part.output_shape) > 2 and _is_channels_first(model):
            raise ValueError("its layers have data_format='channels_first'")
    except ValueError as error:
        raise ValueError(
            f"The backbone {name} has no features: {first_line(error)}. Give a "
            "model with convolutions, or one that gives [n, height, width, d]."
            + more("backbones")
        ) from error
    try:
        return flat(part, photos, scaling)
    except Exception as error:  # Layers raise what they will.
        raise not_of_size(name, size, first_line(error)) from error


def _of_subclass(
    model: keras.Model, size: tuple[int, int], name: str
) -> keras.Model:
    """A model that is no graph of layers, used as it is."""
    photos = keras.Input((*size, 3), name="photos")
    try:
        return add_pooling(keras.Model(photos, model(photos)))
    except Exception as error:  # Its `call` raises what it will.
        raise ValueError(
            f"The backbone {name} is not a model of pictures: for photos "
            f"[n, {size[0]}, {size[1]}, 3] it must give one tensor "
            f"[n, height, width, d] or [n, d]. {first_line(error)}."
            + more("backbones")
        ) from error


def cut_head(model: keras.Model) -> keras.KerasTensor:
    """Finds where the head of a model of pictures begins, if it has one.

    Followed from the output back, that is at the last global pooling. Blocks
    of squeeze and excitation pool too, but in a branch: where paths meet, the
    head ends.

    Args:
        model: A graph of layers with one output.

    Returns:
        The output of the global pooling or, without one, the last feature map
        `[n, height, width, d]` or tokens `[n, tokens, d]`.

    Raises:
        ValueError: if there are none, as in a model without convolutions.
    """
    tensor = model.outputs[0]
    if len(tensor.shape) > 2:
        return tensor
    maps: list[keras.KerasTensor] = []
    while not any(_extends(found) for found in maps):
        operation, inputs = graph.producer(tensor)
        if isinstance(operation, _GLOBAL_POOLING):
            return tensor
        if len(inputs) != 1:
            break
        if isinstance(operation, keras.Model) and graph.is_graph(operation):
            inner = keras.Model(
                operation.inputs, cut_head(operation), name=operation.name
            )
            return inner(inputs[0])
        tensor = inputs[0]
        if len(tensor.shape) > 2:
            maps.append(tensor)
    found = maps[0] if maps else tensor
    if not graph.producer(found)[1]:  # The photos themselves
        raise ValueError("no features of a picture lead to its output")
    return found


def add_pooling(model: keras.Model) -> keras.Model:
    """Adds the mean over height and width, or over tokens, where it lacks."""
    output = model.outputs[0]
    if len(output.shape) < 3:
        return model
    name = "features"
    # The default name may be that of a layer that was loaded from a file.
    while any(name == operation.name for operation in model.operations):
        name += ".pooled"
    if len(output.shape) == 4:
        features = keras.layers.GlobalAveragePooling2D(name=name)(output)
    else:
        features = keras.layers.GlobalAveragePooling1D(name=name)(output)
    return keras.Model(model.inputs[0], features, name=model.name)


def flat(
    model: keras.Model,
    photos: keras.KerasTensor,
    scaling: Callable[[keras.KerasTensor], keras.KerasTensor] = lambda x: x,
) -> keras.Model:
    """A copy of a model without models in it, so that it can be cut."""
    output, pairs = graph.copy_flat(model, scaling(photos))
    for layer, copy in pairs:
        _copy_weights(layer, copy)
    return add_pooling(keras.Model(photos, output, name=model.name))


def _copy_weights(layer: keras.Layer, copy: keras.Layer) -> None:
    """Gives a copy of a layer its weights.

    After `set_weights` alone, `Normalization` goes on with the numbers that
    it had (Keras 3.15).
    """
    copy.set_weights(layer.get_weights())
    for part in adapted(copy):
        part.finalize_state()


def adapted(layer: keras.Layer) -> list[keras.layers.Normalization]:
    """Normalization layers with weights: those without have constants."""
    return [
        part
        for part in keras_layers.all_layers(layer)
        if isinstance(part, keras.layers.Normalization) and part.weights
    ]


def layers_with_weights(model: keras.Model) -> Iterator[keras.Layer]:
    """Layers with trainable weights, those of models within models too."""
    for layer in model.layers:
        if isinstance(layer, keras.Model) and layer.layers:
            yield from layers_with_weights(layer)
        elif layer.trainable_weights:
            yield layer


def stages(model: keras.Model) -> list[list[keras.Layer]]:
    """Groups the layers with weights, from the output of the model down.

    A group is a block by the names of layers, or, where most have no block in
    their name, all layers with a feature map of the same height and width.

    Args:
        model: The model, with all layers trainable.

    Returns:
        Lists of layers; the first has the layers next to the output.

    Example:

    >>> model = keras.Sequential([
    ...     keras.Input((8, 8, 3)),
    ...     keras.layers.Conv2D(4, 3, strides=2, name="stem"),
    ...     keras.layers.Conv2D(4, 1, name="block1_conv1"),
    ...     keras.layers.Conv2D(4, 3, name="block1_conv2"),
    ... ])
    >>> [[layer.name for layer in stage] for stage in stages(model)]
    [['block1_conv1', 'block1_conv2'], ['stem']]
    """
    layers = list(layers_with_weights(model))
    blocks = [_BLOCK.match(layer.name) for layer in layers]
    shapes = [_shape_of_map(layer) for layer in layers]
    has_blocks = 2 * sum(map(bool, blocks)) >= len(layers)
    # A network of one resolution is divided by its number of channels.
    depth = 2 if len({shape[:2] for shape in shapes if shape}) > 1 else 3
    groups: dict[Any, list[keras.Layer]] = {}
    key: Any = None
    for layer, block, shape in zip(layers, blocks, shapes, strict=True):
        if block and has_blocks:
            key = block.group()
        elif shape:  # What comes after pooling is part of the block before.
            key = shape[:depth]
        groups.setdefault(key, []).append(layer)
    return list(groups.values())[::-1]


def fingerprint(model: keras.Model) -> str:
    """What tells two models apart: a digest of architecture and weights.

    The names of layers do not count, as Keras numbers those without a name in
    the order in which a process makes them.

    Args:
        model: The model, functional.

    Returns:
        64 hexadecimal digits.
    """
    try:
        config = _without_names(model.get_config(), {})
    except NotImplementedError:  # A subclass within cannot be described.
        config = [
            type(layer).__name__ for layer in keras_layers.all_layers(model)
        ]
    digest = hashlib.sha256(
        json.dumps(config, default=lambda o: type(o).__name__).encode()
    )
    for variable in model.weights:
        array = variable.numpy()
        digest.update(f"{array.dtype} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _is_channels_first(model: keras.Model) -> bool:
    return any(
        getattr(layer, "data_format", None) == "channels_first"
        for layer in keras_layers.all_layers(model)  # Few have a format.
    )


def _extends(tensor: keras.KerasTensor) -> bool:
    """Whether a feature map has more than one position."""
    return any(extent != 1 for extent in tensor.shape[1:-1])


def _shape_of_map(layer: keras.Layer) -> tuple[int | None, ...]:
    """Height, width and channels of a feature map; empty if it has none."""
    try:
        output = layer.output
    except (AttributeError, ValueError):  # It is part of a subclass.
        return ()
    # Layers of a user's may give several tensors.
    shape = tuple(getattr(output, "shape", ()))
    return shape[1:] if len(shape) > 2 else ()


def _without_names(
    config: Any, numbers: dict[str, int], is_name: bool = False
) -> Any:
    """A configuration with names of layers replaced by their order."""
    if isinstance(config, dict):
        return {
            key: _without_names(value, numbers, is_name or key in _WITH_NAMES)
            for key, value in config.items()
        }
    if isinstance(config, (list, tuple)):
        return [_without_names(value, numbers, is_name) for value in config]
    if is_name and isinstance(config, str):
        return numbers.setdefault(config, len(numbers))
    return config


def not_of_size(name: str, size: tuple[int, int], why: str) -> ValueError:
    """An error that says that a backbone cannot take photos of a size."""
    height, width = size
    return ValueError(
        f"The backbone {name} does not take photos of {height} x {width} "
        f"pixels: {why}. Give its `size`, or another backbone."
    )


def first_line(error: Exception) -> str:
    """The first line of a message, without a full stop."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].rstrip(". ")

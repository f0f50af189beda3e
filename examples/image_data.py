"""Digits and Fashion-MNIST, as `gdtrain.images` reads folders of photos."""

import gzip
import pathlib
import zlib

import _quiet  # noqa: F401
import keras
import numpy as np
from sklearn.datasets import load_digits

from gdtrain.images import LabelledImages, Photos

FASHION_MNIST = pathlib.Path("/usr/share/datasets/fashion-mnist")
CLOTHES = "T-shirt,trousers,pullover,dress,coat,sandal,shirt,sneaker,bag"
CLOTHES += ",ankle boot"
AGAIN = "Install the data set again."


def read_digits() -> Photos:
    """Reads scikit-learn's digits. The last 360 are by people who wrote none
    of the others (Alpaydin and Kaynak, "Cascading classifiers", 1998)."""
    digits, count = load_digits(), 360
    images = np.round(digits.images[..., np.newaxis] * (255 / 16))
    images, labels = images.astype(np.uint8), digits.target
    return Photos(
        [str(digit) for digit in digits.target_names],
        LabelledImages(images[:-count], labels[:-count]),
        LabelledImages(images[-count:], labels[-count:]),
        [],
        f"{len(labels) - count:,} handwritten digits to learn from, {count} by "
        "other writers held out; 8 x 8 pixels, light on dark.",
    )


def read_fashion_mnist() -> Photos:
    """Reads Fashion-MNIST (Xiao, Rasul and Vollgraf, arXiv:1708.07747).

    From the folder of Debian's package dataset-fashion-mnist; without it,
    Keras downloads it, or takes what it downloaded before.
    """
    if FASHION_MNIST.is_dir():
        pairs = [read_idx_pair(FASHION_MNIST, p) for p in ("train", "t10k")]
    else:
        try:
            pairs = keras.datasets.fashion_mnist.load_data()
        except Exception as error:  # Keras raises a plain `Exception` here.
            raise ValueError(
                f"cannot download Fashion-MNIST: {error}. Connect to the "
                "internet, or install Debian's package dataset-fashion-mnist, "
                f"which puts it in {FASHION_MNIST}."
            ) from error
    training, held_out = (
        LabelledImages(images[..., np.newaxis], labels.astype(int))
        for images, labels in pairs
    )
    height, width, _ = training.images.shape[1:]
    return Photos(
        CLOTHES.split(","),
        training,
        held_out,
        [],
        f"{len(training):,} pictures of clothes to learn from, "
        f"{len(held_out):,} held out; {height} x {width}, light on dark.",
    )


def read_idx_pair(folder: pathlib.Path, part: str) -> tuple:
    """Reads two files: `(images, labels)`."""
    images = read_idx(folder / f"{part}-images-idx3-ubyte.gz", 3)
    labels = read_idx(folder / f"{part}-labels-idx1-ubyte.gz", 1)
    if len(images) != len(labels):
        raise ValueError(
            f"{folder} has {len(images)} images, but {len(labels)} labels in "
            f"{part}. {AGAIN}"
        )
    return images, labels


def read_idx(path: pathlib.Path, dimensions: int) -> np.ndarray:
    """Reads a gzipped idx file of bytes, of so many dimensions.

    It is two zero bytes, 8 for unsigned bytes, the number of dimensions, each
    size as a big-endian 32-bit integer, and the bytes.
    """
    try:
        with gzip.open(path) as file:
            content = file.read()
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise ValueError(f"cannot read {path}: {reason}. {AGAIN}") from error
    start = 4 + 4 * dimensions
    if content[:4] == bytes([0, 0, 8, dimensions]) and len(content) >= start:
        sizes = np.frombuffer(content[4:start], ">u4").astype(int)
        if len(content) == start + sizes.prod():
            array = np.frombuffer(content, np.uint8, offset=start)
            return array.reshape(sizes)
    raise ValueError(
        f"{path} is not a complete idx file of bytes in {dimensions} "
        f"dimensions. {AGAIN}"
    )

"""Labelled pictures to learn from: digits, Fashion-MNIST, a folder of photos.

Every picture becomes numbers from 0 to 255, uint8 of shape
`[height, width, channels]`: those learned from and the one asked about alike.
"""

import collections
import dataclasses
import gzip
import pathlib
import warnings
import zlib

import numpy as np
from _console import InputError, import_quietly
from PIL import Image, ImageOps, UnidentifiedImageError

FASHION_MNIST = pathlib.Path("/usr/share/datasets/fashion-mnist")
FASHION_MNIST_CLASSES = (
    "T-shirt",
    "trousers",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)
FOLDER_SHAPE = (96, 96, 3)
HELD_OUT_SHARE = 0.2
# Windows saves JPEG as .jfif, too.
PICTURE_ENDINGS = (".jpg", ".jpeg", ".jfif", ".jpe", ".png")
NOT_OF_THE_USER = ("thumbs.db", "desktop.ini")  # Windows's, in any case
MOST_NAMED = 10  # Files that a message names


@dataclasses.dataclass
class Pictures:
    """Pictures, uint8 `[n, height, width, channels]`, and labels, int `[n]`.

    A label is the position of the picture's class in `Data.class_names`.
    """

    images: np.ndarray
    labels: np.ndarray

    def __len__(self):
        return len(self.labels)


@dataclasses.dataclass
class Data:
    """Pictures to learn from, and others to find out what was learned."""

    description: str
    class_names: list
    training: Pictures
    held_out: Pictures

    @property
    def shape(self):
        """Height, width and channels of a picture."""
        return self.training.images.shape[1:]


# ------------------------------------------------------------------ digits


def read_digits():
    """Reads scikit-learn's digits; they are part of the package.

    The last 360 were written by people who wrote none of the others, so that
    they tell how well strangers' handwriting is read (Alpaydin and Kaynak,
    "Cascading classifiers", 1998).
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise InputError(
            "--data digits needs scikit-learn. Install it with "
            "`pip install scikit-learn`."
        ) from error
    digits = load_digits()
    images = np.round(digits.images[..., np.newaxis] * (255 / 16))
    images, labels = images.astype(np.uint8), digits.target
    held_out = 360
    return Data(
        f"{len(labels) - held_out:,} handwritten digits to learn from, "
        f"{held_out} by other writers held out; 8 x 8 pixels, light on dark.",
        [str(digit) for digit in digits.target_names],
        Pictures(images[:-held_out], labels[:-held_out]),
        Pictures(images[-held_out:], labels[-held_out:]),
    )


# ----------------------------------------------------------- Fashion-MNIST


def read_fashion_mnist(folder=None):
    """Reads Fashion-MNIST (Xiao, Rasul and Vollgraf, arXiv:1708.07747).

    Args:
        folder: Where its four files are. Defaults to that of the Debian
            package dataset-fashion-mnist; without it, Keras downloads them.

    Raises:
        InputError: if a file is damaged, or cannot be downloaded.
    """
    folder = FASHION_MNIST if folder is None else pathlib.Path(folder)
    if folder.is_dir():
        training, held_out = (
            read_idx_pair(
                folder / f"{part}-images-idx3-ubyte.gz",
                folder / f"{part}-labels-idx1-ubyte.gz",
            )
            for part in ("train", "t10k")
        )
    else:
        training, held_out = download_fashion_mnist()
    height, width = training.images.shape[1:3]
    return Data(
        f"{len(training):,} pictures of clothes to learn from, "
        f"{len(held_out):,} held out; {height} x {width} pixels, light on "
        "dark.",
        list(FASHION_MNIST_CLASSES),
        training,
        held_out,
    )


def download_fashion_mnist():
    """Has Keras download Fashion-MNIST, or take what it downloaded before."""
    keras = import_quietly("keras")
    try:
        parts = keras.datasets.fashion_mnist.load_data()
    except Exception as error:  # Keras raises a plain `Exception` here.
        raise InputError(
            f"cannot download Fashion-MNIST: {error}. Connect to the "
            "internet, or install Debian's package dataset-fashion-mnist, "
            f"which puts it in {FASHION_MNIST}."
        ) from error
    return [Pictures(x[..., np.newaxis], y.astype(int)) for x, y in parts]


def read_idx_pair(images_path, labels_path):
    """Reads the `Pictures` of two files, one of images, one of labels."""
    images, labels = read_idx(images_path, 3), read_idx(labels_path, 1)
    if len(images) != len(labels):
        raise InputError(
            f"{images_path} has {len(images)} images, but {labels_path} has "
            f"{len(labels)} labels. Install the data set again."
        )
    return Pictures(images[..., np.newaxis], labels.astype(int))


def read_idx(path, dimensions):
    """Reads a gzipped idx file of bytes.

    It is two zero bytes, 8 for unsigned bytes, the number of dimensions, each
    size as a big-endian 32-bit integer, and the bytes.

    Args:
        path: The file.
        dimensions: How many the array must have.

    Returns:
        A uint8 array.

    Raises:
        InputError: if that is not what the file is.
    """
    try:
        with gzip.open(path) as file:
            content = file.read()
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"cannot read {path}: {reason}. Install the data set again."
        ) from error
    start = 4 + 4 * dimensions
    if content[:4] == bytes([0, 0, 8, dimensions]) and len(content) >= start:
        sizes = np.frombuffer(content[4:start], ">u4").astype(int)
        if len(content) == start + sizes.prod():
            array = np.frombuffer(content, np.uint8, offset=start)
            return array.reshape(sizes)
    raise InputError(
        f"{path} is not a complete idx file of bytes in {dimensions} "
        "dimensions. Install the data set again."
    )


# ------------------------------------------------------- a folder of photos


def read_folder(folder, seed):
    """Reads a folder with a folder of pictures for each class.

    The class is called as its folder, with spaces for underscores. A fifth
    of each class is held out, drawn by the seed. Files that are no pictures
    by their ending, and pictures that lie elsewhere, are left out, and the
    description says so.

    Args:
        folder: The folder of class folders.
        seed: An integer of 0 or more.

    Raises:
        InputError: if there are fewer than two classes, a class has fewer
            than two pictures, or a picture cannot be read.
    """
    folder = pathlib.Path(folder)
    classes = find_classes(folder)
    generator = np.random.default_rng(seed)
    training, held_out = [], []
    lines = [f"{'class':24}{'to learn from':>15}{'held out':>12}"]
    for label, (name, paths) in enumerate(classes.items()):
        paths = [paths[i] for i in generator.permutation(len(paths))]
        count = max(1, round(HELD_OUT_SHARE * len(paths)))
        held_out += [(path, label) for path in paths[:count]]
        training += [(path, label) for path in paths[count:]]
        lines.append(f"{name:24}{len(paths) - count:15,}{count:12,}")
    height, width, _ = FOLDER_SHAPE
    lines.append(f"Pictures are cut and scaled to {height} x {width} pixels.")
    found = {path for paths in classes.values() for path in paths}
    lines += left_out(files_in(folder) - found)
    pictures = read_pictures(training + held_out)
    return Data(
        "\n".join(lines),
        list(classes),
        Pictures(
            pictures.images[: len(training)], pictures.labels[: len(training)]
        ),
        Pictures(
            pictures.images[len(training) :], pictures.labels[len(training) :]
        ),
    )


def find_classes(folder):
    """Finds the classes in a folder.

    Returns:
        A dict from the name of a class to the paths of its pictures.
    """
    folders = [path for path in contents(folder) if path.is_dir()]
    if len(folders) < 2:
        raise InputError(
            f"{folder} must have two or more folders, one for each class of "
            f"pictures. It has {len(folders)}. Sort the pictures into "
            "folders named after what they show. "
            + " ".join(left_out(files_in(folder)))
        )
    classes = {}
    for path in folders:
        name = path.name.replace("_", " ")
        if name in classes:
            raise InputError(
                f"{folder} has two folders for the class '{name}'. Rename "
                f"{path} or join the two."
            )
        classes[name] = find_pictures(path)
    return classes


def find_pictures(folder):
    """Finds the paths of the JPEG and PNG files in a folder."""
    paths = [
        path
        for path in contents(folder)
        if is_picture(path) and path.is_file()
    ]
    if len(paths) < 2:
        raise InputError(
            f"{folder} must have two or more JPEG or PNG files, one to learn "
            f"from and one to hold out. It has {len(paths)}. Add some, or "
            "remove the folder. "
            + " ".join(left_out(files_in(folder) - set(paths)))
        )
    return paths


def is_picture(path):
    """Whether a file is a picture that can be read, by its ending."""
    return path.suffix.lower() in PICTURE_ENDINGS


def files_in(folder):
    """The user's files in a folder and below it, a set of paths."""
    return {
        path
        for path in folder.rglob("*")
        if not path.is_dir()
        and path.name.lower() not in NOT_OF_THE_USER
        and not any(
            part.startswith(".") for part in path.relative_to(folder).parts
        )
    }


def left_out(files):
    """Says which files are left out and why, a list of sentences."""
    misplaced = sorted(path for path in files if is_picture(path))
    others = collections.Counter(
        path.suffix.lower() or "without an ending"
        for path in files
        if not is_picture(path)
    )
    sentences = []
    if misplaced:
        sentences.append(
            f"Left out: {count(misplaced, 'picture')} that do not lie in the "
            f"folder of a class: {named(misplaced)}."
        )
    if others:
        most_first = sorted(others.items(), key=lambda item: (-item[1], item))
        kinds = ", ".join(f"{n:,} {kind}" for kind, n in most_first)
        sentences.append(
            f"Left out: files that are neither JPEG nor PNG by their ending "
            f"({kinds}). Save pictures among them as JPEG or PNG."
        )
    return sentences


def count(things, noun):
    """So many of them, in words."""
    return f"{len(things):,} {noun}{'' if len(things) == 1 else 's'}"


def named(paths):
    """The first of some paths, and that there are more."""
    names = ", ".join(str(path) for path in paths[:MOST_NAMED])
    return names + (", ..." if len(paths) > MOST_NAMED else "")


def contents(folder):
    """The paths in a folder, sorted, without hidden ones."""
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        raise InputError(
            f"cannot read the folder {folder}: {error.strerror}. Give --data "
            "a folder of class folders, or the word digits or fashion_mnist."
        ) from error
    # Such as .git, and the ._name.jpg that macOS puts beside a name.jpg.
    return [path for path in paths if not path.name.startswith(".")]


def read_pictures(paths_and_labels):
    """Reads the `Pictures` of a list of `(path, label)`.

    Raises:
        InputError: if some cannot be read; it names them all at once.
    """
    paths, labels = zip(*paths_and_labels)
    images, errors = [], []
    for path in paths:
        try:
            images.append(to_array(open_picture(path), FOLDER_SHAPE))
        except InputError as error:
            errors.append((path, error))
    if len(errors) == 1:
        raise errors[0][1]
    if errors:
        reasons = [
            f"{path} ({reason_of(error.__cause__, path)})"
            for path, error in sorted(errors, key=lambda pair: pair[0])
        ]
        raise InputError(
            f"{len(errors):,} of {count(paths, 'picture')} cannot be read: "
            f"{named(reasons)}. Give whole JPEG or PNG files, or remove "
            "these."
        )
    return Pictures(np.stack(images), np.array(labels))


# --------------------------------------------------------- a picture file


def open_picture(path):
    """Reads a JPEG or PNG file.

    Returns:
        A `PIL.Image`, turned the way up that the camera noted.

    Raises:
        InputError: if it cannot be read.
    """
    try:
        with warnings.catch_warnings():
            # Pillow's, about pictures of more than 89 million pixels.
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=("JPEG", "PNG")) as image:
                return ImageOps.exif_transpose(image)
    except Exception as error:
        # Pillow lets through what its decoders meet in a damaged file:
        # OSError, SyntaxError, ValueError, struct.error, zlib.error, ...
        raise InputError(
            f"cannot read the picture {path}: {reason_of(error, path)}. Give "
            "a whole JPEG or PNG file, or remove this one."
        ) from error


def reason_of(error, path):
    """Says in a few words why a picture cannot be read."""
    if isinstance(error, UnidentifiedImageError):
        empty = pathlib.Path(path).stat().st_size == 0
        return "it is empty" if empty else "it is neither JPEG nor PNG"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"it is damaged or too large ({str(error).rstrip('.')})"


def to_array(image, shape):
    """Makes of a picture of any size and kind what a network takes.

    What is transparent becomes white. The picture is cut to the ratio of
    height to width that is wanted, around its centre, and scaled.

    Args:
        image: A `PIL.Image`.
        shape: `(height, width, channels)`, with 1 channel for grey or 3 for
            red, green and blue.

    Returns:
        uint8 of that shape.
    """
    height, width, channels = shape
    image = on_white(to_8_bits(image)).convert("L" if channels == 1 else "RGB")
    image = ImageOps.fit(image, (width, height), Image.Resampling.BILINEAR)
    return np.asarray(image).reshape(shape)


def to_8_bits(image):
    """Scales 16-bit grey, which Pillow would cut off at 255 instead."""
    if not image.mode.startswith("I"):
        return image
    return Image.fromarray((np.asarray(image) // 257).astype(np.uint8))


def on_white(image):
    """Fills what is transparent with white."""
    if "A" not in image.getbands() and "transparency" not in image.info:
        return image
    image = image.convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image)

"""Photos made up, in all the kinds that cameras and editors save."""

import io
import pathlib

import keras
import numpy as np
from PIL import Image, ImageDraw

KINDS = [
    ("RGB", "jpg"),
    ("L", "JPEG"),
    ("RGB", "png"),
    ("L", "png"),
    ("RGBA", "PNG"),
    ("P", "png"),
    ("LA", "png"),
    ("CMYK", "jpeg"),
]


def draw_photo(bright: bool, size: tuple[int, int], mode: str) -> Image.Image:
    """A bright ellipse on dark, or a dark rectangle on bright."""
    colors = [(250, 200, 60), (60, 20, 30)][:: 1 if bright else -1]
    image = Image.new("RGB", size, colors[1])
    draw = ImageDraw.Draw(image)
    shape = draw.ellipse if bright else draw.rectangle
    width, height = size
    shape((width // 5, height // 4, width * 4 // 5, height * 3 // 4), colors[0])
    return image.convert(mode)


def make_photos(folder: pathlib.Path, count: int = 12) -> pathlib.Path:
    """Makes two folders of pictures of many sizes and kinds."""
    for bright, name in (True, "hot_dog"), (False, "not_hot_dog"):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            mode, ending = KINDS[i % len(KINDS)]
            photo = draw_photo(bright, (40 + 25 * i, 200 - 11 * i), mode)
            photo.save(folder / name / f"{i}.{ending}")
    return folder


def random_photo(seed: int, size: tuple[int, int] = (150, 100)) -> Image.Image:
    """A photo of colored clouds, which looks like no other one."""
    clouds = np.random.default_rng(seed).integers(0, 256, [6, 9, 3], np.uint8)
    return Image.fromarray(clouds).resize(size, Image.Resampling.BICUBIC)


def make_random_photos(
    folder: pathlib.Path, counts: dict[str, int]
) -> pathlib.Path:
    """Makes folders of PNG files, with so many photos in each."""
    for i, (name, count) in enumerate(counts.items()):
        (folder / name).mkdir(parents=True)
        for j in range(count):
            photo = random_photo(1000 * i + j)
            photo.save(folder / name / f"{j}.png")
    return folder


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    """The content of a file with the image."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png() -> bytes:
    """A small picture file."""
    return encoded(Image.new("RGB", (9, 9), "red"), "PNG")


def save_backbone(path: pathlib.Path, size: int, strides: int = 1) -> None:
    """Saves a small backbone: mean colors of parts of the photo."""
    layers = keras.layers
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input([size, size, 3]),
            layers.Rescaling(1 / 255),
            layers.Conv2D(6, 3, strides, activation="relu"),
            layers.GlobalAveragePooling2D(),
        ]
    )
    model.save(path)

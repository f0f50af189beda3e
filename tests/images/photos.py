"""Photos made up, in all the kinds that cameras and editors save."""

import io
import pathlib

from PIL import Image, ImageDraw


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
    kinds = [
        ("RGB", "jpg"),
        ("L", "JPEG"),
        ("RGB", "png"),
        ("L", "png"),
        ("RGBA", "PNG"),
        ("P", "png"),
        ("LA", "png"),
        ("CMYK", "jpeg"),
    ]
    for bright, name in (True, "hot_dog"), (False, "not_hot_dog"):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            mode, ending = kinds[i % len(kinds)]
            photo = draw_photo(bright, (40 + 25 * i, 200 - 11 * i), mode)
            photo.save(folder / name / f"{i}.{ending}")
    return folder


def png() -> bytes:
    """A small picture file."""
    file = io.BytesIO()
    Image.new("RGB", (9, 9), "red").save(file, "PNG")
    return file.getvalue()

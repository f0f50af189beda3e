"""One image file as an array."""

import os
import pathlib
import warnings

import numpy as np

try:
    from PIL import Image, ImageOps, UnidentifiedImageError
except ImportError as error:
    raise ImportError(
        "`gdtrain.images` reads images with Pillow, which could not be "
        "imported. Run `pip install pillow`, or, in a copy of gdtrain's "
        "repository, `pip install -e '.[examples]'`."
    ) from error


def read_image(
    path: str | os.PathLike, *, size: tuple[int, int], channels: int = 3
) -> np.ndarray:
    """Reads a JPEG or PNG file of any size and kind.

    The image is turned the way up that the camera noted, transparent pixels
    become white, and it is cropped to the aspect ratio of `size` around its
    center and scaled.

    Args:
        path: The file.
        size: `(height, width)` of the array, in pixels.
        channels: 1 for grey, or 3 for red, green and blue. Defaults to 3.

    Returns:
        Numbers from 0 to 255, uint8 `[height, width, channels]`.

    Raises:
        ValueError: if the file cannot be read, with the reason.

    Example:

    >>> import tempfile
    >>> path = tempfile.mkdtemp() + "/red.png"
    >>> Image.new("RGB", (40, 20), "red").save(path)
    >>> read_image(path, size=(1, 2)).tolist()
    [[[255, 0, 0], [255, 0, 0]]]
    """
    try:
        image = _opened(path)
    except Exception as error:
        # Pillow lets through what its decoders meet in a damaged file:
        # OSError, SyntaxError, ValueError, struct.error, zlib.error, ...
        raise ValueError(
            f"cannot read the picture {os.fspath(path)}: "
            f"{reason(error, path)}. Give a whole JPEG or PNG file, or "
            "remove this one."
        ) from error
    height, width = size
    image = _on_white(_as_8_bits(image))
    image = image.convert("L" if channels == 1 else "RGB")
    image = ImageOps.fit(image, (width, height), Image.Resampling.BILINEAR)
    return np.asarray(image).reshape(height, width, channels)


def reason(error: BaseException | None, path: str | os.PathLike) -> str:
    """Says in a few words why an image cannot be read."""
    if isinstance(error, UnidentifiedImageError):
        is_empty = pathlib.Path(path).stat().st_size == 0
        return "it is empty" if is_empty else "it is neither JPEG nor PNG"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"it is damaged or too large ({str(error).rstrip('.')})"


def _opened(path: str | os.PathLike) -> Image.Image:
    """The decoded image, turned upright."""
    with warnings.catch_warnings():
        # Pillow's, about images of more than 89 million pixels.
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with Image.open(path, formats=("JPEG", "PNG")) as image:
            return ImageOps.exif_transpose(image)


def _as_8_bits(image: Image.Image) -> Image.Image:
    """Scales 16-bit grey, which Pillow would clip at 255 instead."""
    if not image.mode.startswith("I"):
        return image
    return Image.fromarray((np.asarray(image) // 257).astype(np.uint8))


def _on_white(image: Image.Image) -> Image.Image:
    """Fills transparent pixels with white."""
    if "A" not in image.getbands() and "transparency" not in image.info:
        return image
    image = image.convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image)

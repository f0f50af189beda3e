"""One photo, of any kind and size, as an array."""

import contextlib
import importlib
import io
import os
import re
from collections.abc import Iterator
from typing import IO, Literal, TypeAlias, get_args

import numpy as np

from gdtrain.common import checks
from gdtrain.common.explained import more

try:
    from PIL import Image, ImageOps, JpegImagePlugin
except ImportError as error:
    raise ImportError(
        "`gdtrain.images` reads images with Pillow, which could not be "
        "imported. Run `pip install pillow`, or, in a copy of gdtrain's "
        "repository, `pip install -e '.[images]'`." + more("extras")
    ) from error

Source: TypeAlias = str | os.PathLike | bytes | np.ndarray | Image.Image
Fit: TypeAlias = Literal["crop", "stretch", "pad"]

# Both are smooth. To make a photo smaller, the first takes two thirds of the
# time that the second would, and is nearly as sharp.
_SHRINK, _ENLARGE = Image.Resampling.HAMMING, Image.Resampling.BICUBIC

KINDS = "JPEG nor PNG, WebP, GIF, BMP, TIFF or AVIF"
HEAD_BYTES = 64  # Enough to know the kind of a file

# A JPEG is decoded at 1/2, 1/4 or 1/8 of its size, but a progressive one needs
# 3 bytes a pixel before that. Others are decoded whole, in 4 bytes a pixel.
MAX_MEGAPIXELS = {"JPEG": 500}
MAX_MEGAPIXELS_OF_OTHERS = 64

_SIGNATURES = {
    "JPEG": rb"\xff\xd8\xff",
    "PNG": rb"\x89PNG\r\n\x1a\n",
    "WEBP": rb"RIFF....WEBP",
    "GIF": rb"GIF8[79]a",
    # Text may begin with "BM"; the size of the next header tells them apart.
    "BMP": rb"BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0",
    "TIFF": rb"II[*+]\0|MM\0[*+]",
    "AVIF": rb"....ftyp(avi[fs]|m[is]f1.*avi[fs])",
    "HEIF": rb"....ftyp(he[ivm][a-z]|m[is]f1)",
}
_UPRIGHT = {  # By the EXIF tag `Orientation`
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ORIENTATION = 0x0112


class DamagedImage(ValueError):
    """A file that should be an image, and cannot be read.

    Args:
        path: The file; "" if the image did not come from a file.
        reason: Why, in a few words: "it is empty".
        remedy: What to do.

    Example:

    >>> print(DamagedImage("cat.jpg", "it is empty"))
    cannot read the picture cat.jpg: it is empty. Give a whole picture, or
    remove this one.
    """

    def __init__(
        self,
        path: str,
        reason: str,
        remedy: str = "Give a whole picture, or remove this one.",
    ) -> None:
        # The name of a file may be no text, and could not be printed.
        name = f" {path}".encode(errors="backslashreplace").decode()
        super().__init__(
            f"cannot read the picture{name.rstrip()}: {reason}. {remedy}"
        )
        self.path = path
        self.reason = reason
        self.remedy = remedy

    def __reduce__(self) -> tuple:
        return DamagedImage, (self.path, self.reason, self.remedy)


def decode(
    source: Source,
    *,
    size: tuple[int, int],
    channels: int = 3,
    fit: Fit = "stretch",
) -> np.ndarray:
    """Decodes a photo of any kind and size, and scales it.

    The kind is found by content, not by name: JPEG, PNG, WebP, GIF (its first
    frame), BMP, TIFF (its first page), AVIF where Pillow reads it, HEIC where
    pillow-heif is installed. A photo is turned upright as its EXIF data say,
    16 bits are scaled to 8, transparent pixels become white.
    A large JPEG is decoded at reduced size, so it needs little memory.

    Args:
        source: A file, the content of one, an array (uint8 `[height, width]`
            or `[height, width, 1, 3 or 4]`), or a Pillow image.
        size: `(height, width)` of the result, in pixels.
        channels: 1 for grey, or 3 for red, green and blue. Defaults to 3.
        fit: "stretch" (the default) changes the aspect ratio, "crop" cuts
            what is too much around the center, "pad" adds black bars.

    Returns:
        Numbers from 0 to 255, uint8 `[height, width, channels]`.

    Raises:
        DamagedImage: if it cannot be read, with the reason.

    Example:

    >>> blue = np.full([20, 40, 3], [0, 0, 255], np.uint8)
    >>> decode(blue, size=(1, 2)).tolist()
    [[[0, 0, 255], [0, 0, 255]]]
    >>> decode(b"<html>", size=(1, 2))
    Traceback (most recent call last):
        ...
    gdtrain.images.decoding.DamagedImage: cannot read the picture: it is
    neither JPEG nor PNG, WebP, GIF, BMP, TIFF or AVIF. Give a whole ...
    """
    height, width = (checks.positive_integer("size", side) for side in size)
    checks.one_of("channels", channels, (1, 3))
    checks.one_of("fit", fit, get_args(Fit))
    path = source if isinstance(source, (str, os.PathLike)) else ""
    if not isinstance(
        source, (str, os.PathLike, bytes, np.ndarray, Image.Image)
    ):
        raise TypeError(
            "a photo must be a file, the content of one, an array or a Pillow "
            f"image. Received: {type(source).__name__}."
        )
    with naming(path):
        if isinstance(source, (str, os.PathLike)):
            with open(source, "rb") as file:
                image = _loaded(opened(file), max(size))
        elif isinstance(source, bytes):
            image = _loaded(opened(io.BytesIO(source)), max(size))
        elif isinstance(source, np.ndarray):
            image = _from_array(source)
        else:
            image = source
        image = _with_usual_mode(_turned_upright(image))
        image = _on_white(_scaled(image, width, height, fit))
        image = image.convert("L" if channels == 1 else "RGB")
    pixels = np.array(image).reshape(image.height, image.width, channels)
    return _padded(pixels, height, width)


def kind_of(head: bytes) -> str:
    """The kind of an image by the first bytes of its file, or "".

    Example:

    >>> kind_of(b"GIF89a"), kind_of(b"hello")
    ('GIF', '')
    """
    for kind, pattern in _SIGNATURES.items():
        if re.match(pattern, head, re.DOTALL):
            return kind
    return ""


def opened(file: IO[bytes]) -> Image.Image:
    """Opens an image, of which nothing but the header has been read.

    Raises:
        DamagedImage, and what Pillow raises: if that is impossible.
    """
    head = file.read(HEAD_BYTES)
    file.seek(0)
    if not head:
        raise DamagedImage("", "it is empty")
    kind = kind_of(head)
    Image.init()
    if kind == "HEIF" and not _reads_heif():
        raise DamagedImage(
            "", "it is HEIC: run `pip install pillow-heif`, or save it as JPEG"
        )
    if kind not in Image.OPEN:
        raise DamagedImage("", f"it is neither {KINDS}")
    # As `Image.open`, but its limit is on pixels, even if few are decoded.
    factory, _ = Image.OPEN[kind]
    image: Image.Image = factory(file, "")
    megapixels = image.width * image.height / 1e6
    limit = MAX_MEGAPIXELS.get(kind, MAX_MEGAPIXELS_OF_OTHERS)
    if megapixels > limit:
        raise DamagedImage(
            "",
            f"it is too large: {megapixels:.0f} megapixels, where {kind} may "
            f"have {limit}",
        )
    return image


def _reads_heif() -> bool:
    """Whether Pillow reads HEIC, for which it needs the package pillow-heif."""
    if "HEIF" not in Image.OPEN:
        with contextlib.suppress(ImportError):
            importlib.import_module("pillow_heif").register_heif_opener()
    return "HEIF" in Image.OPEN


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Width and height of an image after it has been turned upright."""
    width, height = image.size
    return (height, width) if _orientation(image) >= 5 else (width, height)


@contextlib.contextmanager
def naming(path: str | os.PathLike) -> Iterator[None]:
    """Raises what goes wrong as a `DamagedImage` with this path.

    Example:

    >>> with naming("cat.jpg"):
    ...     raise OSError(2, "No such file or directory")
    Traceback (most recent call last):
        ...
    gdtrain.images.decoding.DamagedImage: cannot read the picture cat.jpg: No
    such file or directory. Give a whole picture, or remove this one.
    """
    try:
        yield
    except MemoryError:
        raise
    except DamagedImage as error:
        raise DamagedImage(os.fspath(path), error.reason) from error
    except Exception as error:
        # Pillow lets through what its decoders meet in a damaged file:
        # OSError, SyntaxError, ValueError, struct.error, zlib.error, ...
        reason = f"it is damaged ({str(error).rstrip('.')})"
        if isinstance(error, OSError) and error.strerror:
            reason = error.strerror
        raise DamagedImage(os.fspath(path), reason) from error


def _from_array(array: np.ndarray) -> Image.Image:
    if array.ndim == 3 and array.shape[-1] == 1:
        array = array[..., 0]
    is_image = array.ndim == 2 or array.ndim == 3 and array.shape[-1] in (3, 4)
    if array.dtype != np.uint8 or not is_image or not array.size:
        raise DamagedImage(
            "",
            "an array must be uint8 [height, width] or [height, width, 1, 3 "
            f"or 4], of numbers from 0 to 255. Received: {array.dtype} "
            f"{list(array.shape)}",
        )
    return Image.fromarray(np.ascontiguousarray(array))


def _loaded(image: Image.Image, side: int) -> Image.Image:
    """Decodes the pixels, of a JPEG at no more than the size needed."""
    if isinstance(image, JpegImagePlugin.JpegImageFile):
        # Scaling does the rest. From less than 1.5 times of the size, what
        # comes out would be noticeably less sharp.
        image.draft(None, (3 * side // 2, 3 * side // 2))
    image.load()
    return image


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # Damaged EXIF data do not damage the picture.
        return 1


def _turned_upright(image: Image.Image) -> Image.Image:
    method = _UPRIGHT.get(_orientation(image))
    return image if method is None else image.transpose(method)


def _with_usual_mode(image: Image.Image) -> Image.Image:
    """Converts to grey or RGB of 8 bits, with alpha if it has transparency.

    Pillow would clip 16 bits at 255, and scale palettes without smoothing.
    """
    if image.mode.startswith("I"):
        pixels = np.asarray(image)
        if pixels.size and (pixels.min() < 0 or pixels.max() > 65535):
            raise DamagedImage(
                "", "it is of 32-bit numbers: save it with 8 or 16"
            )
        return Image.fromarray((pixels // 257).astype(np.uint8))
    if image.mode == "F":
        raise DamagedImage("", "it is of 32-bit numbers: save it with 8 or 16")
    if image.has_transparency_data:
        return image.convert("RGBA")
    return image.convert("L" if image.mode in ("1", "L") else "RGB")


def _scaled(
    image: Image.Image, width: int, height: int, fit: Fit
) -> Image.Image:
    if fit == "pad":
        scale = min(width / image.width, height / image.height)
        width = max(1, round(image.width * scale))
        height = max(1, round(image.height * scale))
    shrinks = width <= image.width and height <= image.height
    resample = _SHRINK if shrinks else _ENLARGE
    if fit == "crop":
        return ImageOps.fit(image, (width, height), resample)
    return image.resize((width, height), resample)


def _on_white(image: Image.Image) -> Image.Image:
    """Fills transparent pixels with white."""
    if image.mode != "RGBA":
        return image
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image)


def _padded(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Adds black around the pixels."""
    if pixels.shape[:2] == (height, width):
        return pixels
    top = (height - pixels.shape[0]) // 2
    left = (width - pixels.shape[1]) // 2
    padded = np.zeros([height, width, pixels.shape[2]], np.uint8)
    padded[top:, left:][: pixels.shape[0], : pixels.shape[1]] = pixels
    return padded

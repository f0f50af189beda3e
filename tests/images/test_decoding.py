"""A photo of any kind becomes the numbers that a model takes."""

import pickle
import runpy
import sys
import types

import numpy as np
import pytest
from PIL import Image, JpegImagePlugin, features

from gdtrain.images import DamagedImage, decode, decoding
from tests.images.photos import encoded, png, random_photo

SIZE = (2, 2)
PHOTO = random_photo(0, (60, 40))
PIXELS = np.asarray(PHOTO)
HEIGHT_AND_WIDTH = (40, 60)


@pytest.fixture
def picture(tmp_path):
    """Saves an image and gives the path."""

    def save(image, name="picture.png", **options):
        image.save(tmp_path / name, **options)
        return tmp_path / name

    return save


# ------------------------------------------------------------------ sources


def test_a_picture_of_the_right_size_stays_as_it_is(picture):
    path = picture(PHOTO)
    sources = [path, str(path), path.read_bytes(), PIXELS, PHOTO]
    for source in sources:
        decoded = decode(source, size=HEIGHT_AND_WIDTH)
        np.testing.assert_array_equal(decoded, PIXELS)


def test_result_is_the_callers_own():
    before = PIXELS.copy()
    decode(PIXELS, size=HEIGHT_AND_WIDTH)[:] = 7
    decode(PHOTO, size=HEIGHT_AND_WIDTH)[:] = 7
    np.testing.assert_array_equal(np.asarray(PHOTO), before)


def test_grey_arrays_have_one_channel_or_none():
    grey = PIXELS[..., :1]
    for array in grey, grey[..., 0]:
        decoded = decode(array, size=HEIGHT_AND_WIDTH, channels=1)
        np.testing.assert_array_equal(decoded, grey)


@pytest.mark.parametrize(
    "array",
    [
        PIXELS / 255,
        PIXELS.astype(np.int64),
        PIXELS[np.newaxis],
        PIXELS[..., :2],
        np.zeros([0, 4, 3], np.uint8),
    ],
)
def test_array_that_is_no_image_is_refused(array):
    with pytest.raises(DamagedImage, match=r"uint8 \[height, width") as caught:
        decode(array, size=SIZE)
    assert str(array.dtype) in str(caught.value)


def test_source_of_another_type_is_refused():
    with pytest.raises(TypeError, match="Received: int"):
        decode(3, size=SIZE)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"size": (0, 2)}, "`size` must be a positive integer"),
        ({"size": SIZE, "channels": 4}, "`channels` must be one of"),
        ({"size": SIZE, "fit": "squeeze"}, "`fit` must be one of"),
    ],
)
def test_bad_argument_is_an_error(arguments, message):
    with pytest.raises(ValueError, match=message):
        decode(PIXELS, **arguments)


# -------------------------------------------------------------------- kinds


@pytest.mark.parametrize(
    "kind, options, tolerance",
    [
        ("PNG", {}, 0),
        ("BMP", {}, 0),
        ("TIFF", {}, 0),
        ("TIFF", {"compression": "tiff_lzw"}, 0),
        ("TIFF", {"compression": "jpeg", "quality": 95}, 4),
        ("WEBP", {"lossless": True}, 0),
        ("JPEG", {"quality": 95}, 4),
        ("JPEG", {"quality": 95, "progressive": True}, 4),
        ("MPO", {"quality": 95}, 4),
        ("GIF", {}, 12),
        ("AVIF", {"quality": 95}, 6),
    ],
)
def test_kind_is_found_by_content(kind, options, tolerance, tmp_path):
    """A name that lies, or is none, changes nothing."""
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow reads no AVIF")
    content = encoded(PHOTO, kind, **options)
    expected = "JPEG" if kind == "MPO" else kind
    assert decoding.kind_of(content[: decoding.HEAD_BYTES]) == expected
    for name in "photo", "photo.png", "photo.txt":
        (tmp_path / name).write_bytes(content)
        decoded = decode(tmp_path / name, size=HEIGHT_AND_WIDTH)
        difference = decoded.astype(int) - PIXELS
        # Lossy kinds: the mean error of the kind and quality, of 255.
        assert np.abs(difference).mean() <= tolerance


@pytest.mark.parametrize("options", [{}, {"quality": 95}])
def test_cmyk_jpeg_has_the_colors_of_rgb(options):
    """Adobe inverts the four channels; the colors must not be."""
    colors = np.zeros([40, 60, 3], np.uint8)
    colors[:20, :30], colors[20:, :30] = [250, 20, 20], [20, 250, 20]
    colors[:20, 30:], colors[20:, 30:] = [20, 20, 250], [230, 230, 230]
    rgb = Image.fromarray(colors)
    content = encoded(rgb.convert("CMYK"), "JPEG", **options)
    decoded = decode(content, size=(4, 6))
    expected = decode(rgb, size=(4, 6))
    # JPEG compresses each channel with an error of a few levels.
    np.testing.assert_allclose(decoded.astype(int), expected, atol=12)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bits_are_divided_by_257(kind):
    values = np.arange(0, 65536, 1024 + 1, dtype=np.uint16)[:60]
    image = Image.fromarray(np.tile(values, [4, 1]))
    decoded = decode(encoded(image, kind), size=(4, 60), channels=1)
    np.testing.assert_array_equal(decoded[0, :, 0], values // 257)


def test_32_bit_numbers_are_refused():
    for array in np.ones([4, 4], np.float32), np.full([4, 4], 99999, np.int32):
        with pytest.raises(DamagedImage, match="of 32-bit numbers"):
            decode(encoded(Image.fromarray(array), "TIFF"), size=SIZE)


def test_black_and_white_is_scaled_smoothly():
    """Pillow takes the nearest pixel of palettes and single bits."""
    stripes = np.tile(np.array([0, 255], np.uint8), [8, 4])
    for mode in "1", "P":
        image = Image.fromarray(stripes).convert(mode)
        decoded = decode(encoded(image, "PNG"), size=(1, 1))
        np.testing.assert_allclose(decoded.astype(int), 127, atol=4)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "TIFF", "PNG"])
def test_first_of_several_frames_is_read(kind):
    frames = [Image.new("RGB", (8, 8), c) for c in ("red", "lime", "blue")]
    content = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    expected = [[255, 0, 0]] * 4
    decoded = decode(content, size=SIZE).reshape(4, 3)
    np.testing.assert_allclose(decoded.astype(int), expected, atol=3)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_becomes_white(picture, mode):
    image = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    image = image.quantize() if mode == "P" else image.convert(mode)
    assert (decode(picture(image), size=SIZE) == 255).all()


@pytest.mark.parametrize("mode, colour", [("RGB", (1, 2, 3)), ("L", 1)])
def test_a_transparent_colour_becomes_white(picture, mode, colour):
    image = Image.new(mode, (4, 4), colour)
    path = picture(image, transparency=colour)
    assert (decode(path, size=SIZE) == 255).all()


def test_half_transparent_is_half_white():
    """`alpha * color + (1 - alpha) * 255`, also where pixels are averaged."""
    array = np.zeros([2, 2, 4], np.uint8)
    array[0] = [200, 100, 0, 255]  # Opaque; below, black and transparent.
    decoded = decode(array, size=(1, 1))
    np.testing.assert_allclose(decoded[0, 0], [227, 177, 127], atol=2)


def test_grey_pictures_become_colour_and_colour_grey(picture):
    grey = picture(Image.new("L", (4, 4), 77), "grey.png")
    assert (decode(grey, size=SIZE) == 77).all()
    white = picture(Image.new("RGB", (4, 4), (255, 255, 255)), "white.png")
    assert (decode(white, size=SIZE, channels=1) == 255).all()


def test_heic_is_read_where_pillow_heif_is_installed(monkeypatch):
    content = b"\0\0\0\x18ftypheic" + bytes(80)
    monkeypatch.delitem(Image.OPEN, "HEIF", raising=False)
    monkeypatch.setitem(sys.modules, "pillow_heif", None)  # Not installed
    with pytest.raises(DamagedImage, match="run `pip install pillow-heif`"):
        decode(content, size=HEIGHT_AND_WIDTH)

    def register():
        opener = (lambda file, name: PHOTO.copy()), None
        monkeypatch.setitem(Image.OPEN, "HEIF", opener)

    installed = types.SimpleNamespace(register_heif_opener=register)
    monkeypatch.setitem(sys.modules, "pillow_heif", installed)
    decoded = decode(content, size=HEIGHT_AND_WIDTH)
    np.testing.assert_array_equal(decoded, PIXELS)


# -------------------------------------------------------------- orientation

# How a camera that was held so stores the upright picture (EXIF 2.32, 4.6.4).
STORED = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
    8: lambda a: np.rot90(a, -1),
}


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", STORED)
def test_photo_is_turned_upright(orientation, kind):
    stored = np.ascontiguousarray(STORED[orientation](PIXELS))
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {}
    image = Image.fromarray(stored)
    content = encoded(image, kind, exif=exif, **options)
    decoded = decode(content, size=HEIGHT_AND_WIDTH)
    np.testing.assert_array_equal(decoded, PIXELS)


@pytest.mark.parametrize("orientation", STORED)
def test_jpeg_is_turned_upright(orientation):
    stored = np.ascontiguousarray(STORED[orientation](PIXELS))
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(Image.fromarray(stored), "JPEG", exif=exif, quality=95)
    difference = decode(content, size=HEIGHT_AND_WIDTH).astype(int) - PIXELS
    assert np.abs(difference).mean() < 4  # JPEG's; turned wrongly, it is 60.


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_damaged_exif_does_not_damage_the_picture():
    content = encoded(PHOTO, "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    assert decode(content, size=SIZE).shape == (2, 2, 3)


# --------------------------------------------------------------------- size


def test_a_picture_is_cut_around_its_centre_and_not_squeezed():
    array = np.zeros([2, 6, 3], np.uint8)
    array[:, 2:4] = 200
    assert (decode(array, size=SIZE, fit="crop") == 200).all()


def test_stretch_keeps_all_of_the_picture():
    array = np.zeros([2, 6, 1], np.uint8)
    array[:, :3] = 200
    decoded = decode(array, size=(2, 2), channels=1)[..., 0]
    assert (decoded[:, 0] > 150).all() and (decoded[:, 1] < 50).all()


@pytest.mark.parametrize("shape", [(2, 6), (6, 2), (1, 600), (600, 1)])
def test_pad_keeps_the_aspect_ratio(shape):
    decoded = decode(
        np.full(shape, 200, np.uint8), size=(6, 6), channels=1, fit="pad"
    )[..., 0]
    bars = (decoded == 0).all(axis=int(shape[0] < shape[1]))
    assert 4 <= bars.sum() <= 5 and not bars[len(bars) // 2 - 1]
    assert ((decoded == 0) | (decoded == 200)).all()


@pytest.mark.filterwarnings("ignore:Image size")  # Of `Image.open`
def test_large_jpeg_is_decoded_at_reduced_size(tmp_path, monkeypatch):
    """Of 100 megapixels, 1.6 are decoded."""
    image = Image.new("L", (12500, 8000))
    image.paste(200, (6250, 0, 12500, 8000))
    image.save(tmp_path / "large.jpg")
    del image
    loaded = []
    load = JpegImagePlugin.JpegImageFile.load

    def recorded_load(self):
        loaded.append(self.size)
        return load(self)

    monkeypatch.setattr(JpegImagePlugin.JpegImageFile, "load", recorded_load)
    decoded = decode(tmp_path / "large.jpg", size=(4, 6))
    assert set(loaded) == {(1563, 1000)}
    assert (decoded[:, :2] < 10).all() and (decoded[:, 4:] > 190).all()


def test_reduced_size_is_at_least_what_is_asked_for():
    photo = random_photo(1, (900, 600))
    content = encoded(photo, "JPEG", quality=95)
    for size in (60, 90), (200, 300), (600, 900):
        expected = decode(photo, size=size).astype(int)
        difference = decode(content, size=size) - expected
        assert np.abs(difference).mean() < 2


def test_large_picture_of_another_kind_is_refused():
    content = encoded(Image.new("1", (10000, 10000)), "PNG")
    with pytest.raises(DamagedImage, match="too large: 100 megapixels.*64"):
        decode(content, size=SIZE)


# ------------------------------------------------------------------ damages


@pytest.mark.parametrize(
    "name, content, reason",
    [
        ("none.jpg", None, "No such file"),
        ("a.jpg", b"", "it is empty"),
        ("a.jpg", b"hi", "neither JPEG nor PNG"),
        ("a.txt", b"BMW and other makers of cars", "neither JPEG nor PNG"),
        ("a.png", png()[:50], "damaged"),
        ("a.heic", b"\0\0\0\x18ftypheic" + bytes(50), "save it as JPEG"),
        (".", None, "Is a directory"),
    ],
)
def test_file_that_cannot_be_read_is_named(tmp_path, name, content, reason):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DamagedImage, match=reason) as caught:
        decode(path, size=SIZE)
    assert str(path) in str(caught.value) and caught.value.path == str(path)
    assert reason in caught.value.reason
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"]
)
@pytest.mark.parametrize("share", [0.02, 0.3, 0.9])
def test_truncated_file_is_damaged(kind, share):
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow reads no AVIF")
    content = encoded(random_photo(2, (200, 200)), kind)
    with pytest.raises(DamagedImage):
        decode(content[: int(share * len(content))], size=SIZE)


def test_damaged_image_can_be_sent_between_processes():
    error = pickle.loads(pickle.dumps(DamagedImage("a.jpg", "it is empty")))
    assert (error.path, error.reason) == ("a.jpg", "it is empty")


def test_too_little_memory_is_no_damage(monkeypatch):
    def fail(*arguments):
        raise MemoryError

    monkeypatch.setattr(decoding, "_scaled", fail)
    with pytest.raises(MemoryError):
        decode(PIXELS, size=SIZE)


def test_without_pillow_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match="`pip install pillow`"):
        runpy.run_path(decoding.__file__)


# ----------------------------------------------------------------- scaling


def exact_means(pixels, height, width):
    """The mean of each area, with the part of pixels on its border."""
    for axis, size in enumerate((height, width)):
        many = np.repeat(pixels, size, axis=axis)
        parts = np.split(many, size, axis=axis)
        pixels = np.stack([p.mean(axis) for p in parts], axis)
    return pixels


def distance(a, b):
    return np.sqrt(np.mean(np.square(np.float64(a) - b)))


@pytest.mark.parametrize("size", [(64, 64), (45, 50), (23, 30), (89, 99)])
def test_a_photo_becomes_smaller_without_aliasing(size):
    """Near the exact means, and far nearer than without smoothing."""
    random = np.random.default_rng(0)
    photo = np.asarray(random_photo(0, (200, 180))).astype(int)
    photo = (photo + random.integers(-25, 26, photo.shape)).clip(0, 255)
    expected = exact_means(photo.astype(np.float64), *size)
    image = Image.fromarray(photo.astype(np.uint8))
    found = distance(decode(image, size=size), expected)
    nearest = image.resize(size[::-1], Image.Resampling.NEAREST)
    assert found < 4.5 and found < distance(nearest, expected) / 3


def test_stripes_too_fine_to_be_seen_become_grey():
    stripes = np.tile(np.uint8([0, 255]), [100, 50])
    for size in (30, 30), (44, 21):
        small = decode(stripes, size=size)[2:-2, 2:-2].astype(int)
        assert abs(small - 127.5).max() <= 25


@pytest.mark.parametrize("fit", ["stretch", "crop", "pad"])
def test_a_photo_becomes_larger_smoothly(fit):
    ramp = np.tile(np.arange(0, 250, 10, dtype=np.uint8), [25, 1])
    large = decode(ramp, size=(100, 100), fit=fit)[50, 4:-4, 0].astype(int)
    steps = np.diff(large)
    assert steps.min() >= 2 and steps.max() <= 3

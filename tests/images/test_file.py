"""An image file of any kind becomes the numbers that a model takes."""

import runpy
import sys

import numpy as np
import pytest
from PIL import Image

from gdtrain.images import file, read_image
from tests.images.photos import png

SIZE = (2, 2)


@pytest.fixture
def picture(tmp_path):
    """Saves an image and gives the path."""

    def save(image, name="picture.png", **options):
        image.save(tmp_path / name, **options)
        return tmp_path / name

    return save


def test_a_picture_of_the_right_size_stays_as_it_is(picture):
    array = np.arange(192, dtype=np.uint8).reshape(8, 8, 3)
    path = picture(Image.fromarray(array))
    np.testing.assert_array_equal(read_image(path, size=(8, 8)), array)


def test_a_picture_is_cut_around_its_centre_and_not_squeezed(picture):
    array = np.zeros([2, 6, 3], np.uint8)
    array[:, 2:4] = 200
    assert (read_image(picture(Image.fromarray(array)), size=SIZE) == 200).all()


def test_a_camera_on_its_side_is_turned_back(picture):
    array = np.array([[10, 20], [30, 40]], np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6  # Orientation: the camera was turned by a quarter.
    path = picture(Image.fromarray(array), exif=exif)
    expected = [[[30], [10]], [[40], [20]]]
    assert read_image(path, size=(2, 2), channels=1).tolist() == expected


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_becomes_white(picture, mode):
    image = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    image = image.quantize() if mode == "P" else image.convert(mode)
    assert (read_image(picture(image), size=SIZE) == 255).all()


@pytest.mark.parametrize("mode, colour", [("RGB", (1, 2, 3)), ("L", 1)])
def test_a_transparent_colour_becomes_white(picture, mode, colour):
    image = Image.new(mode, (4, 4), colour)
    path = picture(image, transparency=colour)
    assert (read_image(path, size=SIZE) == 255).all()


def test_sixteen_bits_are_scaled_and_not_cut_off(picture):
    image = Image.fromarray(np.full([4, 4], 257 * 100, np.uint16))
    assert (read_image(picture(image), size=SIZE) == 100).all()


def test_grey_pictures_become_colour_and_colour_grey(picture):
    grey = picture(Image.new("L", (4, 4), 77), "grey.png")
    assert (read_image(grey, size=SIZE) == 77).all()
    white = picture(Image.new("RGB", (4, 4), (255, 255, 255)), "white.png")
    assert (read_image(white, size=SIZE, channels=1) == 255).all()


@pytest.mark.parametrize(
    "name, content, reason",
    [
        ("none.jpg", None, "No such file"),
        ("a.jpg", b"", "it is empty"),
        ("a.jpg", b"hi", "neither JPEG nor PNG"),
        ("a.png", png()[:50], "damaged"),
        (".", None, "Is a directory"),
    ],
)
def test_file_that_cannot_be_read_is_named(tmp_path, name, content, reason):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=reason) as caught:
        read_image(path, size=SIZE)
    assert str(path) in str(caught.value)


def test_without_pillow_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match="`pip install pillow`"):
        runpy.run_path(file.__file__)

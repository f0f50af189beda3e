"""`examples/image_classifier.py`, run small, and what it makes of bad input.

The accuracies at the top of the example are those of full runs, which take
longer than a test may: 30 s for the digits, minutes for the clothes.
"""

import contextlib
import errno
import gzip
import io
import math
import os
import re
import subprocess
import sys
import zipfile

import image_classifier as example
import image_data
import image_model
import image_network
import image_pictures
import keras
import numpy as np
import pytest
from _console import InputError, run
from PIL import Image, ImageDraw
from tensorboard.backend.event_processing.event_accumulator import (
    EventAccumulator,
)

from tests.examples.conftest import EXAMPLES

EPOCHS, STEPS = 2, 2 * 45  # 1,437 digits, 32 a step.


def digits_arguments(folder, seed=0):
    """A small run with the digits."""
    return [
        f"--output={folder}",
        f"--seed={seed}",
        f"--epochs={EPOCHS}",
        "--batch-size=32",
        "--learning-rate=0.05",
    ]


def run_and_read(argv):
    """The result of `main`, and what it printed."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        result = example.main([str(argument) for argument in argv])
    return result, printed.getvalue()


def without_times(printed):
    """What does not depend on when and how fast it ran."""
    printed = re.sub(r"\d+m?s(/step)?\b", "TIME", printed)
    return re.sub(r"\d{8}-\d{6}-\d+", "RUN", printed)


def draw_photo(bright, size, mode):
    """A bright ellipse on dark, or a dark rectangle on bright."""
    colors = [(250, 200, 60), (60, 20, 30)][:: 1 if bright else -1]
    image = Image.new("RGB", size, colors[1])
    draw = ImageDraw.Draw(image)
    shape = draw.ellipse if bright else draw.rectangle
    width, height = size
    shape((width // 5, height // 4, width * 4 // 5, height * 3 // 4), colors[0])
    return image.convert(mode)


def make_photos(folder, count=12):
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


def write_idx(path, array):
    """Writes a gzipped idx file."""
    header = bytes([0, 0, 8, array.ndim])
    sizes = np.array(array.shape, ">u4").tobytes()
    path.write_bytes(gzip.compress(header + sizes + array.tobytes()))


def write_fashion_mnist(folder, training=40, held_out=20):
    """Writes the four files of a small Fashion-MNIST."""
    folder.mkdir()
    generator = np.random.default_rng(0)
    for part, count in ("train", training), ("t10k", held_out):
        images = generator.integers(0, 256, [count, 28, 28], np.uint8)
        labels = (np.arange(count) % 10).astype(np.uint8)
        write_idx(folder / f"{part}-images-idx3-ubyte.gz", images)
        write_idx(folder / f"{part}-labels-idx1-ubyte.gz", labels)


@pytest.fixture(scope="module")
def output(tmp_path_factory):
    return tmp_path_factory.mktemp("digits")


@pytest.fixture(scope="module")
def first_run(output):
    return run_and_read(digits_arguments(output))


@pytest.fixture(scope="module")
def result(first_run):
    return first_run[0]


@pytest.fixture(scope="module")
def printed(first_run):
    return first_run[1]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return make_photos(tmp_path_factory.mktemp("photos") / "data")


@pytest.fixture(scope="module")
def photos_run(photos):
    return run_and_read(
        ["--data", photos, "--output", photos.parent / "out", "--epochs=12"]
    )


# --------------------------------------------------------------- the digits


def test_two_epochs_tell_most_digits_apart(result):
    assert result.accuracy > 0.7
    assert result.guessing == pytest.approx(0.1, abs=0.01)


def test_it_prints_how_good_it_is_and_where_its_files_are(result, printed):
    right = round(360 * result.accuracy)
    assert f"{result.accuracy:.1%} ({right} of 360)" in printed
    assert "get 10.0%" in printed
    for path in (result.model, result.predictions, result.confusion):
        assert path.is_file() and str(path) in printed
    assert f"tensorboard --logdir {result.log_folder.parent}" in printed
    assert "http://localhost:6006/#custom_scalars" in printed


def test_nothing_else_is_left_in_the_output_folder(result):
    names = sorted(path.name for path in result.model.parent.iterdir())
    expected = ["confusion.png", "logs", "model.keras", "predictions.png"]
    assert names == expected


def test_the_pictures_are_png_and_not_blank(result):
    for path in (result.predictions, result.confusion):
        with Image.open(path) as image:
            assert image.format == "PNG"
            assert np.asarray(image).std() > 10


def test_a_run_again_prints_the_same_numbers(first_run, output):
    again, printed = run_and_read(digits_arguments(output))
    assert without_times(printed) == without_times(first_run[1])
    for weight, other in zip(
        first_run[0].network.get_weights(), again.network.get_weights()
    ):
        np.testing.assert_array_equal(weight, other)
    assert again.log_folder != first_run[0].log_folder


@pytest.mark.long
def test_another_seed_gives_another_network(tmp_path, result):
    other, _ = run_and_read([*digits_arguments(tmp_path, 1), "--epochs=1"])
    first, others = result.network.weights[0], other.network.weights[0]
    assert not np.allclose(first, others)


def test_every_step_is_in_the_log(result):
    folder = str(result.log_folder)
    events = EventAccumulator(folder).Reload().Scalars("step/loss")
    assert [event.step for event in events] == list(range(1, STEPS + 1))


# ---------------------------------------------------------- the saved model


def test_the_saved_model_says_what_the_one_in_memory_says(result, tmp_path):
    images = image_data.read_digits().held_out.images[:3]
    expected = result.network.predict(images, verbose=0)
    for image, probabilities in zip(images, expected):
        path = tmp_path / "digit.png"
        Image.fromarray(image[..., 0]).save(path)
        argv = ["--predict", path, "--model", result.model]
        prediction, printed = run_and_read(argv)
        assert prediction.class_name == str(probabilities.argmax())
        # Not exact: three pictures at once are added up in another order.
        confidence = pytest.approx(probabilities.max(), abs=1e-5)
        assert prediction.confidence == confidence
        assert printed == f"{prediction}\n"


def test_keras_alone_loads_the_saved_model(result):
    model = keras.saving.load_model(result.model)
    assert type(model) is keras.Sequential
    for weight, other in zip(model.get_weights(), result.network.get_weights()):
        np.testing.assert_array_equal(weight, other)


def test_class_names_are_in_the_model_file(photos_run):
    names = image_model.read_class_names(photos_run[0].model)
    assert names == ["hot dog", "not hot dog"]


def test_a_failed_save_leaves_the_model_before_it(
    result, tmp_path, monkeypatch
):
    path = tmp_path / "model.keras"
    path.write_bytes(b"before")

    def fail(names):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(image_model.json, "dumps", fail)
    with pytest.raises(InputError, match="No space left"):
        image_model.save(path, result.network, result.class_names)
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_the_console_shows_the_prediction_and_nothing_else(photos, photos_run):
    argv = ["--predict", photos / "hot_dog" / "0.jpg"]
    argv += ["--model", photos_run[0].model]
    done = subprocess.run(
        [sys.executable, EXAMPLES / "image_classifier.py", *argv],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"hot dog \([01]\.\d\d\)\n", done.stdout)


# ------------------------------------------------------- a folder of photos


def test_photos_are_told_apart(photos, photos_run):
    result, printed = photos_run
    assert result.accuracy == 1.0
    assert result.guessing == 0.5
    for name, bright in ("hot dog", True), ("not hot dog", False):
        path = photos.parent / "new.png"
        draw_photo(bright, (300, 80), "RGB").save(path)
        argv = ["--predict", path, "--model", result.model]
        prediction, _ = run_and_read(argv)
        assert prediction.class_name == name
        assert prediction.confidence > 0.5


def test_it_prints_how_many_photos_of_each_class_there_are(photos_run):
    assert re.search(r"^hot dog +10 +2$", photos_run[1], re.MULTILINE)
    assert re.search(r"^not hot dog +10 +2$", photos_run[1], re.MULTILINE)


def test_what_is_held_out_is_not_learned_from(photos):
    data = image_data.read_folder(photos, seed=0)
    learned = {image.tobytes() for image in data.training.images}
    held_out = {image.tobytes() for image in data.held_out.images}
    assert len(learned) == 20 and len(held_out) == 4
    assert not learned & held_out
    assert np.bincount(data.held_out.labels).tolist() == [2, 2]


def test_the_seed_draws_what_is_held_out(photos):
    first, again, other = (
        image_data.read_folder(photos, seed).held_out.images
        for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_small_class_keeps_a_picture_on_either_side(tmp_path):
    data = image_data.read_folder(make_photos(tmp_path / "data", 2), seed=0)
    assert sorted(data.training.labels) == [0, 1]
    assert sorted(data.held_out.labels) == [0, 1]


def test_hidden_and_other_files_are_left_alone(tmp_path):
    folder = make_photos(tmp_path / "data", 3)
    (folder / ".git").mkdir()
    (folder / "licence.txt").write_text("free")
    (folder / "hot_dog" / "notes.txt").write_text("tasty")
    (folder / "hot_dog" / "._0.jpg").write_text("of macOS")
    (folder / "hot_dog" / "more.jpg").mkdir()
    (folder / "hot_dog" / "Thumbs.db").write_text("of Windows")
    data = image_data.read_folder(folder, seed=0)
    assert data.class_names == ["hot dog", "not hot dog"]
    assert len(data.training) + len(data.held_out) == 6
    assert "(2 .txt)" in data.description
    assert "._0" not in data.description and ".db" not in data.description


def test_jpeg_has_other_endings_too(tmp_path):
    folder = make_photos(tmp_path / "data", 2)
    for i, ending in enumerate((".jfif", ".JFIF", ".jpe")):
        path = folder / "hot_dog" / f"saved_{i}{ending}"
        draw_photo(True, (30, 30), "RGB").save(path, "JPEG")
    data = image_data.read_folder(folder, seed=0)
    assert len(data.training) + len(data.held_out) == 7
    assert "Left out" not in data.description


def test_what_is_left_out_is_told(tmp_path):
    folder = make_photos(tmp_path / "data", 2)
    lost = [folder / "lost.jpg", folder / "hot_dog" / "2020" / "a.png"]
    lost[1].parent.mkdir()
    for path in lost:
        draw_photo(True, (30, 30), "RGB").save(path)
    for name in ("a.webp", "b.WEBP", "c.bmp", "readme"):
        (folder / "hot_dog" / name).write_bytes(b"")
    text = image_data.read_folder(folder, seed=0).description
    assert "2 pictures that do not lie in the folder of a class" in text
    assert all(str(path) in text for path in lost)
    assert "(2 .webp, 1 .bmp, 1 without an ending)" in text


def test_all_damaged_pictures_are_named_at_once(tmp_path):
    folder = make_photos(tmp_path / "data", 6)
    for name, content in ("0.jpg", b""), ("1.JPEG", b"<html>"), ("2.png", PNG):
        path = folder / "hot_dog" / name
        path.write_bytes(content[:50])
    with pytest.raises(InputError) as caught:
        image_data.read_folder(folder, seed=0)
    text = str(caught.value)
    assert text.startswith("3 of 12 pictures cannot be read")
    assert "0.jpg (it is empty)" in text
    assert "1.JPEG (it is neither JPEG nor PNG)" in text
    assert "2.png (it is damaged" in text


# ------------------------------------------------------------ picture files


def read(path, shape=(2, 2, 3)):
    """The picture in a file, as a network gets it."""
    return image_data.to_array(image_data.open_picture(path), shape)


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
    np.testing.assert_array_equal(read(path, (8, 8, 3)), array)


def test_a_picture_is_cut_around_its_centre_and_not_squeezed(picture):
    array = np.zeros([2, 6, 3], np.uint8)
    array[:, 2:4] = 200
    assert (read(picture(Image.fromarray(array))) == 200).all()


def test_a_camera_on_its_side_is_turned_back(picture):
    array = np.array([[10, 20], [30, 40]], np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6  # Orientation: the camera was turned by a quarter.
    path = picture(Image.fromarray(array), exif=exif)
    expected = [[[30], [10]], [[40], [20]]]
    assert read(path, (2, 2, 1)).tolist() == expected


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_becomes_white(picture, mode):
    image = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    image = image.quantize() if mode == "P" else image.convert(mode)
    assert (read(picture(image)) == 255).all()


@pytest.mark.parametrize("mode, colour", [("RGB", (1, 2, 3)), ("L", 1)])
def test_a_transparent_colour_becomes_white(picture, mode, colour):
    image = Image.new(mode, (4, 4), colour)
    assert (read(picture(image, transparency=colour)) == 255).all()


def test_sixteen_bits_are_scaled_and_not_cut_off(picture):
    image = Image.fromarray(np.full([4, 4], 257 * 100, np.uint16))
    assert (read(picture(image)) == 100).all()


def test_grey_pictures_become_colour_and_colour_grey(picture):
    grey = picture(Image.new("L", (4, 4), 77), "grey.png")
    assert (read(grey, (2, 2, 3)) == 77).all()
    white = picture(Image.new("RGB", (4, 4), (255, 255, 255)), "white.png")
    assert (read(white, (2, 2, 1)) == 255).all()


# ------------------------------------------------------------ Fashion-MNIST


def test_fashion_mnist_is_read_from_its_folder(tmp_path, monkeypatch):
    folder = tmp_path / "fashion-mnist"
    write_fashion_mnist(folder)
    monkeypatch.setattr(image_data, "FASHION_MNIST", folder)
    argv = ["--data=fashion_mnist", "--epochs=1", f"--output={tmp_path}/out"]
    result, printed = run_and_read(argv)
    assert "40 pictures of clothes to learn from, 20 held out" in printed
    assert result.network.input_shape == (None, 28, 28, 1)
    assert len(result.class_names) == 10


def test_without_the_folder_keras_downloads_it(tmp_path, monkeypatch):
    images, labels = np.ones([20, 28, 28], np.uint8), np.arange(20) % 10
    pair = images, labels.astype(np.uint8)
    monkeypatch.setattr(image_data, "FASHION_MNIST", tmp_path / "none")
    monkeypatch.setattr(
        keras.datasets.fashion_mnist, "load_data", lambda: (pair, pair)
    )
    data = image_data.read_fashion_mnist()
    assert data.shape == (28, 28, 1)
    assert data.held_out.labels.tolist() == labels.tolist()


def test_a_failed_download_says_what_to_do(tmp_path, monkeypatch):
    def fail():
        raise Exception("URL fetch failure on https://example.org")

    monkeypatch.setattr(image_data, "FASHION_MNIST", tmp_path / "none")
    monkeypatch.setattr(keras.datasets.fashion_mnist, "load_data", fail)
    with pytest.raises(InputError, match="URL fetch.*dataset-fashion-mnist"):
        image_data.read_fashion_mnist()


@pytest.mark.parametrize("shape", [(3,), (2, 3, 4), (0, 2, 2)])
def test_an_idx_file_is_read_as_it_was_written(tmp_path, shape):
    array = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    write_idx(tmp_path / "file.gz", array)
    read = image_data.read_idx(tmp_path / "file.gz", len(shape))
    np.testing.assert_array_equal(read, array)


COMPLETE = bytes([0, 0, 8, 1, 0, 0, 0, 2, 5, 6])


@pytest.mark.parametrize(
    "content, reason",
    [
        (None, "No such file"),
        (b"", "not a complete idx file"),
        (COMPLETE, "[Nn]ot a gzip"),
        (gzip.compress(COMPLETE)[:-4], "ended before"),
        (gzip.compress(COMPLETE[:-1]), "not a complete idx file"),
        (gzip.compress(COMPLETE + b"7"), "not a complete idx file"),
        (gzip.compress(COMPLETE[:6]), "not a complete idx file"),
        (gzip.compress(b"\0\0\x0d" + COMPLETE[3:]), "not a complete idx file"),
        (gzip.compress(b"\0\0\x08\3" + COMPLETE[4:]), "in 1 dimensions"),
    ],
    ids=[
        "missing",
        "empty",
        "not compressed",
        "compressed half",
        "too short",
        "too long",
        "without sizes",
        "not of bytes",
        "of other dimensions",
    ],
)
def test_a_damaged_idx_file_is_named(tmp_path, content, reason):
    path = tmp_path / "labels.gz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=reason) as caught:
        image_data.read_idx(path, 1)
    assert str(path) in str(caught.value)


def test_images_without_labels_are_an_error(tmp_path):
    write_idx(tmp_path / "images.gz", np.zeros([3, 2, 2], np.uint8))
    write_idx(tmp_path / "labels.gz", np.zeros([2], np.uint8))
    with pytest.raises(InputError, match="3 images, but .* 2 labels"):
        image_data.read_idx_pair(tmp_path / "images.gz", tmp_path / "labels.gz")


# ------------------------------------------------------------- the pictures


def test_confusions_are_counted_by_class():
    probabilities = np.eye(3)[[0, 1, 1, 2]]
    table = image_pictures.confusion(np.array([0, 0, 1, 2]), probabilities)
    assert table.tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 1]]


def test_the_most_confident_mistakes_are_drawn():
    probabilities = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.3, 0.7]])
    labels = np.array([0, 1, 0, 1])
    sample, mistakes = image_pictures.choose(labels, probabilities, seed=0)
    groups = image_pictures.choose(labels, probabilities, seed=0)
    assert sorted(groups[sample]) == [0, 1, 2, 3]
    assert groups[mistakes].tolist() == [2, 1]
    assert "2 mistakes" in mistakes


def test_without_mistakes_there_are_none_to_draw(tmp_path):
    images = np.zeros([2, 4, 4, 3], np.uint8)
    pictures = image_data.Pictures(images, np.array([0, 1]))
    path = tmp_path / "predictions.png"
    image_pictures.draw_predictions(path, pictures, np.eye(2), "ab", seed=0)
    with Image.open(path) as image:
        assert image.format == "PNG"


def test_many_classes_are_drawn_without_numbers(tmp_path):
    path, count = tmp_path / "confusion.png", 60
    names = [f"class {i}" for i in range(count)]
    image_pictures.draw_confusion(path, np.arange(count), np.eye(count), names)
    with Image.open(path) as image:
        assert max(image.size) <= 3000


# ---------------------------------------------------------------- bad input


def bad_photos(change):
    """Arguments for a folder of photos in which something is wrong.

    Args:
        change: Called with the folder, to make it wrong; returns what the
            message must name.
    """

    def make(folder):
        data = make_photos(folder / "data", 3)
        return ["--data", data], change(data)

    return make


def overwrite(data, content):
    path = data / "not_hot_dog" / "0.jpg"
    path.write_bytes(content(path.read_bytes()))
    return path


def without_second_class(data):
    for path in (data / "not_hot_dog").iterdir():
        path.unlink()
    (data / "not_hot_dog").rmdir()
    return data


def with_a_class(data, files):
    (data / "cat").mkdir()
    for name in files:
        Image.new("L", (5, 5)).save(data / "cat" / name)
    return data / "cat"


def with_a_namesake(data):
    (data / "hot dog").rename(data / "x") if (data / "hot dog").exists() else 0
    (data / "hot dog").mkdir()
    Image.new("L", (5, 5)).save(data / "hot dog" / "0.png")
    Image.new("L", (5, 5)).save(data / "hot dog" / "1.png")
    return data / "hot_dog"


def make_huge(data):
    path = data / "hot_dog" / "huge.png"
    Image.new("1", (10000, 10000)).save(path)
    return path


def empty_folder(folder):
    (folder / "data").mkdir()
    return ["--data", folder / "data"], folder / "data"


def a_file(folder):
    path = folder / "photos.zip"
    path.write_text("PK")
    return ["--data", path], path


def asked(name, content=None, model="model.keras", model_content=None):
    """Arguments for a `--predict`, with files of this content."""

    def make(folder):
        if content is not None:
            (folder / name).write_bytes(content)
        if model_content is not None:
            (folder / model).write_bytes(model_content)
        argv = ["--predict", folder / name, "--model", folder / model]
        good = content == PNG
        return argv, folder / (model if good else name)

    return make


def png():
    file = io.BytesIO()
    Image.new("RGB", (9, 9), "red").save(file, "PNG")
    return file.getvalue()


def zipped(**files):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in files.items():
            archive.writestr(name.replace("_json", ".json"), content)
    return file.getvalue()


PNG = png()
BAD_INPUTS = {
    "an empty photo": (
        bad_photos(lambda data: overwrite(data, lambda _: b"")),
        "it is empty",
    ),
    "text named .jpg": (
        bad_photos(lambda data: overwrite(data, lambda _: b"hello")),
        "neither JPEG nor PNG",
    ),
    "half a photo": (
        bad_photos(lambda data: overwrite(data, lambda all: all[:-100])),
        "damaged",
    ),
    "a photo too large": (bad_photos(make_huge), "too large"),
    "one class": (bad_photos(without_second_class), "two or more folders"),
    "an empty class": (
        bad_photos(lambda data: with_a_class(data, [])),
        "It has 0",
    ),
    "a class of one photo": (
        bad_photos(lambda data: with_a_class(data, ["a.png"])),
        "It has 1",
    ),
    "a class of files of another kind": (
        bad_photos(lambda data: with_a_class(data, ["a.gif", "b.gif"])),
        "JPEG or PNG",
    ),
    "two classes of one name": (bad_photos(with_a_namesake), "Rename"),
    "an empty folder": (empty_folder, "It has 0"),
    "no folder": (
        lambda folder: (["--data", folder / "none"], folder / "none"),
        "No such file",
    ),
    "a file for a folder": (a_file, "Not a directory"),
    "no picture": (asked("none.jpg"), "No such file"),
    "an empty picture": (asked("a.jpg", b""), "it is empty"),
    "a text for a picture": (asked("a.jpg", b"hi"), "neither JPEG nor PNG"),
    "half a picture": (asked("a.png", PNG[:50]), "damaged"),
    "no model": (asked("a.png", PNG), "Train one first"),
    "a text for a model": (
        asked("a.png", PNG, model_content=b"hello"),
        "not a model that",
    ),
    "an empty model": (
        asked("a.png", PNG, model_content=b""),
        "not a model that",
    ),
    "a model without names": (
        asked("a.png", PNG, model_content=zipped(config_json="{}")),
        "not a model that",
    ),
    "a model that Keras cannot load": (
        asked("a.png", PNG, model_content=zipped(class_names_json='["a"]')),
        "not a model that",
    ),
}


@pytest.mark.parametrize("name", BAD_INPUTS)
def test_bad_input_gets_one_line_and_leaves_nothing(name, tmp_path, capsys):
    make, words = BAD_INPUTS[name]
    argv, named = make(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    if "--predict" not in argv:
        argv += ["--output", tmp_path / "output"]
    assert run(lambda: example.main([str(part) for part in argv])) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert re.fullmatch(r"error: .*\.\n", printed.err)
    assert words in printed.err and str(named) in printed.err
    assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_for_a_picture_is_an_error(tmp_path):
    with pytest.raises(InputError, match="Is a directory"):
        example.main(["--predict", str(tmp_path)])


def test_a_loss_that_explodes_is_explained_and_nothing_saved(tmp_path):
    argv = ["--epochs=1", "--learning-rate=3e38", f"--output={tmp_path}"]
    with pytest.raises(InputError, match="Give a smaller --learning-rate"):
        run_and_read(argv)
    assert os.listdir(tmp_path) == ["logs"]


def test_weights_that_explode_behind_a_finite_loss_are_explained():
    network = keras.Sequential([keras.Input([2]), keras.layers.Dense(3)])
    watch = image_network.Divergence(guessing=math.log(3))
    watch.set_model(network)
    watch.on_epoch_end(0, {"loss": 2.0})
    network.layers[0].kernel.assign([[1, np.inf, np.nan], [0, 0, 0]])
    with pytest.raises(InputError, match="^2 weights became infinite or NaN"):
        watch.on_epoch_end(0, {"loss": 2.0})


@pytest.mark.parametrize("loss", [1e30, math.inf, math.nan])
def test_a_loss_far_above_guessing_is_explained(loss):
    watch = image_network.Divergence(guessing=math.log(3))
    with pytest.raises(InputError, match="the learning rate is too large"):
        watch.on_epoch_end(0, {"loss": loss})


def test_a_run_that_diverges_keeps_the_model_before_it(photos, tmp_path):
    (tmp_path / "model.keras").write_text("the one before")
    argv = ["--data", photos, "--output", tmp_path, "--learning-rate=1e6"]
    with pytest.raises(InputError, match="epoch 1: the learning rate is too"):
        run_and_read(argv)
    assert (tmp_path / "model.keras").read_text() == "the one before"


@pytest.mark.parametrize(
    "argv",
    [
        ["--epochs=0"],
        ["--batch-size=2.5"],
        ["--learning-rate=0"],
        ["--learning-rate=fast"],
        ["--learning-rate=nan"],
        ["--seed=-1"],
        [f"--seed={2**32}"],
    ],
)
def test_a_bad_option_says_what_it_must_be(argv, capsys):
    with pytest.raises(SystemExit) as caught:
        example.main(argv)
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert "must be" in error and argv[0].split("=")[1] in error


@pytest.mark.parametrize("option", ["--epochs=3", "--seed=0", "--data=digits"])
def test_predict_refuses_options_of_training(option):
    with pytest.raises(InputError, match=option.split("=")[0]):
        example.main(["--predict", "a.png", option])


def test_training_refuses_a_model():
    with pytest.raises(InputError, match="--model"):
        example.main(["--model", "a.keras"])


def test_help_and_bad_input_do_not_wait_for_tensorflow():
    code = (
        "import sys, image_classifier; "
        "sys.exit(not sys.modules.keys().isdisjoint(['keras', 'matplotlib']))"
    )
    subprocess.run([sys.executable, "-c", code], cwd=EXAMPLES, check=True)

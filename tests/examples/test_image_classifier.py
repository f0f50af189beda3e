"""`examples/image_classifier.py`, run small, and what it makes of bad input.

The accuracies at the top of the example are those of full runs, which take
longer than a test may: 30 s for the digits, minutes for the clothes.
"""

import contextlib
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
import image_network
import keras
import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import (
    EventAccumulator,
)

from tests.examples.conftest import EXAMPLES
from tests.images.photos import draw_photo, make_photos, png

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
    for path in (result.model, *result.pictures):
        assert path.is_file() and str(path) in printed
    assert f"tensorboard --logdir {result.log_folder.parent}" in printed
    assert "http://localhost:6006/#custom_scalars" in printed


def test_nothing_else_is_left_in_the_output_folder(result):
    names = sorted(path.name for path in result.model.parent.iterdir())
    expected = ["confusion.png", "logs", "model.keras", "predictions.png"]
    assert names == expected


def test_the_pictures_are_png_and_not_blank(result):
    for path in result.pictures:
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
        (name, share), printed = run_and_read(argv)
        assert name == str(probabilities.argmax())
        # Not exact: three pictures at once are added up in another order.
        confidence = pytest.approx(probabilities.max(), abs=1e-5)
        assert share == confidence
        assert printed == f"{name} ({share:.2f})\n"


def test_keras_alone_loads_the_saved_model(result):
    model = keras.saving.load_model(result.model)
    assert type(model) is keras.Sequential
    for weight, other in zip(model.get_weights(), result.network.get_weights()):
        np.testing.assert_array_equal(weight, other)


def test_class_names_are_in_the_model_file(photos_run):
    _, names = image_network.load(photos_run[0].model)
    assert names == ["hot dog", "not hot dog"]


def test_a_failed_save_leaves_the_model_before_it(
    result, tmp_path, monkeypatch
):
    path = tmp_path / "model.keras"
    path.write_bytes(b"before")

    def fail(names):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(image_network.json, "dumps", fail)
    with pytest.raises(OSError, match="No space left"):
        image_network.save(path, result.network, ["a", "b"])
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
    assert 0 < result.guessing < 1  # The parts have other shares of classes.
    for name, bright in ("hot dog", True), ("not hot dog", False):
        path = photos.parent / "new.png"
        draw_photo(bright, (300, 80), "RGB").save(path)
        argv = ["--predict", path, "--model", result.model]
        (found, share), _ = run_and_read(argv)
        assert found == name
        assert share > 0.5


def test_it_prints_how_many_photos_of_each_class_there_are(photos_run):
    for name in "hot dog", "not hot dog":
        row = rf"^{name} +(\d+) +(\d+)$"
        learned, held_out = re.search(row, photos_run[1], re.MULTILINE).groups()
        assert int(learned) + int(held_out) == 12


# ------------------------------------------------------------ Fashion-MNIST


def test_fashion_mnist_is_read_from_its_folder(tmp_path, monkeypatch):
    folder = tmp_path / "fashion-mnist"
    write_fashion_mnist(folder)
    monkeypatch.setattr(image_data, "FASHION_MNIST", folder)
    argv = ["--data=fashion_mnist", "--epochs=1", f"--output={tmp_path}/out"]
    result, printed = run_and_read(argv)
    assert "40 pictures of clothes to learn from, 20 held out" in printed
    assert result.network.input_shape == (None, 28, 28, 1)
    assert result.network.output_shape == (None, 10)


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
    with pytest.raises(ValueError, match="URL fetch.*dataset-fashion-mnist"):
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
    with pytest.raises(ValueError, match=reason) as caught:
        image_data.read_idx(path, 1)
    assert str(path) in str(caught.value)


def test_images_without_labels_are_an_error(tmp_path):
    images, labels = np.zeros([3, 2, 2], np.uint8), np.zeros([2], np.uint8)
    write_idx(tmp_path / "train-images-idx3-ubyte.gz", images)
    write_idx(tmp_path / "train-labels-idx1-ubyte.gz", labels)
    with pytest.raises(ValueError, match="3 images, but 2 labels in train"):
        image_data.read_idx_pair(tmp_path, "train")


# ---------------------------------------------------------------- bad input


def damaged_photos(folder):
    """Arguments for a folder of photos in which one is cut off."""
    data = make_photos(folder / "data", 3)
    path = data / "not_hot_dog" / "0.jpg"
    path.write_bytes(path.read_bytes()[:-100])
    return ["--data", data], path


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


def zipped(**files):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in files.items():
            archive.writestr(name.replace("_json", ".json"), content)
    return file.getvalue()


PNG = png()
BAD_INPUTS = {
    "half a photo": (damaged_photos, "damaged"),
    "no folder": (
        lambda folder: (["--data", folder / "none"], folder / "none"),
        "No such file",
    ),
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
    with pytest.raises(SystemExit) as caught:
        example.main([str(part) for part in argv])
    assert caught.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert re.fullmatch(r"error: .*\.\n", printed.err)
    assert words in printed.err and str(named) in printed.err
    assert sorted(tmp_path.rglob("*")) == before


def refused(capsys, *argv):
    """What is said when arguments cannot be used, with exit code 2."""
    with pytest.raises(SystemExit) as caught:
        run_and_read(argv)
    assert caught.value.code == 2
    return capsys.readouterr().err


def test_a_folder_for_a_picture_is_an_error(tmp_path, capsys):
    assert "Is a directory" in refused(capsys, "--predict", tmp_path)


def test_a_loss_that_explodes_is_explained_and_nothing_saved(tmp_path, capsys):
    argv = ["--epochs=1", "--learning-rate=3e38", f"--output={tmp_path}"]
    assert "Give a smaller --learning-rate" in refused(capsys, *argv)
    assert os.listdir(tmp_path) == ["logs"]


def test_weights_that_explode_behind_a_finite_loss_are_explained():
    network = keras.Sequential([keras.Input([2]), keras.layers.Dense(3)])
    watch = image_network.Divergence(guessing=math.log(3))
    watch.set_model(network)
    watch.on_epoch_end(0, {"loss": 2.0})
    network.layers[0].kernel.assign([[1, np.inf, np.nan], [0, 0, 0]])
    with pytest.raises(
        ArithmeticError, match="^2 weights became infinite or NaN"
    ):
        watch.on_epoch_end(0, {"loss": 2.0})


@pytest.mark.parametrize("loss", [1e30, math.inf, math.nan])
def test_a_loss_far_above_guessing_is_explained(loss):
    watch = image_network.Divergence(guessing=math.log(3))
    with pytest.raises(ArithmeticError, match="learning rate is too large"):
        watch.on_epoch_end(0, {"loss": loss})


def test_a_run_that_diverges_keeps_the_model_before_it(
    photos, tmp_path, capsys
):
    (tmp_path / "model.keras").write_text("the one before")
    argv = ["--data", photos, "--output", tmp_path, "--learning-rate=1e6"]
    assert "epoch 1: the learning rate is too" in refused(capsys, *argv)
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
def test_predict_refuses_options_of_training(option, capsys):
    message = refused(capsys, "--predict", "a.png", option)
    assert option.split("=")[0] in message


def test_training_refuses_a_model(capsys):
    assert "--model" in refused(capsys, "--model", "a.keras")


def test_help_and_bad_input_do_not_wait_for_tensorflow():
    code = (
        "import sys, image_classifier; "
        "sys.exit(not sys.modules.keys().isdisjoint(['keras', 'matplotlib']))"
    )
    subprocess.run([sys.executable, "-c", code], cwd=EXAMPLES, check=True)

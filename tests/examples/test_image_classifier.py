"""`examples/image_classifier.py`, run small, and what it makes of bad input.

Its accuracies are those of full runs, which take longer than a test may.
"""

import contextlib
import gzip
import io
import os
import re
import subprocess
import sys

import image_classifier as example
import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import (
    EventAccumulator,
)

import gdtrain
from tests.examples.conftest import EXAMPLES

EPOCHS, STEPS = 2, 2 * 23  # 1,437 digits, 64 a step


def run_and_read(*argv):
    """What `main` returns, and what it printed."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        result = example.main([str(argument) for argument in argv])
    return result, printed.getvalue()


def without_times(printed):
    """What does not depend on how fast it ran."""
    return re.sub(r"\d+m?s(/step)?\b", "TIME", printed)


@pytest.fixture(scope="module")
def output(tmp_path_factory):
    return tmp_path_factory.mktemp("digits")


@pytest.fixture(scope="module")
def run(output):
    return run_and_read(f"--epochs={EPOCHS}", f"--output={output}")


# --------------------------------------------------------------- the digits


def test_two_epochs_tell_most_digits_apart(run):
    (_, share), _ = run
    assert share > 0.7


def test_it_prints_how_good_it_is_and_where_its_files_are(run, output):
    (_, share), printed = run
    assert f"Right: {share:.1%} of 360 images held out." in printed
    assert f"Pictures, model: {output}." in printed
    assert f"tensorboard --logdir {output}/logs" in printed


def test_nothing_else_is_left_in_the_output_folder(run, output):
    names = sorted(path.name for path in output.iterdir())
    expected = ["confusion.png", "logs", "model.keras", "predictions.png"]
    assert names == expected


def test_the_pictures_are_png_and_not_blank(run, output):
    for name in ("predictions.png", "confusion.png"):
        with Image.open(output / name) as image:
            assert image.format == "PNG"
            assert np.asarray(image).std() > 10


def test_a_run_again_gives_the_same_numbers(run, output, tmp_path):
    (first, share), printed = run
    again = run_and_read(f"--epochs={EPOCHS}", f"--output={tmp_path}")
    assert again[0][1] == share
    for weight, other in zip(first.get_weights(), again[0][0].get_weights()):
        np.testing.assert_array_equal(weight, other)
    expected = without_times(printed).replace(str(output), str(tmp_path))
    assert without_times(again[1]) == expected


@pytest.mark.long
def test_97_percent_of_the_digits_of_other_writers_are_right(tmp_path):
    (_, share), _ = run_and_read(f"--output={tmp_path}")
    assert share >= 0.97


@pytest.mark.long
def test_another_seed_gives_another_network(tmp_path, run):
    argv = "--seed=1", "--epochs=1", f"--output={tmp_path}"
    (other, _), _ = run_and_read(*argv)
    first = run[0][0].weights[0]
    assert not np.allclose(first, other.weights[0])


def test_every_step_is_in_the_log(run, output):
    (folder,) = (output / "logs").iterdir()
    events = EventAccumulator(str(folder)).Reload().Scalars("step/loss")
    assert [event.step for event in events] == list(range(1, STEPS + 1))


def test_keras_alone_loads_the_saved_model(run, output):
    model = keras.saving.load_model(output / "model.keras")
    assert type(model).__module__.startswith("keras.")
    *_, images, _ = example.digits()[0]
    expected = run[0][0].predict(images[:3], verbose=0)
    found = model.predict(images[:3], verbose=0)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_step_moves_weights_against_the_gradient():
    """One step is `w <- w - learning_rate * gradient`."""
    network = example.make_network((8, 8), [4], keras.layers.Identity())
    network.layers[-2].rate = 0.0  # Dropout, which draws
    x, y, *_ = example.digits()[0]
    x, y = x[:64], y[:64]
    network.compile(
        gdtrain.GradientDescent(0.5), "sparse_categorical_crossentropy"
    )
    weights = network.trainable_variables
    before = [weight.numpy() for weight in weights]
    with tf.GradientTape() as tape:
        outputs = network(x, training=True)
        losses = keras.losses.sparse_categorical_crossentropy(y, outputs)
        loss = tf.reduce_mean(losses)
    gradients = tape.gradient(loss, weights)
    history = network.fit(x, y, 64, verbose=0).history
    assert history["loss"] == pytest.approx([float(loss)], rel=1e-5)
    for weight, start, gradient in zip(weights, before, gradients):
        expected = start - 0.5 * gradient.numpy()
        np.testing.assert_allclose(weight.numpy(), expected, atol=1e-5)


# ------------------------------------------------------------ Fashion-MNIST


def write_fashion_mnist(folder, training=40, held_out=20):
    """Writes the four files of a small Fashion-MNIST where Keras looks."""
    generator = np.random.default_rng(0)
    for part, count in ("train", training), ("t10k", held_out):
        images = generator.integers(0, 256, [count, 28, 28], np.uint8)
        labels = (np.arange(count) % 10).astype(np.uint8)
        for name, array in ("images-idx3", images), ("labels-idx1", labels):
            header = bytes(4 * (1 + array.ndim))  # Keras skips it.
            content = gzip.compress(header + array.tobytes())
            (folder / f"{part}-{name}-ubyte.gz").write_bytes(content)


def test_fashion_mnist_is_read_where_keras_keeps_it(tmp_path):
    folder = tmp_path / "datasets" / "fashion-mnist"
    folder.mkdir(parents=True)
    write_fashion_mnist(folder)
    argv = ["--data=fashion_mnist", "--epochs=1", f"--output={tmp_path}/out"]
    done = subprocess.run(
        [sys.executable, EXAMPLES / "image_classifier.py", *argv],
        capture_output=True,
        text=True,
        env=os.environ | {"KERAS_HOME": str(tmp_path)},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "of 20 images held out." in done.stdout
    model = keras.saving.load_model(tmp_path / "out" / "model.keras")
    assert model.input_shape == (None, 28, 28)
    assert model.output_shape == (None, 10)


def test_a_failed_download_is_said_in_a_line(tmp_path, monkeypatch, capsys):
    def fail():
        raise Exception("URL fetch failure on https://example.org")

    monkeypatch.setattr(keras.datasets.fashion_mnist, "load_data", fail)
    said = refused(capsys, "--data=fashion_mnist", f"--output={tmp_path}/out")
    assert re.fullmatch(r"error: .*URL fetch failure.*\n", said)
    assert os.listdir(tmp_path) == []


# ---------------------------------------------------------------- bad input


def refused(capsys, *argv):
    """What is said when arguments cannot be used, with exit code 2."""
    with pytest.raises(SystemExit) as caught:
        run_and_read(*argv)
    assert caught.value.code == 2
    return capsys.readouterr().err


def test_a_loss_that_explodes_is_explained_and_nothing_saved(tmp_path, capsys):
    argv = "--epochs=1", "--learning-rate=3e38", f"--output={tmp_path}"
    with pytest.warns(UserWarning, match="not finite"):
        assert "Lower --learning-rate" in refused(capsys, *argv)
    assert os.listdir(tmp_path) == ["logs"]


def test_an_output_that_cannot_be_written_is_said_in_a_line(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    said = refused(capsys, f"--output={tmp_path}/file")
    assert re.fullmatch(r"error: .*Not a directory.*\n", said)


@pytest.mark.parametrize(
    "argv",
    [
        ["--epochs=0"],
        ["--epochs=2.5"],
        ["--learning-rate=0"],
        ["--learning-rate=fast"],
        ["--learning-rate=nan"],
        ["--seed=-1"],
        [f"--seed={2**32}"],
        ["--data=letters"],
    ],
)
def test_a_bad_option_is_refused(argv, capsys):
    message = refused(capsys, *argv, "--output=/nowhere/to/write")
    assert "error: " in message

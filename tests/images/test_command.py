"""`python -m gdtrain images`: photos in, words out, and what it refuses."""

import csv
import os
import re
import subprocess
import sys

import keras
import numpy as np
import pytest
from PIL import Image

from gdtrain import images
from gdtrain.__main__ import main
from tests.images.photos import draw_photo, make_photos

layers = keras.layers


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Photos of two classes."""
    return make_photos(tmp_path_factory.mktemp("photos") / "data", 15)


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    """The file of a small backbone: mean colors of parts of the photo."""
    path = tmp_path_factory.mktemp("backbone") / "colors.keras"
    stack = [
        keras.Input([16, 16, 3]),
        layers.Rescaling(1 / 255),
        layers.Conv2D(6, 3, activation="relu"),
        layers.GlobalAveragePooling2D(),
    ]
    keras.utils.set_random_seed(0)
    keras.Sequential(stack).save(path)
    return path


def train_arguments(folder, backbone, output, *more):
    return [
        *("images", "train", str(folder), "--backbone", str(backbone)),
        *("--size", "16", "--output", str(output)),
        *("--cache-dir", str(output.parent / "cache"), *map(str, more)),
    ]


@pytest.fixture(scope="module")
def output(folder, backbone, tmp_path_factory):
    """What `train` leaves."""
    output = tmp_path_factory.mktemp("trained") / "deep" / "output"
    main(train_arguments(folder, backbone, output))
    return output


@pytest.fixture
def new_photos(tmp_path):
    """A folder of two photos, one of each class, and of a text."""
    folder = tmp_path / "new"
    folder.mkdir()
    draw_photo(True, (300, 180), "RGB").save(folder / "a.png")
    draw_photo(False, (300, 180), "RGB").save(folder / "b.jpg")
    (folder / "notes.txt").write_text("hello")
    return folder


def said(capsys, *arguments):
    """What `describe` prints."""
    main(["images", "describe", *map(str, arguments)])
    return capsys.readouterr().out


def refused(capsys, *arguments):
    """The line that bad input gets, with exit code 2."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as caught:
        main(["images", *map(str, arguments)])
    assert caught.value.code == 2
    line = capsys.readouterr().err
    assert re.fullmatch(r"error: [^\n]*\.\n", line)
    return line


def test_train_leaves_a_model_a_page_and_logs(output):
    assert sorted(path.name for path in output.iterdir()) == [
        "logs",
        "model.keras",
        "report.html",
    ]
    model = images.load(output / "model.keras")
    assert model.class_names == ["hot dog", "not hot dog"]


def test_train_prints_photos_accuracy_and_where_things_are(
    folder, backbone, tmp_path, capsys
):
    output = tmp_path / "output"
    main(train_arguments(folder, backbone, output))
    printed = capsys.readouterr().out
    assert re.search(r"^hot dog +1\d +[2-4]$", printed, re.MULTILINE)
    assert "held-out photos are right: accuracy" in printed
    assert f"{output}/model.keras" in printed
    assert f"{output}/report.html" in printed


def test_photo_is_described_in_a_line(output, new_photos, capsys):
    model = output / "model.keras"
    line = said(capsys, new_photos / "a.png", "--model", model)
    [answer] = images.load(model).classify(new_photos / "a.png")
    assert line == f"{answer}\n"
    assert line.startswith(("hot dog (", "none of these (nearest: hot dog"))


def test_folder_is_described_photo_by_photo(output, new_photos, capsys):
    printed = said(capsys, new_photos, "--model", output / "model.keras")
    first, second = printed.splitlines()
    assert first.startswith(f"{new_photos}/a.png: ")
    assert second.startswith(f"{new_photos}/b.jpg: ")


def test_table_has_a_row_a_photo(output, new_photos, tmp_path, capsys):
    model, path = output / "model.keras", tmp_path / "new" / "x" / "table.csv"
    said(capsys, new_photos, "--model", model, "--csv", path)
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    answers = images.load(model).classify(new_photos)
    assert [row["file"] for row in rows] == [answer.file for answer in answers]
    for row, answer in zip(rows, answers):
        assert row["class"] == answer.name
        assert row["is none of these"] == str(int(answer.is_none))
        shares = [row["hot dog"], row["not hot dog"]]
        found = np.array(shares, float)
        np.testing.assert_allclose(found, answer.probabilities, atol=1e-3)
    assert os.listdir(path.parent) == ["table.csv"]


def test_files_that_cannot_be_read_are_named(
    output, new_photos, tmp_path, capsys
):
    (new_photos / "c.jpg").write_bytes(b"")
    path, model = tmp_path / "table.csv", output / "model.keras"
    arguments = new_photos, "--model", model, "--csv", path
    assert f"{new_photos}/c.jpg" in refused(capsys, "describe", *arguments)
    assert not path.exists()
    with pytest.warns(UserWarning, match="1 of 3 photos cannot be read"):
        printed = said(capsys, *arguments, "--on-error", "skip")
    assert len(printed.splitlines()) == 2
    assert len(path.read_text().splitlines()) == 3


def make_tiny(folder, counts, damaged=0):
    """A folder of classes with so many photos."""
    folder.mkdir()
    for name, count in counts.items():
        (folder / name).mkdir()
        for i in range(count):
            path = folder / name / f"{i}.png"
            pixels = np.random.default_rng(i).integers(0, 256, [9, 9, 3])
            Image.fromarray(pixels.astype(np.uint8)).save(path)
            if i < damaged:
                path.write_bytes(path.read_bytes()[:60])
    return folder


BAD_FOLDERS = {
    "no such folder": (None, "No such file"),
    "no classes": ({}, "two or more folders"),
    "one class": ({"a": 3}, "two or more folders"),
    "a class with one photo": ({"a": 3, "b": 1}, "/b"),
    "all photos damaged": ({"a": 3, "b": 3}, "cannot be read"),
}


@pytest.mark.parametrize("name", BAD_FOLDERS)
def test_bad_folder_gets_one_line_and_leaves_nothing(
    name, backbone, tmp_path, capsys
):
    counts, words = BAD_FOLDERS[name]
    folder = tmp_path / "photos"
    if counts is not None:
        make_tiny(folder, counts, 3 * (name == "all photos damaged"))
    output = tmp_path / "output"
    arguments = train_arguments(folder, backbone, output)[1:]
    line = refused(capsys, *arguments)
    assert words in line and str(folder) in line
    assert not output.exists()


def test_bad_backbones_get_one_line_and_leave_nothing(
    folder, backbone, tmp_path, capsys
):
    output = tmp_path / "output"
    (tmp_path / "weights.h5").write_text("no weights")
    for more, word in (
        (["--backbone", "MobilNet"], "MobilNet"),
        (["--backbone", tmp_path / "none.keras"], "none.keras"),
        (["--weights", tmp_path / "weights.h5"], "weights.h5"),
        (["--size", "20"], "16"),
    ):
        arguments = train_arguments(folder, backbone, output, *more)[1:]
        assert word in refused(capsys, *arguments)
        assert not output.exists()


def test_output_that_cannot_be_written_is_said_before_training(
    folder, backbone, tmp_path, capsys
):
    (tmp_path / "file").write_text("")
    output = tmp_path / "file" / "output"
    line = refused(capsys, *train_arguments(folder, backbone, output)[1:])
    assert f"cannot write to {output}: Not a directory" in line


def test_describe_refuses_what_is_no_picture_and_no_model(
    output, new_photos, tmp_path, capsys
):
    model, photo = output / "model.keras", new_photos / "a.png"
    plain = tmp_path / "plain.keras"
    keras.Sequential([keras.Input([2]), layers.Dense(1)]).save(plain)
    (tmp_path / "text.keras").write_text("hello")
    (tmp_path / "empty").mkdir()
    for path, model_path, named in (
        (new_photos / "notes.txt", model, "notes.txt"),
        (tmp_path / "none.jpg", model, "none.jpg"),
        (tmp_path / "empty", model, "empty"),
        (photo, tmp_path / "none.keras", "none.keras"),
        (photo, tmp_path / "text.keras", "text.keras"),
        (photo, plain, "plain.keras"),
    ):
        line = refused(capsys, "describe", path, "--model", model_path)
        assert named in line


def test_classes_of_unequal_size_are_said_and_weighted_on_request(
    backbone, tmp_path, capsys
):
    folder = make_tiny(tmp_path / "photos", {"a": 40, "b": 4})
    output = tmp_path / "output"
    main(train_arguments(folder, backbone, output, "--balanced"))
    assert "very unequal size" in capsys.readouterr().out


def test_ctrl_c_ends_with_a_line(folder, monkeypatch, capsys):
    def interrupt(*arguments, **settings):
        raise KeyboardInterrupt

    monkeypatch.setattr("gdtrain.images.command.read_folder", interrupt)
    with pytest.raises(SystemExit) as caught:
        main(["images", "train", str(folder)])
    assert caught.value.code == 130
    assert capsys.readouterr().err == "stopped by Ctrl-C\n"


def test_commands_explain_themselves(capsys):
    for arguments in (["-h"], ["images", "-h"], ["images", "train", "-h"]):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == 0
    assert "--backbone" in capsys.readouterr().out


def test_it_runs_as_a_module(output, new_photos):
    done = subprocess.run(
        [
            *(sys.executable, "-m", "gdtrain", "images", "describe"),
            *(new_photos / "a.png", "--model", output / "model.keras"),
        ],
        capture_output=True,
        text=True,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    assert done.returncode == 0, done.stderr
    assert "hot dog" in done.stdout and done.stdout.count("\n") == 1

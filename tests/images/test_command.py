"""`python -m gdtrain images`: photos in, words out, and what it refuses."""

import csv
import dataclasses
import io
import os
import re
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest
from PIL import Image

from gdtrain import images
from gdtrain.__main__ import main
from gdtrain.images import finding, fit_head, reading, train_command
from gdtrain.images.photos import LabelledImages
from gdtrain.images.top import Top
from tests.full_disk import files_up_to
from tests.images.photos import draw_photo, make_photos, save_backbone

layers = keras.layers


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Photos of two classes."""
    return make_photos(tmp_path_factory.mktemp("photos") / "data", 15)


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    """The file of a small backbone: mean colors of parts of the photo."""
    path = tmp_path_factory.mktemp("backbone") / "colors.keras"
    save_backbone(path, 16)
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


def ends(capsys, code, *arguments):
    """What a command prints, to standard output and error, and its code."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as caught:
        main(["images", *map(str, arguments)])
    assert caught.value.code == code
    return capsys.readouterr()


def refused(capsys, *arguments):
    """The line that bad input gets, maybe with a page, and exit code 2."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as caught:
        main(["images", *map(str, arguments)])
    assert caught.value.code == 2
    line = capsys.readouterr().err
    page = r"(More: python -m gdtrain explain [a-z-]+\n)?"
    assert re.fullmatch(rf"error: [^\n]*\.\n{page}", line)
    return line


def test_train_leaves_a_model_a_page_and_logs(output):
    assert sorted(path.name for path in output.iterdir()) == [
        "logs",
        "model.keras",
    ]
    assert "report.html" in os.listdir(output / "logs")
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
    assert f"{output}/logs/report.html" in printed


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


def rows_of(text):
    """The rows of a table."""
    return list(csv.DictReader(io.StringIO(text)))


def test_table_has_a_row_a_photo(output, new_photos, tmp_path, capsys):
    model, path = output / "model.keras", tmp_path / "new" / "x" / "table.csv"
    said(capsys, new_photos, "--model", model, "--csv", path)
    answers = images.load(model).classify(new_photos)
    rows = rows_of(path.read_text())
    assert [row["file"] for row in rows] == [answer.file for answer in answers]
    for row, answer in zip(rows, answers):
        assert row["class"] == answer.name
        assert float(row["probability"]) == pytest.approx(
            answer.probability, abs=1e-3
        )
        assert row["is none of these"] == str(int(answer.is_none))
        shares = [
            row[f"probability of {name}"] for name in ("hot dog", "not hot dog")
        ]
        found = np.array(shares, float)
        np.testing.assert_allclose(found, answer.probabilities, atol=1e-3)
    assert os.listdir(path.parent) == ["table.csv"]
    with pytest.raises(SystemExit):
        main(["images", "describe", "--help"])
    help_text = " ".join(capsys.readouterr().out.split())
    assert all(name.split(" of ")[0] in help_text for name in rows[0])
    # On standard output, there is nothing but the table.
    printed = said(capsys, new_photos, "--model", model, "--csv", "-")
    assert rows_of(printed) == rows


def test_damaged_photos_of_a_folder_are_named_at_the_end(
    output, new_photos, tmp_path, capsys
):
    (new_photos / "aa.jpg").write_bytes(b"")
    path, model = tmp_path / "table.csv", output / "model.keras"
    arguments = new_photos, "--model", model, "--csv", path
    printed = ends(capsys, 1, "describe", *arguments)
    assert len(printed.out.splitlines()) == 2
    assert printed.err == (
        "warning: 1 of 3 photos cannot be read: "
        f"{new_photos}/aa.jpg (it is empty).\n"
    )
    assert len(path.read_text().splitlines()) == 3


def test_names_of_files_that_are_no_text_are_written(
    output, new_photos, tmp_path, capsys
):
    os.rename(new_photos / "a.png", os.fsencode(new_photos) + b"/\xff.png")
    path, model = tmp_path / "table.csv", output / "model.keras"
    printed = said(capsys, new_photos, "--model", model, "--csv", path)
    assert f"{new_photos}/\\udcff.png: " in printed
    assert os.fsencode(new_photos) + b"/\xff.png," in path.read_bytes()


def test_progress_is_shown_in_a_terminal(
    output, new_photos, monkeypatch, capsys
):
    arguments = new_photos, "--model", output / "model.keras"
    assert "photo" not in said(capsys, *arguments).replace("photos", "")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    printed = said(capsys, *arguments)
    assert "2/2" in printed and "/photo" in printed
    table = said(capsys, *arguments, "--csv", "-")
    assert "2/2" not in table


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


def no_network(*arguments, **settings):
    raise Exception("URL fetch failure on https://example.org: None")


BAD_TRAIN = {
    "no such folder": (["none"], "none: No such file or directory"),
    "a file as folder": (["file"], "file: Not a directory"),
    "no classes": (["empty"], "two or more folders"),
    "one class": (["one"], "two or more folders"),
    "a class with one photo": (["single"], "/b must have two or more"),
    "all photos damaged": (["damaged"], "6 of 6 pictures cannot be read"),
    "one damaged photo": (["spoilt"], "one; `--on-error skip` leaves it out."),
    "a vanishing photo": (["vanishing"], "0.png was there when"),
    "unknown backbone": (["good", "--backbone", "MobilNet"], "'MobilNet'"),
    "no backbone": (["good", "--backbone", "none.keras"], "none.keras"),
    "backbone of no pictures": (
        ["good", "--backbone", "table.keras"],
        "not a model of pictures",
    ),
    "another input size": (["good", "--size", "20"], "Give its `--size`"),
    "damaged weights": (["good", "--weights", "file"], "file"),
    "no network": (
        ["good", "--backbone", "MobileNetV3Small", "--size", "32"],
        "give it as `--weights PATH`; or, for random weights, `--weights none`",
    ),
    "output in a file": (["good", "--output", "file/out"], "file/out: Not a"),
    "output with a folder": (["good", "--output", "taken"], "model.keras"),
    "log folder": (["good", "--log-dir", "file/log"], "to file/log: Not a"),
    "cache folder": (["good", "--cache-dir", "file/c"], "to file/c: Not a"),
    "backups": (["good", "--backup-dir", "file/b"], "to file/b: Not a"),
    "no epochs": (["good", "--epochs", "0"], "Received: --epochs 0"),
    "epochs in words": (["good", "--epochs", "two"], "argument --epochs"),
    "no pixels": (["good", "--size", "0"], "Received: --size 0"),
    "share": (["good", "--held-out", "7"], "Received: --held-out 7.0. Write"),
    "seed": (["good", "--seed", "-1"], "Received: --seed -1"),
    "no folder": ([], "FOLDER"),
}
BEFORE_PHOTOS = set(BAD_TRAIN) - {
    "no classes",
    "one class",
    "a class with one photo",
    "all photos damaged",
    "one damaged photo",
    "a vanishing photo",
}


@pytest.mark.parametrize("name", BAD_TRAIN)
def test_bad_input_of_train_gets_one_line_and_leaves_nothing(
    name, backbone, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    for folder, counts in {
        "good": {"a": 4, "b": 4},
        "empty": {},
        "one": {"a": 3},
        "single": {"a": 3, "b": 1},
        "damaged": {"a": 3, "b": 3},
        "vanishing": {"a": 3, "b": 3},
    }.items():
        make_tiny(tmp_path / folder, counts, 3 * (folder == "damaged"))
    make_tiny(tmp_path / "spoilt", {"a": 4, "b": 4})
    (tmp_path / "spoilt" / "a" / "0.png").write_bytes(b"")
    (tmp_path / "file").write_text("no weights")
    (tmp_path / "taken" / "model.keras").mkdir(parents=True)
    keras.Sequential([keras.Input([2]), layers.Dense(1)]).save("table.keras")
    monkeypatch.setattr("keras.src.utils.file_utils.get_file", no_network)
    read, find = reading.read_folder, finding.find_in_folder
    was_read = []

    def reading_is_seen(*arguments, **settings):
        was_read.append(arguments)
        return read(*arguments, **settings)

    def find_and_delete(folder, *arguments):
        found = find(folder, *arguments)
        if str(folder) == "vanishing":
            os.remove(tmp_path / "vanishing" / "a" / "0.png")
        return found

    monkeypatch.setattr(train_command, "read_folder", reading_is_seen)
    monkeypatch.setattr(finding, "find_in_folder", find_and_delete)
    given, words = BAD_TRAIN[name]
    defaults = ["--backbone", backbone, "--size", 16, "--output", "output"]
    defaults += ["--cache-dir", "cache"]
    line = refused(capsys, "train", *given[:1], *defaults, *given[1:])
    assert words in line
    assert bool(was_read) == (name not in BEFORE_PHOTOS)
    assert not os.path.exists("output")
    assert os.listdir("taken") == ["model.keras"]


BAD_DESCRIBE = {
    "no picture": (["new/notes.txt"], "notes.txt"),
    "no file": (["none.jpg"], "there is no file or folder none.jpg."),
    "no pictures": (["empty"], "empty has no pictures"),
    "only damaged pictures": (["damaged"], "2 of 2 photos cannot be read"),
    "no model": (["new", "--model", "none.keras"], "train FOLDER"),
    "a text as model": (["new", "--model", "text.keras"], "text.keras"),
    "another model": (["new", "--model", "plain.keras"], "plain.keras"),
    "table in a file": (
        ["new", "--csv", "text.keras/t.csv"],
        "Not a directory",
    ),
    "table is a folder": (["new", "--csv", "empty"], "write empty: it is no"),
    "table is a device": (["new", "--csv", "/dev/null"], "it is no file"),
    "nothing": ([], "PHOTO_OR_FOLDER"),
}


@pytest.mark.parametrize("name", BAD_DESCRIBE)
def test_bad_input_of_describe_gets_one_line_and_writes_nothing(
    name, output, new_photos, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    keras.Sequential([keras.Input([2]), layers.Dense(1)]).save("plain.keras")
    (tmp_path / "text.keras").write_text("hello")
    (tmp_path / "empty").mkdir()
    (tmp_path / "damaged").mkdir()
    for i in range(2):
        (tmp_path / "damaged" / f"{i}.jpg").write_bytes(b"")
    before = sorted(os.listdir())
    given, words = BAD_DESCRIBE[name]
    defaults = ["--model", output / "model.keras"]
    if "--csv" not in given:
        defaults += ["--csv", "table.csv"]
    line = refused(capsys, "describe", *given[:1], *defaults, *given[1:])
    assert words in line
    assert sorted(os.listdir()) == before


def test_errors_of_the_system_are_sentences(monkeypatch, tmp_path, capsys):
    def fail(*_, **__):
        raise OSError(28, "The folder is full")

    monkeypatch.setattr(train_command.finding, "check_folder", fail)
    line = refused(capsys, "train", tmp_path, "--output", tmp_path / "out")
    assert line == "error: The folder is full.\n"


def test_table_on_a_full_disk_leaves_the_old_one(
    output, new_photos, tmp_path, capsys
):
    path = tmp_path / "table.csv"
    path.write_text("old")
    model = images.load(output / "model.keras")
    long = tmp_path / "long.keras"
    model.class_names = ["x" * 20_000, "y"]
    model.save(long)
    with files_up_to(10_000):
        line = refused(
            capsys, "describe", new_photos, "--model", long, "--csv", path
        )
    assert "File too large" in line
    assert path.read_text() == "old"
    assert not [name for name in os.listdir(tmp_path) if name[0] == "."]


def test_a_cache_folder_that_is_full_is_said_in_a_line(
    folder, backbone, tmp_path, monkeypatch, capsys
):
    usage = shutil.disk_usage

    def full(path):
        return usage(path)._replace(
            free=0 if str(path).endswith("cache") else 2**40
        )

    monkeypatch.setattr("shutil.disk_usage", full)
    main(train_arguments(folder, backbone, tmp_path / "output"))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("warning: Nothing is kept in the cache folder")


def test_classes_of_unequal_size_are_said_and_weighted_on_request(
    backbone, tmp_path, capsys
):
    folder = make_tiny(tmp_path / "photos", {"a": 40, "b": 4})
    output = tmp_path / "output"
    main(train_arguments(folder, backbone, output, "--balanced"))
    printed = capsys.readouterr().out
    assert "very unequal size" in printed
    assert "`--balanced` gives each the same weight" in printed


def test_a_close_up_joins_the_features_of_the_middle(
    folder, backbone, tmp_path, capsys
):
    output = tmp_path / "output"
    main(train_arguments(folder, backbone, output, "--close-up"))
    model = images.load(output / "model.keras")
    assert model.get_layer("head").kernel.shape == (12, 2)


def test_after_ctrl_c_the_same_command_continues(
    folder, backbone, tmp_path, monkeypatch, capsys
):
    output, fit = tmp_path / "output", Top.fit
    arguments = train_arguments(folder, backbone, output)

    def interrupt(*arguments, **settings):
        raise KeyboardInterrupt

    monkeypatch.setattr(Top, "fit", interrupt)
    printed = ends(capsys, 130, *arguments[1:])
    assert printed.err == (
        "stopped by Ctrl-C. The same command continues from what it has done.\n"
    )
    assert not (output / "model.keras").exists()
    [unfinished] = (output / "backup").iterdir()
    assert any(unfinished.iterdir())
    monkeypatch.setattr(Top, "fit", fit)
    # What is finished is not done again: not the head, for one.
    monkeypatch.setattr(sys.modules[fit_head.__module__], "fit_head", interrupt)
    for module in sys.modules.copy().values():
        if getattr(module, "fit_head", None) is fit_head:
            monkeypatch.setattr(module, "fit_head", interrupt)
    main(arguments)
    assert (output / "model.keras").exists()
    assert not (output / "backup").exists()


def test_photos_without_held_out_ones_make_a_model_but_no_report(
    folder, backbone, tmp_path, monkeypatch, capsys
):
    def none_held_out(*arguments, **settings):
        photos = reading.read_folder(*arguments, **settings)
        none = LabelledImages(photos.held_out.images[:0], np.zeros(0, int))
        return dataclasses.replace(photos, held_out=none)

    monkeypatch.setattr(train_command, "read_folder", none_held_out)
    output = tmp_path / "output"
    main(train_arguments(folder, backbone, output))
    assert "no photos are held out" in capsys.readouterr().out
    assert (output / "model.keras").exists()
    assert not (output / "logs" / "report.html").exists()


def test_commands_explain_themselves(capsys):
    for arguments in (["-h"], ["images", "-h"], ["images", "train", "-h"]):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == 0
    assert "--backbone" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["images"]])
def test_without_arguments_there_is_help_with_an_example(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    printed = capsys.readouterr().err
    assert "python -m gdtrain images train photos" in printed
    assert "required: COMMAND" in printed


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

"""Files and folders are replaced whole, and never by another kind."""

import os

import numpy as np
import pytest

from gdtrain.common.whole_files import written_aside
from gdtrain.telemetry.step_table import StepTable


def save_table(path):
    StepTable([1], ["loss"], np.ones([1, 1])).save(path)


def save_text(path):
    with written_aside(path, ".txt") as aside:
        aside.write_text("new")


@pytest.mark.parametrize("save", [save_table, save_text])
def test_file_does_not_replace_a_folder(tmp_path, save):
    path = tmp_path / "photos"
    path.mkdir()
    (path / "mine.txt").write_text("old")
    with pytest.raises(OSError):
        save(path)
    assert (path / "mine.txt").read_text() == "old"
    assert os.listdir(tmp_path) == ["photos"]


def test_folder_replaces_a_folder_whole(tmp_path):
    path = tmp_path / "model"
    path.mkdir()
    (path / "old.txt").write_text("old")
    with written_aside(path, "") as aside:
        aside.mkdir()
        (aside / "new.txt").write_text("new")
    assert os.listdir(path) == ["new.txt"]
    assert os.listdir(tmp_path) == ["model"]


def test_error_leaves_the_file_as_it_was(tmp_path):
    path = tmp_path / "table.txt"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError):
        with written_aside(path, ".txt") as aside:
            aside.write_text("half")
            1 / 0
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["table.txt"]

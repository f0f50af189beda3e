"""Files and folders are replaced whole, and never by another kind."""

import errno
import os
import subprocess
import sys
import tempfile

import numpy as np
import pytest

from gdtrain.common import whole_files
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


# The file alone, as all of gdtrain takes seconds
KILLED = f"""
import os, runpy, signal
written_aside = runpy.run_path({whole_files.__file__!r})["written_aside"]
with written_aside("table.txt", ".txt") as aside:
    aside.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_left_is_deleted_by_the_next(tmp_path):
    path = tmp_path / "table.txt"
    path.write_text("old")
    other = tmp_path / ".other.txt.0.part"
    other.mkdir()
    subprocess.run([sys.executable, "-c", KILLED], cwd=tmp_path, check=False)
    assert path.read_text() == "old"
    assert len(os.listdir(tmp_path)) == 3
    save_text(path)
    assert path.read_text() == "new"
    assert sorted(os.listdir(tmp_path)) == [other.name, path.name]


def test_two_that_write_the_same_file_do_not_meet(tmp_path):
    path = tmp_path / "table.txt"
    with written_aside(path, ".txt") as aside:
        aside.write_text("last")
        save_text(path)
        assert path.read_text() == "new"
    assert path.read_text() == "last"
    assert os.listdir(tmp_path) == ["table.txt"]


def test_errors_name_the_file(tmp_path, monkeypatch):
    path = tmp_path / "none" / "table.txt"
    with pytest.raises(FileNotFoundError) as raised:
        save_text(path)
    assert raised.value.filename == str(path.parent)

    def refuse(*args, **kwargs):  # As in a folder that cannot be written to
        name = str(tmp_path / ".table.txt.0.part")
        raise PermissionError(errno.EACCES, "Permission denied", name)

    monkeypatch.setattr(tempfile, "mkdtemp", refuse)
    path = tmp_path / "table.txt"
    path.write_text("old")
    with pytest.raises(PermissionError, match=f"denied: '{path}'$"):
        save_text(path)
    assert path.read_text() == "old"


def test_errors_of_other_files_are_left_as_they_are(tmp_path):
    with pytest.raises(FileNotFoundError, match="other.txt"):
        with written_aside(tmp_path / "table.txt", ".txt"):
            open(tmp_path / "other.txt")

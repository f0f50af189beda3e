"""The newest checkpoints of a run are kept and found."""

import errno
import os
import shutil
import warnings

import numpy as np
import pytest

from gdtrain.checkpoint import files, manifest
from gdtrain.checkpoint.backups import Backups
from gdtrain.checkpoint.manifest import Damaged, WrongFormat
from tests.checkpoint.damage import state


@pytest.fixture(name="backups")
def _backups(tmp_path):
    return Backups(tmp_path / "runs" / "backup", keep=2)


def saved(backups):
    """Steps and whether finished, newest first."""
    return [(entry.step, entry.finished) for entry in backups.steps()]


def save(backups, *steps, finished=False):
    for step in steps:
        backups.save(step, state(step), finished=finished)


def newest(backups, **kwargs):
    """What is newest, if it can be had without a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return backups.newest(**kwargs)


def test_nothing_is_found_where_nothing_is(backups, tmp_path):
    assert backups.steps() == []
    assert backups.newest() is None
    assert os.listdir(tmp_path) == []


def test_names_have_twelve_digits(backups, tmp_path):
    folder = tmp_path / "runs" / "backup"
    assert backups.path(7) == str(folder / "step-000000000007")
    path = backups.save(np.int64(8), state(8), finished=True)
    assert path == str(folder / "step-000000000008-finished")
    assert backups.steps() == [(8, True, path)]


def test_newest_unfinished_and_the_newest_finished_are_kept(backups):
    save(backups, 0, 1, 2)
    assert saved(backups) == [(2, False), (1, False)]
    save(backups, 2, finished=True)
    assert saved(backups) == [(2, True), (2, False), (1, False)]
    save(backups, 3, 4)
    assert saved(backups) == [(4, False), (3, False), (2, True)]
    save(backups, 5, finished=True)
    assert saved(backups) == [(5, True), (4, False), (3, False)]


def test_later_steps_are_of_a_past_that_was_left(backups):
    save(backups, 1, 2, 3)
    save(backups, 3, finished=True)
    save(backups, 2)
    assert saved(backups) == [(2, False)]
    assert newest(backups)[1]["step"] == 2


def test_checkpoint_of_the_same_step_is_replaced(backups):
    backups.save(1, {"value": "old"})
    backups.save(1, {"value": "new"})
    assert saved(backups) == [(1, False)]
    assert newest(backups)[1] == {"value": "new"}


def test_only_accepted_ones_are_read(backups):
    save(backups, 1, 2)
    save(backups, 2, finished=True)
    entry = newest(backups, accept=lambda entry: not entry.finished)[0]
    assert (entry.step, entry.finished) == (2, False)
    assert newest(backups, accept=lambda entry: False) is None


def test_foreign_names_are_left_alone(backups, tmp_path):
    save(backups, 1)
    folder = tmp_path / "runs" / "backup"
    names = ["mine", "step-5", "step-000000000009-best", "best.part"]
    names += ["step-000000000001-mine.old", "step-٠٠٠٠٠٠٠٠٠٠٠٩"]
    for name in names:
        (folder / name).mkdir()
    (folder / "step-000000000009").write_text("not a folder")
    save(backups, 2)
    assert saved(backups) == [(2, False), (1, False)]
    assert set(names) < set(os.listdir(folder))


def test_leftovers_are_passed_over_and_removed(backups, tmp_path):
    save(backups, 1, 2)
    folder = tmp_path / "runs" / "backup"
    one = folder / "step-000000000001"
    for name in (
        "step-000000000003.part",
        "step-000000000003-finished.old.part",
        "step-000000000002.old",
    ):
        shutil.copytree(one, folder / name)
    assert saved(backups) == [(2, False), (1, False)]
    save(backups, 3)
    assert sorted(os.listdir(folder)) == [
        "step-000000000002",
        "step-000000000003",
    ]


def test_old_one_stands_in_until_it_is_replaced(backups, tmp_path):
    save(backups, 1, 2)
    path = tmp_path / "runs" / "backup" / "step-000000000002"
    path.rename(f"{path}.old")
    assert newest(backups)[0] == (2, False, f"{path}.old")
    assert newest(backups)[1]["step"] == 2
    save(backups, 2)
    assert newest(backups)[0] == (2, False, str(path))
    assert not os.path.exists(f"{path}.old")
    path.rename(f"{path}.old")
    save(backups, 1)  # Now the old one is of a later step.
    assert os.listdir(path.parent) == ["step-000000000001"]


@pytest.mark.parametrize("name", ["state.json", "arrays.npz"])
@pytest.mark.parametrize("way", ["cut", "flipped", "missing"])
def test_damage_is_reported_and_the_one_before_is_used(
    backups, tmp_path, name, way
):
    save(backups, 1)
    path = backups.save(2, state(2))
    file = os.path.join(path, name)
    with open(file, "r+b") as opened:
        if way == "cut":
            opened.truncate(10)
        elif way == "flipped":
            opened.write(bytes([opened.read(1)[0] ^ 4]))
            opened.seek(0)
            opened.write(b"?")
    if way == "missing":
        os.remove(file)
    with pytest.warns(UserWarning) as caught:
        entry, tree = backups.newest()
    assert (entry.step, tree["step"]) == (1, 1)
    (message,) = [str(warning.message) for warning in caught]
    what = {"cut": "shorter", "flipped": "changed", "missing": "missing"}[way]
    assert f"{file} " in message and what in message
    assert f"The one before it is used: {entry.path}" in message
    assert caught[0].filename == __file__
    assert os.path.isdir(path)  # It may yet be of use to who wrote it.


def test_all_damaged_is_an_error_that_names_them(backups):
    save(backups, 1, 2)
    for entry in backups.steps():
        os.remove(os.path.join(entry.path, "manifest.json"))
    before = backups.steps()
    with pytest.raises(Damaged) as caught:
        newest(backups)
    for part in ("step-000000000001/man", "step-000000000002/man", "missing"):
        assert part in str(caught.value)
    assert "Nothing was overwritten. Restore" in str(caught.value)
    assert backups.steps() == before


@pytest.mark.parametrize("number", [1, 99])
def test_another_format_passes_on(backups, monkeypatch, number):
    save(backups, 1)
    with monkeypatch.context() as patch:
        patch.setattr(manifest, "FORMAT", number)
        save(backups, 2)
    message = f"step-000000000002 of format {number}"
    with pytest.raises(WrongFormat, match=message):
        newest(backups)


def test_one_that_cannot_be_removed_is_reported(backups, monkeypatch):
    save(backups, 1, 2)
    rename = os.rename

    def fail(source, target):
        if source.endswith("1"):
            raise PermissionError(errno.EACCES, "Permission denied")
        rename(source, target)

    monkeypatch.setattr(os, "rename", fail)
    with pytest.raises(PermissionError):
        save(backups, 3)
    assert newest(backups)[1]["step"] == 3


@pytest.mark.parametrize(
    ("step", "error"),
    [(-1, ValueError), (10**12, ValueError), (1.5, TypeError)],
)
def test_bad_step_is_refused(backups, step, error):
    with pytest.raises(error):
        backups.save(step, {})


def test_bad_arguments_are_refused(tmp_path):
    with pytest.raises(ValueError, match="`keep` must be a positive integer"):
        Backups(tmp_path, keep=0)
    with pytest.raises(TypeError, match="`keep` must be a positive integer"):
        Backups(tmp_path, keep=True)
    with pytest.raises(ValueError, match="must be on a disk.*gs://bucket"):
        Backups("gs://bucket/run", keep=1)


def test_relative_folder_stays_where_it_was(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    backups = Backups("here", keep=1)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    save(backups, 1)
    assert os.listdir(tmp_path / "here") == ["step-000000000001"]


def test_writable_folder_is_made_and_left_empty(backups, tmp_path):
    backups.check_writable()
    backups.check_writable()
    assert os.listdir(tmp_path / "runs" / "backup") == []


def test_folder_that_cannot_be_made_is_reported(tmp_path):
    (tmp_path / "file").write_text("text")
    with pytest.raises(NotADirectoryError) as caught:
        Backups(tmp_path / "file" / "backup", keep=1).check_writable()
    assert caught.value.errno == errno.ENOTDIR
    message = str(caught.value)
    assert "The backup folder must be writable. Received: " in message
    assert f"{tmp_path}/file/backup" in message and "Give another" in message


def test_full_disk_is_reported_before_the_first_step(
    backups, monkeypatch, tmp_path
):
    def fail(*, dir):
        assert dir == str(tmp_path / "runs" / "backup")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("tempfile.NamedTemporaryFile", fail)
    with pytest.raises(OSError, match="writable.*No space left") as caught:
        backups.check_writable()
    assert caught.value.errno == errno.ENOSPC


def test_files_reads_what_backups_wrote(backups):
    path = backups.save(1, state(1))
    assert files.read(path)["step"] == 1

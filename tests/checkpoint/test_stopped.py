"""Wherever a save is stopped, a checkpoint can be read."""

import errno
import itertools
import os
import shutil
import warnings

import pytest

from gdtrain.checkpoint import files
from gdtrain.checkpoint.backups import Backups
from tests.checkpoint.damage import Killed, state, stop

FULL = OSError(errno.ENOSPC, "No space left on device")
ENDS = {
    "killed": (Killed(), True),
    "interrupted": (KeyboardInterrupt(), False),
    "full once": (FULL, False),
    "full": (FULL, True),
}


@pytest.fixture(name="folder", params=["first", "next", "same", "back", "old"])
def _folder(request, tmp_path):
    """A folder of checkpoints, before one of step 2 is saved there."""
    folder = tmp_path / "before"
    steps = {"first": [], "next": [0, 1], "back": [1, 2, 3]}
    backups = Backups(folder, keep=2)
    for step in steps.get(request.param, [1, 2]):
        backups.save(step, state(step))
    if request.param == "old":  # As it is after a kill between two renamings
        os.rename(backups.path(2), backups.path(2) + ".old")
    folder.mkdir(exist_ok=True)
    return folder


def stops(folder, monkeypatch, end):
    """Saves step 2 again and again, stopped at each call, and yields the
    folder as it was left and whether the save came to its end."""
    error, forever = ENDS[end]
    for at in itertools.count(1):
        run = folder.with_name(f"{end} {at}")
        shutil.copytree(folder, run)
        backups = Backups(run, keep=2)
        tree = {"step": 2, "new": True}
        reached_end = False
        with stop(monkeypatch, at, error, forever) as calls:
            try:
                backups.save(2, tree)
                reached_end = True
            except (Killed, KeyboardInterrupt, OSError) as caught:
                assert caught is error
        yield run, calls, reached_end
        if len(calls) < at:
            return


def newest(folder):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return Backups(folder, keep=2).newest()


@pytest.mark.parametrize("end", ENDS)
def test_newest_can_be_read_wherever_a_save_is_stopped(
    folder, monkeypatch, end
):
    before = newest(folder)
    count, news = 0, set()
    for run, calls, reached_end in stops(folder, monkeypatch, end):
        count += 1
        found = newest(run)
        if found is None:
            assert before is None and not reached_end
            continue
        entry, tree = found
        new = "new" in tree
        news.add(new)
        assert new or before is not None
        # Never one of before that is older than the newest one was
        assert new or entry.step == before[0].step
        if reached_end:
            assert new
    assert True in news
    assert count > 15, calls
    if before is not None:
        assert False in news


@pytest.mark.mostly_long(
    "first-killed",
    "same-full once",
    "back-interrupted",
    "old-full",
)
@pytest.mark.parametrize("end", ENDS)
def test_saving_goes_on_after_each_stop(folder, monkeypatch, end):
    for run, _, _ in stops(folder, monkeypatch, end):
        backups = Backups(run, keep=1)
        backups.save(2, state(2))
        assert os.listdir(run) == ["step-000000000002"]
        assert newest(run)[1]["step"] == 2


def test_nothing_is_left_of_what_failed(tmp_path, monkeypatch):
    for at in itertools.count(1):
        run = tmp_path / str(at)
        run.mkdir()
        failed = False
        with stop(monkeypatch, at, FULL, False) as calls:
            try:
                files.write(run / "a", state(1))
            except OSError as error:
                assert error is FULL
                failed = True
        assert os.listdir(run) == ([] if failed else ["a"])
        if len(calls) < at:
            return

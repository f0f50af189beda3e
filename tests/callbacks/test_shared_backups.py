"""All workers continue from the same state, or none does."""

import concurrent.futures
import shutil
import threading

import pytest

from gdtrain.callbacks import shared_backups
from gdtrain.checkpoint.groups import GroupBackups
from gdtrain.distributed.workers import Workers
from tests import waiting


class Threads(Workers):
    """Workers that are threads of this process."""

    def __init__(self, board, index):
        self.count, self.index = len(board), index
        self._board = board
        self._barrier = board[index]

    def numbers(self, number):
        self._board[self.index] = number
        self._barrier.wait(waiting.SECONDS)
        found = list(self._board)
        self._barrier.wait(waiting.SECONDS)
        return found


def begin(folders):
    """The step that each worker continues from, or its error."""
    board = [threading.Barrier(len(folders))] * len(folders)
    every = [Threads(board, index) for index in range(len(folders))]

    def newest(worker, folder):
        backups = GroupBackups(folder, 2, worker)
        try:
            found = shared_backups.newest(backups, worker, epochs=3)
        except Exception as error:
            return error
        return found and found["step"]

    with concurrent.futures.ThreadPoolExecutor(len(folders)) as pool:
        return list(pool.map(newest, every, folders))


def save(folder, count, *steps, only=None):
    for index in range(count) if only is None else only:
        worker = Threads([None] * count, index)
        for step in steps:
            state = {
                "step": step,
                "epoch": 1,
                "is_finished": False,
                "is_stopped": False,
                "variables": {},
                "random": {},
                "callbacks": {},
                "saved_by": {"workers": count, "replicas": 1},
            }
            GroupBackups(folder, 2, worker).save(step, state)


def test_the_newest_that_all_have_on_disks_of_their_own(tmp_path):
    folders = [tmp_path / "one", tmp_path / "two"]
    save(folders[0], 2, 4, 6, only=[0])
    save(folders[1], 2, 4, only=[1])
    assert begin(folders) == [4, 4]


def test_another_number_of_workers_on_a_disk_that_all_share(tmp_path):
    save(tmp_path, 4, 4, 6)
    save(tmp_path, 4, 8, only=[0, 1])
    assert begin([tmp_path] * 2) == [6, 6]
    assert begin([tmp_path] * 3) == [6, 6, 6]


def test_a_damaged_state_of_one_worker_is_of_none(tmp_path):
    save(tmp_path, 2, 4, 6)
    (tmp_path / "worker-1-of-2/step-000000000006/state.json").write_text("{}")
    with pytest.warns(UserWarning, match="is damaged"):
        assert begin([tmp_path] * 2) == [4, 4]


def test_what_one_worker_cannot_read_is_refused_by_all(tmp_path):
    folders = [tmp_path / "one", tmp_path / "two"]
    save(folders[0], 1, 8)
    for error in begin(folders):
        assert isinstance(error, FileNotFoundError)
        assert "step 8" in str(error) and "worker 1 cannot read" in str(error)
    shutil.copytree(*folders)
    assert begin(folders) == [8, 8]


def test_a_missing_folder_is_named_by_the_worker_that_misses_it(tmp_path):
    folders = [tmp_path / "one", tmp_path / "two"]
    save(folders[0], 3, 8)
    save(folders[1], 3, 8, only=[1])
    whole, part = begin(folders)
    assert "an error of worker 1" in str(whole)
    assert "without worker-0-of-3, worker-2-of-3" in str(part)


def test_nothing_is_found_where_nothing_is(tmp_path):
    assert begin([tmp_path] * 2) == [None, None]


def test_a_worker_that_was_killed_while_it_wrote_has_one_in_common(tmp_path):
    save(tmp_path, 2, 1, 2, 3, 4, only=[0])
    save(tmp_path, 2, 1, 2, only=[1])
    assert begin([tmp_path] * 2) == [2, 2]

"""Of several workers, the newest step that all have saved is found."""

import operator
import os
import shutil
import types

import pytest

from gdtrain.checkpoint.backups import Backups
from gdtrain.checkpoint.groups import GroupBackups, GroupEntry
from tests.checkpoint.damage import state


def group(folder, count, index=0):
    workers = types.SimpleNamespace(count=count, index=index)
    return GroupBackups(folder, 2, workers)


def save(folder, count, *steps, only=None, finished=False):
    """Saves steps as each of so many workers, or as some of them."""
    for index in range(count) if only is None else only:
        for step in steps:
            tree = state(step) | {"worker": index}
            group(folder, count, index).save(step, tree, finished)


def newest(folder, count, index=0, **arguments):
    """Step, number of workers, and whose states were read."""
    found = group(folder, count, index).newest(
        lambda states: list(map(operator.itemgetter("worker"), states)),
        **arguments,
    )
    if found is None:
        return None
    entry, read = found
    read = [read["worker"]] if entry.is_own else read
    return entry.step, entry.workers, read


def test_nothing_is_found_where_nothing_is(tmp_path):
    assert newest(tmp_path / "nowhere", 2) is None


def test_each_reads_its_own_of_the_same_number(tmp_path):
    save(tmp_path, 2, 4, 8)
    assert newest(tmp_path, 2, index=1) == (8, 2, [1])
    shutil.rmtree(tmp_path / "worker-0-of-2")  # On a disk of its own
    assert newest(tmp_path, 2, index=1) == (8, 2, [1])


def test_those_of_all_are_read_by_another_number(tmp_path):
    save(tmp_path, 4, 4, 8)
    for count in (1, 2, 5):
        assert newest(tmp_path, count) == (8, 4, [0, 1, 2, 3])
    assert newest(tmp_path, 1, accept=lambda one: one.step < 8)[0] == 4


def test_a_step_that_one_has_not_saved_does_not_count(tmp_path):
    save(tmp_path, 4, 4)
    save(tmp_path, 4, 8, only=[0, 1, 3])
    assert newest(tmp_path, 2) == (4, 4, [0, 1, 2, 3])


def test_of_a_damaged_state_the_step_before_is_read(tmp_path):
    save(tmp_path, 4, 4, 8)
    os.remove(tmp_path / "worker-3-of-4/step-000000000008/state.json")
    with pytest.warns(UserWarning, match="worker-3-of-4.*The one before it"):
        assert newest(tmp_path, 1) == (4, 4, [0, 1, 2, 3])


def test_a_missing_folder_of_the_newest_is_named(tmp_path):
    save(tmp_path, 1, 3)
    save(tmp_path, 3, 4, only=[0])
    with pytest.raises(FileNotFoundError) as caught:
        newest(tmp_path, 1)
    text = str(caught.value)
    assert "without worker-1-of-3, worker-2-of-3; it was saved by 3" in text
    save(tmp_path, 1, 5)  # A newer one does not need it.
    assert newest(tmp_path, 1) == (5, 1, [0])


def test_others_are_removed_once_all_have_saved(tmp_path):
    save(tmp_path, 4, 4, 8)
    (tmp_path / "mine.txt").touch()
    save(tmp_path, 2, 9, only=[0])
    assert newest(tmp_path, 2, index=1) == (8, 4, [0, 1, 2, 3])
    save(tmp_path, 2, 9, only=[1])
    assert sorted(os.listdir(tmp_path)) == [
        "mine.txt",
        "worker-0-of-2",
        "worker-1-of-2",
    ]
    save(tmp_path, 1, 10)
    assert sorted(os.listdir(tmp_path)) == ["mine.txt", "step-000000000010"]


def test_later_steps_of_others_do_not_win_over_a_new_start(tmp_path):
    save(tmp_path, 4, 100)
    save(tmp_path, 1, 5)
    assert newest(tmp_path, 4) == (5, 1, [0])


def test_leftovers_of_a_broken_removal_are_removed(tmp_path):
    save(tmp_path, 2, 4)
    os.rename(tmp_path / "worker-0-of-2", tmp_path / "worker-0-of-2.part")
    shutil.rmtree(tmp_path / "worker-1-of-2")
    assert newest(tmp_path, 1) is None
    save(tmp_path, 1, 5)
    assert os.listdir(tmp_path) == ["step-000000000005"]


def test_a_finished_step_is_newer_than_the_same_unfinished_one(tmp_path):
    save(tmp_path, 2, 4)
    save(tmp_path, 2, 4, finished=True)
    names = os.listdir(tmp_path / "worker-0-of-2")
    assert len(names) == 2
    assert group(tmp_path, 1).newest(list)[0].finished


def test_entries_are_ordered_as_their_numbers():
    entries = [
        GroupEntry(3, False, False, 4),
        GroupEntry(3, False, True, 2),
        GroupEntry(3, True, False, 1),
        GroupEntry(4, False, False, 1),
    ]
    numbers = [entry.number for entry in entries]
    assert sorted(entries) == entries and sorted(numbers) == numbers
    assert [GroupEntry.of(number) for number in numbers] == entries


def test_one_process_saves_as_ever(tmp_path):
    save(tmp_path, 1, 4)
    assert [entry.step for entry in Backups(tmp_path, 2).steps()] == [4]

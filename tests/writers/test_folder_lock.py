"""A folder has one run at a time."""

import errno
import os
import subprocess
import sys

import pytest

from gdtrain.writers import folder_lock
from gdtrain.writers.folder_lock import FolderLock

# Without gdtrain, whose import takes seconds
OTHER = """
import fcntl, os, sys
file = open(sys.argv[1] + "/gdtrain.lock", "w")
fcntl.flock(file, fcntl.LOCK_EX)
print(os.getpid(), file=file, end="", flush=True)
print("locked", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def other(tmp_path):
    """Another process, which has the lock."""
    process = subprocess.Popen(
        [sys.executable, "-c", OTHER, tmp_path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "locked\n"
    yield process
    process.kill()
    process.communicate()


def test_locked_folder_is_refused_in_the_same_process(tmp_path):
    folder = tmp_path / "a" / "b"
    lock = FolderLock(folder)
    with pytest.raises(RuntimeError, match=f"{folder}.* {os.getpid()}, this"):
        FolderLock(folder)
    with pytest.raises(RuntimeError):  # The refused one took nothing away.
        FolderLock(folder)
    lock.release()
    lock.release()
    FolderLock(folder).release()


def test_folder_of_another_process_is_refused_until_it_dies(tmp_path, other):
    with pytest.raises(RuntimeError, match=f"{tmp_path}.*{other.pid}.*own"):
        FolderLock(tmp_path)
    other.kill()
    other.wait()
    lock = FolderLock(tmp_path)
    with pytest.raises(RuntimeError, match=f"process {os.getpid()}, this"):
        FolderLock(tmp_path)
    lock.release()


def test_lock_leaves_the_folder_to_tensorboard_and_others(tmp_path):
    (tmp_path / "mine").write_text("text")
    FolderLock(tmp_path).release()
    names = sorted(os.listdir(tmp_path))
    assert names == ["gdtrain.lock", "mine"]
    assert not any("tfevents" in name for name in names)


def test_two_folders_are_two_locks(tmp_path):
    locks = FolderLock(tmp_path / "a"), FolderLock(tmp_path / "b")
    for lock in locks:
        lock.release()


def no_locks(*_):
    raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))


def test_nothing_is_locked_where_there_are_no_locks(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    FolderLock("gs://bucket/run").release()
    assert os.listdir(tmp_path) == []
    monkeypatch.setattr(folder_lock, "fcntl", None)
    FolderLock(tmp_path).release()


def test_file_system_without_locks_gives_a_warning(tmp_path, monkeypatch):
    monkeypatch.setattr(folder_lock.fcntl, "flock", no_locks)
    with pytest.warns(UserWarning) as caught:
        FolderLock(tmp_path).release()
    (message,) = [str(one.message) for one in caught]
    assert message == (
        f"The folder {str(tmp_path)!r} could not be locked: this file system "
        f"has no locks (OSError: [Errno {errno.ENOLCK}] No locks available). "
        "Training continues; see to it that no other run writes there.\n"
        "More: python -m gdtrain explain folder-in-use"
    )


def test_lock_file_that_cannot_be_written_gives_a_warning(tmp_path):
    (tmp_path / "gdtrain.lock").mkdir()
    with pytest.warns(UserWarning, match="could not be locked") as caught:
        FolderLock(tmp_path).release()
    assert len(caught) == 1


def test_full_disk_locks_all_the_same(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as context:
        context.setattr(folder_lock.os, "write", full)
        lock = FolderLock(tmp_path)
    with pytest.raises(RuntimeError, match="process of an unknown id is"):
        FolderLock(tmp_path)
    lock.release()


def test_folder_that_cannot_be_made_is_left_to_who_writes(tmp_path):
    (tmp_path / "file").write_text("")
    FolderLock(tmp_path / "file").release()

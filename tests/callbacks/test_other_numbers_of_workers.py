"""A run that some workers saved is continued by another number of them."""

import json
import os
import shutil
import time

import pytest
import tensorflow as tf

import gdtrain
from gdtrain.checkpoint import files
from gdtrain.checkpoint.backups import Backups
from gdtrain.writers.folder_lock import FolderLock
from tests import waiting, workers
from tests.callbacks import runs
from tests.callbacks.elastic_run import ONE, assert_same, run

EPOCHS = {"at_epochs_only": True, "save_freq": "epoch", "every_steps": None}


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """What one process leaves that nobody stops."""
    return run(tmp_path_factory.mktemp("whole"), ONE)


def started(folder, count, *arguments):
    """Some workers in processes of their own."""
    return workers.started(
        workers.environments(count),
        "tests.callbacks.elastic_run",
        folder,
        *arguments,
    )


def ended(processes):
    """What workers print until they end."""
    found = [p.communicate(timeout=waiting.SECONDS) for p in processes]
    for process, (_, errors) in zip(processes, found, strict=True):
        assert process.returncode == 0, errors
    return [output for output, _ in found]


def left_by(folder, index):
    return json.loads((folder / f"left-{index}.json").read_text())


@pytest.mark.mostly_long("shards")
@pytest.mark.parametrize("feed", ["arrays", "PyDataset", "shards"])
def test_one_and_two_replicas_in_turn_train_as_one(
    tmp_path, two_replicas, feed, capsys
):
    expected = run(tmp_path / "whole", ONE, feed=feed)
    parts = tmp_path / "parts"
    run(parts, two_replicas, 3, feed)
    run(parts, ONE, 6, feed)
    assert_same(run(parts, two_replicas, feed=feed), expected)
    printed = capsys.readouterr().out
    assert "saved by 2 replicas, now 1." in printed
    assert "saved by 1 replica, now 2." in printed


def test_one_and_two_workers_in_turn_train_as_one(tmp_path, expected, capsys):
    """Two stop within an epoch, one within the next, and two go on.

    Before, a job of another number of workers on the same folder is refused.
    """
    with started(tmp_path, 2, "arrays", 3) as processes:
        ended(processes)
    assert run(tmp_path, ONE, 6) is None
    printed = capsys.readouterr().out
    assert "after 3 steps" in printed and "by 2 workers, now 1." in printed
    folder = tmp_path / "backup"
    names = [name for name in os.listdir(folder) if "lock" not in name]
    saved = ["step-000000000005", "step-000000000006"]
    assert sorted(names) == ["crashes", *saved]  # What stopped the two
    lock = FolderLock(folder)  # As if the job of one worker still ran
    refused = [tmp_path / f"refused-{index}" for index in range(2)]
    with started(tmp_path, 2, "arrays") as processes:
        while not all(path.exists() for path in refused):
            assert all(process.poll() is None for process in processes)
            time.sleep(0.1)
        lock.release()
        printed, _ = ended(processes)
    assert "Only one run at a time may write to a" in refused[0].read_text()
    assert "an error of worker 0" in refused[1].read_text()
    assert "after 6 steps" in printed and "by 1 worker, now 2." in printed
    assert_same(left_by(tmp_path, 0), expected)
    chief_only = {"steps", "losses"}
    assert_same(left_by(tmp_path, 1), expected, expected.keys() - chief_only)


def as_if_by_workers(folder, count):
    """Makes what one process saved what each of some workers saved."""
    backup = folder / "backup"
    for entry in Backups(backup, keep=2).steps():
        state = files.read(entry.path)
        state["saved_by"]["workers"] = count
        for index in range(count):
            name = os.path.basename(entry.path)
            files.write(backup / f"worker-{index}-of-{count}" / name, state)
        shutil.rmtree(entry.path)


def sharded_by_files(tmp_path):
    """A feed whose examples come from lines of a file."""
    lines = tmp_path / "lines"
    lines.write_text("\n".join(map(str, range(24))))
    policies = tf.data.experimental.AutoShardPolicy

    def feed(policy=policies.AUTO):
        options = tf.data.Options()
        options.experimental_distribute.auto_shard_policy = policy
        numbers = tf.data.TextLineDataset(str(lines)).map(
            lambda line: tf.strings.to_number(line) / 24.0
        )
        pairs = numbers.map(lambda n: (tf.stack([n, n, n]), n[tf.newaxis]))
        return {"x": pairs.batch(6).with_options(options)}

    return feed, lambda: feed(policies.DATA)


def test_a_dataset_that_is_sharded_by_files_is_refused(tmp_path):
    by_files, by_examples = sharded_by_files(tmp_path)
    run(tmp_path, ONE, 5, by_files, **EPOCHS)
    as_if_by_workers(tmp_path, 2)
    text = r"sharded by files .*: the run was saved by 2 workers, now 1"
    with pytest.raises(ValueError, match=text):
        run(tmp_path, ONE, feed=by_files)
    left = run(tmp_path, ONE, feed=by_files, on_change="continue")
    assert left["steps"][-1] == 12

    parts = tmp_path / "parts"
    run(parts, ONE, 5, by_examples, **EPOCHS)
    as_if_by_workers(parts, 2)
    expected = run(tmp_path / "whole", ONE, feed=by_examples)
    assert_same(run(parts, ONE, feed=by_examples), expected, ["losses"])


def test_own_parts_of_workers_are_refused(tmp_path):
    batches = [(runs.X[a : a + 6], runs.Y[a : a + 6]) for a in (0, 6, 12, 18)]

    def feed():
        return {"x": gdtrain.data.WorkerData(batches)}

    run(tmp_path, ONE, 5, feed, **EPOCHS)
    as_if_by_workers(tmp_path, 2)
    text = "one worker's own part of the data.*: the run was saved by 2 workers"
    with pytest.raises(ValueError, match=text):
        run(tmp_path, ONE, feed=feed, **EPOCHS)


def test_a_dataset_within_an_epoch_is_refused(tmp_path, two_replicas):
    _, feed = sharded_by_files(tmp_path)
    run(tmp_path, ONE, 5, feed)
    with pytest.raises(ValueError, match="a tf.data.Dataset has no position"):
        run(tmp_path, two_replicas, feed=feed, **EPOCHS)
    arguments = EPOCHS | {"on_change": "continue"}
    left = run(tmp_path, two_replicas, feed=feed, **arguments)
    assert left["steps"][-1] == 13  # The epoch began again after its step.


def test_a_dataset_goes_on_where_an_epoch_ended(tmp_path, two_replicas):
    _, feed = sharded_by_files(tmp_path)
    expected = run(tmp_path / "whole", ONE, feed=feed)
    run(tmp_path, ONE, 5, feed, **EPOCHS)
    run(tmp_path, two_replicas, 9, feed, **EPOCHS)
    assert_same(run(tmp_path, ONE, feed=feed), expected)


def test_a_folder_of_a_worker_that_is_missing_is_named(tmp_path):
    run(tmp_path, ONE, 3)
    as_if_by_workers(tmp_path, 4)
    shutil.rmtree(tmp_path / "backup" / "worker-2-of-4")
    with pytest.raises(FileNotFoundError, match="without worker-2-of-4; it"):
        run(tmp_path, ONE)


@pytest.mark.long
@pytest.mark.parametrize("feed", ["arrays", "shards"])
def test_four_two_one_and_four_workers_in_turn_train_as_one(tmp_path, feed):
    expected = run(tmp_path / "whole", ONE, feed=feed)
    for count, stop_at in [(4, 2), (2, 5), (1, 7), (4, None)]:
        more = filter(None, [stop_at])
        with started(tmp_path, count, feed, *more) as processes:
            ended(processes)
    assert_same(left_by(tmp_path, 0), expected)

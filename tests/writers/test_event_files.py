"""Event files are read back whole, without stale points."""

import glob
import os

import numpy as np
import pytest
from tensorboard.backend.event_processing import event_accumulator

from gdtrain.writers import reading, summaries, tensorboard_runs
from gdtrain.writers.tensorboard import TensorBoardWriter


def attempt(folder, steps, epochs, value, first_step=0, second=1.0):
    """Writes what an attempt at a run writes, in a second of its own."""
    writer = TensorBoardWriter(folder, first_step, lambda: second)
    writer.write(steps, ["step/loss"], np.full([len(steps), 1], value))
    writer.write(epochs, ["epoch_loss"], np.full([len(epochs), 1], value))
    writer.close()


def first_stale(tag):
    """Goes on from step 20, after 2 epochs of 10 steps."""
    return 2 if tag.startswith("epoch_") else 21


def contents(folder):
    """Bytes of every file."""
    return {path: open(path, "rb").read() for path in glob.glob(f"{folder}/*")}


def test_scalars_are_not_sampled(tmp_path):
    steps = np.arange(12000) + 2**33
    values = np.random.default_rng(0).normal(size=[12000, 1])
    writer = TensorBoardWriter(tmp_path)
    writer.write(steps, ["a"], values.astype("float32"))
    writer.add(0, summaries.text("note", "hello"))
    writer.close()
    found = reading.scalars(tmp_path)
    assert list(found) == ["a"]
    assert [array.dtype for array in found["a"]] == [np.int64, np.float32]
    np.testing.assert_array_equal(found["a"][0], steps)
    np.testing.assert_array_equal(found["a"][1], np.float32(values[:, 0]))


def test_marks_of_new_attempts_mean_what_they_do_to_tensorboard(tmp_path):
    attempt(tmp_path, range(1, 41), range(4), 1.0)
    attempt(tmp_path, range(21, 31), [2], np.nan, first_step=21, second=2.0)
    attempt(tmp_path, range(2, 5), [2], 3.0, first_step=2, second=3.0)
    expected = event_accumulator.EventAccumulator(str(tmp_path)).Reload()
    found = reading.scalars(tmp_path)
    assert set(found) == set(expected.Tags()["scalars"])
    for tag, (steps, values) in found.items():
        events = expected.Scalars(tag)
        assert steps.tolist() == [event.step for event in events]
        assert values.tolist() == [event.value for event in events]


def test_run_reads_back_like_memory(tmp_path):
    writer = TensorBoardWriter(tmp_path / "train")
    names = ["step/loss", "step/norm/a", "epoch_loss"]
    measured = [[True, True, False], [True, False, True], [False, True, True]]
    values = [[1, np.nan, 0], [2, 0, 5], [0, 3, 6]]
    writer.write([10, 20, 30], names, values, measured)
    writer.close()
    above = TensorBoardWriter(tmp_path)  # As hyperparameters are
    above.add(0, summaries.hparams({"learning_rate": 0.1}))
    above.close()
    for folder in (tmp_path, tmp_path / "train"):
        run = reading.read(folder)
        assert run.steps.tolist() == [10, 20, 30]
        assert run.names == ("loss", "norm/a")
        np.testing.assert_array_equal(run["loss"], [1, 2, np.nan])
        steps, values_of_a = run.points("norm/a")
        assert steps.tolist() == [10, 30]
        np.testing.assert_array_equal(values_of_a, np.float32([np.nan, 3]))


def test_the_former_folder_of_training_is_that_of_the_run(tmp_path):
    writer = TensorBoardWriter(tmp_path)
    writer.write([1], ["step/loss"], [[0.5]])
    writer.close()
    found = reading.scalars(tmp_path / "train")
    assert found["step/loss"][1].tolist() == [0.5]
    with pytest.raises(FileNotFoundError):
        reading.scalars(tmp_path / "other")


def test_folder_without_a_run_is_an_error(tmp_path):
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(FileNotFoundError, match="must have event files"):
            reading.read(folder)
        with pytest.raises(FileNotFoundError, match="must have event files"):
            reading.scalars(folder)
    attempt(tmp_path, [], [0, 1], 1.0)
    with pytest.raises(FileNotFoundError, match="scalars of steps"):
        reading.read(tmp_path)


def test_run_that_goes_on_has_one_curve_for_steps_and_epochs(tmp_path):
    attempt(tmp_path, range(1, 41), range(4), 1.0)
    tensorboard_runs.drop_stale(tmp_path, first_stale)
    attempt(tmp_path, range(21, 31), [2], 2.0, first_step=21, second=2.0)
    found = reading.scalars(tmp_path)
    steps, values = found["step/loss"]
    assert steps.tolist() == list(range(1, 31))
    assert values.tolist() == [1.0] * 20 + [2.0] * 10
    steps, values = found["epoch_loss"]
    assert steps.tolist() == [0, 1, 2] and values.tolist() == [1, 1, 2]


def test_stale_points_go_and_others_of_the_same_event_stay(tmp_path):
    writer = TensorBoardWriter(tmp_path)
    writer.write([20, 21, 22], ["step/loss", "kept"], np.ones([3, 2]))
    writer.add(9, summaries.text("note", "hello"))
    writer.close()
    infinite = {"kept": np.inf, "note": np.inf}
    tensorboard_runs.drop_stale(tmp_path, lambda tag: infinite.get(tag, 21))
    found = reading.scalars(tmp_path)
    assert found["step/loss"][0].tolist() == [20]
    assert found["kept"][0].tolist() == [20, 21, 22]
    assert b"hello" in b"".join(contents(tmp_path).values())


def test_file_without_stale_points_is_not_touched(tmp_path):
    attempt(tmp_path, range(1, 21), range(2), 1.0)
    before = contents(tmp_path)
    (path,) = before
    changed = os.stat(path).st_ino
    tensorboard_runs.drop_stale(tmp_path, first_stale)
    assert contents(tmp_path) == before
    assert os.stat(path).st_ino == changed


def test_file_of_nothing_but_stale_points_is_removed(tmp_path):
    attempt(tmp_path, range(1, 11), [0], 1.0)
    attempt(tmp_path, range(21, 31), [2], 1.0, first_step=21, second=2.0)
    tensorboard_runs.drop_stale(tmp_path, first_stale)
    assert len(contents(tmp_path)) == 1
    assert reading.read(tmp_path).steps.tolist() == list(range(1, 11))


def test_failure_leaves_the_files_as_they_were(tmp_path, monkeypatch):
    attempt(tmp_path, range(1, 41), range(4), 1.0)
    before = contents(tmp_path)

    def fail(*_, **__):
        raise tensorboard_runs.tf.errors.ResourceExhaustedError(
            None, None, "full"
        )

    monkeypatch.setattr(tensorboard_runs.tf.io.gfile, "rename", fail)
    with pytest.raises(OSError, match="must be open to.*full"):
        tensorboard_runs.drop_stale(tmp_path, first_stale)
    assert contents(tmp_path) == before


def test_missing_folder_has_nothing_stale(tmp_path):
    tensorboard_runs.drop_stale(tmp_path / "none", first_stale)
    assert not (tmp_path / "none").exists()

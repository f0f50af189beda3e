"""Attempts at a run follow each other in one folder."""

import shutil

import pytest
from tensorboard.backend.event_processing import event_file_loader

from gdtrain.writers import summaries
from gdtrain.writers.tensorboard_runs import FOLDERS, TensorBoardRuns
from tests.writers.test_tensorboard import read, read_by_server


def attempt(runs, steps, epochs, value=1.0, validation=True):
    """Writes steps and epochs that are numbered from 1 and 0."""
    runs.lock()
    runs.begin(steps[0] - 1, epochs[0])
    write(runs, steps, epochs, value, validation)
    runs.end(steps[-1], epochs[-1])
    runs.close()


def write(runs, steps, epochs, value=1.0, validation=True):
    for run in ("train", "validation") if validation else ("train",):
        runs[run].write(steps, ["step/loss"], [[value]] * len(steps))
        runs[run].write(epochs, ["epoch_loss"], [[value]] * len(epochs))


def points(folder, run="train"):
    """`(steps, epochs)` with their values, in which the loaders agree."""
    folder = folder / FOLDERS[run]
    scalars, by_server = read(folder), read_by_server(folder)
    found = [scalars.get(tag, []) for tag in ("step/loss", "epoch_loss")]
    for tag, one in zip(("step/loss", "epoch_loss"), found, strict=True):
        assert by_server.get(tag, []) == [step for step, _ in one]
    return tuple(found)


def numbered(steps, value=1.0):
    return [(step, value) for step in steps]


def test_attempt_from_the_start_replaces_all_that_it_writes(tmp_path):
    attempt(TensorBoardRuns(tmp_path), range(1, 9), range(4))
    attempt(TensorBoardRuns(tmp_path), range(1, 4), range(2), 2.0)
    for run in ("train", "validation"):
        assert points(tmp_path, run) == (
            numbered(range(1, 4), 2.0),
            numbered(range(2), 2.0),
        )


def test_run_that_is_not_written_again_stays(tmp_path):
    runs = TensorBoardRuns(tmp_path)
    attempt(TensorBoardRuns(tmp_path), range(1, 5), range(2))
    attempt(runs, range(1, 3), range(1), 2.0, validation=False)
    old = numbered(range(1, 5)), numbered(range(2))
    assert points(tmp_path, "validation") == old
    write(runs, [3], [1], 3.0)  # As after an evaluation by itself
    runs.close()
    new = numbered([3], 3.0), numbered([1], 3.0)
    assert points(tmp_path, "validation") == new


def test_what_follows_an_attempt_from_the_start_is_added(tmp_path):
    runs = TensorBoardRuns(tmp_path)
    attempt(runs, range(1, 5), range(2))
    write(runs, [5], [2])  # As an evaluation by itself
    runs.close()
    for run in ("train", "validation"):
        assert points(tmp_path, run) == (
            numbered(range(1, 6)),
            numbered(range(3)),
        )


def test_later_attempt_replaces_what_comes_again_by_step_and_epoch(tmp_path):
    attempt(TensorBoardRuns(tmp_path), range(1, 9), range(4))
    attempt(TensorBoardRuns(tmp_path), range(5, 7), [2], 2.0)
    for run in ("train", "validation"):
        assert points(tmp_path, run) == (
            numbered(range(1, 5)) + numbered([5, 6], 2.0),
            numbered(range(2)) + numbered([2], 2.0),
        )


@pytest.mark.parametrize(
    "steps, epochs, kept_steps, kept_epochs",
    [
        (range(5, 7), [2], 4, 2),  # Goes on
        (range(5, 7), [0], 4, 0),  # Counts its epochs from 0 again
        (range(9, 11), [0], 4, 0),  # And steps have passed unseen
        (range(9, 11), [5], 4, 2),
        (range(3, 7), [2], 2, 2),  # Another model, which did less
    ],
)
def test_next_attempt_of_the_same_object_goes_forward(
    steps, epochs, kept_steps, kept_epochs, tmp_path
):
    runs = TensorBoardRuns(tmp_path)
    attempt(runs, range(1, 5), range(2))
    attempt(runs, steps, epochs, 2.0)
    assert points(tmp_path) == (
        numbered(range(1, 1 + kept_steps)) + numbered(steps, 2.0),
        numbered(range(kept_epochs)) + numbered(epochs, 2.0),
    )


def test_many_fits_of_one_run_have_one_mark_and_all_their_points(tmp_path):
    attempt(TensorBoardRuns(tmp_path), range(1, 200), range(200))  # Before it
    runs = TensorBoardRuns(tmp_path)
    for first in range(0, 120, 10):
        runs.lock()
        runs.begin(first, first)
        runs.describe([summaries.text("model", f"{first}")])
        write(runs, range(first + 1, first + 11), range(first, first + 10), 2.0)
        runs.judge(first + 10, summaries.text("diagnosis", f"{first}"))
        runs.end(first + 10, first + 9)
        runs.close()
    assert marked_steps(tmp_path) == [{0}, {0}]
    for run in ("train", "validation"):
        assert points(tmp_path, run) == (
            numbered(range(1, 121), 2.0),
            numbered(range(120), 2.0),
        )


def marked_steps(folder):
    """Steps of the marks of new attempts, of each file that has one."""
    found = []
    for path in sorted(folder.glob("*tfevents*")):
        events = event_file_loader.LegacyEventFileLoader(str(path)).Load()
        marks = {e.step for e in events if e.HasField("session_log")}
        found += [marks] if marks else []
    return found


def test_attempt_that_continues_leaves_files_alone(tmp_path):
    runs = TensorBoardRuns(tmp_path)
    attempt(runs, range(1, 5), range(2))
    files = list(tmp_path.glob("**/*tfevents*"))
    assert len(files) == 2
    before = [(file.stat().st_ino, file.read_bytes()) for file in files]
    attempt(runs, range(5, 7), [2])
    after = [(file.stat().st_ino, file.read_bytes()) for file in files]
    assert before == after


def test_description_is_that_of_the_last_attempt(tmp_path):
    for note in ("first", "second"):
        runs = TensorBoardRuns(tmp_path)
        runs.lock()
        runs.begin(7, 1)
        runs.describe(
            [
                summaries.hparams({"note": note}),
                summaries.text("model/summary", note),
                summaries.custom_scalars([("page", False, [])]),
            ]
        )
        runs["train"].add(5, summaries.text("note", note))
        runs.close()
    assert read_by_server(tmp_path) == {
        "note": [5, 5],
        "_hparams_/session_start_info": [0],
        "model/summary": [0],
        "custom_scalars__config__": [0],
    }


def test_folder_is_free_after_close_even_if_that_fails(tmp_path):
    runs = TensorBoardRuns(tmp_path)
    runs.lock()
    runs.lock()  # Once is enough.
    write(runs, [1], [0])
    with pytest.raises(RuntimeError, match="Only one run at a time"):
        TensorBoardRuns(tmp_path).lock()
    shutil.rmtree(tmp_path)
    with pytest.warns(UserWarning) as caught:
        runs.close()
    messages = [str(one.message) for one in caught]
    assert len(messages) == 2  # One for each run
    for message, folder in zip(messages, FOLDERS.values(), strict=True):
        missing = f"Something is missing in {str(tmp_path / folder)!r}"
        assert message.startswith(missing)
        assert "the file or its folder is gone" in message
    attempt(TensorBoardRuns(tmp_path), range(1, 3), [0], 2.0)
    assert points(tmp_path) == (numbered([1, 2], 2.0), numbered([0], 2.0))


def test_flush_makes_all_runs_readable(tmp_path):
    runs = TensorBoardRuns(tmp_path)
    write(runs, [1], [0])
    runs.flush()
    for run in ("train", "validation"):
        assert points(tmp_path, run) == (numbered([1]), numbered([0]))
    runs.close()


def test_nothing_written_makes_no_files(tmp_path):
    runs = TensorBoardRuns(tmp_path / "logs")
    runs.begin(0, 0)
    runs.flush()
    runs.close()
    assert not (tmp_path / "logs").exists()

"""A crash that repeats at the same step is found, and no other."""

import json
import os

import pytest
import tensorflow as tf

from gdtrain.checkpoint.crashes import CrashLog


def fail(text="failed"):
    raise ValueError(text)


def crash(folder, step, until=None, worker=0, how=fail, log=None):
    """A start of a worker that ends after a step."""
    log = log or CrashLog(folder, worker)
    log.check()
    log.forget(step)
    try:
        how()
    except BaseException as error:
        log.add(error, step, until or step + 1)


def refusal(folder):
    with pytest.raises(RuntimeError) as caught:
        CrashLog(folder, worker=0).check()
    return str(caught.value)


@pytest.fixture(name="folder")
def _folder(tmp_path):
    return tmp_path / "crashes"


def test_the_third_at_the_same_step_is_the_last(folder):
    for number in range(3):
        crash(folder, 7, how=lambda: fail(f"text {number}"))
    text = refusal(folder)
    assert "3 crashes in a row after step 7" in text
    assert "in fail\n" in text and "ValueError: text 2\n" in text
    assert f"delete {str(folder)!r} to try again" in text
    for name in os.listdir(folder):
        os.remove(folder / name)
    crash(folder, 7)


def test_whichever_worker_it_is_on(folder):
    for worker in (2, 0, 1):
        crash(folder, 7, worker=worker)
    assert "on worker 1" in refusal(folder)


def test_several_workers_in_one_start_count_once(folder):
    for _ in range(2):
        logs = [CrashLog(folder, worker) for worker in range(3)]
        for log in logs:
            crash(folder, 7, log=log)
    CrashLog(folder, 0).check()
    assert len(os.listdir(folder)) == 6


def test_blocks_of_other_lengths_may_hold_the_same_step(folder):
    """Steps 101 to 110, 104 to 108, 106 to 150."""
    for step, until in [(100, 110), (103, 108), (105, 150)]:
        crash(folder, step, until)
    assert "after step 105" in refusal(folder)


def test_another_step_or_error_is_another_crash(folder):
    for step in (7, 7, 20, 7, 7):
        crash(folder, step)
    crash(folder, 7, how=lambda: [][1])
    crash(folder, 7)
    crash(folder, 7)
    CrashLog(folder, 0).check()
    assert len(os.listdir(folder)) == 3  # No more are needed.


def test_progress_beyond_it_forgets(folder):
    crash(folder, 7)
    crash(folder, 7)
    log = CrashLog(folder, 0)
    for step in (7, 8):  # To 8, others come whose worker 0 fails there.
        log.forget(step)
        assert len(os.listdir(folder)) == 2
    log.forget(9)
    assert os.listdir(folder) == []


@pytest.mark.parametrize(
    "error",
    [
        KeyboardInterrupt(),
        SystemExit(143),
        tf.errors.UnavailableError(None, None, "Socket closed"),
    ],
)
def test_signals_and_lost_workers_do_not_count(folder, error):
    def how():
        raise error

    crash(folder, 7, how=how)
    assert not folder.exists()


def test_what_cannot_be_read_does_not_count(folder):
    crash(folder, 7)
    (folder / "crash-000002-worker-0.json").write_text("{")
    (folder / "crash-000003-worker-0.json").write_text(json.dumps({"a": 1}))
    (folder / "mine.txt").touch()
    crash(folder, 7)
    crash(folder, 7)
    assert "after step 7" in refusal(folder)


def test_a_record_that_cannot_be_written_is_a_warning(folder):
    folder.write_text("no folder")
    with pytest.warns(UserWarning, match="could not be written down"):
        crash(folder, 7)

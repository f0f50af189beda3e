"""A run that fails again and again at the same step is not started again."""

import os
import re

import keras
import pytest

import gdtrain
from tests.callbacks import runs
from tests.callbacks.elastic_run import ONE, network


class Restarted(gdtrain.callbacks.BackupAndRestore):
    """One whose process a scheduler starts again."""

    records_crashes = True


class FailAt(gdtrain.callbacks.Callback):
    """Fails as a step has run."""

    def __init__(self, step, error=ValueError):
        super().__init__()
        self.step, self.error = step, error

    def on_block(self, table):
        if self.step and table.steps[-1] >= self.step:
            raise self.error("a broken example")


def train(folder, fails_at, error=ValueError, callback=Restarted):
    keras.utils.set_random_seed(3)
    backup = callback(folder, every_steps=2, every_seconds=None)
    network(ONE).fit(
        **runs.FEEDS["arrays"](),
        epochs=3,
        verbose=0,
        callbacks=[backup, FailAt(fails_at, error)],
    )


def crashes(folder):
    path = folder / "crashes"
    return os.listdir(path) if path.exists() else []


def fail(folder, step, **arguments):
    error = arguments.get("error", ValueError)
    with pytest.raises(error, match="a broken example"):
        train(folder, step, **arguments)


def test_after_two_restarts_it_is_refused_until_the_records_are_deleted(
    tmp_path,
):
    for count in range(3):
        assert len(crashes(tmp_path)) == count
        fail(tmp_path, 7)
    with pytest.raises(RuntimeError, match="3 crashes in a row") as caught:
        train(tmp_path, None)
    assert re.search(r"in on_block\n(.*\n)*ValueError: a", str(caught.value))
    assert len(crashes(tmp_path)) == 3  # A refusal is none.
    for name in crashes(tmp_path):
        os.remove(tmp_path / "crashes" / name)
    train(tmp_path, None)


def test_progress_forgets(tmp_path):
    fail(tmp_path, 7)
    fail(tmp_path, 7)
    fail(tmp_path, 11)
    assert len(crashes(tmp_path)) == 1
    train(tmp_path, None)
    assert crashes(tmp_path) == []


def test_a_signal_or_a_process_run_by_hand_leaves_no_record(tmp_path):
    fail(tmp_path, 7, error=KeyboardInterrupt)
    fail(tmp_path, 7, callback=gdtrain.callbacks.BackupAndRestore)
    assert crashes(tmp_path) == []


def test_callbacks_hear_of_the_error_before_they_close(tmp_path):
    calls = []

    class Noting(gdtrain.callbacks.Callback):
        def on_error(self, error):
            calls.append(error)

        def close(self):
            calls.append("close")

    model = network(ONE)
    for step, expected in [(None, ["close"]), (1, [ValueError, "close"])]:
        calls.clear()
        callbacks = [Noting(), FailAt(step)]
        try:
            model.fit(**runs.FEEDS["arrays"](), verbose=0, callbacks=callbacks)
        except ValueError as error:
            assert calls[0] is error
        found = [type(one) if one != "close" else one for one in calls]
        assert found == expected

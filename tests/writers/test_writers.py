"""What is written can be read back, exactly."""

import glob
import threading
import time

import numpy as np
import pytest
from tensorboard.backend.event_processing import event_accumulator

from gdtrain.writers.background import Background
from gdtrain.writers.memory import MemoryWriter
from gdtrain.writers.tensorboard import TensorBoardWriter


def read(folder):
    """All scalars of a folder: `{tag: [(step, value), ...]}`."""
    events = event_accumulator.EventAccumulator(
        str(folder), size_guidance={"scalars": 0}
    ).Reload()
    return {
        tag: [(event.step, event.value) for event in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
    }


def test_event_file_gives_back_every_value_at_its_step(tmp_path):
    values = np.random.default_rng(0).normal(size=(500, 3)).astype("float32")
    steps = np.arange(1, 501) * 10**10  # Steps beyond int32
    writer = TensorBoardWriter(tmp_path, clock=lambda: 1234.5)
    writer.write(steps[:200], ["a", "b/c", "d"], values[:200])
    writer.write(steps[200:], ["a", "b/c", "d"], values[200:])
    writer.close()
    scalars = read(tmp_path)
    for column, tag in enumerate(["a", "b/c", "d"]):
        assert scalars[tag] == [
            (step, float(value))
            for step, value in zip(steps, values[:, column], strict=True)
        ]


def test_event_file_keeps_numbers_that_are_not_finite(tmp_path):
    writer = TensorBoardWriter(tmp_path)
    writer.write([1], ["nan", "inf"], [[np.nan, -np.inf]])
    writer.close()
    scalars = read(tmp_path)
    assert np.isnan(scalars["nan"][0][1])
    assert scalars["inf"] == [(1, -np.inf)]


def test_flushed_events_can_be_read_while_the_file_is_open(tmp_path):
    writer = TensorBoardWriter(tmp_path)
    writer.write([1], ["loss"], [[0.5]])
    writer.flush()
    assert read(tmp_path) == {"loss": [(1, 0.5)]}
    writer.close()


def test_two_writers_in_one_second_have_files_of_their_own(tmp_path):
    for value in (1.0, 2.0):
        writer = TensorBoardWriter(tmp_path, clock=lambda: 5.0)
        writer.write([1], ["loss"], [[value]])
        writer.close()
    assert len(glob.glob(f"{tmp_path}/*tfevents*")) == 2


def test_many_files_of_one_second_are_read_in_order(tmp_path):
    steps = list(range(1, 13))  # Across 9, 10, 11, wherever the count stands
    for step in steps:
        for _ in range(9):
            TensorBoardWriter(tmp_path / "other").close()
        writer = TensorBoardWriter(tmp_path / "run", clock=lambda: 5.0)
        writer.write([step], ["loss"], [[0.5]])
        writer.close()
    assert [step for step, _ in read(tmp_path / "run")["loss"]] == steps


def test_memory_of_no_steps_is_empty(tmp_path):
    writer = MemoryWriter()
    assert writer.steps.shape == (0,) and writer.names == []
    writer.save(tmp_path / "empty.npz")
    assert np.load(tmp_path / "empty.npz")["values"].size == 0
    with pytest.raises(KeyError, match="Known names: \\[\\]"):
        writer["loss"]


def test_saved_memory_reads_back_the_same(tmp_path):
    writer = MemoryWriter()
    writer.write([1, 2], ["loss"], [[0.5], [0.25]])
    writer.write([3], ["kl"], [[4.0]])
    writer.save(tmp_path / "run.npz")
    saved = np.load(tmp_path / "run.npz")
    assert saved["steps"].tolist() == [1, 2, 3]
    assert saved["names"].tolist() == ["loss", "kl"]
    np.testing.assert_array_equal(
        saved["values"], [[0.5, np.nan], [0.25, np.nan], [np.nan, 4.0]]
    )
    assert [file.name for file in tmp_path.iterdir()] == ["run.npz"]


def test_jobs_are_done_in_order_on_another_thread():
    done = []
    background = Background(flush=lambda: None)
    for i in range(1000):
        background.do(lambda i=i: done.append((i, threading.get_ident())))
    background.close()
    assert [i for i, _ in done] == list(range(1000))
    assert threading.get_ident() not in {thread for _, thread in done}


def test_full_queue_holds_the_caller_up_and_loses_nothing():
    gate, done = threading.Event(), []
    background = Background(flush=lambda: None, capacity=2)
    background.do(gate.wait)
    feeder = threading.Thread(
        target=lambda: [background.do(done.append, i) for i in range(5)]
    )
    feeder.start()
    feeder.join(0.2)
    assert feeder.is_alive()
    gate.set()
    feeder.join()
    background.close()
    assert done == [0, 1, 2, 3, 4]


def test_jobs_are_flushed_soon_though_more_keep_coming():
    flushed = threading.Event()
    background = Background(flushed.set, every_seconds=0.05, capacity=9)
    deadline = time.monotonic() + 30
    while not flushed.is_set() and time.monotonic() < deadline:
        background.do(time.sleep, 0.001)
    assert flushed.is_set()
    background.close()


def test_job_that_fails_is_told_of_once_and_ends_writing():
    done = []

    def fail():
        raise OSError("no space left on device")

    background = Background(flush=lambda: None)
    background.do(done.append, 1)
    with pytest.warns(UserWarning, match="no space left") as caught:
        background.do(fail)
        background.do(fail)
        background.do(done.append, 2)
        background.wait()
    assert len(caught) == 1
    background.close()
    assert done == [1]


def test_background_can_be_used_again_after_it_was_closed():
    done = []
    background = Background(flush=lambda: None)
    background.close()
    for i in (1, 2):
        background.do(done.append, i)
        background.close()
    assert done == [1, 2]

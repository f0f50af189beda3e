"""The writing thread does everything, in order, and never holds up the end."""

import errno
import gc
import pathlib
import subprocess
import sys
import threading
import time
import warnings
import weakref

import pytest

from gdtrain.writers.background import Background
from tests import waiting


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
    background = Background(flush=lambda: None, capacity=2 * 2**14)
    background.do(gate.wait, waiting.SECONDS)
    feeder = threading.Thread(
        target=lambda: [background.do(done.append, i) for i in range(5)],
        daemon=True,
    )
    feeder.start()
    feeder.join(0.2)
    assert feeder.is_alive()
    gate.set()
    feeder.join(waiting.SECONDS)
    background.close()
    assert done == [0, 1, 2, 3, 4]


def test_jobs_are_flushed_soon_though_more_keep_coming():
    flushed = threading.Event()
    background = Background(flushed.set, every_seconds=0.05, capacity=9 * 2**14)
    deadline = time.monotonic() + waiting.SECONDS
    while not flushed.is_set() and time.monotonic() < deadline:
        background.do(time.sleep, 0.001)
    assert flushed.is_set()
    background.close()


def test_job_that_fails_warns_once_and_ends_writing():
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


def test_background_can_be_waited_for_after_it_was_closed():
    done = []
    background = Background(flush=lambda: None)
    background.do(done.append, 1)
    background.close()
    background.do(done.append, 2)
    waiter = threading.Thread(target=background.wait, daemon=True)
    waiter.start()
    waiter.join(waiting.SECONDS)
    assert not waiter.is_alive() and done == [1, 2]
    background.close()


def test_jobs_that_hold_much_wait_for_room():
    gate, done = threading.Event(), []
    background = Background(flush=lambda: None, capacity=2**20)
    background.do(gate.wait, waiting.SECONDS, size=2**19)
    background.do(done.append, "small", size=2**19)
    feeder = threading.Thread(
        target=lambda: background.do(done.append, "huge", size=2**21),
        daemon=True,
    )
    feeder.start()
    feeder.join(0.2)
    assert feeder.is_alive()
    gate.set()
    feeder.join(waiting.SECONDS)
    background.close()
    assert done == ["small", "huge"]


def test_finished_job_is_not_kept_alive():
    class Held:
        pass

    background, held = Background(flush=lambda: None), Held()
    gone = weakref.ref(held)
    background.do(id, held)
    del held
    background.wait()
    gc.collect()
    assert gone() is None
    background.close()


@pytest.mark.parametrize(
    "error, words",
    [
        (OSError(errno.ENOSPC, "No space left"), "the disk is full"),
        (OSError(errno.ENOENT, "x"), "the file or its folder is gone"),
        (RuntimeError("a; No space left on device"), "the disk is full"),
        (RuntimeError("other"), "Writing has stopped: RuntimeError: other."),
    ],
)
def test_warning_says_what_failed_in_plain_words(error, words):
    def fail():
        raise error

    background = Background(flush=lambda: None)
    with pytest.warns(UserWarning, match="Training continues") as caught:
        background.do(fail)
        background.close()
    assert words in str(caught[0].message)
    assert str(error) in str(caught[0].message)
    assert "Traceback" not in str(caught[0].message)


def test_what_came_before_a_failure_is_flushed():
    done = []
    background = Background(lambda: done.append("flush"), every_seconds=1e6)
    with pytest.warns(UserWarning, match="Writing has stopped"):
        background.do(done.append, 1)
        background.do("not a function")
        background.close()
    assert done == [1, "flush"]


@pytest.mark.parametrize("error", [OSError("bad"), SystemExit()])
def test_failure_ends_nothing_where_warnings_are_errors(error, capsys):
    def fail():
        raise error

    background = Background(flush=lambda: None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        background.do(fail)
        background.do(fail)
        background.close()  # Would wait for ever if the thread had died
    assert capsys.readouterr().err.count("Writing has stopped") == 1


PROGRAM = """
import sys, time, types
for name in ("gdtrain", "gdtrain.writers"):  # Without TensorFlow, for seconds
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = [name.replace(".", "/")]
from gdtrain.writers.background import Background
from gdtrain.writers.csv_writer import CSVWriter

writer = CSVWriter(sys.argv[1])
background = Background(writer.flush, every_seconds=1e6)
background.do(time.sleep, 0.2)  # So that the end comes first
for step in range(1000):
    background.do(writer.write, [step], ["loss"], [[step]])
"""


def test_what_is_queued_when_the_program_ends_is_written(tmp_path):
    ends = ["sys.exit(3)", "raise ValueError('not caught')"]
    programs = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM + end, tmp_path / end],
            cwd=pathlib.Path(__file__).parents[2],
        )
        for end in ends
    ]
    assert [program.wait(waiting.SECONDS) for program in programs] == [3, 1]
    for end in ends:
        lines = (tmp_path / end).read_text().splitlines()
        assert lines == ["step,loss", *(f"{i},{i}.0" for i in range(1000))]

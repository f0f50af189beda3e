"""Runs that are killed from outside, wherever they are, end as if not."""

import contextlib
import json
import pathlib
import random
import signal
import subprocess
import sys
import time

import pytest

SECONDS = 120  # After which a process counts as hanging


@contextlib.contextmanager
def started(folder, feed, *more):
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "tests.callbacks.killed_run",
            str(folder),
            feed,
            *more,
        ],
        cwd=pathlib.Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def run(folder, feed):
    """Lets it run to its end; returns `(what is left, where it began)`."""
    with started(folder, feed) as process:
        output, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, errors
    left = json.loads((folder / "left.json").read_text())
    return left, int(output.split("ended")[1])


def kill(folder, feed, chance, number=signal.SIGKILL, slow=False):
    """Kills it some steps and some time after its first step.

    Returns:
        `(exit code, whether a checkpoint was being written)`.
    """
    with started(folder, feed, *(["slow"] if slow else [])) as process:
        for _ in range(chance.randrange(3, 9)):
            process.stdout.readline()
        time.sleep(chance.uniform(0, 0.02))
        process.send_signal(number)
        process.communicate(timeout=SECONDS)
    parts = list((folder / "backup").glob("*.part"))
    return process.returncode, bool(parts)


def survive(tmp_path, feed, seed, kills, slow):
    """Kills a run again and again; returns how many came in a save."""
    print("seed", seed)  # Shown if it fails
    chance = random.Random(seed)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir()
    parts.mkdir()
    in_a_save = 0
    for _ in range(kills):
        _, writing = kill(parts, feed, chance, slow=slow)
        in_a_save += writing
    expected, began_at = run(whole, feed)
    assert began_at == 0
    left, began_at = run(parts, feed)
    assert began_at > 0
    assert [k for k in {**expected, **left} if expected[k] != left[k]] == []
    return in_a_save


def test_kills_at_any_moment(tmp_path):
    survive(tmp_path, "arrays", seed=1, kills=2, slow=False)


def test_a_kill_while_a_checkpoint_is_written(tmp_path):
    assert survive(tmp_path, "PyDataset", seed=2, kills=2, slow=True)


@pytest.mark.long
@pytest.mark.parametrize("slow", [False, True])
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(
    "feed", ["arrays", "PyDataset, 2 workers", "tf.data", "arrays in order"]
)
def test_many_kills(tmp_path, feed, seed, slow):
    survive(tmp_path, feed, 100 + seed, kills=4, slow=slow)


@pytest.mark.parametrize(
    "number, codes",
    [(signal.SIGTERM, [143]), (signal.SIGINT, [130, -signal.SIGINT])],
    ids=["SIGTERM", "Ctrl-C"],
)
def test_a_signal_saves_and_stops(tmp_path, number, codes):
    code, _ = kill(tmp_path, "arrays", random.Random(3), number)
    assert code in codes
    newest = max(
        int(path.name[5:]) for path in (tmp_path / "backup").glob("step-*")
    )
    left, began_at = run(tmp_path, "arrays")
    assert began_at == newest > 0
    assert left["log"].count("\n") == 7

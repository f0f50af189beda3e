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

from tests import workers

SECONDS = 120  # After which a process counts as hanging


@contextlib.contextmanager
def started(folder, feed, *more, environment=None):
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
        env=environment,
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
    [
        pytest.param(signal.SIGTERM, [143], id="SIGTERM"),
        pytest.param(
            signal.SIGINT,
            [130, -signal.SIGINT],
            id="Ctrl-C",
            marks=pytest.mark.long,
        ),
    ],
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


def run_workers(folder, kill_one=None):
    """Lets two workers run; returns for each what `run` does.

    Args:
        folder: Of both; each writes in a folder of its own below.
        kill_one: Which of them to kill some steps after its first; the other
            one ends then, by itself or killed as well, and nothing is
            returned.
    """
    folders = [folder / str(index) for index in range(2)]
    with contextlib.ExitStack() as stack:
        processes = []
        for one, environment in zip(
            folders, workers.environments(2), strict=True
        ):
            one.mkdir(parents=True, exist_ok=True)
            processes.append(
                stack.enter_context(
                    started(one, "arrays", environment=environment)
                )
            )
        if kill_one is not None:
            for _ in range(5):
                processes[kill_one].stdout.readline()
            processes[kill_one].kill()
            time.sleep(2)  # Steps that the other one waits in
            return None
        # Both are read to the end; the first waits for the second.
        outputs = [p.communicate(timeout=SECONDS) for p in processes]
    for process, (_, errors) in zip(processes, outputs, strict=True):
        assert process.returncode == 0, errors
    return [
        (
            json.loads((one / "left.json").read_text()),
            int(output.split("ended")[1]),
        )
        for one, (output, _) in zip(folders, outputs, strict=True)
    ]


@pytest.mark.long
def test_one_of_two_workers_is_killed(tmp_path):
    for kill_one in (1, 0):
        run_workers(tmp_path / "parts", kill_one)
    expected = run_workers(tmp_path / "whole")
    found = run_workers(tmp_path / "parts")
    for (left, began_at), (whole, _) in zip(found, expected, strict=True):
        assert began_at > 0
        assert [k for k in {**whole, **left} if whole[k] != left[k]] == []

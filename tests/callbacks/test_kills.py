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

from tests import waiting, workers


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
        stdin=subprocess.PIPE,
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
        output, errors = process.communicate(timeout=waiting.SECONDS)
    assert process.returncode == 0, errors
    left = json.loads((folder / "left.json").read_text())
    return left, int(output.rpartition("ended")[2])


def is_within_a_save(folder):
    """Whether a checkpoint is being written, and one is complete."""
    names = [path.suffix for path in (folder / "backup").glob("step-*")]
    return ".part" in names and "" in names


def kill(folder, feed, chance, number=signal.SIGKILL, option=None):
    """Kills it some steps after its first, or while it saves.

    Args:
        option: Of `killed_run`: `"saves"` to kill it while it saves,
            `"never"` to do so before it has saved.

    Returns:
        Its exit code.
    """
    lines = chance.randrange(3, 9)
    saves = option == "saves"
    with started(folder, feed, *([option] if option else [])) as process:
        while lines > 0 or saves:
            told = process.stdout.readline()
            if told.split()[0] not in ("step", "saves"):
                continue  # Nothing that it waits for an answer to
            lines -= 1
            if lines <= 0 and told == "saves\n" and is_within_a_save(folder):
                break  # It waits there for an answer.
            process.stdin.write(" ")
            process.stdin.flush()
        time.sleep(chance.uniform(0, 0.02))  # Wherever it comes then is right
        process.send_signal(number)
        process.communicate(timeout=waiting.SECONDS)
    return process.returncode


def survive(tmp_path, feed, seed, ends):
    """Checks that a run ends as if left alone, however often it was ended.

    Args:
        ends: What to give to `kill` each time.
    """
    print("seed", seed)  # Shown if it fails
    chance = random.Random(seed)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir()
    parts.mkdir()
    for end in ends:
        code = kill(parts, feed, chance, **end)
        names = [path.name for path in (parts / "backup").glob("step-*")]
        if end.get("option") == "saves":
            assert any(name.endswith(".part") for name in names)
        assert not (names and end.get("option") == "never")
    expected, began_at = run(whole, feed)
    assert began_at == 0
    newest = max(
        int(path.name[5:])
        for path in (parts / "backup").glob("step-*")
        if path.suffix != ".part"
    )
    left, began_at = run(parts, feed)
    assert began_at == newest > 0
    assert [k for k in {**expected, **left} if expected[k] != left[k]] == []
    return code


@pytest.mark.parametrize(
    "ends",
    [
        [{"option": "saves"}, {"number": signal.SIGTERM}],
        pytest.param(
            [{}, {"option": "saves"}, {"number": signal.SIGTERM}],
            marks=pytest.mark.long,
        ),
    ],
    ids=["twice", "three times"],
)
def test_a_run_that_is_ended_in_any_way_continues_as_if_left_alone(
    tmp_path, ends
):
    assert survive(tmp_path, "arrays", seed=1, ends=ends) == 143


@pytest.mark.long
@pytest.mark.parametrize("option", [None, "saves"])
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(
    "feed", ["arrays", "PyDataset, 2 workers", "tf.data", "arrays in order"]
)
def test_many_kills(tmp_path, feed, seed, option):
    survive(tmp_path, feed, 100 + seed, [{"option": option}] * 4)


@pytest.mark.long
def test_kills_before_the_first_checkpoint(tmp_path):
    survive(tmp_path, "arrays", 5, [{"option": "never"}] * 2 + [{}])


@pytest.mark.long
def test_ctrl_c_saves_and_stops(tmp_path):
    code = survive(tmp_path, "arrays", 3, [{"number": signal.SIGINT}])
    assert code in (130, -signal.SIGINT)


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
            for process in processes:  # Both wait for an answer to each line.
                process.stdin.write("\n" * 1000)
                process.stdin.flush()
            for _ in range(5):
                processes[kill_one].stdout.readline()
            processes[kill_one].kill()
            time.sleep(2)  # Steps that the other one waits in
            return None
        for process in processes:
            # There is no answer for either, as each waits for the other.
            process.stdin.close()
            process.stdin = None
        outputs = [p.communicate(timeout=waiting.SECONDS) for p in processes]
    for process, (_, errors) in zip(processes, outputs, strict=True):
        assert process.returncode == 0, errors
    return [
        (
            json.loads((one / "left.json").read_text()),
            int(output.rpartition("ended")[2]),
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
        # Where a block ends, and how long it takes, clocks say.
        names = [k for k in {**whole, **left} if "step/workers/" not in k]
        assert [k for k in names if whole[k] != left[k]] == []

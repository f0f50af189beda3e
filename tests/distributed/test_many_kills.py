"""Workers are killed twenty times, and no bit of the result differs."""

import random
import time

import pytest

from tests import waiting, workers

_KILLS = 20


def started(folder, count, *data):
    """Some workers, in processes of their own."""
    return workers.started(
        workers.environments(count),
        "tests.distributed.killed_fit",
        folder,
        *data,
    )


def hashes(folder, count, *data):
    """Lets workers run to their ends; what each of them has left."""
    with started(folder, count, *data) as processes:
        for process in processes:
            process.communicate(timeout=waiting.SECONDS)
        assert [process.returncode for process in processes] == [0] * count
    return [(folder / f"hash-{index}").read_text() for index in range(count)]


def kill_one(folder, count, chance, *data):
    """Kills one worker some steps after the first; returns where it was.

    The others end by themselves.
    """
    victim = chance.randrange(count)
    steps = chance.randrange(2, 14)
    with started(folder, count, *data) as processes:
        for _ in range(steps):
            line = processes[victim].stdout.readline()
            while line and not line.startswith("position"):
                line = processes[victim].stdout.readline()
        time.sleep(chance.uniform(0, 0.03))
        processes[victim].kill()
        for process in processes:
            process.communicate(timeout=waiting.SECONDS)
        others = [p for p in processes if p is not processes[victim]]
        assert all(process.returncode == 1 for process in others)
    return int(line.split()[1])


@pytest.mark.long
@pytest.mark.parametrize("count", [2, 3])
def test_kills_of_any_worker_change_no_bit(tmp_path, count):
    chance = random.Random(count)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir()
    parts.mkdir()
    reached = [kill_one(parts, count, chance) for _ in range(_KILLS // 2)]
    assert max(reached) > 20  # It has got somewhere, and was not at its end.
    assert hashes(parts, count) == hashes(whole, count)


@pytest.mark.long
def test_own_parts_of_grain_continue_where_they_were(tmp_path):
    """Each worker's position is saved, also within an epoch."""
    chance = random.Random(5)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir()
    parts.mkdir()
    reached = [kill_one(parts, 2, chance, "grain") for _ in range(2)]
    assert max(reached) > 2  # It was saved once.
    assert hashes(parts, 2, "grain") == hashes(whole, 2, "grain")

"""`examples/on_a_cluster.py`, run as it stands."""

import pathlib
import subprocess
import sys

import pytest

from tests import waiting

EXAMPLE = pathlib.Path(__file__).parents[2] / "examples" / "on_a_cluster.py"


def test_it_is_short():
    assert len(EXAMPLE.read_text().splitlines()) <= 80


@pytest.mark.long
def test_it_learns_through_a_lost_worker(tmp_path):
    result = subprocess.run(
        [sys.executable, EXAMPLE, "--lose-a-worker"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=waiting.SECONDS,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    # Ray says of the killed process that it died.
    lines = [x for x in result.stdout.splitlines() if "(raylet)" not in x]
    lines = list(filter(None, lines))
    assert [line.split()[0] for line in lines[:4]] == ["1", "6", "11", "16"]
    assert "'epoch': 20, 'steps': 1000" in lines[4]
    accuracy = float(lines[4].split("'accuracy': ")[1].split(",")[0])
    assert accuracy > 0.85
    assert lines[5].startswith(f"Continued from: {tmp_path}")
    assert lines[6].startswith(f"Saved in: {tmp_path}")

"""What it costs to write scalars for TensorBoard, on the writing thread.

    python -m tests.benchmarks.writing [--memory]

Prints microseconds a scalar; with `--memory`, also by how many MB resident
memory grows over a million steps, whose 2 GB on disk are deleted then. Takes
seconds, with `--memory` half a minute.
"""

import argparse
import pathlib
import tempfile
import time

import numpy as np

from gdtrain.writers.tensorboard import TensorBoardWriter

SCALARS, ROWS = 50, 100
NAMES = [f"step/gradient_norm/dense_{index}" for index in range(SCALARS)]


def measure(steps=10_000):
    """Microseconds a scalar, for steps of 50 scalars in blocks of 100."""
    with tempfile.TemporaryDirectory() as folder:
        writer = TensorBoardWriter(folder)
        _write(writer, 0)  # Imports, and makes the template
        start = time.perf_counter()
        for first in range(ROWS, ROWS + steps, ROWS):
            _write(writer, first)
        writer.close()
        seconds = time.perf_counter() - start
    return seconds / (steps * SCALARS) * 1e6


def measure_memory(steps=1_000_000):
    """By how many MB resident memory grows while so many are written."""
    with tempfile.TemporaryDirectory() as folder:
        writer = TensorBoardWriter(folder)
        _write(writer, 0)
        before = _resident()
        for first in range(ROWS, ROWS + steps, ROWS):
            _write(writer, first)
        writer.flush()
        grown = _resident() - before
        writer.close()
    return grown


def _write(writer, first):
    """Writes a block."""
    steps = np.arange(first, first + ROWS)
    writer.write(steps, NAMES, np.full([ROWS, SCALARS], first, np.float32))


def _resident():
    """MB of memory that the process has now."""
    status = pathlib.Path("/proc/self/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--memory", action="store_true")
    arguments = parser.parse_args()
    print(f"{measure():.3f} microseconds a scalar")
    if arguments.memory:
        print(f"{measure_memory():.1f} MB more after 10^6 steps")


if __name__ == "__main__":
    main()

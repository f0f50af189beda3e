"""One measurement in a process of its own; `fit_scaling` starts it.

    python -m tests.benchmarks.fresh memory data|keras|gdtrain
    python -m tests.benchmarks.fresh first_fit keras|gdtrain

Prints the peak of resident memory in MB, or the seconds of the first `fit`
after everything is imported and the model is made, on its last line.
"""

import pathlib
import subprocess
import sys
import time

import keras
import numpy as np

import gdtrain
from tests.benchmarks import jobs, peers_keras

BASES = {"keras": keras.Sequential, "gdtrain": gdtrain.Sequential}
EXAMPLES, FEATURES = 100_000, 1000


def measured(*arguments):
    """What this module prints for these arguments, from a new process."""
    command = [sys.executable, "-m", __spec__.name, *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr}")
    return float(done.stdout.splitlines()[-1])


def memory(what):
    """Peak MB of 400 MB of float32, alone or through an epoch of `fit`."""
    random = np.random.default_rng(0)
    x = random.random([EXAMPLES, FEATURES], "float32")
    y = random.random([EXAMPLES, 1], "float32")
    if what in BASES:
        line = [("dense", 1, False)]
        job = jobs.Job("wide", x, y, line, "sgd", 1e-5, 200, 1)
        model = peers_keras.model(BASES[what], job)
        model.fit(x, y, batch_size=job.batch_size, verbose=0)
    status = pathlib.Path("/proc/self/status").read_text()
    peak = status.partition("VmHWM:")[2].split()[0]
    return int(peak) / 1024


def first_fit(what):
    """Seconds of the first `fit` of one epoch of the job `line`."""
    job = jobs.make("line")
    model = peers_keras.model(BASES[what], job)
    start = time.perf_counter()
    model.fit(job.x, job.y, batch_size=job.batch_size, verbose=0)
    return time.perf_counter() - start


if __name__ == "__main__":
    print({"memory": memory, "first_fit": first_fit}[sys.argv[1]](sys.argv[2]))

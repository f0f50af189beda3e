"""How gdtrain's cost grows: with examples, with steps; memory; first fit.

    python -m tests.benchmarks.fit_scaling [--repeats 5] [--seconds 2]
        [--examples 1000,...] [--steps 10,...] [--json PATH]

Prints, for gdtrain, microseconds a step of a line with 8 features in batches
of 200: from 10^3 to 10^6 examples, about 2 seconds each, and from 10 to 10^5
steps, all after a first `fit`. Then peak memory with 400 MB of data, and the
time of the first `fit`, of stock Keras and gdtrain in processes of their own.
The bytes of the data are in both: `data + k x Keras's` compares what comes on
top of a process that has the imports and the data alone.
"""

import argparse
import json
import os
import statistics
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np  # noqa: E402

import gdtrain  # noqa: E402
from tests.benchmarks import (  # noqa: E402
    fresh,
    jobs,
    machine,
    peers_keras,
    tables,
)

BATCH = 200
STEPS_PER_EPOCH = 100  # At most, where the number of steps varies


def line(examples):
    """A line with 8 features, and gdtrain's model of it, as a job and `fit`.

    Returns:
        The job, and a function that trains for a number of epochs and returns
        its seconds; it has been called once.
    """
    random = np.random.default_rng(0)
    x = random.normal(size=[examples, 8]).astype("float32")
    y = x @ np.arange(8, dtype="float32")[:, None] + 0.5
    layers = [("dense", 1, False)]
    job = jobs.Job("wide", x, y, layers, "sgd", 0.1, BATCH, 1)
    model = peers_keras.model(gdtrain.Sequential, job)

    def fit(epochs):
        start = time.perf_counter()
        history = model.fit(x, y, batch_size=BATCH, epochs=epochs, verbose=0)
        seconds = time.perf_counter() - start
        if not history.history["loss"][-1] < np.mean(y**2) / 2:
            raise AssertionError(f"Did not learn: {history.history['loss']}")
        return seconds

    model.fit(x, y, batch_size=BATCH, epochs=2, verbose=0)
    return job, fit


def by_examples(counts, repeats, seconds):
    """Microseconds a step for each number of examples."""
    result = {}
    for count in counts:
        job, fit = line(count)
        epochs = 1
        while (took := fit(epochs)) < seconds / 4:
            epochs *= 4
        epochs = max(1, round(epochs * seconds / took))
        result[count] = _repeated(fit, epochs, job.steps_per_epoch, repeats)
    return result


def by_steps(counts, repeats):
    """Microseconds a step for each number of steps."""
    result = {}
    for count in counts:
        steps_per_epoch = min(count, STEPS_PER_EPOCH)
        _, fit = line(BATCH * steps_per_epoch)
        epochs = count // steps_per_epoch
        result[count] = _repeated(fit, epochs, steps_per_epoch, repeats)
    return result


def _repeated(fit, epochs, steps_per_epoch, repeats):
    """Calls `fit` several times: steps, and microseconds a step."""
    steps = epochs * steps_per_epoch
    each = [fit(epochs) / steps * 1e6 for _ in range(repeats)]
    return {
        "steps": steps,
        "epochs": epochs,
        "microseconds_a_step": statistics.median(each),
        "repeats": each,
    }


def interleaved(measurement, names, repeats):
    """What `fresh` measures, `repeats` of each name in turn."""
    rounds = [
        {name: fresh.measured(measurement, name) for name in names}
        for _ in range(repeats)
    ]
    return {name: [one[name] for one in rounds] for name in names}


def numbers(text):
    """A type of `argparse`: numbers separated by commas."""
    return [int(float(number)) for number in text.split(",")]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--examples", type=numbers, default="1e3,1e4,1e5,1e6")
    parser.add_argument("--steps", type=numbers, default="1e1,1e2,1e3,1e4,1e5")
    parser.add_argument("--json", help="where to write all figures")
    options = parser.parse_args()
    repeats = options.repeats
    report = machine.describe()
    report["memory_megabytes"] = interleaved(
        "memory", ["data", "keras", "gdtrain"], min(repeats, 3)
    )
    report["first_fit_seconds"] = interleaved(
        "first_fit", ["keras", "gdtrain"], repeats
    )
    report["examples"] = by_examples(options.examples, repeats, options.seconds)
    report["steps"] = by_steps(options.steps, repeats)
    tables.print_scaling(report)
    if options.json:
        with open(options.json, "w") as file:
            json.dump(report, file, indent=1)


if __name__ == "__main__":
    main()

"""Time of a sweep at eight rates, all at once and one after another.

    python -m tests.benchmarks.sweep_speed [--repeats N] [--longer N]
        [--jobs JOB ...] [--without-keras]

Three ways to train the same model at eight learning rates: `gdtrain.sweep`
in one program; `gdtrain.sweep` one after another, which is gdtrain's own
`fit`; and stock Keras's `fit` for each. Each makes, compiles and traces its
models: that is what a sweep costs. The jobs are those of `jobs.py`, their
epochs times `--longer`; the table shows medians over repeats. It is no test:
on a busy machine the figures vary. Takes a minute on two cores
`--without-keras`, which needs 20 minutes for the line.
"""

import argparse
import os
import statistics
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras  # noqa: E402
import numpy as np  # noqa: E402

import gdtrain  # noqa: E402
from tests.benchmarks import jobs, machine, tables  # noqa: E402

# About the learning rate of the job
RATES = np.geomspace(0.03, 3, 8)


def build(job, base, rate):
    """The model of a job of dense layers, compiled."""
    layers = [
        keras.layers.Dense(units, "relu" if is_relu else None)
        for _, units, is_relu in job.layers
    ]
    model = base([keras.Input(job.x.shape[1:]), *layers])
    model.set_weights(job.weights)
    kinds = {"sgd": keras.optimizers.SGD, "adam": keras.optimizers.Adam}
    loss = "mse"
    if job.is_classifier:
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(kinds[job.optimizer](rate), loss)
    return model


def by_sweep(job, vectorize):
    """Losses of the last epochs, by `gdtrain.sweep`."""
    found = gdtrain.sweep(
        lambda: build(job, gdtrain.Sequential, job.learning_rate),
        job.x,
        job.y,
        learning_rates=job.learning_rate * RATES,
        epochs=job.epochs,
        batch_size=job.batch_size,
        shuffle=not job.is_full_batch,
        vectorize=vectorize,
        verbose=0,
    )
    return found.final_loss


def by_keras(job):
    """Losses of the last epochs, by a `fit` of Keras for each rate."""
    losses = []
    for rate in job.learning_rate * RATES:
        model = build(job, keras.Sequential, rate)
        history = model.fit(
            job.x,
            job.y,
            epochs=job.epochs,
            batch_size=job.batch_size,
            shuffle=not job.is_full_batch,
            verbose=0,
        )
        losses.append(history.history["loss"][-1])
    return np.array(losses)


WAYS = {
    "at once": lambda job: by_sweep(job, True),
    "one after another": lambda job: by_sweep(job, False),
    "keras": by_keras,
}


def measure(job, ways, repeats):
    """Seconds of each way in each repeat; they must find the same losses."""
    seconds: dict[str, list] = {way: [] for way in ways}
    for number in range(repeats):
        losses = {}
        for way in ways:
            keras.utils.set_random_seed(0)
            start = time.perf_counter()
            losses[way] = WAYS[way](job)
            seconds[way].append(time.perf_counter() - start)
            keras.backend.clear_session()
        np.testing.assert_allclose(
            losses["at once"], losses["one after another"], rtol=0.05
        )
        print(f"{job.name}: {number + 1} of {repeats}", file=sys.stderr)
    return seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--longer", type=int, default=1)
    parser.add_argument("--jobs", nargs="+", default=["line", "digits_mlp"])
    parser.add_argument("--without-keras", action="store_true")
    arguments = parser.parse_args()
    ways = list(WAYS)[: 2 if arguments.without_keras else 3]
    description = machine.describe()
    ratios = [f"{way}:at once" for way in ways[1:]]
    rows = [["job", "steps", *ways, *ratios]]
    for name in arguments.jobs:
        job = jobs.make(name)
        job.epochs *= arguments.longer
        seconds = measure(job, ways, arguments.repeats)
        row = [name, f"{job.epochs * job.steps_per_epoch:,}"]
        row += [f"{statistics.median(seconds[way]):.2f} s" for way in ways]
        for way in ways[1:]:
            pairs = zip(seconds[way], seconds["at once"], strict=True)
            row.append(f"{statistics.median(a / b for a, b in pairs):.1f}")
        rows.append(row)
    tables.print_table(rows)
    print(
        f"\n{len(RATES)} learning rates; median of {arguments.repeats}, of "
        f"their ratio in the last columns.\n{machine.summary(description)}"
    )


if __name__ == "__main__":
    main()

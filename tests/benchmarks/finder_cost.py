"""What a range test costs, in the time of epochs.

    python -m tests.benchmarks.finder_cost [--repeats 5]

The steps alone, from the difference between a long test and one of the
default length, over the time of an epoch of `fit`; and all of it, with what
TensorFlow takes to make the program, over the first two epochs of a model that
was never trained, which must make theirs. Both by a fresh model each time,
one after the other; medians. It is no test: on a busy machine the figures
vary. Takes a minute on two cores.
"""

import argparse
import os
import statistics
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import gdtrain  # noqa: E402
from gdtrain.tuning import range_test  # noqa: E402
from tests.benchmarks import jobs, machine, peers_keras  # noqa: E402

NETWORKS = {"digits_cnn": 10, "digits_mlp": 100}  # Epochs to time one by
WANTED = 2  # Epochs
LONGER = 20  # Times as many steps


def seconds(call):
    """How long a call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def find(model, job, steps=None, **arguments):
    """A range test; up to a rate that moves nothing if `steps` is given."""
    gdtrain.find_learning_rate(
        model,
        job.x,
        job.y,
        batch_size=job.batch_size,
        verbose=0,
        steps=steps,
        max_learning_rate=10.0 if steps is None else 1e-6,
        **arguments,
    )


def fit(model, job, epochs):
    """Trains."""
    model.fit(job.x, job.y, batch_size=job.batch_size, epochs=epochs, verbose=0)


def measure(job, epochs):
    """Seconds of what there is to compare, by name."""

    def fresh():
        return peers_keras.model(gdtrain.Sequential, job)

    model, steps = fresh(), range_test.steps_of(job.steps_per_epoch)
    two_epochs = seconds(lambda: fit(model, job, 2))
    epoch = seconds(lambda: fit(model, job, epochs)) / epochs
    new = fresh()
    test = seconds(lambda: find(new, job, curvature=False))
    short = seconds(lambda: find(model, job, steps, curvature=False))
    long = seconds(lambda: find(model, job, LONGER * steps, curvature=False))
    new = fresh()
    with_curvature = seconds(lambda: find(new, job))
    return {
        "an epoch": epoch,
        "two epochs, new model": two_epochs,
        "range test, new model": test,
        "steps of the test alone": (long - short) / (LONGER - 1),
        "with curvature": with_curvature,
    }


def report(name, repeats):
    """Prints the medians of one network."""
    job = jobs.make(name)
    found = [measure(job, NETWORKS[name]) for _ in range(1 + repeats)][1:]
    print(f"\n{name}, {range_test.steps_of(job.steps_per_epoch)} steps")
    for what in found[0]:
        print(f"  {what:26}{statistics.median(f[what] for f in found):8.3f} s")

    def ratio(above, below):
        return statistics.median(f[above] / f[below] for f in found)

    alone = ratio("steps of the test alone", "an epoch")
    print(f"  steps alone: {alone:.2f} epochs, at most {WANTED}")
    whole = ratio("range test, new model", "two epochs, new model")
    print(f"  all of it: {whole:.2f} times two epochs of a new model")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    print(machine.summary(machine.describe()))
    for name in NETWORKS:
        report(name, options.repeats)


if __name__ == "__main__":
    main()

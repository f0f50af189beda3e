"""What `compile(reproducible_workers=k)` costs on one worker.

    python -m tests.benchmarks.bits_cost [--repeats 7]

The time of a step to that without it, in one run, as a graph; beside it that
of as many micro-batches, which have the same parts. And what a replica
receives in a step, by the formula in the docstring of `compile`, beside the
all-reduce of gradients as a ring.
"""

import argparse
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from tests.benchmarks import jobs, machine  # noqa: E402
from tests.benchmarks.variants import Variant, measure  # noqa: E402

PARTS = 4
NETWORKS = [("digits_cnn", 12), ("digits_mlp", 60)]  # Epochs of a training
HOW = {
    "plain": {},
    f"{PARTS} micro-batches": {"microbatches": PARTS},
    f"{PARTS} reproducible workers": {"reproducible_workers": PARTS},
}


def megabytes(weights, replicas):
    """What a replica receives in a step: `(reproducible, all-reduce)`."""
    each = 4 * weights / 1e6
    return (
        each * (PARTS - PARTS / replicas),
        each * 2 * (replicas - 1) / replicas,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=7)
    repeats = parser.parse_args().repeats
    print(machine.summary(machine.describe()))
    print("Ratio to the first, median of", repeats)
    for name, epochs in NETWORKS:
        job = jobs.make(name)
        variants = {
            how: Variant(job, False, lambda: [], **arguments)
            for how, arguments in HOW.items()
        }
        seconds, ratios = measure(
            variants, dict.fromkeys(variants, epochs), repeats
        )
        weights = sum(weight.size for weight in job.weights)
        print(f"\n{name}, {weights} weights, batches of {job.batch_size}")
        for how, ratio in ratios.items():
            step = seconds[how] / job.steps_per_epoch * 1e6
            print(f"  {how:24}{step:8.0f} us a step{ratio:7.3f}")
        for replicas in (2, PARTS):
            gathered, reduced = megabytes(weights, replicas)
            print(
                f"  {replicas} replicas: {gathered:.3f} MB gathered a step, "
                f"instead of {reduced:.3f} MB of the mean of gradients"
            )


if __name__ == "__main__":
    main()

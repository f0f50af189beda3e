"""What it costs that nothing is lost: `fit` with it over `fit` without.

    python -m tests.benchmarks.resume_cost [--only guard]

Each variant is trained between two trainings without callbacks, so that both
meet the same machine. Two models that are the same differ in speed by up to
2%, as their memory lies otherwise; so it is done with several models, and the
table has the median over models of the medians of their ratios. A training
with checkpoints lasts more than half a minute, so that several are saved. It
is no test: on a busy machine the figures vary. Takes twenty minutes on two
cores.
"""

import argparse
import os
import statistics
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import gdtrain  # noqa: E402
from tests.benchmarks import jobs, machine  # noqa: E402
from tests.benchmarks.variants import Variant, measure  # noqa: E402


def backup():
    """Makes a callback that saves every 10 seconds, as never before."""
    return [
        gdtrain.callbacks.BackupAndRestore(tempfile.mkdtemp(), every_seconds=10)
    ]


def guard():
    """Makes a callback that guards against NaN."""
    return [gdtrain.callbacks.NonfiniteGuard()]


def ratio(job, make, epochs, repeats):
    """Time with callbacks over time without, for a model of its own."""
    variants = {
        "off": Variant(job, False, lambda: []),
        "with it": Variant(job, False, make),
    }
    _, ratios = measure(variants, dict.fromkeys(variants, epochs), repeats)
    return ratios["with it"]


# What, how it is made, job, epochs of one training, repeats, models, at most
ROWS = [
    ("saving every 10 s", backup, "digits_cnn", 700, 2, 3, 1.03),
    ("guard", guard, "digits_cnn", 12, 8, 10, 1.02),
    ("guard", guard, "digits_mlp", 60, 8, 5, None),
]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="what to measure")
    options = parser.parse_args()
    print(machine.summary(machine.describe()))
    print("Time of fit with it over time without: median, least and most")
    for what, make, name, epochs, repeats, models, wanted in ROWS:
        if options.only not in what:
            continue
        ratios = [
            ratio(jobs.make(name), make, epochs, repeats) for _ in range(models)
        ]
        most = f", wanted at most {wanted}" if wanted else ""
        print(
            f"{what:20}{name:12}{statistics.median(ratios):7.3f} "
            f"({min(ratios):.3f} to {max(ratios):.3f}){most}",
            flush=True,
        )


if __name__ == "__main__":
    main()

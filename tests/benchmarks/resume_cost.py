"""What it costs that nothing is lost: `fit` with it over `fit` without.

    python -m tests.benchmarks.resume_cost [--repeats 5]

Each variant is trained between two trainings without callbacks, so that both
meet the same machine; the table has medians of the ratios of all repeats. A
training with checkpoints lasts more than half a minute, so that several are
saved. It is no test: on a busy machine the figures vary. Takes fifteen
minutes on two cores.
"""

import argparse
import os
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import gdtrain  # noqa: E402
from tests.benchmarks import jobs, machine  # noqa: E402
from tests.benchmarks.variants import Variant, measure  # noqa: E402


def backup():
    """Makes a callback that saves every 10 seconds, as never before."""
    return [
        gdtrain.callbacks.BackupAndRestore(
            tempfile.mkdtemp(), every_seconds=10
        )
    ]


def guard():
    """Makes a callback that guards against NaN."""
    return [gdtrain.callbacks.NonfiniteGuard()]


# What, how it is made, job, epochs of one training, and at most
ROWS = [
    ("saving every 10 s", backup, "digits_cnn", 700, 1.03),
    ("guard", guard, "digits_cnn", 24, 1.02),
    ("guard", guard, "digits_mlp", 120, None),
]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    print(machine.summary(machine.describe()))
    print("Time of fit with it over time without, median of", options.repeats)
    for what, make, name, epochs, wanted in ROWS:
        job = jobs.make(name)
        variants = {
            "off": Variant(job, False, lambda: []),
            what: Variant(job, False, make),
        }
        seconds, ratios = measure(
            variants, dict.fromkeys(variants, epochs), options.repeats
        )
        lasting = seconds[what] * epochs
        most = f", at most {wanted}" if wanted else ""
        print(f"{what:20}{name:12}{lasting:6.1f} s{ratios[what]:7.3f}{most}")


if __name__ == "__main__":
    main()

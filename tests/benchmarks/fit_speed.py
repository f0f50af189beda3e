"""Microseconds a step of gdtrain and its peers, measured in one run.

    python -m tests.benchmarks.fit_speed [--repeats 5] [--jobs line,...]
        [--peers keras,gdtrain,...] [--json PATH] [--shorten N]

Each repeat trains every peer once, one after another, so that all of them
meet the same machine; the table has medians. Each training starts from the
same weights, and its losses must be those of the other peers. It is no test:
on a busy machine the figures vary, the ratios less.

A peer is in a module `peers_*.py` with `prepare(name, job, shorten)`, which
returns `None` if the peer leaves the job out, or an object: `reset()` goes
back to the first weights, `run()` trains for `epochs` epochs, and `losses()`
tells the loss of each epoch or step. Only `run()` is timed.
"""

import argparse
import importlib
import json
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from tests.benchmarks import jobs, machine, rounds, tables  # noqa: E402

MODULES = {
    "peers_keras": (
        "keras keras_best gdtrain gdtrain_xla gdtrain_bare".split()
    ),
    "peers_lecture": ["lecture"],
    "peers_numpy": ["numpy"],
    "peers_torch": ["torch"],
    "peers_jax": ["jax_step", "jax_scan"],
}
NAMES = [name for names in MODULES.values() for name in names]


def load(names):
    """`prepare` of each peer, and why others cannot be had: two dicts."""
    prepare, missing = {}, {}
    for module, peers in MODULES.items():
        wanted = [name for name in peers if name in names]
        if not wanted:
            continue
        try:
            found = importlib.import_module(f"tests.benchmarks.{module}")
        except ImportError as error:
            missing |= dict.fromkeys(wanted, str(error))
        else:
            prepare |= dict.fromkeys(wanted, found.prepare)
    return prepare, missing


def names(allowed):
    """A type of `argparse`: names separated by commas."""

    def parse(text):
        for name in text.split(","):
            if name not in allowed:
                raise argparse.ArgumentTypeError(f"{name} is not in {allowed}")
        return text.split(",")

    return parse


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--jobs", type=names(jobs.NAMES), default=jobs.NAMES)
    parser.add_argument("--peers", type=names(NAMES), default=NAMES)
    parser.add_argument("--json", help="where to write all figures")
    parser.add_argument(
        "--shorten", type=int, default=1, help="divides the number of epochs"
    )
    options = parser.parse_args()
    report = machine.describe()
    prepare, report["missing"] = load(options.peers)
    report["repeats"] = options.repeats
    report["shorten"] = options.shorten
    report["jobs"] = {
        name: rounds.measure(
            jobs.make(name), prepare, options.repeats, options.shorten
        )
        for name in options.jobs
    }
    tables.print_speed(report, list(prepare))
    if options.json:
        with open(options.json, "w") as file:
            json.dump(report, file, indent=1)


if __name__ == "__main__":
    main()

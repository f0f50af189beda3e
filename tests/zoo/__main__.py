"""How often `gdtrain.diagnose` is right about trainings of a known state.

    python -m tests.zoo [--first 500] [--seeds 4] [--show]

Prints a Markdown table, after about 5 minutes on two cores. Thresholds were
set while looking at seeds 0 to 9; it uses others. Of what was to be planted,
only runs are counted in which it is there by a criterion that knows nothing of
the diagnosis.
"""

import argparse
import os
import sys
import time
import warnings

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from gdtrain.diagnosis.diagnose import diagnose  # noqa: E402
from tests.diagnosis.contradictions import (  # noqa: E402
    contradictions,
)
from tests.zoo import collection, scores  # noqa: E402


def judge(specimen):
    """The `Outcome` of a specimen, on which nothing contradicts itself."""
    found = diagnose(specimen.telemetry, history=specimen.history)
    assert not contradictions(found), f"{specimen.kind}\n{found}"
    return scores.Outcome(
        specimen.label, found.verdict.name, specimen.kind, specimen.seed
    )


def collect(makers, seeds):
    """Outcomes of all specimens, told of on stderr as they come."""
    outcomes = []
    for make in makers:
        start, before = time.perf_counter(), len(outcomes)
        outcomes += [judge(specimen) for specimen in make(seeds)]
        seconds = time.perf_counter() - start
        count = len(outcomes) - before
        print(f"{make.__name__}: {count}, {seconds:.0f} s", file=sys.stderr)
    return outcomes


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--first", type=int, default=500)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument(
        "--show", action="store_true", help="name those it is wrong about"
    )
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    seeds = range(options.first, options.first + options.seeds)
    outcomes = collect(collection.FAULTS + collection.HEALTHY, seeds)
    print("\n".join(scores.table(outcomes)))
    if options.show:
        for outcome in outcomes:
            if not outcome.is_right:
                print(outcome)


if __name__ == "__main__":
    main()

"""How often `gdtrain.diagnose` is right about trainings of a known state.

    python -m tests.zoo make --half build --out FOLDER [--only WORD]
    python -m tests.zoo score FOLDER ... [--with-model] [--follow]

`make` trains the runs of a half and keeps each as a folder; runs that exist
are not made again, and several processes share the work. `score` prints a
Markdown table. Thresholds are set on the half "build"; see `tests.zoo.halves`.
"""

import argparse
import os
import sys
import time
import warnings

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from tests.zoo import folder, halves, making  # noqa: E402


def make(options: argparse.Namespace) -> None:
    """Makes the runs of a half."""
    units = [
        unit for unit in making.units(options.half) if options.only in str(unit)
    ]
    for unit in units[: options.limit]:
        start = time.perf_counter()
        name = "".join(c if c.isalnum() else "_" for c in str(unit))
        path = os.path.join(options.out, name)
        if folder.make(path, unit.setup, unit.runs):
            labels = [kept.recipe.label for kept in folder.runs(path)]
            counts = {name: labels.count(name) for name in sorted(set(labels))}
            seconds = time.perf_counter() - start
            print(f"{unit}: {counts}, {seconds:.0f} s", file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    maker = commands.add_parser("make", help="trains runs and keeps them")
    maker.add_argument("--half", required=True, choices=sorted(halves.HALVES))
    maker.add_argument("--out", required=True)
    maker.add_argument("--only", default="", help="a word of their names")
    maker.add_argument("--limit", type=int, help="how many sweeps at most")
    maker.set_defaults(command=make)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    options.command(options)


if __name__ == "__main__":
    main()

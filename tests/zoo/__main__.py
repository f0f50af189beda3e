"""How often `gdtrain.diagnose` is right about trainings of a known state.

    python -m tests.zoo make --half build --out FOLDER [--only WORD]
    python -m tests.zoo score FOLDER ... [--with-model] [--follow]
    python -m tests.zoo score FOLDER ... --tables [--every N]

`make` trains the runs of a part and keeps each as a folder; runs that exist
are not made again, and several processes share the work. `score` prints a
Markdown table; with `--tables` all that stands in `tests/zoo/figures.md`: every
run from its telemetry alone, each `N`-th one with its model and the advice
followed, and both ways side by side. On which part thresholds may be set, and
which is held back, is in `tests.zoo.halves`.
"""

import argparse
import os
import sys
import time
import traceback
import warnings
from collections.abc import Sequence

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from gdtrain.diagnosis.diagnose import diagnose  # noqa: E402
from tests.diagnosis.contradictions import contradictions  # noqa: E402
from tests.zoo import folder, following, halves, making, scores  # noqa: E402


def make(options: argparse.Namespace) -> None:
    """Makes the runs of a part; what fails is reported, and left out."""
    units = [
        unit for unit in making.units(options.half) if options.only in str(unit)
    ]
    failed = []
    for unit in units[: options.limit]:
        start = time.perf_counter()
        path = folder.path_in(options.out, str(unit))
        try:
            is_made = folder.make(path, unit.setup, unit.runs)
        except Exception:
            traceback.print_exc()
            failed.append(str(unit))
            continue
        if is_made:
            labels = [kept.recipe.label for kept in folder.runs(path)]
            counts = {name: labels.count(name) for name in sorted(set(labels))}
            seconds = time.perf_counter() - start
            print(f"{unit}: {counts}, {seconds:.0f} s", file=sys.stderr)
    if failed:
        sys.exit("Failed:\n" + "\n".join(failed))


def judge(
    kept: folder.Kept, with_model: bool = False, follow: bool = False
) -> scores.Outcome:
    """Diagnoses a run.

    Args:
        kept: The run.
        with_model: Whether model and data are at hand.
        follow: Whether the advice of the first verdict is followed.
    """
    given = {}
    if with_model:
        training = making.bench_of(kept.recipe.setup).training
        model, (x, y, _) = kept.rebuilt(training)
        given = {"model": model, "x": x, "y": y, "shuffle": training.shuffle}
    start = time.perf_counter()
    found = diagnose(kept.telemetry, **given, history=kept.history)
    seconds = time.perf_counter() - start
    first = found.verdict
    followed = ""
    if follow and first.changes:
        bench = making.bench_of(kept.recipe.setup)
        followed = following.follow(kept, bench, first.changes)
    return scores.Outcome(
        kept.recipe.label, kept.recipe.accepted, first.name, first.is_trouble,
        first.confidence, followed, str(kept.recipe),
        contradicts=bool(contradictions(found)), seconds=seconds,
    )  # fmt: skip


def judged(
    runs: Sequence[folder.Kept], options: argparse.Namespace, **how: bool
) -> tuple[list[scores.Outcome], list[str]]:
    """What is diagnosed, and the folders of runs where that fails."""
    outcomes, failed = [], []
    for kept in runs:
        try:
            outcome = judge(kept, **how)
        except Exception:
            traceback.print_exc()
            failed.append(kept.folder)
            continue
        outcomes.append(outcome)
        if options.show and not outcome.is_right:
            print(f"{kept.folder}: {outcome}", flush=True)
    return outcomes, failed


def score(options: argparse.Namespace) -> None:
    """Prints the table of runs on disk; what fails is not in it."""
    runs = [
        kept
        for kept in folder.runs(*options.folders)
        if options.only in str(kept.recipe)
    ]
    some = runs[options.first :: options.every][: options.limit]
    if options.tables:
        alone, failed = judged(runs, options)
        outcomes, too = judged(some, options, with_model=True, follow=True)
        lines = scores.tables(alone, outcomes)
        failed += too
    else:
        outcomes, failed = judged(
            some, options, with_model=options.with_model, follow=options.follow
        )
        lines = scores.table(outcomes)
    print("\n".join(lines))
    if failed:
        sys.exit("Failed:\n" + "\n".join(failed))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    maker = commands.add_parser("make", help="trains runs and keeps them")
    maker.add_argument("--half", required=True, choices=sorted(halves.PARTS))
    maker.add_argument("--out", required=True)
    maker.add_argument("--only", default="", help="a word of their names")
    maker.add_argument("--limit", type=int, help="how many units at most")
    maker.set_defaults(command=make)
    scorer = commands.add_parser("score", help="prints the table")
    scorer.add_argument("folders", nargs="+")
    scorer.add_argument("--with-model", action="store_true")
    scorer.add_argument("--follow", action="store_true")
    scorer.add_argument(
        "--tables",
        action="store_true",
        help="all runs without, and each n-th one with model and advice",
    )
    scorer.add_argument("--only", default="", help="a word of their names")
    scorer.add_argument("--limit", type=int, help="how many runs at most")
    scorer.add_argument("--every", type=int, default=1, help="each n-th run")
    scorer.add_argument("--first", type=int, default=0, help="from this one on")
    scorer.add_argument(
        "--show", action="store_true", help="name those it is wrong about"
    )
    scorer.set_defaults(command=score)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    options.command(options)


if __name__ == "__main__":
    main()

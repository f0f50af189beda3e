"""How often verdicts are right, and their advice helps, as a table."""

import dataclasses
import math
import statistics
from collections.abc import Callable, Iterable, Sequence

from tests.zoo.sweep import BORDERLINE, HEALTHY

SURE = 0.9  # A confidence, of which nine in ten are to be right
FOLLOWED = ("better", "same", "worse")
DEVIATIONS = 1.96  # Of a normal distribution, to each side: 95% of it
#: Of the table of both ways; `row_of_both` is a row of it
HEAD_OF_BOTH = (
    "", "faults in which trouble is found", "and named rightly",
    "alarms that are about a fault", "healthy runs with an alarm",
    "advice followed: better, same, worse",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Outcome:
    """A run, and its first verdict.

    Args:
        label, accepted: As in `tests.zoo.folder.Recipe`.
        name, is_trouble, confidence: Of the verdict.
        followed: What came of its advice, one of `FOLLOWED`; `""` if it was
            not followed, or cannot be by a program.
        run: In words.
        contradicts: Whether what is said of it contradicts itself.
        seconds: That the diagnosis took.
    """

    label: str
    accepted: tuple[str, ...]
    name: str
    is_trouble: bool
    confidence: float
    followed: str = ""
    run: str = ""
    contradicts: bool = False
    seconds: float = 0.0

    @property
    def is_right(self) -> bool:
        """Whether the verdict is one that is accepted.

        Of a cause that is seen in several ways, "cause: way", any way is.
        """
        if self.is_sick:
            causes = {name.partition(":")[0] for name in self.accepted}
            return self.name.partition(":")[0] in causes
        return not self.is_trouble

    @property
    def is_sick(self) -> bool:
        """Whether something is wrong with the run."""
        return self.label not in (HEALTHY, BORDERLINE)

    def __str__(self) -> str:
        advice = self.followed and f"; followed: {self.followed}"
        return f"{self.run} -> {self.name} ({self.confidence:.2f}{advice})"


def share(outcomes: Iterable[Outcome], of: Callable[[Outcome], bool]) -> str:
    """`"0.75"`: of how many it is true; `"-"` of none.

    Example:

    >>> right = Outcome("plateau", ("plateau",), "plateau", True, 0.9)
    >>> share([right, right], lambda one: one.is_right), share([], bool)
    ('1.00', '-')
    """
    true = [of(one) for one in outcomes]
    return f"{sum(true) / len(true):.2f}" if true else "-"


def interval(count: int, total: int) -> tuple[float, float]:
    """Wilson's interval of 95% of the probability behind `count` in `total`.

    Example:

    >>> [round(end, 3) for end in interval(8, 10)], interval(0, 0)
    ([0.49, 0.943], (0.0, 1.0))
    """
    if not total:
        return 0.0, 1.0
    share, spread = count / total, DEVIATIONS**2 / total
    root = math.sqrt(spread * (share * (1 - share) + spread / 4))
    middle = share + spread / 2
    low, high = (middle + side * root for side in (-1, 1))
    return max(low / (1 + spread), 0.0), min(high / (1 + spread), 1.0)


def estimate(outcomes: Iterable[Outcome], of: Callable[[Outcome], bool]) -> str:
    """`share`, of how many, and its interval.

    Example:

    >>> right = Outcome("plateau", ("plateau",), "plateau", True, 0.9)
    >>> estimate([right] * 10, lambda one: one.is_right)
    '1.00 of 10 (0.72 to 1.00)'
    """
    true = [of(one) for one in outcomes]
    low, high = interval(sum(true), len(true))
    text = f"{share(true, bool)} of {len(true)}"
    return f"{text} ({low:.2f} to {high:.2f})" if true else text


def row(name: str, outcomes: Sequence[Outcome]) -> str:
    """The row of a verdict, or of a label that several verdicts fit.

    - runs: that have it; it is right about them, and named first for them
    - precision: the share of its calls that are right
    - recall: the share of its runs for which an accepted verdict is called
    - sure, unsure: the precision of calls with confidence >= 0.9, and below
    - better, same, worse: what came of its advice
    """
    known = [one for one in outcomes if one.label != BORDERLINE]
    runs = [one for one in known if one.label == name]
    calls = [one for one in known if _calls(one, name)]
    sure = [one for one in calls if one.confidence >= SURE]
    unsure = [one for one in calls if one.confidence < SURE]
    right = [
        share(some, lambda one: one.is_right)
        for some in (calls, runs, sure, unsure)
    ]
    every = [one.followed for one in outcomes if _calls(one, name)]
    advice = [str(every.count(word)) for word in FOLLOWED]
    cells = [name, str(len(runs) or "-"), str(len(calls)), *right, *advice]
    return f"| {' | '.join(cells)} |"


def _calls(one: Outcome, name: str) -> bool:
    """Whether the verdict has a name, or one that begins with it."""
    if name == HEALTHY:
        return not one.is_trouble
    return one.name == name or one.name.startswith(f"{name}: ")


def table(outcomes: Sequence[Outcome]) -> list[str]:
    """Lines of a Markdown table, and the sums below it.

    Borderline runs are counted by themselves: neither a miss nor a false
    alarm; their advice counts.
    """
    head = (
        "verdict", "runs", "calls", "precision", "recall", "sure", "unsure",
        *FOLLOWED,
    )  # fmt: skip
    names = {one.name for one in outcomes} | {one.label for one in outcomes}
    rows = [
        row(name, outcomes) for name in sorted(names - {BORDERLINE, HEALTHY})
    ]
    return [
        *headed(head),
        *rows,
        row(HEALTHY, outcomes),
        "",
        *(f"- {line}" for line in sums(outcomes)),
    ]


def headed(names: Sequence[str]) -> list[str]:
    """The first two lines of a Markdown table."""
    return [f"| {' | '.join(names)} |", f"|---|{'--:|' * (len(names) - 1)}"]


def of_trouble(outcomes: Sequence[Outcome]) -> dict[str, str]:
    """Recall, share of right names, precision, false alarms; with intervals."""
    sick = [one for one in outcomes if one.is_sick]
    well = [one for one in outcomes if one.label == HEALTHY]
    alarms = [one for one in sick + well if one.is_trouble]
    return {
        "recall of trouble": estimate(sick, lambda one: one.is_trouble),
        "named rightly": estimate(sick, lambda one: one.is_right),
        "precision of trouble": estimate(alarms, lambda one: one.is_sick),
        "false alarms": estimate(well, lambda one: one.is_trouble),
    }


def advice(outcomes: Sequence[Outcome]) -> str:
    """How many runs became better, stayed the same, became worse."""
    followed = [one.followed for one in outcomes if one.followed]
    return ", ".join(f"{followed.count(word)} {word}" for word in FOLLOWED)


def sums(outcomes: Sequence[Outcome]) -> list[str]:
    """Precision and recall of trouble, false alarms, advice, time."""
    between = [one for one in outcomes if one.label == BORDERLINE]
    known = [one for one in outcomes if one.label != BORDERLINE]
    sick = [one for one in known if one.is_sick]
    sure, unsure = (
        estimate(
            [one for one in known if (one.confidence >= SURE) == is_sure],
            lambda one: one.is_right,
        )
        for is_sure in (True, False)
    )
    seconds = [one.seconds for one in outcomes] or [0.0]
    return [
        f"{len(sick)} faults, {len(known) - len(sick)} healthy runs, "
        f"{len(between)} borderline (trouble called in "
        f"{sum(one.is_trouble for one in between)})",
        *(f"{name}: {value}" for name, value in of_trouble(outcomes).items()),
        f"right with confidence >= {SURE}: {sure}",
        f"right with less confidence: {unsure}",
        f"contradictions in {sum(one.contradicts for one in outcomes)} runs",
        f"advice followed in {sum(bool(one.followed) for one in outcomes)} "
        f"runs: {advice(outcomes)}",
        f"seconds of a diagnosis: median {statistics.median(seconds):.2g}, "
        f"largest {max(seconds):.2g}",
    ]


def tables(
    alone: Sequence[Outcome], with_model: Sequence[Outcome]
) -> list[str]:
    """All that is published: both tables, and the one of both ways.

    Args:
        alone: Of diagnoses from telemetry alone.
        with_model: Of those with the model and its data.
    """
    return [
        "## From telemetry alone", "", *table(alone), "",
        "## With the model and its data", "", *table(with_model), "",
        "## Both", "", *headed(HEAD_OF_BOTH),
        row_of_both("`diagnose(telemetry)`", alone),
        row_of_both("`diagnose(telemetry, model, x, y)`", with_model),
    ]  # fmt: skip


def row_of_both(name: str, outcomes: Sequence[Outcome]) -> str:
    """A row of the table with the head `HEAD_OF_BOTH`."""
    is_followed = any(one.followed for one in outcomes)
    cells = [name, *of_trouble(outcomes).values()]
    cells.append(advice(outcomes) if is_followed else "-")
    return f"| {' | '.join(cells)} |"

"""How often verdicts are right, and their advice helps, as a table."""

import dataclasses
from collections.abc import Callable, Iterable, Sequence

from tests.zoo.sweep import BORDERLINE, HEALTHY

SURE = 0.9  # A confidence, of which nine in ten are to be right
FOLLOWED = ("better", "same", "worse")


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
    """

    label: str
    accepted: tuple[str, ...]
    name: str
    is_trouble: bool
    confidence: float
    followed: str = ""
    run: str = ""
    contradicts: bool = False

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
        f"| {' | '.join(head)} |",
        f"|---|{'--:|' * (len(head) - 1)}",
        *rows,
        row(HEALTHY, outcomes),
        "",
        *sums(outcomes),
    ]


def sums(outcomes: Sequence[Outcome]) -> list[str]:
    """Precision and recall of trouble, false alarms, advice."""
    sick = [one for one in outcomes if one.is_sick]
    well = [one for one in outcomes if one.label == HEALTHY]
    between = [one for one in outcomes if one.label == BORDERLINE]
    alarms = [one for one in well if one.is_trouble]
    found = [one for one in sick if one.is_trouble]
    named = [one for one in sick if one.is_right]
    called = sum(one.is_trouble for one in between)
    known = [one for one in outcomes if one.label != BORDERLINE]
    sure = [one for one in known if one.confidence >= SURE]
    unsure = [one for one in known if one.confidence < SURE]
    followed = [one.followed for one in outcomes if one.followed]

    def right(some: Sequence[Outcome]) -> str:
        return f"{share(some, lambda one: one.is_right)} of {len(some)}"

    return [
        f"{len(sick)} faults, {len(well)} healthy runs, "
        f"{len(between)} borderline (trouble called in {called})",
        f"trouble: precision {share(found + alarms, lambda o: o.is_sick)}, "
        f"recall {share(sick, lambda one: one.is_trouble)}, by its name "
        f"{len(named)} of {len(sick)}",
        f"false alarms: {len(alarms)} of {len(well)} "
        f"({share(well, lambda one: one.is_trouble)})",
        f"right with confidence >= {SURE}: {right(sure)}, "
        f"below: {right(unsure)}",
        f"contradictions in {sum(one.contradicts for one in outcomes)} runs",
        f"advice followed in {len(followed)} runs: "
        + ", ".join(f"{followed.count(word)} {word}" for word in FOLLOWED),
    ]

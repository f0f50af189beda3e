"""Precision and recall of verdicts, and false alarms, as a table."""

import collections
import dataclasses

from gdtrain.diagnosis.diagnose import NAMES
from gdtrain.diagnosis.verdicts import (
    converged,
    converging,
    noise_floor,
    nothing_to_report,
)

HEALTHY = {
    noise_floor.NAME,
    converged.NAME,
    converging.NAME,
    nothing_to_report.NAME,
}

ANY_HEALTHY = "healthy"  # The label where any verdict of health is right


@dataclasses.dataclass(frozen=True)
class Outcome:
    """A specimen, and the first verdict on it.

    Args:
        label: As planted.
        found: The name of the verdict.
        kind, seed: Of the specimen.
    """

    label: str
    found: str
    kind: str
    seed: int

    @property
    def is_healthy(self):
        """Whether nothing was planted."""
        return self.label == ANY_HEALTHY or self.label in HEALTHY

    @property
    def is_right(self):
        """Whether the verdict is the one planted."""
        if self.label == ANY_HEALTHY:
            return self.found in HEALTHY
        return self.found == self.label

    @property
    def is_false_alarm(self):
        """Whether trouble was found where there is none."""
        return self.is_healthy and self.found not in HEALTHY


def of_each(outcomes):
    """`{name: (runs, precision, recall)}`; `None` of no runs at all.

        precision = right / all that got this verdict
        recall = right / all that it was planted in

    Example:

    >>> one = Outcome("converged", "converged", "line", 1)
    >>> other = Outcome("plateau", "converged", "line", 1)
    >>> of_each([one, other])["converged"], of_each([one, other])["plateau"]
    ((1, 0.5, 1.0), (1, None, 0.0))
    """
    found: collections.Counter = collections.Counter()
    planted: collections.Counter = collections.Counter()
    right: collections.Counter = collections.Counter()
    for outcome in outcomes:
        planted[outcome.label] += 1
        right[outcome.label] += outcome.is_right
        if outcome.label != ANY_HEALTHY or not outcome.is_right:
            found[outcome.found] += 1
    names = [*NAMES, ANY_HEALTHY]
    return {
        name: (
            planted[name],
            right[name] / found[name] if found[name] else None,
            right[name] / planted[name] if planted[name] else None,
        )
        for name in names
        if planted[name] or found[name]
    }


def table(outcomes):
    """Lines of a Markdown table, and the share of false alarms below."""
    lines = ["| verdict | runs | precision | recall |", "|---|--:|--:|--:|"]
    for name, (runs, *shares) in of_each(outcomes).items():
        told = [f"{s:.2f}" if s is not None else "-" for s in shares]
        if name == ANY_HEALTHY:  # Validated runs: no verdict of their own
            told[0] = "-"
        lines.append(f"| {name} | {runs} | {told[0]} | {told[1]} |")
    healthy = [outcome for outcome in outcomes if outcome.is_healthy]
    alarms = sum(outcome.is_false_alarm for outcome in healthy)
    share = alarms / len(healthy) if healthy else 0.0
    lines += [
        "",
        f"{len(outcomes) - len(healthy)} faults, {len(healthy)} healthy runs; "
        f"false alarms: {alarms} of {len(healthy)} ({share:.1%})",
    ]
    return lines

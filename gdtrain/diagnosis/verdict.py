"""Verdicts, from a fixed list, and what they are told with."""

import dataclasses
import math
from typing import Any

from gdtrain.common import notebook

DIVERGING = "learning rate too large: diverging"
OSCILLATING = "learning rate too large: oscillating"
TOO_SMALL = "learning rate too small"
NONFINITE = "non-finite"
EXPLODING = "exploding gradients"
VANISHING = "vanishing gradients"
DEAD = "dead layer"
NOT_LEARNING = "not learning"
PLATEAU = "plateau"
OVERFITTING = "overfitting"
NOISE_FLOOR = "noise floor"
CONVERGED = "converged"
CONVERGING = "converging"
NOTHING = "nothing to report"

#: All names, the most important first: causes come before what they bring.
NAMES = (
    EXPLODING,
    DIVERGING,
    NONFINITE,
    DEAD,
    VANISHING,
    OSCILLATING,
    NOT_LEARNING,
    TOO_SMALL,
    OVERFITTING,
    PLATEAU,
    NOISE_FLOOR,
    CONVERGED,
    CONVERGING,
    NOTHING,
)
#: What may come of too large a learning rate, never of too small a one
RUINED = frozenset({EXPLODING, DIVERGING, DEAD, OSCILLATING})
HEALTHY = frozenset({NOISE_FLOOR, CONVERGED, CONVERGING, NOTHING})


@dataclasses.dataclass(frozen=True)
class Verdict:
    """One finding.

    Args:
        name: One of `NAMES`.
        confidence: In (0, 1]; see `confidence`.
        steps: `(first, last)`, the steps it concerns.
        evidence: A dict of numbers.
        text: A sentence that tells the evidence.
        advice: A sentence that tells what to try.
    """

    name: str
    confidence: float
    steps: tuple[int, int]
    evidence: dict[str, Any]
    text: str
    advice: str

    @property
    def is_trouble(self):
        """Whether something is wrong."""
        return self.name not in HEALTHY

    def __str__(self):
        first, last = self.steps
        return (
            f"{self.name} (confidence {self.confidence:.2f}, "
            f"steps {first:,} to {last:,})\n  {self.text}\n  {self.advice}"
        )


def confidence(*margins):
    """How sure a verdict is, from how far beyond its thresholds it is.

        confidence = 1 - 1 / (2 * least margin)

    0.5 at the threshold, 0.75 at twice, 0.95 at ten times the threshold. It
    is no probability.

    Args:
        margins: Numbers of 1 or more: value over threshold, of each
            condition that had to hold.

    Example:

    >>> confidence(2.0, 30.0)
    0.75
    """
    return 1.0 - 0.5 / max(min(margins), 1.0)


def as_text(sentence):
    """With a full stop, and a capital unless it begins with a name.

    Example:

    >>> as_text("the loss grows"), as_text("learning_rate 0.5: too large")
    ('The loss grows.', 'learning_rate 0.5: too large.')
    """
    if not sentence.startswith("learning_rate"):
        sentence = sentence[:1].upper() + sentence[1:]
    return f"{sentence}."


@dataclasses.dataclass(frozen=True)
class Diagnosis:
    """What `gdtrain.diagnose` found.

    Args:
        verdicts: A tuple of `Verdict`, the most important first; never empty.
    """

    verdicts: tuple[Verdict, ...]

    @property
    def verdict(self):
        """The most important one."""
        return self.verdicts[0]

    def __str__(self):
        return "\n".join(map(str, self.verdicts))

    def _repr_html_(self) -> str:
        """A row for each verdict, in a notebook."""
        header = ["verdict", "confidence", "steps", "evidence", "advice"]
        return notebook.show(
            self,
            lambda: notebook.table(
                header,
                [
                    (
                        verdict.name,
                        f"{verdict.confidence:.2f}",
                        f"{verdict.steps[0]:,} to {verdict.steps[1]:,}",
                        verdict.text,
                        verdict.advice,
                    )
                    for verdict in self.verdicts
                ],
            ),
        )

    def as_dict(self):
        """The same as dicts and lists, as JSON has them: infinity is null."""
        found = [dataclasses.asdict(verdict) for verdict in self.verdicts]
        for verdict in found:
            verdict["evidence"] = {
                name: value
                if isinstance(value, (int, float)) and math.isfinite(value)
                else None
                for name, value in verdict["evidence"].items()
            }
        return {"verdict": self.verdict.name, "verdicts": found}


def ranked(verdicts):
    """The same in the order of `NAMES`, a tuple."""
    return tuple(sorted(verdicts, key=lambda v: NAMES.index(v.name)))

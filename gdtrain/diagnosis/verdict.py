"""A verdict with its evidence, and the diagnosis that verdicts make."""

import dataclasses
import math
from typing import Any, Literal, NamedTuple, TypeAlias

from gdtrain.common import notebook

ChangeKind: TypeAlias = Literal[
    "learning_rate",
    "constant_learning_rate",
    "scale_inputs",
    "scale_targets",
    "shuffle",
    "from_logits",
    "weight_decay",
]


class Change(NamedTuple):
    """A change of a training that a program can make.

    Args:
        kind: What is changed.
            "learning_rate": the largest one; a schedule keeps its form.
            "constant_learning_rate": in place of a schedule.
            "scale_inputs", "scale_targets": each feature has the mean 0 and
            the standard deviation 1 then; the value is `None`.
            "shuffle": examples in another order in each epoch; `None`.
            "from_logits": of the loss; a bool.
            "weight_decay": of the optimizer, or of regularizers.
        value: To what.

    Example:

    >>> Change("learning_rate", 0.03).value
    0.03
    """

    kind: ChangeKind
    value: float | bool | None = None


@dataclasses.dataclass(frozen=True)
class Verdict:
    """One finding.

    Args:
        name: One of `gdtrain.diagnosis.diagnose.NAMES`, or that of a
            verdict of your own.
        confidence: In (0, 1]: 1 - 1 / (2 * m) for what is m times beyond its
            threshold.
        steps: `(first, last)`, the steps it concerns.
        evidence: A dict of numbers.
        text: A sentence with the evidence.
        advice: A sentence on what to try.
        is_trouble: Whether something is wrong.
        changes: The advice as a program can follow it, if it can: all of
            these together.

    Example:

    >>> import gdtrain, numpy as np
    >>> writer = gdtrain.writers.MemoryWriter()
    >>> writer.write(range(1, 31), ["loss"], 2.0 ** np.arange(30)[:, None])
    >>> found = gdtrain.diagnose(writer).verdict
    >>> found.name, found.steps, found.evidence["loss_growth_a_step"]
    ('learning rate too large: diverging', (1, 30), 2.0)
    """

    name: str
    confidence: float
    steps: tuple[int, int]
    evidence: dict[str, Any]
    text: str
    advice: str
    is_trouble: bool = True
    changes: tuple[Change, ...] = ()

    def __str__(self) -> str:
        first, last = self.steps
        return (
            f"{self.name} (confidence {self.confidence:.2f}, "
            f"steps {first:,} to {last:,})\n  {self.text}\n  {self.advice}"
        )


#: The most that the course of a loss, or the length of updates, can tell.
#: How low the loss could be, and why it is not, does not show in them: about
#: four in five such verdicts are right, however clear the course is.
CURVE = 0.8


def confidence(*margins: float, most: float = 1.0) -> float:
    """How sure a verdict is, from how far beyond its thresholds it is.

        confidence = 1 - 1 / (2 * least margin)

    0.5 at the threshold, 0.75 at twice, 0.95 at ten times the threshold, and
    never more than the kind of evidence allows. It is no probability.

    Args:
        margins: Numbers of 1 or more: value over threshold, of each
            condition that had to hold.
        most: 1, the default, for what follows from what was measured;
            `CURVE` for what is concluded from the shape of a curve.

    Example:

    >>> confidence(2.0, 30.0)
    0.75
    >>> confidence(20.0, most=CURVE)
    0.8
    """
    return min(1.0 - 0.5 / max(min(margins), 1.0), most)


def rate_change(rate: float | None) -> tuple[Change, ...]:
    """The change to another learning rate; none of `None`.

    Example:

    >>> rate_change(0.5)[0].kind, rate_change(None)
    ('learning_rate', ())
    """
    return (Change("learning_rate", rate),) if rate else ()


def as_text(sentence: str) -> str:
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
    """The result of `gdtrain.diagnose`. Prints as text.

    Args:
        verdicts: A tuple of `Verdict`, the most important first; never empty.

    Example:

    >>> import gdtrain, numpy as np
    >>> writer = gdtrain.writers.MemoryWriter()
    >>> writer.write(range(1, 31), ["loss"], 2.0 ** np.arange(30)[:, None])
    >>> print(gdtrain.diagnose(writer))
    learning rate too large: diverging (confidence 1.00, steps 1 to 30)
      The loss grows 2 times a step, 5.37e+08 times in all.
      Try a third of the learning rate.
    """

    verdicts: tuple[Verdict, ...]

    @property
    def verdict(self) -> Verdict:
        """The most important one."""
        return self.verdicts[0]

    def __str__(self) -> str:
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

    def as_dict(self) -> dict[str, Any]:
        """The same as dicts and lists, as JSON has them: infinity is null."""
        return {
            "verdict": self.verdict.name,
            "verdicts": [_as_dict(verdict) for verdict in self.verdicts],
        }


def _as_dict(verdict: Verdict) -> dict[str, Any]:
    found = dataclasses.asdict(verdict)
    del found["is_trouble"]
    found["changes"] = {change.kind: change.value for change in verdict.changes}
    for name, value in found["evidence"].items():
        is_number = isinstance(value, (int, float)) and math.isfinite(value)
        found["evidence"][name] = value if is_number else None
    return found

"""The verdict on the steps of a training, as text."""

from collections.abc import Mapping
from typing import Any

from gdtrain.diagnosis.diagnose import diagnose
from gdtrain.diagnosis.verdict import Diagnosis
from gdtrain.writers.memory import SampledMemory


class JudgedSteps(SampledMemory):
    """Keeps a bounded number of steps for `gdtrain.diagnose`.

    Attributes:
        params: Of the fit, as Keras gives them to callbacks.

    Example:

    >>> steps = JudgedSteps()
    >>> steps.write(range(1, 41), ["loss"], [[2.0**n] for n in range(40)])
    >>> print(steps.verdict(None))
    **learning rate too large: diverging** (confidence 1.00, steps 1 to 40)
    <BLANKLINE>
    The loss grows 2 times a step, ...
    """

    def __init__(self) -> None:
        super().__init__()
        self.params: Mapping[str, Any] = {}

    def verdict(self, history: Any) -> str:
        """The verdicts as Markdown; empty if there were no steps.

        Args:
            history: Keras's `History` of the fit, or `None`.
        """
        if not len(self.steps):
            return ""
        return markdown(diagnose(self, history=history))


def markdown(diagnosis: Diagnosis) -> str:
    """Verdicts as text for TensorBoard, the most important first."""
    return "\n\n".join(
        f"**{verdict.name}** (confidence {verdict.confidence:.2f}, steps "
        f"{verdict.steps[0]:,} to {verdict.steps[1]:,})\n\n"
        f"{_escaped(verdict.text)}\n\n{_escaped(verdict.advice)}"
        for verdict in diagnosis.verdicts
    )


def _escaped(text: str) -> str:
    """Text in which Markdown finds nothing to mark."""
    for sign in "\\`*_<":
        text = text.replace(sign, f"\\{sign}" if sign != "<" else "&lt;")
    return text

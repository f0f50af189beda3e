"""What was written of the steps of a training, and the verdict on it."""

from collections.abc import Mapping
from typing import Any

from gdtrain.diagnosis.diagnose import diagnose
from gdtrain.diagnosis.verdict import Diagnosis
from gdtrain.telemetry.step_table import StepTable
from gdtrain.writers.memory import SampledMemory


class JudgedSteps:
    """Keeps a bounded number of steps for `gdtrain.diagnose`.

    Example:

    >>> steps = JudgedSteps()
    >>> steps.begin(0, {})
    >>> steps.write(range(1, 41), ["loss"], [[2.0**n] for n in range(40)])
    >>> print(steps.verdict(None))
    **learning rate too large: diverging** (confidence 1.00, steps 1 to 40)
    <BLANKLINE>
    The loss grows 2 times a step, ...
    """

    def __init__(self) -> None:
        self._memory = SampledMemory()
        self.params: Mapping[str, Any] = {}  # Of the fit, as Keras tells them

    def begin(self, steps_done: int, params: Mapping[str, Any] | None) -> None:
        """Begins a fit, whose steps follow those before unless it is anew."""
        if not steps_done:
            self._memory = SampledMemory()
        self.params = params or {}

    def write(self, steps, names, values, measured=None) -> None:
        """Adds steps. See `gdtrain.writers`."""
        self._memory.write(steps, names, values, measured)

    @property
    def table(self) -> StepTable:
        """The steps kept."""
        return self._memory.table

    @property
    def steps(self):
        """Numbers of the steps kept, int64 `[n]`."""
        return self._memory.steps

    @property
    def names(self):
        """Names of what was written, a list."""
        return self._memory.names

    def __getitem__(self, name):
        """Values of one name, float32 `[n]`; NaN where it was not measured."""
        return self._memory[name]

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

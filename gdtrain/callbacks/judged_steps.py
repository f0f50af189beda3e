"""The verdict on the steps of a training, as text."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from gdtrain.diagnosis.diagnose import diagnose
from gdtrain.diagnosis.verdict import Diagnosis
from gdtrain.telemetry.step_table import StepTable
from gdtrain.writers.memory import MemoryWriter
from gdtrain.writers.writer import Array, Mask, Names

# Uneven, so that what changes from step to step, back and forth, still does
_FACTOR = 3


class JudgedSteps(MemoryWriter):
    """Keeps steps for `gdtrain.diagnose`: all of a few, else each n-th.

    Args:
        max_steps: With more steps, a third of them is kept.
        max_numbers: The same for steps times names.

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

    def __init__(
        self, max_steps: int = 3_000, max_numbers: int = 2**22
    ) -> None:
        super().__init__()
        self.params: Mapping[str, Any] = {}
        self._max_steps = max_steps
        self._max_numbers = max_numbers
        self._seen = 0  # Steps that were written
        self._every = 1  # Of which each n-th is kept

    def write(
        self, steps: Array, names: Names, values: Array, measured: Mask = None
    ) -> None:
        """Adds steps. See `gdtrain.writers.Writer`."""
        table = StepTable(steps, names, values, measured)
        # By numbers, which copies, so that the rest is not kept alive
        rows = np.arange(-self._seen % self._every, len(table), self._every)
        self._tables.append(table[rows])
        self._seen += len(table)
        limit = min(self._max_steps, self._max_numbers // max(len(names), 1))
        while math.ceil(self._seen / self._every) > max(limit, 1):
            self._every *= _FACTOR
            kept = self.table
            self._tables = [kept[np.arange(0, len(kept), _FACTOR)]]

    def get_state(self) -> dict[str, Any]:
        """What is kept, and what is needed to continue."""
        state = super().get_state()
        return {**state, "seen": self._seen, "every": self._every}

    def set_state(self, state: dict[str, Any]) -> None:
        """Continues from what `get_state` returned."""
        super().set_state(state)
        self._seen, self._every = state["seen"], state["every"]

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

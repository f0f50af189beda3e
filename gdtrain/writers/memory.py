"""Numbers kept in memory."""

import math
import os
from typing import Any

import numpy as np

from gdtrain.telemetry.step_table import StepTable, stacked
from gdtrain.writers.writer import Array, Mask, Names

# Uneven, so that what changes from step to step, back and forth, still does
_FACTOR = 3


class MemoryWriter:
    """Keeps what is written, as a `StepTable`.

    Example:

    >>> writer = MemoryWriter()
    >>> writer.write([1, 2], ["loss"], [[0.5], [0.25]])
    >>> writer.write([3], ["loss", "kl"], [[0.125, 7.0]])
    >>> writer.steps.tolist(), writer.names
    ([1, 2, 3], ['loss', 'kl'])
    >>> writer["kl"].tolist()
    [nan, nan, 7.0]
    >>> writer.table.measured("kl").tolist()
    [False, False, True]
    """

    def __init__(self) -> None:
        self._tables: list[StepTable] = []

    def write(
        self, steps: Array, names: Names, values: Array, measured: Mask = None
    ) -> None:
        """Adds steps. See `gdtrain.writers.Writer`."""
        self._tables.append(StepTable(steps, names, values, measured))

    def flush(self) -> None:
        """Nothing to do: memory can always be read."""

    def close(self) -> None:
        """Nothing to do: what was written stays."""

    @property
    def table(self) -> StepTable:
        """All that was written."""
        self._tables = [stacked(self._tables)]
        return self._tables[0]

    @property
    def steps(self) -> np.ndarray:
        """Step numbers, int64 `[n]`."""
        return self.table.steps

    @property
    def names(self) -> list[str]:
        """Names in the order in which they came."""
        return list(self.table.names)

    def __getitem__(self, name: str) -> np.ndarray:
        """Values of one name, float32 `[n]`; NaN where it was not measured.

        Raises:
            KeyError: if nothing was written under that name.
        """
        return self.table[name]

    def get_state(self) -> dict[str, Any]:
        """All that was written, in arrays."""
        table = self.table
        return {
            "steps": table.steps,
            "names": list(table.names),
            "values": table.array,
            "measured": table.mask,
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Keeps what `get_state` returned, and nothing else."""
        self._tables = [
            StepTable(
                state["steps"],
                state["names"],
                state["values"],
                state["measured"],
            )
        ]

    def save(self, path: str | os.PathLike) -> None:
        """Writes an `.npz` file. See `StepTable.save`."""
        self.table.save(path)


class SampledMemory(MemoryWriter):
    """Keeps every step as long as there are few, else every n-th.

    Args:
        max_steps: With more steps, a third of them is kept.
        max_numbers: The same for steps times names.

    Example:

    >>> memory = SampledMemory(max_steps=5)
    >>> memory.write(range(1, 12), ["loss"], np.arange(11.0)[:, None])
    >>> memory.steps.tolist(), memory["loss"].tolist()
    ([1, 4, 7, 10], [0.0, 3.0, 6.0, 9.0])
    >>> memory.write([12, 13, 14], ["loss"], [[11.0], [12.0], [13.0]])
    >>> memory.steps.tolist()
    [1, 4, 7, 10, 13]
    """

    def __init__(
        self, max_steps: int = 3_000, max_numbers: int = 2**22
    ) -> None:
        super().__init__()
        self._max_steps = max_steps
        self._max_numbers = max_numbers
        self._seen = 0  # Steps that were written
        self._every = 1  # Of which each n-th is kept

    def write(
        self, steps: Array, names: Names, values: Array, measured: Mask = None
    ) -> None:
        """Adds steps. See `gdtrain.writers.Writer`."""
        table = StepTable(steps, names, values, measured)
        self._tables.append(_sampled(table, self._seen, self._every))
        self._seen += len(table)
        limit = min(self._max_steps, self._max_numbers // max(len(names), 1))
        while math.ceil(self._seen / self._every) > max(limit, 1):
            self._thin()

    def _thin(self) -> None:
        """Keeps a third of the steps."""
        self._every *= _FACTOR
        tables, self._tables = self._tables, []
        seen = 0
        for table in tables:
            self._tables.append(_sampled(table, seen, _FACTOR))
            seen += len(table)


def _sampled(table: StepTable, seen: int, every: int) -> StepTable:
    """Each n-th step, counted from so many before the table; a copy."""
    return table[np.arange(-seen % every, len(table), every)]

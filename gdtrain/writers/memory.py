"""Numbers kept in memory."""

import os
from typing import Any

import numpy as np

from gdtrain.telemetry.step_table import StepTable, stacked
from gdtrain.writers.writer import Array, Mask, Names


class HasSteps:
    """Numbers of steps by name, of an object with a `table` of them."""

    @property
    def table(self) -> StepTable:
        """All steps so far."""
        raise NotImplementedError

    @property
    def steps(self) -> np.ndarray:
        """Step numbers, int64 `[n]`; the first update is 1."""
        return self.table.steps

    @property
    def names(self) -> list[str]:
        """Names of what was measured, in the order in which they came."""
        return list(self.table.names)

    def __getitem__(self, name: str) -> np.ndarray:
        """Values of one name, float32 `[n]`; NaN where it was not measured.

        Raises:
            KeyError: if nothing was measured under that name.
        """
        return self.table[name]

    def save(self, path: str | os.PathLike) -> None:
        """Writes an `.npz` file with `steps`, `names` and `values` `[n, m]`.

        Args:
            path: Where to; overwritten if it exists.
        """
        self.table.save(path)


class MemoryWriter(HasSteps):
    """Keeps all steps, as a `StepTable`.

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

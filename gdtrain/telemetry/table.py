"""The table that leaves the graph: a row for each step."""

import dataclasses
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Column:
    """A column of a table.

    Args:
        name: For example `"gradient_norm/dense"`.
        quantity: The quantity it belongs to, for example `"gradient_norm"`;
            `None` for a scalar that the step itself returned.
        index: Its place in the rows.
    """

    name: str
    quantity: str | None
    index: int


@dataclasses.dataclass(frozen=True)
class Table:
    """Numbers of consecutive steps, as they left the graph.

    Args:
        first_step: Number of the first step in it; steps count from 1.
        columns: A tuple of `Column`.
        rows: Float32 of shape `[steps, numbers]`: a tensor, which may still
            be on its way from the device, or an array.
    """

    first_step: int
    columns: tuple[Column, ...]
    rows: Any

    def select(self, quantities, cadence):
        """Rows and columns that somebody asked for. Waits for the device.

        Args:
            quantities: A set of names of quantities; the scalars that the
                step itself returned come along.
            cadence: Which steps; see `gdtrain.cadence`.

        Returns:
            `(steps, names, values)`: int64 `[n]`, a tuple of m names, float32
            `[n, m]`.

        Example:

        >>> from gdtrain.cadence import EverySteps
        >>> columns = (Column("loss", "loss", 1), Column("kl", None, 0))
        >>> rows = np.array([[5, 1], [6, 2], [7, 3]], "float32")
        >>> table = Table(1, columns, rows)
        >>> steps, names, values = table.select({"loss"}, EverySteps(2))
        >>> steps.tolist(), names, values.tolist()
        ([2], ('loss', 'kl'), [[2.0, 6.0]])
        """
        rows = np.asarray(self.rows, np.float32)
        steps = np.arange(len(rows), dtype=np.int64) + self.first_step
        chosen = [
            column
            for column in self.columns
            if column.quantity is None or column.quantity in quantities
        ]
        picked = cadence.mask(steps)
        return (
            steps[picked],
            tuple(column.name for column in chosen),
            rows[picked][:, [column.index for column in chosen]],
        )

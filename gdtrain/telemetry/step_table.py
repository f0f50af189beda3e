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
        width: How many numbers it has: 1, or more for a histogram.
    """

    name: str
    quantity: str | None
    index: int
    width: int = 1


@dataclasses.dataclass(frozen=True)
class Table:
    """Numbers of consecutive steps, as they left the graph.

    Args:
        first_step: Number of the first step in it; steps count from 1.
        columns: A tuple of `Column`.
        rows: Float32 of shape `[steps, numbers]`: a tensor, which may still
            be on its way from the device, or an array.
        strides: By quantity, every how many steps it was measured; those that
            are missing were measured at each.
        at_end: Numbers of the block as a whole, which belong to its last
            step: `{name: (quantity, value)}`.
    """

    first_step: int
    columns: tuple[Column, ...]
    rows: Any
    strides: dict[str, int] = dataclasses.field(default_factory=dict)
    at_end: dict[str, tuple] = dataclasses.field(default_factory=dict)

    @property
    def last_step(self):
        """Number of the last step in it."""
        return self.first_step + len(self.rows) - 1

    def select(self, wanted):
        """Rows and columns that somebody asked for. Waits for the device.

        Args:
            wanted: By quantity, at which steps: the multiples of a number;
                under `None`, at which those that the step itself returned.

        Returns:
            `(steps, names, values, measured)`: int64 `[n]`, a tuple of m
            names, float32 `[n, m]`, and `None` or bool `[n, m]`: which of
            them were measured. Steps without any are left out.

        Example:

        >>> columns = (Column("loss", "loss", 1), Column("kl", None, 0))
        >>> rows = np.array([[5, 1], [6, 2], [7, 3]], "float32")
        >>> table = Table(1, columns, rows)
        >>> steps, names, values, _ = table.select({"loss": 2, None: 2})
        >>> steps.tolist(), names, values.tolist()
        ([2], ('loss', 'kl'), [[2.0, 6.0]])
        """
        rows = np.asarray(self.rows, np.float32)
        steps = np.arange(len(rows), dtype=np.int64) + self.first_step
        chosen = [
            column
            for column in self.columns
            if column.width == 1 and column.quantity in wanted
        ]
        ends = {
            name: value
            for name, (quantity, value) in self.at_end.items()
            if quantity in wanted
        }
        names = tuple(column.name for column in chosen) + tuple(ends)
        values = rows[:, [column.index for column in chosen]]
        measured = self._measured(steps, [c.quantity for c in chosen], wanted)
        if ends and len(rows):
            last = np.zeros([len(rows), len(ends)], np.float32)
            last[-1] = list(ends.values())
            values = np.concatenate([values, last], 1)
            is_last = np.zeros(last.shape, bool)
            is_last[-1] = True
            measured = np.concatenate([measured, is_last], 1)
        if measured.all():
            return steps, names, values, None
        some = measured.any(1)
        steps, values, measured = steps[some], values[some], measured[some]
        return steps, names, values, None if measured.all() else measured

    def histograms(self, wanted):
        """Histograms that somebody asked for.

        Args:
            wanted: As in `select`.

        Returns:
            A list of `(step, name, numbers)`; see
            `gdtrain.telemetry.histograms`.
        """
        wide = [
            column
            for column in self.columns
            if column.width > 1 and column.quantity in wanted
        ]
        if not wide:
            return []
        rows = np.asarray(self.rows, np.float32)
        steps = np.arange(len(rows), dtype=np.int64) + self.first_step
        measured = self._measured(steps, [c.quantity for c in wide], wanted)
        return [
            (
                int(steps[row]),
                wide[i].name,
                rows[row, wide[i].index : wide[i].index + wide[i].width],
            )
            for row, i in zip(*np.nonzero(measured))
        ]

    def _measured(self, steps, quantities, wanted):
        """Which quantities were measured at which steps, bool `[n, m]`."""
        by_quantity = {
            quantity: (steps % self.strides.get(quantity, 1) == 0)
            & (steps % wanted[quantity] == 0)
            for quantity in set(quantities)
        }
        columns = [by_quantity[quantity] for quantity in quantities]
        if not columns:
            return np.zeros([len(steps), 0], bool)
        return np.stack(columns, 1)

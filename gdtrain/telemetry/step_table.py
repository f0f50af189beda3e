"""The table that leaves the graph: a row for each step."""

import dataclasses
import os
from collections.abc import Iterable, Sequence
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from gdtrain.telemetry.row_layout import RowLayout


@dataclasses.dataclass(frozen=True)
class Table:
    """Numbers of consecutive steps, as they left the graph.

    Args:
        first_step: Number of the first step in it; steps count from 1.
        layout: Which number of a row is what.
        rows: Float32 of shape `[steps, numbers]`: a tensor, which may still
            be on its way from the device, or an array.
        strides: By quantity, every how many steps it was measured; those that
            are missing were measured at each.
        at_end: Numbers of the block as a whole, which belong to its last
            step: `{name: (quantity, value)}`.
    """

    first_step: int
    layout: RowLayout
    rows: Any
    strides: dict[str, int] = dataclasses.field(default_factory=dict)
    at_end: dict[str, tuple] = dataclasses.field(default_factory=dict)

    @property
    def last_step(self):
        """Number of the last step in it."""
        return self.first_step + len(self.rows) - 1

    @property
    def examples(self) -> np.ndarray:
        """How many examples each step had, `[steps]`. Waits for the device."""
        return self.layout.examples(np.asarray(self.rows))

    @property
    def verdicts(self) -> np.ndarray:
        """The guard's verdict on each step, `[steps]`. Waits for the device.

        Raises:
            ValueError: if the steps are not guarded.
        """
        return self.layout.verdicts(np.asarray(self.rows))

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

        >>> from gdtrain.telemetry.row_layout import Column
        >>> layout = RowLayout.of(["kl"], [[Column("loss", "loss", 0)]])
        >>> rows = np.array([[8, 5, 1], [8, 6, 2], [8, 7, 3]], "float32")
        >>> table = Table(1, layout, rows)
        >>> steps, names, values, _ = table.select({"loss": 2, None: 2})
        >>> steps.tolist(), names, values.tolist()
        ([2], ('loss', 'kl'), [[2.0, 6.0]])
        """
        rows = np.asarray(self.rows, np.float32)
        steps = np.arange(len(rows), dtype=np.int64) + self.first_step
        chosen = [
            column
            for column in self.layout.columns
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
            for column in self.layout.columns
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


class StepTable:
    """Numbers of steps, by name.

    A callback gets one for each block of steps; `MemoryWriter.table` and
    `gdtrain.writers.event_files.read` return one of all steps.

    Not every quantity is measured at every step. Its values are NaN at the
    steps between; where `measured` is `True`, a NaN is what was measured.

    Args:
        steps: Step numbers, int64 `[n]`; the first step of a training is 1.
        names: m names, for example `"gradient_norm/dense"`.
        array: Float32 `[n, m]`.
        mask: Which numbers were measured, bool `[n, m]`; `None` for all.

    Example:

    >>> table = StepTable(
    ...     [1, 2], ["loss", "kl"], [[5, 0], [4, 7]], [[1, 0], [1, 1]]
    ... )
    >>> table.steps.tolist(), table.values("loss").tolist()
    ([1, 2], [5.0, 4.0])
    >>> table["kl"].tolist(), table.measured("kl").tolist()
    ([nan, 7.0], [False, True])
    >>> table[table.steps > 1]["kl"].tolist()
    [7.0]
    """

    def __init__(
        self,
        steps: npt.ArrayLike,
        names: Iterable[str],
        array: npt.ArrayLike,
        mask: npt.ArrayLike | None = None,
    ) -> None:
        self._steps = np.asarray(steps, np.int64)
        self._names = tuple(names)
        self._array = np.asarray(array, np.float32)
        self._mask = None if mask is None else np.asarray(mask, bool)

    @property
    def steps(self) -> np.ndarray:
        """Step numbers, int64 `[n]`."""
        return self._steps

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns, in their order."""
        return self._names

    @property
    def array(self) -> np.ndarray:
        """Float32 `[n, m]`; what was not measured may be any number."""
        return self._array

    @property
    def mask(self) -> np.ndarray | None:
        """Which numbers were measured, bool `[n, m]`; `None` for all."""
        return self._mask

    @property
    def first_step(self) -> int:
        """The number of the first step."""
        return int(self.steps[0])

    @property
    def last_step(self) -> int:
        """The number of the last step."""
        return int(self.steps[-1])

    def __len__(self) -> int:
        return len(self.steps)

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def values(self, name: str) -> np.ndarray:
        """One column, float32 `[n]`; NaN where it was not measured.

        Raises:
            KeyError: if there is no column of that name.
        """
        values = self.array[:, self._place(name)]
        if self.mask is None:
            return values
        return np.where(self.measured(name), values, np.float32(np.nan))

    def measured(self, name: str) -> np.ndarray:
        """At which steps a column was measured, bool `[n]`.

        Raises:
            KeyError: if there is no column of that name.
        """
        place = self._place(name)
        if self.mask is None:
            return np.ones(len(self), bool)
        return self.mask[:, place]

    def points(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """One column at the steps where it was measured.

        Returns:
            `(steps, values)`: int64 `[k]`, float32 `[k]`.

        Raises:
            KeyError: if there is no column of that name.
        """
        measured = self.measured(name)
        return self.steps[measured], self.values(name)[measured]

    @overload
    def __getitem__(self, key: str) -> np.ndarray: ...

    @overload
    def __getitem__(self, key: slice | np.ndarray) -> "StepTable": ...

    def __getitem__(self, key: Any) -> Any:
        """A column by its name, as `values`; or some of the steps.

        Args:
            key: A name; or a slice, bool `[n]` or places `[k]` of steps.
        """
        if isinstance(key, str):
            return self.values(key)
        mask = None if self.mask is None else self.mask[key]
        return StepTable(self.steps[key], self.names, self.array[key], mask)

    def save(self, path: str | os.PathLike) -> None:
        """Writes an `.npz` file of `steps`, `names`, `values`, `measured`.

        `values` `[n, m]` are NaN where `measured` is not. The file is there
        whole or not at all. `load` reads it.

        Args:
            path: Where to; overwritten if it exists.
        """
        array, mask = self.array, self.mask
        if mask is None:
            mask = np.ones(array.shape, bool)
        part = f"{os.fspath(path)}.part"
        with open(part, "wb") as file:
            np.savez_compressed(
                file,
                steps=self.steps,
                names=np.array(self.names, dtype=np.str_),
                values=np.where(mask, array, np.float32(np.nan)),
                measured=mask,
            )
        os.replace(part, path)

    @classmethod
    def load(cls, path: str | os.PathLike) -> "StepTable":
        """Reads what `save` wrote.

        Raises:
            OSError: if the file cannot be read.
            ValueError: if it is another kind of file.

        Example:

        >>> import tempfile
        >>> path = os.path.join(tempfile.mkdtemp(), "run.npz")
        >>> StepTable([7], ["loss"], [[0.5]]).save(path)
        >>> StepTable.load(path).values("loss").tolist()
        [0.5]
        """
        try:
            with np.load(path) as saved:
                return cls(
                    saved["steps"],
                    saved["names"].tolist(),
                    saved["values"],
                    saved["measured"],
                )
        except FileNotFoundError:
            raise
        except Exception as error:  # Of zip, pickle, or a missing array
            raise ValueError(
                "The file must be one that `save` of a table of steps wrote. "
                f"Received: {os.fspath(path)!r} ({error})."
            ) from error

    def _place(self, name: str) -> int:
        if name not in self.names:
            raise KeyError(
                f"Nothing is known under the name {name!r}. "
                f"Known names: {list(self.names)}."
            )
        return self.names.index(name)


def stacked(tables: Sequence[StepTable]) -> StepTable:
    """Tables one below the other, with the columns of all.

    Example:

    >>> one = StepTable([1], ["loss"], [[5]])
    >>> table = stacked([one, StepTable([2], ["kl", "loss"], [[7, 4]])])
    >>> table.names, table.values("kl").tolist()
    (('loss', 'kl'), [nan, 7.0])
    """
    if len(tables) == 1:
        return tables[0]
    names = tuple(dict.fromkeys(name for t in tables for name in t.names))
    shape = sum(map(len, tables)), len(names)
    array, mask = np.zeros(shape, np.float32), np.zeros(shape, bool)
    end = 0
    for table in tables:
        begin, end = end, end + len(table)
        places = [names.index(name) for name in table.names]
        array[begin:end, places] = table.array
        mask[begin:end, places] = True if table.mask is None else table.mask
    steps = np.concatenate([np.empty(0, np.int64), *(t.steps for t in tables)])
    return StepTable(steps, names, array, None if mask.all() else mask)

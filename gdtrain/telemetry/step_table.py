"""The table of steps: numbers by name, and which of them were measured."""

import functools
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from gdtrain.common.whole_files import written_aside
from gdtrain.telemetry.row_layout import Column, RowLayout

#: At which steps somebody wants a quantity: by its name, the multiples of a
#: number; under `None`, at which those that the step itself returned.
Wanted = Mapping[str | None, int]


class StepTable:
    """Numbers of steps, by name.

    A callback gets one for each block of steps; `MemoryWriter.table` and
    `gdtrain.writers.reading.read` return one of all steps.

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
    >>> table.steps.tolist(), table["loss"].tolist()
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
        #: Step numbers, int64 `[n]`
        self.steps = np.asarray(steps, np.int64)
        #: Names of the columns, in their order
        self.names = tuple(names)
        #: Float32 `[n, m]`; what was not measured may be any number
        self.array = np.asarray(array, np.float32)
        #: Which numbers were measured, bool `[n, m]`; `None` for all
        self.mask = None if mask is None else np.asarray(mask, bool)

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

    @overload
    def __getitem__(self, key: str) -> np.ndarray: ...

    @overload
    def __getitem__(self, key: slice | np.ndarray) -> "StepTable": ...

    def __getitem__(self, key: Any) -> Any:
        """A column by its name, or a table of some of the steps.

        Args:
            key: A name; or a slice, bool `[n]` or places `[k]` of steps.

        Returns:
            For a name, float32 `[n]`; NaN where it was not measured.

        Raises:
            KeyError: if there is no column of that name.
        """
        if isinstance(key, str):
            values = self.array[:, self._place(key)]
            if self.mask is None:
                return values
            return np.where(self.measured(key), values, np.float32(np.nan))
        mask = None if self.mask is None else self.mask[key]
        if mask is not None and mask.all():
            mask = None
        return StepTable(self.steps[key], self.names, self.array[key], mask)

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
        return self.steps[measured], self[name][measured]

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
        with written_aside(path, ".npz") as aside:
            np.savez_compressed(
                aside,
                steps=self.steps,
                names=np.array(self.names, dtype=np.str_),
                values=np.where(mask, array, np.float32(np.nan)),
                measured=mask,
            )

    @classmethod
    def load(cls, path: str | os.PathLike) -> "StepTable":
        """Reads what `save` wrote.

        Raises:
            OSError: if the file cannot be read.
            ValueError: if the file is of a different kind.

        Example:

        >>> import tempfile
        >>> path = os.path.join(tempfile.mkdtemp(), "run.npz")
        >>> StepTable([7], ["loss"], [[0.5]]).save(path)
        >>> StepTable.load(path)["loss"].tolist()
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
        except OSError:
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
    >>> table.names, table["kl"].tolist()
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


class BlockTable(StepTable):
    """The steps of a block, as they left the graph.

    Columns are picked from the rows when they are first read, so that making
    a table costs the training thread next to nothing.

    Args:
        first_step: Number of the first step in it.
        layout: The `RowLayout` of the rows.
        rows: Float32 `[n, numbers]`.
        strides: By quantity, every how many steps it was measured; those that
            are missing were measured at each.
        at_end: Numbers of the block as a whole, which belong to its last
            step: `{name: (quantity, value)}`.

    Example:

    >>> layout = RowLayout.of(["kl"], [[Column("loss", "loss", 0)]])
    >>> rows = np.array([[8, 1, 5], [8, 2, 6], [8, 3, 7]], "float32")
    >>> table = BlockTable(1, layout, rows).select({"loss": 2, None: 2})
    >>> table.steps.tolist(), table.names, table.array.tolist()
    ([2], ('loss', 'kl'), [[6.0, 2.0]])
    """

    def __init__(
        self,
        first_step: int,
        layout: RowLayout,
        rows: np.ndarray,
        strides: Mapping[Any, int] | None = None,
        at_end: dict[str, tuple[str | None, float]] | None = None,
    ) -> None:
        self.steps = first_step + np.arange(len(rows), dtype=np.int64)
        self.layout = layout
        self.rows = rows
        self.strides = strides or {}
        self.at_end = {} if at_end is None else at_end

    @property
    def examples(self) -> np.ndarray:
        """How many examples each step had, float32 `[n]`."""
        return self.layout.examples(self.rows)

    @property
    def verdicts(self) -> np.ndarray:
        """The guard's verdicts, float32 `[n]`; see `RowLayout.verdicts`."""
        return self.layout.verdicts(self.rows)

    # Attributes of `StepTable`, computed when they are first read

    @functools.cached_property
    def _whole(self) -> StepTable:
        return self._picked(None)

    @functools.cached_property
    def names(self) -> tuple[str, ...]:  # type: ignore[override]
        """Names of the columns, in their order."""
        return self._whole.names

    @functools.cached_property
    def array(self) -> np.ndarray:  # type: ignore[override]
        """Float32 `[n, m]`; what was not measured may be any number."""
        return self._whole.array

    @functools.cached_property
    def mask(self) -> np.ndarray | None:  # type: ignore[override]
        """Which numbers were measured, bool `[n, m]`; `None` for all."""
        return self._whole.mask

    @property
    def quantities(self) -> tuple[str | None, ...]:
        """The quantity of each name; `None` for what the step returned."""
        at_end = (quantity for quantity, _ in self.at_end.values())
        return (*(column.quantity for column in self._columns()), *at_end)

    def select(self, wanted: Wanted) -> StepTable:
        """What somebody wants, without steps that have none of it.

        Args:
            wanted: Which quantities, and at which steps. Numbers of the whole
                block are there at its last step in any case.
        """
        table = self._picked(wanted)
        if table.mask is None:
            return table
        return table[np.flatnonzero(table.mask.any(1))]

    def histograms(self, wanted: Wanted) -> list[tuple[int, str, np.ndarray]]:
        """Histograms that somebody wants.

        Args:
            wanted: As in `select`.

        Returns:
            A list of `(step, name, numbers)`; see
            `gdtrain.telemetry.Histogram`.
        """
        wide = self._columns(wanted, wide=True)
        return [
            (
                int(self.steps[row]),
                wide[i].name,
                self.rows[row, wide[i].index : wide[i].index + wide[i].width],
            )
            for row, i in np.argwhere(self._due(wide, wanted))
        ]

    def _columns(
        self, wanted: Wanted | None = None, wide: bool = False
    ) -> list[Column]:
        """Columns of some quantities, or of all: of numbers, or histograms."""
        return [
            column
            for column in self.layout.columns
            if (column.width > 1) == wide
            and (wanted is None or column.quantity in wanted)
        ]

    def _picked(self, wanted: Wanted | None) -> StepTable:
        """A table of some quantities, or of all as they were measured."""
        columns = self._columns(wanted)
        names = [column.name for column in columns]
        array = self.rows[:, [column.index for column in columns]]
        mask = self._due(columns, wanted)
        ends = {
            name: value
            for name, (quantity, value) in self.at_end.items()
            if wanted is None or quantity in wanted
        }
        if ends:
            names += ends
            last = np.zeros([len(self), len(ends)], np.float32)
            last[-1] = list(ends.values())
            is_last = np.zeros(last.shape, bool)
            is_last[-1] = True
            array = np.concatenate([array, last], 1)
            mask = np.concatenate([mask, is_last], 1)
        return StepTable(self.steps, names, array, None if mask.all() else mask)

    def _due(
        self, columns: Sequence[Column], wanted: Wanted | None
    ) -> np.ndarray:
        """Which columns are due at which steps, bool `[n, columns]`.

        At multiples of what their quantity is both measured and wanted.
        """
        strides = self.strides
        if wanted is not None:
            strides = {
                quantity: math.lcm(steps, self.strides.get(quantity, 1))
                for quantity, steps in wanted.items()
            }
        due = np.ones([len(self), len(columns)], bool)
        of_columns = [strides.get(column.quantity, 1) for column in columns]
        for stride in set(of_columns) - {1}:
            some = np.equal(of_columns, stride)
            due[:, some] = (self.steps % stride == 0)[:, np.newaxis]
        return due

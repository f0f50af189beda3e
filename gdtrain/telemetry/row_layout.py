"""Which number of a step's row is what."""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeVar

import keras
import numpy as np
import tensorflow as tf

from gdtrain.distributed import reports

VERDICT = "nonfinite_step"  # The name of the guard's verdict in a table

Rows = TypeVar("Rows", tf.Tensor, np.ndarray)


@dataclasses.dataclass(frozen=True)
class Column:
    """A named number, or histogram, in a vector or row.

    Args:
        name: For example `"gradient_norm/dense"`.
        quantity: The quantity it belongs to, for example `"gradient_norm"`;
            `None` for a scalar that the step itself returned.
        index: Its place.
        width: How many numbers it has: 1, or more for a histogram.
    """

    name: str
    quantity: str | None
    index: int
    width: int = 1

    def moved(self, places: int) -> "Column":
        """The same column, so many places to the right."""
        return dataclasses.replace(self, index=self.index + places)


class RowLayout(NamedTuple):
    """The layout of the row of float32 numbers that each step yields.

    | part | numbers |
    |---|---|
    | examples | 1: how many examples the step had |
    | returned | scalars that the step returned |
    | measured | quantities, then metrics of the batch alone |
    | moved | 1, in steps without a known update: whether a weight moved |
    | verdict | 1, in guarded steps: see `gdtrain.step.guard` |
    | slots | of each of several workers: see `gdtrain.distributed.reports` |

    The methods take a row `[numbers]` or rows `[steps, numbers]`, a tensor or
    an array.

    Args:
        returned: Names of the scalars that the step returned.
        columns: Those to be shown in a table, in its order.
        width: How many numbers a row has.
        moved_index: The place of "moved"; `None` if it is not there.
        verdict_index: The place of the verdict; `None` if it is not there.
        workers: How many slots there are.

    Example:

    >>> layout = RowLayout.of(["loss"], [[Column("norm", "norm", 0)]])
    >>> rows = np.array([[8, 0.5, 3.0], [4, 0.25, 2.0]], "float32")
    >>> layout.examples(rows).tolist(), layout.logs(rows[-1])
    ([8.0, 4.0], {'loss': 0.25})
    >>> [(column.name, column.index) for column in layout.columns]
    [('norm', 2), ('loss', 1)]
    """

    returned: tuple[str, ...] = ()
    columns: tuple[Column, ...] = ()
    width: int = 1
    moved_index: int | None = None
    verdict_index: int | None = None
    workers: int = 0

    @classmethod
    def of(
        cls,
        returned: Iterable[str],
        measured: Iterable[Sequence[Column]] = (),
        of_batch: Sequence[str] = (),
        hidden: Iterable[str] = (),
        has_moved: bool = False,
        is_guarded: bool = False,
        workers: int = 0,
    ) -> "RowLayout":
        """The layout of a row of these parts.

        Args:
            returned: Names of the scalars that the step returned.
            measured: The columns of each vector of quantities.
            of_batch: Names of metrics whose results for the batch alone are
                shown.
            hidden: Names of returned scalars that no table shows.
            has_moved: Whether the row says if a weight moved.
            is_guarded: Whether the row has a verdict.
            workers: How many workers have a slot.
        """
        returned = tuple(returned)
        hidden = frozenset(hidden)
        columns: list[Column] = []
        end = first = 1 + len(returned)
        for vector in measured:
            columns += [column.moved(end) for column in vector]
            end += sum(column.width for column in vector)
        for name in of_batch:
            columns.append(Column(name, None, end))
            end += 1
        columns += [
            Column(name, None, index)
            for name, index in zip(returned, range(1, first), strict=True)
            if name not in hidden
        ]
        moved = verdict = None
        if has_moved:
            moved, end = end, end + 1
        if is_guarded:
            verdict, end = end, end + 1
            columns.append(Column(VERDICT, None, verdict))
        end += workers * reports.WIDTH
        return cls(returned, tuple(columns), end, moved, verdict, workers)

    def examples(self, rows: Rows) -> Rows:
        """How many examples each step had."""
        return rows[..., 0]

    def returned_values(self, rows: Rows) -> Rows:
        """The scalars that each step returned, `[..., returned]`."""
        return rows[..., 1 : len(self.returned) + 1]

    def logs(self, row: np.ndarray) -> dict[str, float]:
        """The scalars that a step returned, by name."""
        values = self.returned_values(row).tolist()
        return dict(zip(self.returned, values, strict=True))

    def may_have_moved(self, rows: np.ndarray) -> bool:
        """Whether a weight moved in any step, or that is not in the rows."""
        index = self.moved_index
        return index is None or bool(rows[..., index].any())

    def verdicts(self, rows: Rows) -> Rows:
        """The guard's verdict on each step.

        Raises:
            ValueError: if the steps are not guarded.
        """
        if self.verdict_index is None:
            raise ValueError("The steps of this table are not guarded.")
        return rows[..., self.verdict_index]

    def slots(self, rows: np.ndarray) -> np.ndarray:
        """What each worker reported, `[..., workers, numbers]`."""
        width = self.workers * reports.WIDTH
        slots = rows[..., rows.shape[-1] - width :]
        return slots.reshape(*rows.shape[:-1], self.workers, reports.WIDTH)


def layer_of(weight: keras.Variable | tf.Variable, model_name: str) -> str:
    """The name of the layer that a weight belongs to.

    It is the weight's path, without the weight's own name at its end and the
    model's name in front.

    Args:
        weight: The weight.
        model_name: The name of the model.

    Returns:
        For example `"dense"`, or `"encoder/dense"` in a nested model; the
        model's name for a weight of the model itself.

    Example:

    >>> model = keras.Sequential([keras.layers.Dense(1)], name="line")
    >>> model.build((None, 1))
    >>> layer_of(model.weights[0], "line")
    'dense...'
    """
    if isinstance(weight, keras.Variable):
        layer, _, _ = weight.path.rpartition("/")
        return path_within(layer or model_name, model_name)
    return weight.name.split(":")[0]


def path_within(path: str, model_name: str) -> str:
    """The path of a layer without the name of the model in front."""
    return path.removeprefix(f"{model_name}/")

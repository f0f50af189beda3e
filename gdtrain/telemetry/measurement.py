"""What quantities measure, as one vector with a name for each number."""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import tensorflow as tf

from gdtrain.telemetry import norms
from gdtrain.telemetry.quantity import Histogram, Quantity, Scalars
from gdtrain.telemetry.record import Record
from gdtrain.telemetry.row_layout import Column


def measure(
    quantities: Sequence[Quantity], record: Record
) -> tuple[list[Column], tf.Tensor]:
    """Measures an update.

    Args:
        quantities: What to measure.
        record: The update.

    Returns:
        `(columns, vector)`: the columns in the order of the quantities, and
        float32 `[numbers]`.
    """
    columns, vector = _packed(
        [q for q in quantities if not q.sums_squares], record
    )
    sums = [q for q in quantities if q.sums_squares]
    of_sums: list[Column] = []

    def numbers() -> tf.Tensor:
        # What a record computes within tf.cond is for that branch alone.
        of_sums[:], numbers = _packed(sums, dataclasses.replace(record))
        return numbers

    vector = joined([vector, norms.exactly(numbers)])
    first = sum(column.width for column in columns)
    columns += [column.moved(first) for column in of_sums]
    names: list[str | None] = [quantity.name for quantity in quantities]
    return sorted(columns, key=lambda one: names.index(one.quantity)), vector


def evaluate(quantity: Quantity, **fields: Any) -> dict[str, Any]:
    """Measures one quantity eagerly, to try it out.

    Args:
        quantity: The quantity.
        **fields: Those of the `Record` that it reads.

    Returns:
        Its numbers by name; of a histogram, a list.

    Example:

    >>> from gdtrain.telemetry.loss import Loss
    >>> evaluate(Loss(), loss=tf.constant(0.5))
    {'loss': 0.5}
    """
    columns, vector = measure([quantity], Record(**fields))
    numbers = vector.numpy().tolist()
    return {
        column.name: numbers[column.index]
        if column.width == 1
        else numbers[column.index : column.index + column.width]
        for column in columns
    }


def _packed(
    quantities: Sequence[Quantity], record: Record
) -> tuple[list[Column], tf.Tensor]:
    """`(columns, vector)` of some quantities."""
    found = [
        (quantity.name, name, value)
        for quantity in quantities
        for name, value in quantity.measure(record).items()
    ]
    # Scalars come first: one operation for all of them.
    found.sort(key=lambda one: isinstance(one[2], (Scalars, Histogram)))
    columns: list[Column] = []
    scalars, vectors = [], []
    place = 0
    for quantity, name, value in found:
        names, width = [name], 1
        if isinstance(value, (Scalars, Histogram)):
            vectors.append(tf.cast(value.values, tf.float32))
            if isinstance(value, Scalars):
                names = [
                    f"{name}/{part}" if part else name for part in value.names
                ]
            else:
                width = value.values.shape[0]
        else:
            scalars.append(value)
        for full in names:
            columns.append(Column(full, quantity, place, width))
            place += width
    return columns, joined([stacked(scalars), *vectors])


def stacked(scalars: Iterable[tf.Tensor]) -> tf.Tensor:
    """Scalars as a float32 vector; of length 0 if there are none."""
    scalars = [tf.cast(scalar, tf.float32) for scalar in scalars]
    return tf.stack(scalars) if scalars else tf.zeros([0])


def joined(vectors: Iterable[tf.Tensor]) -> tf.Tensor:
    """Vectors as one; those without a number cost nothing."""
    vectors = [vector for vector in vectors if vector.shape[0] != 0]
    if len(vectors) == 1:
        return vectors[0]
    return tf.concat(vectors, 0) if vectors else tf.zeros([0])

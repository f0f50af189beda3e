"""What quantities measure, as one vector with a name for each number."""

import dataclasses

import tensorflow as tf

from gdtrain.telemetry import norms
from gdtrain.telemetry.quantity import Bins, Parts
from gdtrain.telemetry.row_layout import Column


def measure(quantities, record):
    """Measures an update.

    Args:
        quantities: A tuple of quantities.
        record: The `Record` of the update.

    Returns:
        `(columns, vector)`: a list of `Column` in the order in which they
        were given, and float32 `[numbers]`.
    """
    columns, vector = _packed(
        [q for q in quantities if not q.sums_squares], record
    )
    sums = [q for q in quantities if q.sums_squares]
    of_sums: list[Column] = []

    def numbers():
        # What a record works out within tf.cond is for that branch alone.
        found, numbers = _packed(sums, dataclasses.replace(record))
        of_sums[:] = found
        return numbers

    vector = joined([vector, norms.exactly(numbers)])
    first = sum(column.width for column in columns)
    columns += [one.moved(first) for one in of_sums]
    names = [quantity.name for quantity in quantities]
    return sorted(columns, key=lambda one: names.index(one.quantity)), vector


def _packed(quantities, record):
    """`(columns, vector)` of some quantities."""
    found = [
        (name, quantity.name, value)
        for quantity in quantities
        for name, value in quantity.measure(record).items()
    ]
    # Scalars come first: one operation for them all.
    scalars = [value for *_, value in found if not _is_vector(value)]
    vectors = [
        tf.cast(value.values, tf.float32)
        for *_, value in found
        if _is_vector(value)
    ]
    columns, scalar, vector = [], 0, len(scalars)
    for name, quantity, value in found:
        if isinstance(value, Parts):
            for part in value.parts:
                full = f"{name}/{part}" if part else name
                columns.append(Column(full, quantity, vector))
                vector += 1
        elif isinstance(value, Bins):
            width = value.values.shape[0]
            columns.append(Column(name, quantity, vector, width))
            vector += width
        else:
            columns.append(Column(name, quantity, scalar))
            scalar += 1
    return columns, joined([stacked(scalars), *vectors])


def _is_vector(value):
    return isinstance(value, (Parts, Bins))


def stacked(scalars):
    """Scalars as a float32 vector; of length 0 if there are none."""
    scalars = [tf.cast(scalar, tf.float32) for scalar in scalars]
    return tf.stack(scalars) if scalars else tf.zeros([0])


def joined(vectors):
    """Vectors as one; those without a number cost nothing."""
    vectors = [vector for vector in vectors if vector.shape[0] != 0]
    if len(vectors) == 1:
        return vectors[0]
    return tf.concat(vectors, 0) if vectors else tf.zeros([0])

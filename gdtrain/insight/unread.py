"""Data that are read, and then are as if they had not been."""

import contextlib
import copy

import keras
import tensorflow as tf

# What counts how often a dataset was read, or keeps what was read, by the
# operation that uses it: nothing but its own, made anew, serves the copy.
_SHARED = {
    "CacheDatasetV2": "DummyMemoryCache",
    "RandomDatasetV2": "DummySeedGenerator",
    "ShuffleAndRepeatDatasetV2": "DummySeedGenerator",
    "ShuffleDatasetV3": "DummySeedGenerator",
}
_IGNORE = 1  # `external_state_policy`: Python functions stay what they are


@contextlib.contextmanager
def unread(x):
    """While open, data may be read; then they go on as if they had not been.

    A `tf.data.Dataset` that shuffles gives another order each time it is
    read. Here a copy of it is read, whose count begins with 0. A `PyDataset`
    is set back by its `get_state` and `set_state`, if it has them, or else a
    copy of it is read. Loaders of other libraries are read as they are.

    Args:
        x: Whatever `keras.Model.fit` takes as `x`.

    Yields:
        What to read in its place.

    Raises:
        ValueError: if it can be read but once, or cannot be copied.

    Example:

    >>> data = tf.data.Dataset.range(9).shuffle(9, seed=0).batch(9)
    >>> with unread(data) as copied:
    ...     first = next(iter(copied)), next(iter(copied))
    >>> again = next(iter(data)), next(iter(data))
    >>> bool(tf.reduce_all(tf.equal(first, again)))
    True
    """
    if hasattr(x, "__next__"):
        raise ValueError(
            "`x` must be data that can be read again. Received: "
            f"x={x!r}, which can be read but once. Give arrays, a "
            "tf.data.Dataset or a keras.utils.PyDataset."
        )
    if isinstance(x, tf.data.Dataset):
        yield _copy_of_dataset(x)
    elif hasattr(x, "get_state") and hasattr(x, "set_state"):
        state = copy.deepcopy(x.get_state())
        try:
            yield x
        finally:
            x.set_state(state)
    elif isinstance(x, keras.utils.PyDataset):
        yield _copy_of_sequence(x)
    else:
        yield x


def _copy_of_dataset(dataset):
    """The same pipeline, which shares no counts with the other."""
    serialized = tf.raw_ops.DatasetToGraphV2(
        input_dataset=tf.data.experimental.to_variant(dataset),
        external_state_policy=_IGNORE,
    )
    graph = tf.compat.v1.GraphDef.FromString(serialized.numpy())
    nodes = {node.name: node for node in graph.node}
    for node in graph.node:
        own = _SHARED.get(node.op)
        for name in node.input if own else ():
            constant = nodes[name.partition(":")[0]]
            kind = constant.attr["dtype"].type
            if kind == tf.resource.as_datatype_enum:
                name = constant.name
                constant.Clear()
                constant.name, constant.op = name, own
    copied = tf.raw_ops.DatasetFromGraph(graph_def=graph.SerializeToString())
    return tf.data.experimental.from_variant(copied, dataset.element_spec)


def _copy_of_sequence(sequence):
    """A copy of a `PyDataset`.

    Raises:
        ValueError: if it has something that cannot be copied.
    """
    try:
        return copy.deepcopy(sequence)
    except TypeError as error:
        raise ValueError(
            "`x` must be data that can be copied, or set back. Received: a "
            f"{type(sequence).__name__}: {error}. Give it methods "
            "`get_state()` and `set_state(state)`."
        ) from error

"""A model and data that can be used for a test, and then are as before."""

import contextlib
import copy
from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable

import keras
import tensorflow as tf

from gdtrain.common.explained import more
from gdtrain.state import variables

# Attributes of the model that `fit` sets
_ATTRIBUTES = (
    "history",
    "predict_function",
    "_step_hooks",
    "stop_training",
    "test_function",
    "train_function",
    "_validation_source",
)


@contextlib.contextmanager
def preserved_model(model: keras.Model) -> Iterator[keras.Model]:
    """While open, a model may be trained; at the end it is as it was.

    Restored, also after an error, are weights, moving averages, states of
    dropout, the optimizer with its count of updates, metrics, the random
    generators of Python, NumPy, TensorFlow and Keras, `history`, and compiled
    functions.
    While open, steps reach no callbacks but those of its own `fit`; their
    count continues from the optimizer's.

    Variables that an optimizer has not made yet are made, as its first update
    would make them; metrics that were made in the meantime are reset. Python
    state is not restored: data that count how often they were read, or
    attributes that a custom `train_step` sets.

    Args:
        model: A `gdtrain.DescentTrainer`, compiled and built.

    Yields:
        `model`.

    Example:

    >>> import keras, numpy as np, gdtrain
    >>> line = keras.layers.Dense(1, kernel_initializer="zeros")
    >>> model = gdtrain.Sequential([keras.Input([1]), line])
    >>> model.compile(gdtrain.GradientDescent(0.5), loss="mse")
    >>> x = np.ones([4, 1])
    >>> with preserved_model(model):
    ...     _ = model.fit(x, x, verbose=0)
    ...     print(model.get_weights()[0].tolist())
    [[1.0]]
    >>> model.get_weights()[0].tolist(), int(model.optimizer.iterations)
    ([[0.0]], 0)
    """
    with model.distribute_strategy.scope():
        for optimizer in variables.optimizers(model):
            if not optimizer.built:
                optimizer.build(model.trainable_variables)
    before = [v for some in variables.of(model).values() for v in some]
    values = variables.KeptValues(before, model.distribute_strategy)
    # Past `__setattr__`, by which Keras and TensorFlow would track them
    attributes = vars(model)
    kept = {key: attributes[key] for key in _ATTRIBUTES if key in attributes}
    with variables.keep_random_state():
        attributes.pop("_step_hooks", None)
        attributes["train_function"] = None  # Bound to those hooks
        try:
            yield model
        finally:
            for key in _ATTRIBUTES:
                attributes.pop(key, None)
            attributes.update(kept)
            model.reset_metrics()  # Those too that were made meanwhile
            values.set_back()


# By operation of a pipeline: what makes the resource that counts how often the
# dataset was read, or that keeps what was read. A copy needs its own.
_SHARED = {
    "CacheDatasetV2": "DummyMemoryCache",
    "RandomDatasetV2": "DummySeedGenerator",
    "ShuffleAndRepeatDatasetV2": "DummySeedGenerator",
    "ShuffleDatasetV3": "DummySeedGenerator",
}
_IGNORE = 1  # `external_state_policy`: Python functions stay what they are


@runtime_checkable
class _HasState(Protocol):
    """Data of the user's that can be restored to where they were."""

    def get_state(self) -> Any: ...

    def set_state(self, state: Any) -> None: ...


def check_can_be_read_again(x: Any) -> None:
    """Refuses a generator and any other iterator.

    Raises:
        ValueError: if `x` is one.
    """
    if isinstance(x, Iterator):
        raise ValueError(
            "`x` must be data that can be read again. Received: "
            f"x={x!r}, which can be read only once. Give arrays, a "
            "tf.data.Dataset or a keras.utils.PyDataset."
            + more("data-read-again")
        )


@contextlib.contextmanager
def preserved_data(x: Any) -> Iterator[Any]:
    """While open, data may be read; afterwards they are as if never read.

    A `tf.data.Dataset` that shuffles gives a new order each time it is read.
    Here a copy of it is read, whose count begins with 0. A `PyDataset` is
    restored by its `get_state` and `set_state`, if it has them, or else a
    copy of it is read. Loaders of other libraries are read as they are.

    Args:
        x: Whatever `keras.Model.fit` takes as `x`.

    Yields:
        The data to read instead.

    Raises:
        ValueError: if it can be read only once, or cannot be copied.

    Example:

    >>> data = tf.data.Dataset.range(9).shuffle(9, seed=0).batch(9)
    >>> with preserved_data(data) as copied:
    ...     first = next(iter(copied)), next(iter(copied))
    >>> again = next(iter(data)), next(iter(data))
    >>> bool(tf.reduce_all(tf.equal(first, again)))
    True
    """
    check_can_be_read_again(x)
    if isinstance(x, tf.data.Dataset):
        yield _copy_of_dataset(x)
    elif isinstance(x, _HasState):
        state = copy.deepcopy(x.get_state())
        try:
            yield x
        finally:
            x.set_state(state)
    elif isinstance(x, keras.utils.PyDataset):
        yield _copy_of_sequence(x)
    else:
        yield x


def _copy_of_dataset(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """The same pipeline, which shares no resources with the original."""
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


def _copy_of_sequence(sequence: keras.utils.PyDataset) -> keras.utils.PyDataset:
    """A copy of a `PyDataset`.

    Raises:
        ValueError: if it has something that cannot be copied.
    """
    try:
        return copy.deepcopy(sequence)
    except TypeError as error:
        raise ValueError(
            "`x` must be data that can be copied, or restored. Received: a "
            f"{type(sequence).__name__}: {error}. Give it methods "
            "`get_state()` and `set_state(state)`." + more("data-read-again")
        ) from error

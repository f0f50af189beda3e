"""Data: Keras's adapters, their arrays, and arrays of outputs."""

from typing import Any

import numpy as np
import tensorflow as tf
from keras.src import tree
from keras.src.backend.tensorflow import trainer as keras_trainer
from keras.src.trainers import data_adapters
from keras.src.trainers.data_adapters import (
    array_slicing,
    data_adapter_utils,
)
from keras.src.trainers.data_adapters.data_adapter import DataAdapter


def data_adapter(
    x: Any,
    y: Any = None,
    sample_weight: Any = None,
    batch_size: int | None = None,
    steps_per_epoch: int | None = None,
    shuffle: bool = False,
    class_weight: dict[int, float] | None = None,
) -> DataAdapter:
    """Keras's adapter of whatever `fit` takes as data.

    It checks the data, turns class weights into sample weights, and makes
    `tf.data` datasets of it. Needs `get_data_adapter`; without it no data can
    be trained on.
    """
    return data_adapters.get_data_adapter(
        x=x,
        y=y,
        sample_weight=sample_weight,
        batch_size=batch_size,
        steps_per_epoch=steps_per_epoch,
        shuffle=shuffle,
        class_weight=class_weight,
    )


def arrays_of(adapter: DataAdapter) -> Any:
    """The dense arrays of a data adapter, or `None`.

    Returns:
        A structure of NumPy arrays and dense tensors; `None` in it stays.
        `None` where any of them is ragged or sparse, and for data other than
        arrays.

    Needs `ArrayDataAdapter._inputs`; without it arrays come as a dataset.
    """
    if not isinstance(adapter, data_adapters.ArrayDataAdapter):
        return None
    inputs = tree.lists_to_tuples(adapter._inputs)
    if any(_is_ragged_or_sparse(leaf) for leaf in tree.flatten(inputs)):
        return None
    return tree.map_structure(_as_array, inputs)


def inputs_of(adapter: DataAdapter) -> Any:
    """The arrays that `fit` was given, or `None` for other data.

    Ragged and sparse arrays come as lists of the dense ones they are made of.
    Needs `ArrayDataAdapter._inputs`; without it, changes of such data are not
    noticed when training is resumed.
    """
    if not isinstance(adapter, data_adapters.ArrayDataAdapter):
        return None
    return tree.map_structure(_as_dense, tree.lists_to_tuples(adapter._inputs))


def _is_ragged_or_sparse(leaf: Any) -> bool:
    utils = data_adapter_utils
    return (
        utils.is_tensorflow_ragged(leaf)
        or utils.is_tensorflow_sparse(leaf)
        or utils.is_jax_sparse(leaf)
        or utils.is_scipy_sparse(leaf)
    )


def _as_dense(leaf: Any) -> Any:
    if data_adapter_utils.is_tensorflow_ragged(leaf):
        return [leaf.flat_values, *leaf.nested_row_splits]
    if data_adapter_utils.is_tensorflow_sparse(leaf):
        return [leaf.indices, leaf.values, leaf.dense_shape]
    if data_adapter_utils.is_scipy_sparse(leaf):
        return [leaf.data, *leaf.tocoo().coords]
    return _as_array(leaf)


def _as_array(leaf: Any) -> np.ndarray | tf.Tensor | None:
    is_tensor = data_adapter_utils.is_tensorflow_tensor
    is_array = isinstance(leaf, np.ndarray) and leaf.dtype != object
    if leaf is None or is_array or is_tensor(leaf):
        return leaf
    # Pandas, PyTorch, JAX, and arrays of strings
    converted = array_slicing.convert_to_sliceable(leaf, "tensorflow")
    return converted if is_tensor(converted) else np.asarray(converted)


def kind_of_data(adapter: DataAdapter) -> str:
    """What a data adapter's data are, in a word or two."""
    return {
        data_adapters.ArrayDataAdapter: "arrays",
        data_adapters.GeneratorDataAdapter: "a generator",
        data_adapters.PyDatasetAdapter: "a PyDataset",
        data_adapters.TFDatasetAdapter: "a tf.data.Dataset",
    }.get(type(adapter), type(adapter).__name__)


def comes_from_python(adapter: DataAdapter) -> bool:
    """Whether the batches of a data adapter are made by Python's code."""
    kinds = data_adapters.GeneratorDataAdapter, data_adapters.PyDatasetAdapter
    return isinstance(adapter, kinds)


def is_grain(x: Any) -> bool:
    """Whether data are a dataset or loader of Grain, which is not imported.

    Needs `is_grain_dataset`; without it, such data have no position.
    """
    return data_adapters.is_grain_dataset(x)


def batch_spec(batches: list) -> Any:
    """A structure of `tf.TensorSpec` that all batches of a list fit.

    The first axis has any size, and so has one that differs among them. Needs
    `get_tensor_spec`; without it, `WorkerData` breaks.
    """
    return data_adapter_utils.get_tensor_spec(batches)


def first_batches(adapter: DataAdapter) -> list | None:
    """The batches that Keras took from a generator to see their shape.

    `None` for other adapters. Needs `_first_batches`; without it, a changed
    generator is not noticed when training is resumed.
    """
    return getattr(adapter, "_first_batches", None)


def abandon_epoch(adapter: DataAdapter) -> None:
    """Ends an epoch of a data adapter; the user's data are not notified.

    Needs `_within_epoch` and `enqueuer` of the adapter of a `PyDataset`;
    without them the position in such data cannot be set within a process.
    """
    if getattr(adapter, "enqueuer", None):
        adapter.enqueuer.stop()
    if hasattr(adapter, "_within_epoch"):
        adapter._within_epoch = False


def train_validation_split(arrays: Any, share: float) -> tuple[Any, Any]:
    """`(training, validation)` arrays, of which the latter are the last.

    Needs `train_validation_split`; without it `validation_split` breaks.
    """
    return array_slicing.train_validation_split(arrays, share)


def concatenate_outputs(outputs: list) -> Any:
    """Outputs of several batches as NumPy arrays, joined.

    Args:
        outputs: A list of structures of tensors.

    Needs `potentially_ragged_concat` and `convert_to_np_if_not_ragged`;
    without them `predict` breaks.
    """
    return tree.map_structure_up_to(
        outputs[0],
        lambda *leaves: keras_trainer.convert_to_np_if_not_ragged(
            keras_trainer.potentially_ragged_concat(list(leaves))
        ),
        *outputs,
    )

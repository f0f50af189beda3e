"""Which data source serves the data that a user gives."""

import math
import os
import random
from typing import Any

import keras
import tensorflow as tf

from gdtrain.common import checks
from gdtrain.common.explained import more
from gdtrain.data import plans
from gdtrain.data.adapted import AdaptedData, OrderedBatches, OrderedData
from gdtrain.data.arrays import DeviceArrays, HostArrays
from gdtrain.data.order import Order
from gdtrain.data.protocols import DataSource
from gdtrain.data.sharded import ShardedDataset, ShardedSource
from gdtrain.data.worker_data import WorkerData, WorkerSource
from gdtrain.distributed.workers import Workers
from gdtrain.keras_bridge import data

#: The share of a machine's memory that training data may take. As much again
#: is taken by the arrays that it is copied from; half is left for the model.
MEMORY_SHARE = 0.25

#: What data may take of an accelerator's memory, in bytes. TensorFlow does
#: not say how much there is.
ON_ACCELERATOR = 2**30

_CGROUP_LIMITS = (
    "/sys/fs/cgroup/memory.max",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes",
)


def memory_limit() -> int:
    """How many bytes of data may be kept on the device that trains.

    `MEMORY_SHARE` of the memory of the machine or container; on an
    accelerator `ON_ACCELERATOR`.
    """
    if tf.config.list_logical_devices("GPU"):
        return ON_ACCELERATOR
    return int(MEMORY_SHARE * min(_machine(), *map(_container, _CGROUP_LIMITS)))


def _machine() -> int:
    """The memory of this machine, in bytes."""
    if not hasattr(os, "sysconf"):
        return 2**33  # On Windows it takes a library to find out.
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _container(path: str) -> float:
    """The memory that a container may use, in bytes; infinite if unlimited."""
    try:
        with open(path) as file:
            return int(file.read())
    except (OSError, ValueError):
        return math.inf


def data_source(
    x: Any,
    y: Any = None,
    sample_weight: Any = None,
    *,
    strategy: tf.distribute.Strategy,
    batch_size: int | None = None,
    steps_per_epoch: int | None = None,
    shuffle: Any = False,
    class_weight: dict[int, float] | None = None,
    steps_done: int = 0,
) -> DataSource:
    """The source of whatever `keras.Model.fit` takes as data.

    Arrays are kept on the device if they take no more than `memory_limit()`,
    and else gathered on the host, a batch at a time: a memory map is not
    copied. Ragged and sparse arrays come through Keras's data adapter, and so
    do those that could be on the device if `steps_per_epoch` is not their
    number of batches.

    The order of shuffled arrays, and of the batches of a `PyDataset`, follows
    from the state of Python's generator, which is left unchanged, so that
    `keras.utils.set_random_seed` repeats it; and from `steps_done`, so that
    the order of a second `fit` differs.

    Args:
        x, y, sample_weight, batch_size, steps_per_epoch, shuffle,
            class_weight: As in `keras.Model.fit`.
        strategy: The `tf.distribute.Strategy` to train under.
        steps_done: How many updates of the model have been done.

    Raises:
        ValueError: if the data cannot be used.
    """
    checks.at_least_one("batch_size", batch_size or None)
    limits = steps_per_epoch, keras.config.max_steps_per_epoch()
    steps_per_epoch = min(filter(None, limits), default=steps_per_epoch)
    workers = Workers(strategy)
    is_alone = workers.count == 1
    if isinstance(x, WorkerData) or data.is_grain(x) and is_alone:
        part = x.data if isinstance(x, WorkerData) else x
        if not isinstance(part, tf.data.Dataset) or not is_alone:
            _check_batches_are_whole(x, y, sample_weight)
            return WorkerSource(part, strategy, steps_per_epoch, class_weight)
        x = part
    # Without a seed of the user's, each worker would draw one of its own.
    seed = workers.numbers(_seed(steps_done))[0] if shuffle else 0
    if isinstance(x, ShardedDataset):
        _check_batches_are_whole(x, y, sample_weight)
        return ShardedSource(
            x, strategy, steps_per_epoch, bool(shuffle), seed, class_weight
        )
    if isinstance(x, keras.utils.PyDataset):
        x = OrderedBatches(x, shuffle, seed)
        shuffle = False  # Which it does itself
    adapter = data.data_adapter(
        x, y, sample_weight, batch_size, steps_per_epoch, shuffle, class_weight
    )
    if isinstance(x, OrderedBatches):
        return OrderedData(x, adapter, strategy, steps_per_epoch)
    arrays = data.arrays_of(adapter)
    if arrays is None:
        return AdaptedData(adapter, strategy, steps_per_epoch)
    leaves = plans.leaves(arrays)
    if not len(leaves[0]):
        raise ValueError(
            "The data must have at least one example. Received: arrays of "
            f"shapes {[tuple(a.shape) for a in leaves]}."
            + more("unusable-data")
        )
    order = Order(len(leaves[0]), adapter.batch_size, shuffle, seed)
    size = sum(
        math.prod(leaf.shape) * tf.as_dtype(leaf.dtype).size for leaf in leaves
    )
    if steps_per_epoch == adapter.num_batches:
        steps_per_epoch = None
    if size > memory_limit():
        return HostArrays(arrays, order, strategy, steps_per_epoch)
    if steps_per_epoch:
        return AdaptedData(adapter, strategy, steps_per_epoch)
    return DeviceArrays(arrays, order, strategy)


def _check_batches_are_whole(x: Any, y: Any, sample_weight: Any) -> None:
    """Refuses labels or weights beside data that give whole batches."""
    for name, value in (("y", y), ("sample_weight", sample_weight)):
        if value is not None:
            raise ValueError(
                f"`{name}` must be part of the batches of a "
                f"{type(x).__name__}. Received: `{name}` beside it. Let each "
                "batch be `(x, y)` or `(x, y, sample_weight)`."
            )


def _seed(steps_done: int) -> int:
    """A non-negative integer below 2 ** 63."""
    generator = random.Random()
    generator.setstate(random.getstate())
    return (generator.getrandbits(63) + steps_done) % 2**63

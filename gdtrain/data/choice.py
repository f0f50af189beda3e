"""How much data may be kept on a device."""

import math
import os
import random

import keras
import tensorflow as tf

from gdtrain.common import checks
from gdtrain.data.arrays import Resident
from gdtrain.data.dataset import Dataset
from gdtrain.data.order import Order
from gdtrain.data.ordered import Ordered, OrderedDataset
from gdtrain.data.streamed import Streamed
from gdtrain.keras_bridge import data

#: The share of a machine's memory that training data may take. As much again
#: is taken by the arrays that it is copied from; half is left for the model.
MEMORY_SHARE = 0.25

#: What data may take of an accelerator's memory, in bytes. TensorFlow does
#: not tell how much there is.
ON_ACCELERATOR = 2**30

_CGROUP_LIMITS = (
    "/sys/fs/cgroup/memory.max",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes",
)


def memory_limit():
    """How many bytes of data may be kept on the device that trains.

    `SHARE` of the memory of the machine, or of the container that it is; on
    an accelerator `ON_ACCELERATOR`.
    """
    if tf.config.list_logical_devices("GPU"):
        return ON_ACCELERATOR
    return int(MEMORY_SHARE * min(_machine(), *map(_container, _CGROUP_LIMITS)))


def _machine():
    """The memory of this machine, in bytes."""
    if not hasattr(os, "sysconf"):
        return 2**33  # Windows does not tell without another library.
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _container(path):
    """The memory that a container may use, in bytes; infinite if unlimited."""
    try:
        with open(path) as file:
            return int(file.read())
    except (OSError, ValueError):
        return math.inf


def feed(
    x,
    y=None,
    sample_weight=None,
    *,
    strategy,
    batch_size=None,
    steps_per_epoch=None,
    shuffle=False,
    class_weight=None,
    steps_done=0,
):
    """The feed of whatever `keras.Model.fit` takes as data.

    Arrays are kept on the device if they take no more than
    `memory_limit()`, and else gathered on the host, a batch at a time. Ragged
    and sparse arrays, and arrays of which an epoch takes another number of
    steps than they have batches, come as Keras brings them.

    The order of shuffled arrays, and of the batches of a `PyDataset`, follows
    from the state of Python's generator, which stays as it is, so that
    `keras.utils.set_random_seed` repeats it; and from the steps that the
    model has behind it, so that another `fit` has another order.

    Args:
        x, y, sample_weight, batch_size, steps_per_epoch, shuffle,
            class_weight: As in `keras.Model.fit`.
        strategy: The `tf.distribute.Strategy` to train under.
        steps_done: How many updates the model has behind it.

    Raises:
        ValueError: if the data cannot be used.
    """
    checks.at_least_one("batch_size", batch_size or None)
    steps_per_epoch = _limited(steps_per_epoch)
    seed = _seed(steps_done) if shuffle else 0
    if isinstance(x, keras.utils.PyDataset):
        x = Ordered(x, shuffle, seed)
        shuffle = False  # Which it does itself
    adapter = data.data_adapter(
        x, y, sample_weight, batch_size, steps_per_epoch, shuffle, class_weight
    )
    arrays = data.arrays_of(adapter)
    if arrays is None or steps_per_epoch not in (None, adapter.num_batches):
        if isinstance(x, Ordered):
            return OrderedDataset(x, adapter, strategy, steps_per_epoch)
        return Dataset(adapter, strategy, steps_per_epoch)
    leaves = [a for a in keras.tree.flatten(arrays) if a is not None]
    if not len(leaves[0]):
        raise ValueError(
            "The data must have at least one example. Received arrays of "
            f"shapes {[tuple(a.shape) for a in leaves]}."
        )
    order = Order(len(leaves[0]), adapter.batch_size, shuffle, seed)
    small = sum(_bytes(leaf) for leaf in leaves) <= memory_limit()
    return (Resident if small else Streamed)(
        arrays, adapter.batch_size, order, strategy
    )


def _seed(steps_done):
    """A non-negative integer below 2 ** 63."""
    generator = random.Random()
    generator.setstate(random.getstate())
    return (generator.getrandbits(63) + steps_done) % 2**63


def _limited(steps_per_epoch):
    """`steps_per_epoch`, or less where `keras.config` says so."""
    most = keras.config.max_steps_per_epoch()
    if most and (not steps_per_epoch or most < steps_per_epoch):
        return most
    return steps_per_epoch


def _bytes(array):
    """The size of an array or tensor."""
    return math.prod(array.shape) * tf.as_dtype(array.dtype).size

"""How much data may be kept on a device."""

import math
import os

import tensorflow as tf

#: The share of a machine's memory that training data may take. As much again
#: is taken by the arrays that it is copied from; half is left for the model.
SHARE = 0.25

#: What data may take of an accelerator's memory, in bytes. TensorFlow does
#: not tell how much there is.
ON_ACCELERATOR = 2**30

_CGROUP_LIMITS = (
    "/sys/fs/cgroup/memory.max",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes",
)


def limit():
    """How many bytes of data may be kept on the device that trains.

    `SHARE` of the memory of the machine, or of the container that it is; on
    an accelerator `ON_ACCELERATOR`.
    """
    if tf.config.list_logical_devices("GPU"):
        return ON_ACCELERATOR
    return int(SHARE * min(_machine(), *map(_container, _CGROUP_LIMITS)))


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

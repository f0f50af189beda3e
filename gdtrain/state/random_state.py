"""The states of random generators that belong to no layer."""

import contextlib
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from gdtrain.keras_bridge import randomness


def get() -> dict[str, Any]:
    """The states of Python's, NumPy's, TensorFlow's and Keras's generator.

    What TensorFlow's older operations count by themselves, such as
    `tf.random.normal`, cannot be read.
    """
    # Making one draws from Python's; so it is not made here.
    of_keras = randomness.global_random_generator()
    return {
        "python": random.getstate(),
        "numpy": np.random.get_state(legacy=False),
        "tensorflow": tf.random.get_global_generator().state.numpy(),
        "keras": None if of_keras is None else of_keras.state.numpy(),
    }


def put(states: dict[str, Any]) -> None:
    """Sets the generators to what `get` found."""
    if states["keras"] is None:
        randomness.set_global_random_generator(None)
    else:
        randomness.global_random_state().assign(states["keras"])
    tf.random.get_global_generator().state.assign(states["tensorflow"])
    np.random.set_state(states["numpy"])
    random.setstate(states["python"])


@contextlib.contextmanager
def kept() -> Iterator[None]:
    """Sets generators and seeds back, at the end, to what they are now.

    If Keras's is not made yet, it is made when it is needed, from what
    Python's gives then, as if nothing had happened.
    """
    of_keras = randomness.global_random_generator()
    states, seeds = get(), randomness.seeds()
    try:
        yield
    finally:
        # Another may have been made meanwhile.
        randomness.set_global_random_generator(of_keras)
        put(states)
        randomness.set_seeds(seeds)

"""The generators of random numbers that belong to no layer."""

import random

import numpy as np
import tensorflow as tf

from gdtrain import keras_bridge


def get():
    """The states of Python's, NumPy's, TensorFlow's and Keras's generator.

    What TensorFlow's older operations count by themselves, such as
    `tf.random.normal`, cannot be asked for.
    """
    return {
        "python": random.getstate(),
        "numpy": np.random.get_state(legacy=False),
        "tensorflow": tf.random.get_global_generator().state.numpy(),
        "keras": keras_bridge.global_random_state().numpy(),
    }


def put(states):
    """Sets the generators to what `get` found."""
    random.setstate(states["python"])
    np.random.set_state(states["numpy"])
    tf.random.get_global_generator().state.assign(states["tensorflow"])
    keras_bridge.global_random_state().assign(states["keras"])

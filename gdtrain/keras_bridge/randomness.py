"""Seeds and random generators of Keras and TensorFlow."""

import copy
from typing import Any, NamedTuple

import keras
import tensorflow as tf
from keras.src.backend.common import global_state
from keras.src.random import seed_generator
from keras.src.utils import rng_utils
from tensorflow.python.eager import context as tensorflow_context


def random_states(model: keras.Model) -> list[keras.Variable]:
    """Variables of the random generators of a model's layers.

    Needs `_flatten_layers` and `_seed_generators`; without them the dropout
    masks of a loaded model differ.
    """
    return [
        generator.state
        for layer in model._flatten_layers()
        for generator in layer._seed_generators
    ]


def random_seed() -> int | None:
    """The last argument of `keras.utils.set_random_seed`, or `None`.

    Needs `get_random_seed`; without it a changed seed is not noticed.
    """
    return rng_utils.get_random_seed()


class Seeds(NamedTuple):
    """What `keras.utils.set_random_seed` sets in Keras and TensorFlow."""

    keras: int | None
    tensorflow: int | None
    generator: Any  # Of the seeds of operations; `None` before its first use


def seeds() -> Seeds:
    """The seeds of Keras and TensorFlow.

    Needs `_seed` and `_rng` of TensorFlow's context; without them, operations
    such as `tf.random.normal` draw other numbers after a sweep.
    """
    context = tensorflow_context.context()
    generator = getattr(context, "_rng", None)
    return Seeds(random_seed(), context._seed, copy.copy(generator))


def set_seeds(found: Seeds) -> None:
    """Sets the result of `seeds`, with the same needs."""
    context = tensorflow_context.context()
    context._seed, context._rng = found.tensorflow, found.generator
    global_state.set_global_attribute(rng_utils.GLOBAL_RANDOM_SEED, found.keras)


def global_random_state() -> tf.Variable:
    """The variable behind `keras.random` where no seed is given.

    Needs `global_seed_generator`; without it, random numbers after resuming
    differ.
    """
    return seed_generator.global_seed_generator().state


def global_random_generator() -> keras.random.SeedGenerator | None:
    """The generator behind `keras.random`; `None` if it is not made yet.

    Needs `GLOBAL_SEED_GENERATOR`; without it, random numbers after something
    was tried out differ.
    """
    return global_state.get_global_attribute(
        seed_generator.GLOBAL_SEED_GENERATOR
    )


def set_global_random_generator(
    generator: keras.random.SeedGenerator | None,
) -> None:
    """Sets the result of `global_random_generator`, with the same needs."""
    global_state.set_global_attribute(
        seed_generator.GLOBAL_SEED_GENERATOR, generator
    )

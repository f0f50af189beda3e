"""Data that were read give what they would have given."""

import threading

import keras
import numpy as np
import pytest
import tensorflow as tf

from gdtrain.state.preserved import preserved_data


def shuffled():
    data = tf.data.Dataset.range(20).shuffle(20, seed=1)
    return data.cache().shuffle(20).batch(20)


PIPELINES = {
    "shuffle": lambda: tf.data.Dataset.range(20).shuffle(20).batch(20),
    "shuffle, cache, shuffle": shuffled,
    "random numbers": lambda: (
        tf.data.Dataset.random(seed=3, rerandomize_each_iteration=True)
        .take(9)
        .batch(9)
    ),
    "random in a map": lambda: (
        tf.data.Dataset.range(9)
        .map(lambda i: i + tf.random.uniform([], maxval=99, dtype=tf.int64))
        .batch(9)
    ),
    "interleaved": lambda: (
        tf.data.Dataset.range(3)
        .interleave(lambda i: tf.data.Dataset.range(9).shuffle(9))
        .batch(27)
    ),
    "shuffled and repeated": lambda: (
        tf.data.Dataset.range(9).shuffle(9).repeat(2).batch(18)
    ),
}


def passes(data, count=3):
    return [next(iter(data)).numpy().tolist() for _ in range(count)]


@pytest.mark.mostly_long(
    "0-shuffle",
    "2-shuffle, cache, shuffle",
    "0-random numbers",
    "2-random in a map",
    "0-interleaved",
    "2-shuffled and repeated",
)
@pytest.mark.parametrize("name", PIPELINES)
@pytest.mark.parametrize("passes_before", [0, 2])
def test_pipeline_goes_on_as_if_it_had_not_been_read(name, passes_before):
    found, seen = [], []
    for reads in (True, False):
        keras.utils.set_random_seed(5)
        data = PIPELINES[name]()
        passes(data, passes_before)
        if reads:
            with preserved_data(data) as copied:
                seen = passes(copied)
        found.append(passes(data))
    assert found[0] == found[1]
    # It shuffles if they do.
    assert len(set(map(tuple, seen))) == len(set(map(tuple, found[0])))


def test_copy_of_a_pipeline_is_the_same_each_time():
    data = shuffled()
    with preserved_data(data) as first, preserved_data(data) as second:
        assert passes(first) == passes(second)


def test_pipeline_of_python_functions_is_copied():
    def numbers():
        yield from [1.0, 2.0, 3.0]

    data = tf.data.Dataset.from_generator(
        numbers, output_signature=tf.TensorSpec([], tf.float32)
    )
    data = data.map(lambda x: tf.py_function(np.square, [x], tf.float32))
    data = data.map(lambda x: tf.ensure_shape(x, [])).batch(3)
    with preserved_data(data) as copied:
        assert passes(copied, 2) == [[1.0, 4.0, 9.0]] * 2
        assert copied.element_spec == data.element_spec


class Batches(keras.utils.PyDataset):
    """Shuffles itself at the end of each epoch."""

    def __init__(self):
        super().__init__()
        self.random = np.random.default_rng(0)
        self.order = np.arange(12)

    def __len__(self):
        return 3

    def __getitem__(self, index):
        return self.order[4 * index :][:4]

    def on_epoch_end(self):
        self.order = self.random.permutation(self.order)


class BatchesWithState(Batches):
    def __init__(self):
        super().__init__()
        self.lock = threading.Lock()  # Which cannot be copied

    def get_state(self):
        return {"order": self.order, "random": self.random.bit_generator.state}

    def set_state(self, state):
        self.order = state["order"]
        self.random.bit_generator.state = state["random"]


@pytest.mark.parametrize("kind", [Batches, BatchesWithState])
def test_sequence_goes_on_as_if_it_had_not_been_read(kind):
    data, other = kind(), kind()
    with preserved_data(data) as read:
        read.on_epoch_end()
        assert read.order.tolist() != list(range(12))
    assert data.order.tolist() == list(range(12))
    data.on_epoch_end()
    other.on_epoch_end()
    assert data.order.tolist() == other.order.tolist()


def test_sequence_that_can_neither_be_copied_nor_set_back_is_refused():
    data = Batches()
    data.lock = threading.Lock()
    with pytest.raises(ValueError, match="copied, or restored.*get_state"):
        with preserved_data(data):
            pass


def test_what_can_be_read_but_once_is_refused():
    with pytest.raises(ValueError, match="can be read again"):
        with preserved_data(iter([1])):
            pass


def test_arrays_are_read_as_they_are():
    x = np.zeros(3)
    with preserved_data(x) as read:
        assert read is x

"""Each example comes once an epoch, in an order that can be recomputed."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

import gdtrain
from gdtrain.data import choice
from gdtrain.data.adapted import AdaptedData
from gdtrain.data.arrays import DeviceArrays, HostArrays
from gdtrain.data.order import Order

SHUFFLES = [True, False, "batch"]


@pytest.mark.parametrize("shuffle", SHUFFLES)
@pytest.mark.parametrize("examples", [1, 7, 5000])
def test_order_has_each_example_once(examples, shuffle):
    order = Order(examples, 3, shuffle, seed=5).of_epochs(2, 4)
    assert order.shape == (4, examples)
    np.testing.assert_array_equal(
        np.sort(order, axis=1), np.tile(np.arange(examples), (4, 1))
    )


@pytest.mark.parametrize("shuffle", SHUFFLES)
@pytest.mark.parametrize("examples", [7, 1365, 5000])
def test_order_of_an_epoch_does_not_depend_on_what_was_asked(examples, shuffle):
    whole = Order(examples, 3, shuffle, seed=5).of_epochs(0, 12)
    for first, count in [(11, 1), (3, 6), (0, 2), (5, 7), (2, 1), (0, 0)]:
        part = Order(examples, 3, shuffle, seed=5).of_epochs(first, count)
        np.testing.assert_array_equal(part, whole[first : first + count])


def test_orders_of_epochs_and_seeds_differ():
    orders = [
        Order(50, 5, True, seed).of_epochs(0, 3).tolist() for seed in (1, 2)
    ]
    for one, other in itertools.combinations([*orders[0], *orders[1]], 2):
        assert one != other


def test_shuffling_is_fair():
    """The place of each of 4 examples is uniform: chi-squared, 9 degrees."""
    order = Order(4, 2, True, seed=0).of_epochs(0, 4000)
    counts = [np.bincount(order[:, place], minlength=4) for place in range(4)]
    assert (((np.array(counts) - 1000) ** 2) / 1000).sum() < 33.7  # p = 1e-4


def test_shuffling_in_batches_keeps_examples_in_their_batch():
    order = Order(11, 4, "batch", seed=0).of_epochs(0, 3)
    for epoch in order:
        batches = [sorted(epoch[i : i + 4]) for i in (0, 4, 8)]
        assert batches == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10]]
    assert order[0].tolist() != order[1].tolist()


def source_of(**arguments):
    arguments = {"batch_size": 4, **arguments}
    return choice.data_source(
        strategy=tf.distribute.get_strategy(), **arguments
    )


def test_arrays_that_fit_are_kept_on_the_device(monkeypatch):
    x = np.zeros([10, 3], "float32")
    assert type(source_of(x=x)) is DeviceArrays
    monkeypatch.setattr(choice, "memory_limit", lambda: x.nbytes)
    assert type(source_of(x=x)) is DeviceArrays
    assert type(source_of(x=x, y=np.zeros([10, 1]))) is HostArrays


def test_what_is_no_dense_array_comes_as_keras_brings_it():
    dataset = tf.data.Dataset.range(3)
    ragged = tf.ragged.constant([[1.0], [2.0, 3.0]])
    assert type(source_of(x=dataset, batch_size=None)) is AdaptedData
    assert type(source_of(x=ragged)) is AdaptedData


class Batches(keras.utils.PyDataset):
    """Three batches."""

    def __len__(self):
        return 3

    def __getitem__(self, index):
        return np.full([4, 3], index), np.full([4, 1], index)


def test_iterators_of_what_python_makes_end_at_once(monkeypatch):
    """Freed at the end of an epoch, a thread that tunes them may sleep on."""
    x = np.zeros([10, 3], "float32")
    sources = [
        source_of(x=Batches(), batch_size=None),
        source_of(x=(Batches()[n] for n in range(3)), batch_size=None),
    ]
    monkeypatch.setattr(choice, "memory_limit", lambda: 0)
    sources.append(source_of(x=x))
    for source in sources:
        source.begin_epoch(0, 0)
        dataset = source._iterator._dataset
        assert not dataset.options().autotune.enabled, type(source)


def test_limit_is_a_share_of_this_machine(monkeypatch):
    assert 2**26 < choice.memory_limit() < 2**45
    monkeypatch.setattr(choice, "_container", lambda path: 1000)
    assert choice.memory_limit() == int(1000 * choice.MEMORY_SHARE)


def batches(data_source, epoch):
    """The batches of an epoch, taken one by one."""
    taken, plan = [], data_source.plan
    for step in range(data_source.steps_per_epoch):
        block_inputs = data_source.block_inputs(epoch, step, 1)
        opened = plan.open(block_inputs, False)
        cursor = plan.first(opened)
        taken.append(plan.take(plan.fetch(opened, cursor)))
    data_source.end_epoch(data_source.steps_per_epoch, ran_out=False)
    return taken


@pytest.mark.parametrize("shuffle", SHUFFLES)
def test_arrays_come_in_the_same_batches_wherever_they_are(shuffle):
    x, y = np.arange(22.0).reshape(11, 2), np.arange(11)
    arrays = {"x": x, "pair": (y, None)}
    data_sources = [
        make(arrays, Order(11, 4, shuffle, 3), tf.distribute.get_strategy())
        for make in (DeviceArrays, HostArrays)
    ]
    for epoch in range(3):
        for one, other in zip(
            *(batches(data_source, epoch) for data_source in data_sources),
            strict=True,
        ):
            assert one["pair"][1] is None and other["pair"][1] is None
            assert one["x"].dtype == other["x"].dtype == tf.float32
            np.testing.assert_array_equal(one["x"], other["x"])
            np.testing.assert_array_equal(one["pair"][0], other["pair"][0])
            np.testing.assert_array_equal(one["x"][:, 0], 2 * one["pair"][0])


def train(x, y):
    keras.utils.set_random_seed(0)
    model = gdtrain.Sequential([keras.Input([2]), keras.layers.Dense(1)])
    model.compile("adam", "mse")
    model.fit(x, y, batch_size=4, epochs=3, verbose=0)
    return model.get_weights()


def test_arrays_too_large_train_to_the_same_weights(monkeypatch, tmp_path):
    x = np.random.default_rng(0).normal(size=[30, 2]).astype("float32")
    y = x.sum(axis=1, keepdims=True)
    np.save(tmp_path / "x.npy", x)
    resident = train(x, y)
    monkeypatch.setattr(choice, "memory_limit", lambda: 0)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    for one, other in zip(resident, train(mapped, y), strict=True):
        np.testing.assert_array_equal(one, other)


def test_arrays_too_large_are_read_a_batch_at_a_time(monkeypatch):
    asked = []

    class Counted(np.ndarray):
        def __getitem__(self, place):
            asked.append(np.size(place))
            return np.asarray(self)[place]

    monkeypatch.setattr(choice, "memory_limit", lambda: 0)
    x = np.ones([30, 2], "float32").view(Counted)
    train(x, np.ones([30, 1]))
    assert sum(asked) == 3 * 30 and max(asked) == 4


def test_seed_of_keras_repeats_the_order_and_epochs_differ():
    orders = []
    for seed in (1, 1, 2):
        keras.utils.set_random_seed(seed)
        data_source = source_of(x=np.arange(20.0), shuffle=True)
        orders.append(
            [
                np.concatenate(batches(data_source, epoch)).ravel().tolist()
                for epoch in range(2)
            ]
        )
    assert orders[0] == orders[1] != orders[2]
    assert orders[0][0] != orders[0][1]


def test_no_examples_are_refused():
    with pytest.raises(ValueError, match=r"at least one example.*\(0, 3\)"):
        source_of(x=np.zeros([0, 3]))


@pytest.mark.parametrize("batch_size", [-1, -32])
def test_negative_batch_size_is_refused(batch_size):
    with pytest.raises(ValueError, match="`batch_size` must be at least 1"):
        source_of(x=np.zeros([3, 3]), batch_size=batch_size)

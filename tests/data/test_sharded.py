"""Shards: each example once an epoch, for any workers, from any step on."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import gdtrain
from gdtrain.data import shard_order
from gdtrain.data.shard_order import ShardOrder
from gdtrain.data.sharded import ShardedDataset, ShardedSource
from gdtrain.data.shards import ArrayShard, ShardError, TFRecordShards

LENGTHS = [130, 7, 0, 61, 1, 250]
X = np.arange(sum(LENGTHS), dtype="float32")[:, None]


def shards():
    ends = np.cumsum(LENGTHS)
    return [
        ArrayShard((X[end - n : end], 2 * X[end - n : end]), str(end))
        for end, n in zip(ends, LENGTHS, strict=True)
    ]


def dataset(**arguments):
    return ShardedDataset(shards(), 16, window=20, stretch=3, **arguments)


def source(given, shuffle=True, strategy=None):
    strategy = strategy or tf.distribute.get_strategy()
    return ShardedSource(given, strategy, shuffle=shuffle, seed=5)


def of_workers(given, workers, start=0, epoch=1, shuffle=True):
    """Global batches: the parts of all workers, one after the other."""
    data_source = source(given, shuffle)
    parts = [
        data_source._batches(worker, workers, start, epoch)
        for worker in range(workers)
    ]
    return [
        np.concatenate([x for x, _ in batch])[:, 0].astype(int)
        for batch in zip(*parts, strict=True)
    ]


def check_order(examples, batch_size, seconds=None):
    """Coverage, and the parts of a batch, without reading a shard."""
    order = ShardOrder(examples, batch_size, 8, 512, 32, True, seed=1)
    read = [order.examples(2, r, 0, order.lengths[r]) for r in range(8)]
    counts = np.bincount(np.concatenate(read), minlength=examples)
    assert len(counts) == examples and counts.min() == counts.max() == 1
    assert max(order.lengths) - min(order.lengths) <= 1
    random = np.random.default_rng(0)
    for _ in range(20):  # What a reader reads from a step on, newly begun
        reader, step = random.integers(8), random.integers(order.steps)
        begin = step * order.part
        end = min(begin + 3 * order.part, order.lengths[reader])
        again = ShardOrder(examples, batch_size, 8, 512, 32, True, seed=1)
        np.testing.assert_array_equal(
            again.examples(2, reader, begin, end), read[reader][begin:end]
        )
    first = order.examples(3, 0, 0, 512)
    assert not np.array_equal(first, read[0][:512])
    assert len(np.unique(first // 32)) >= 16  # From random places


def test_order_of_a_million_examples():
    check_order(1_000_003, 1024)


@pytest.mark.long
def test_order_of_ten_million_examples():
    check_order(10_000_019, 8192)


@pytest.mark.parametrize("shuffle", [True, False])
def test_batches_do_not_depend_on_workers(shuffle):
    expected = of_workers(dataset(), 1, shuffle=shuffle)
    found = np.concatenate(expected)
    np.testing.assert_array_equal(np.sort(found), np.arange(len(X)))
    assert [len(b) for b in expected[:-1]] == [16] * (len(expected) - 1)
    if not shuffle:
        np.testing.assert_array_equal(found, np.arange(len(X)))
    for workers in (2, 4, 8):
        some = of_workers(dataset(), workers, shuffle=shuffle)
        for one, other in zip(some, expected, strict=True):
            np.testing.assert_array_equal(one, other)


class Counting(ArrayShard):
    """Counts the examples that are read."""

    read_ = 0

    def read(self, begin, end):
        Counting.read_ += end - begin
        return super().read(begin, end)


def test_resuming_reads_nothing_before_its_windows():
    expected = of_workers(dataset(), 1)
    for start in (3, len(expected) - 2):
        for workers in (1, 2, 4):
            found = of_workers(dataset(), workers, start)
            for one, other in zip(found, expected[start:], strict=True):
                np.testing.assert_array_equal(one, other)
    counted = ShardedDataset([Counting((X, X))], 16, window=20, stretch=3)
    Counting.read_ = 0
    steps = len(expected)
    of_workers(counted, 2, steps - 2)
    assert Counting.read_ <= 8 * 20 * 2 < len(X)


def test_worker_reads_its_readers_alone():
    Counting.read_ = 0
    counted = ShardedDataset([Counting((X, X))], 16, window=20, stretch=3)
    Counting.read_ = 0
    for _ in source(counted)._batches(1, 4, 0, 0):
        pass
    assert abs(Counting.read_ - len(X) / 4) <= 2


def weights_of(given, strategy=None, epochs=2, **arguments):
    keras.utils.set_random_seed(1)
    with (strategy or tf.distribute.get_strategy()).scope():
        model = gdtrain.Sequential(
            [
                keras.Input([1]),
                keras.layers.Rescaling(1 / len(X)),
                keras.layers.Dense(1),
            ]
        )
        model.compile(gdtrain.GradientDescent(1e-5), "mse")
    model.fit(given, epochs=epochs, verbose=0, **arguments)
    return model, model.get_weights()


def test_training_on_two_replicas_and_resuming(two_replicas, tmp_path):
    _, expected = weights_of(dataset())
    _, mirrored = weights_of(dataset(), two_replicas)
    np.testing.assert_allclose(mirrored[0], expected[0], rtol=1e-5)

    class Stop(Exception):
        pass

    class StopAt(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if self.model.optimizer.iterations == 37:
                raise Stop

    def backup():
        return gdtrain.callbacks.BackupAndRestore(tmp_path, every_steps=9)

    with pytest.raises(Stop):
        weights_of(dataset(), callbacks=[backup(), StopAt()])
    _, resumed = weights_of(dataset(), callbacks=[backup()])
    np.testing.assert_array_equal(resumed[0], expected[0])
    changed = ShardedDataset(shards()[1:], 16, window=20, stretch=3)
    with pytest.raises(ValueError, match="x was 5 shards of 449 examples"):
        weights_of(changed, callbacks=[backup()])


def test_predict_has_the_order_of_the_shards():
    model, _ = weights_of(dataset(), epochs=1)
    np.testing.assert_allclose(
        model.predict(dataset(), verbose=0),
        model.predict(X, verbose=0),
        rtol=1e-5,
    )


def write_records(path, count):
    with tf.io.TFRecordWriter(str(path)) as writer:
        for number in range(count):
            writer.write(str(number).encode() * 3)
    return str(path)


def test_records_that_are_damaged_are_named(tmp_path):
    path = write_records(tmp_path / "numbers", 40)
    (shard,) = TFRecordShards([path], tf.strings.to_number)
    assert len(shard) == 40
    np.testing.assert_array_equal(shard.read(38, 40), [383838, 393939])
    (vector,) = TFRecordShards([path], tf.strings.to_number, batched=True)
    np.testing.assert_array_equal(vector.read(3, 5), [333, 444])
    content = bytearray((tmp_path / "numbers").read_bytes())
    place = int(shard._offsets[17]) + 13
    content[place] ^= 1
    (tmp_path / "numbers").write_bytes(content)
    with pytest.raises(ShardError, match="Record 17 of .*numbers"):
        shard.read(10, 30)
    (tmp_path / "numbers").write_bytes(content[:-3])
    with pytest.raises(ShardError, match="record 39 .* the file has"):
        TFRecordShards([path], tf.strings.to_number)
    (tmp_path / "numbers").unlink()
    with pytest.raises(ShardError, match="numbers' is gone"):
        shard.read(0, 1)
    with pytest.raises(ShardError, match="cannot be opened"):
        TFRecordShards([path], tf.strings.to_number)


def test_compressed_records_are_refused(tmp_path):
    path = str(tmp_path / "numbers.gz")
    with tf.io.TFRecordWriter(path, "GZIP") as writer:
        writer.write(b"1")
    with pytest.raises(ShardError, match="must not be compressed"):
        TFRecordShards([path], tf.strings.to_number)


@pytest.mark.parametrize("length", [0x8B1F, 0x9C78])
def test_a_length_may_look_like_compression(tmp_path, length):
    path = str(tmp_path / "numbers")
    with tf.io.TFRecordWriter(path) as writer:
        writer.write(b"1" * length)
    (shard,) = TFRecordShards([path], tf.strings.length)
    assert shard.read(0, 1).tolist() == [length]


def damaged(tmp_path):
    """Its record 39 is not as it was written."""
    path = write_records(tmp_path / "numbers", 40)

    def parse(record):
        x = tf.strings.to_number(record)[None]
        return x, x

    given = ShardedDataset(TFRecordShards([path], parse), 8)
    content = bytearray((tmp_path / "numbers").read_bytes())
    content[-6] ^= 1
    (tmp_path / "numbers").write_bytes(content)
    return given


def not_parsed(tmp_path):
    """Its record 13 is no number that the function of the user knows."""
    path = write_records(tmp_path / "numbers", 40)

    def number(record):
        if record == b"131313":
            raise KeyError("thirteen")
        return np.float32(record)

    def parse(record):
        x = tf.numpy_function(number, [record], tf.float32)
        x = tf.ensure_shape(x, [])[None]
        return x, x

    return ShardedDataset(TFRecordShards([path], parse), 8)


class Unreadable:
    """A shard of the user's own, whose disk fails."""

    name = "mine"

    def __len__(self):
        return 40

    def read(self, begin, end):
        if end > 30:
            raise OSError(5, "Input/output error")
        return np.ones([end - begin, 1]), np.ones([end - begin, 1])


DAMAGED = (
    r"Record 39 of .*numbers', at byte \d+, must be as it was written. "
    r"Received: corrupted record at \d+\. The file is damaged"
)
NOT_PARSED = (
    r"Record 13 of .*numbers', .* `parse` can use. Received: KeyError: "
    r"'thirteen'\. Change `parse`"
)
UNREADABLE = (
    r"of 'mine' must be readable. Received: OSError: .*Input/output error\. "
    r"See `read` of Unreadable"
)


def unreadable(tmp_path):
    return ShardedDataset([Unreadable()], 8)


@pytest.mark.parametrize(
    "method, make, message",
    [
        ("fit", damaged, DAMAGED),
        ("fit", not_parsed, NOT_PARSED),
        ("fit", unreadable, UNREADABLE),
        ("evaluate", unreadable, UNREADABLE),
        ("predict", unreadable, UNREADABLE),
    ],
)
def test_what_cannot_be_read_is_named(method, make, message, tmp_path):
    """By its own error, which TensorFlow's has as text only."""
    model = gdtrain.Sequential([keras.Input([1]), keras.layers.Dense(1)])
    model.compile(gdtrain.GradientDescent(1e-9), "mse")
    given = make(tmp_path)
    with pytest.raises(ShardError, match=message) as caught:
        getattr(model, method)(given, verbose=0)
    assert caught.value.__cause__ is not None
    assert len(caught.traceback) <= 3  # None of gdtrain, but the last


def test_numbers_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="Take 1, 2, 4 or 8 workers"):
        shard_order.check_workers(8, 3)
    with pytest.raises(ValueError, match="Take batch_size=96 or 104"):
        ShardedDataset(shards(), 100)
    with pytest.raises(ValueError, match="at least one example"):
        ShardedDataset([ArrayShard((X[:0], X[:0]))], 8)
    with pytest.raises(ShardError, match="as many examples"):
        ArrayShard((X, X[:3]))
    other = ArrayShard((np.ones([450, 2]), np.ones([450, 2])), "wide")
    given = ShardedDataset([*shards(), other], 16)
    with pytest.raises(ShardError, match="of 'wide', where"):
        of_workers(given, 1)

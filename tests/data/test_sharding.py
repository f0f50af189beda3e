"""Which datasets have the same batches for any number of workers."""

import pytest
import tensorflow as tf

from gdtrain.data import pipeline

POLICIES = tf.data.experimental.AutoShardPolicy


def numbers():
    return tf.data.Dataset.range(4).shuffle(2).map(lambda n: n + 1).batch(2)


def with_policy(policy):
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = policy
    return numbers().with_options(options)


def lines():
    return tf.data.TextLineDataset("a.txt").map(tf.strings.length).batch(2)


def interleaved():
    names = tf.data.Dataset.from_tensor_slices(["a", "b"])
    return names.interleave(tf.data.TFRecordDataset).batch(2)


@pytest.mark.parametrize(
    "dataset, how",
    [
        (numbers, None),
        (lambda: with_policy(POLICIES.DATA), None),
        (lines, "by files"),
        (interleaved, "by files"),
        (lambda: with_policy(POLICIES.FILE), "by AutoShardPolicy.FILE"),
        (lambda: with_policy(POLICIES.OFF), "by AutoShardPolicy.OFF"),
        (lambda: iter(()), "not known"),
    ],
)
def test_how_workers_share_a_dataset(dataset, how):
    found = pipeline.sharding(dataset())
    assert (found is None) if how is None else (how in found)

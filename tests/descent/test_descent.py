"""The parts of a step, each by itself."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import gdtrain
from gdtrain.descent import clipping, gradients, replicas, update


def test_zero_gradient_leaves_weights_unchanged():
    w = keras.Variable([1.0, 2.0])
    gdtrain.GradientDescent(0.1).apply([tf.zeros([2])], [w])
    assert w.numpy().tolist() == [1.0, 2.0]


def test_gradient_that_is_not_finite_makes_the_weight_not_finite():
    w = keras.Variable([1.0, 2.0])
    gdtrain.GradientDescent(0.1).apply([tf.constant([np.nan, 1.0])], [w])
    assert np.isnan(w.numpy()[0]) and w.numpy()[1] == pytest.approx(1.9)


def test_indexed_slices_move_their_rows_alone():
    w = keras.Variable([[1.0], [2.0], [3.0]])
    slices = tf.IndexedSlices(tf.ones([2, 1]), tf.constant([2, 2]), (3, 1))
    gdtrain.GradientDescent(0.5).apply([slices], [w])
    assert w.numpy().tolist() == [[1.0], [2.0], [2.0]]


@pytest.mark.parametrize("learning_rate", [-0.1, float("nan"), float("inf")])
def test_learning_rate_that_cannot_be_is_refused(learning_rate):
    with pytest.raises(ValueError, match="`learning_rate` must be"):
        gdtrain.GradientDescent(learning_rate)


@pytest.mark.parametrize("momentum", [-0.1, 1.5, "0.9", float("nan")])
def test_momentum_that_cannot_be_is_refused(momentum):
    with pytest.raises(ValueError, match="`momentum` must be"):
        gdtrain.GradientDescent(momentum=momentum)


def test_learning_rate_may_be_a_whole_number_or_a_callable():
    w = keras.Variable(1.0)
    gdtrain.GradientDescent(1).apply([tf.constant(0.5)], [w])
    assert float(w) == 0.5
    gdtrain.GradientDescent(lambda: 0.5).apply([tf.constant(1.0)], [w])
    assert float(w) == 0.0


def test_loss_scale_cancels_out():
    w = tf.Variable(3.0)
    plain = keras.optimizers.SGD()
    scaling = keras.optimizers.SGD(loss_scale_factor=1024.0)
    for optimizer in (plain, scaling):
        with tf.GradientTape() as tape:
            loss = w**2
        assert float(
            gradients.compute(tape, loss, [w], optimizer)[0]
        ) == pytest.approx(6.0)
    assert gradients.loss_scale(plain) is None
    assert float(gradients.loss_scale(scaling)) == 1024.0


def test_loss_scale_saves_gradients_that_half_precision_loses():
    w = tf.Variable(1.0)
    results = []
    for optimizer in (
        keras.optimizers.SGD(),
        keras.optimizers.SGD(loss_scale_factor=2.0**14),
    ):
        with tf.GradientTape() as tape:
            half = tf.cast(w, tf.float16) * tf.constant(1e-5, tf.float16)
            loss = tf.cast(half, tf.float32) * 1e-5
        results.append(float(gradients.compute(tape, loss, [w], optimizer)[0]))
    assert results[0] == 0.0
    assert results[1] == pytest.approx(1e-10, rel=0.05)


@pytest.mark.parametrize("examples", range(1, 12))
@pytest.mark.parametrize("parts", [1, 2, 3, 7])
def test_micro_batches_hold_each_example_once(examples, parts):
    data = (tf.range(examples), {"weight": None, "scale": tf.constant(2.0)})
    split = gradients.split(data, parts)
    rows = np.concatenate([part[0].numpy() for part, _ in split])
    np.testing.assert_array_equal(rows, np.arange(examples))
    assert sum(share for _, share in split) == pytest.approx(1.0)
    lengths = {len(part[0]) for part, _ in split}
    assert max(lengths) - min(lengths) <= 1
    assert all(part[1]["weight"] is None for part, _ in split)


def test_ragged_and_sparse_batches_are_split():
    ragged = tf.ragged.constant([[1], [2, 3], [4, 5, 6]])
    sparse = tf.sparse.from_dense([[1, 0], [0, 2], [3, 0]])
    assert int(gradients.examples_in(ragged)) == 3
    assert int(gradients.examples_in(sparse)) == 3
    parts = [part for part, _ in gradients.split((ragged, sparse), 2)]
    assert [part[0].to_list() for part in parts] == [
        [[1]],
        [[2, 3], [4, 5, 6]],
    ]
    dense = [tf.sparse.to_dense(part[1]).numpy().tolist() for part in parts]
    assert dense == [[[1, 0]], [[0, 2], [3, 0]]]


def test_examples_of_a_batch_of_unknown_length_are_counted():
    count = tf.function(gradients.examples_in).get_concrete_function(
        tf.TensorSpec([None, 2])
    )
    assert int(count(tf.zeros([5, 2]))) == 5
    assert gradients.examples_in((None, tf.zeros([3]))) == 3
    assert gradients.examples_in(tf.constant(1.0)) == 1
    assert gradients.examples_in(()) == 1


def test_empty_micro_batch_adds_nothing_even_if_it_is_nan():
    total = gradients.add_share(None, [tf.constant(2.0), None], 0.5)
    total = gradients.add_share(total, [tf.constant(np.nan), None], 0.0)
    assert float(total[0]) == 1.0 and total[1] is None


def test_clip_is_that_of_numpy():
    values = [np.array([3.0, 0.0], "float32"), np.float32(4.0)]
    descent = gdtrain.GradientDescent()
    clipped = clipping.clip([*values, None], 1.0, descent)
    np.testing.assert_allclose(clipped[0], [0.6, 0.0], rtol=1e-6)
    np.testing.assert_allclose(clipped[1], 0.8, rtol=1e-6)
    assert clipped[2] is None
    short = clipping.clip(values, 100.0, descent)
    np.testing.assert_array_equal(short[0], values[0])
    zero = clipping.clip([tf.zeros([2])], 1.0, descent)
    assert zero[0].numpy().tolist() == [0.0, 0.0]


def test_mean_over_replicas_weighs_them_by_their_examples(two_replicas):
    def per_replica(numbers):
        return two_replicas.experimental_distribute_values_from_function(
            lambda context: tf.constant(
                float(numbers[context.replica_id_in_sync_group])
            )
        )

    @tf.function
    def mean(value, examples):
        return two_replicas.run(
            lambda v, n: replicas.mean([v, None], n)[0], (value, examples)
        )

    for values, examples, expected in (
        ([2.0, 5.0], [3, 1], 2.75),
        ([np.nan, 5.0], [0, 4], 5.0),
    ):
        results = mean(per_replica(values), per_replica(examples))
        local = two_replicas.experimental_local_results(results)
        assert [float(r) for r in local] == [expected] * 2


def test_mean_over_replicas_takes_any_dtypes(two_replicas):
    tensors = [
        tf.constant(value, dtype)
        for value, dtype in zip(
            (1.0, 2.0, 3.0), ("float64", "bfloat16", "float32"), strict=True
        )
    ]
    mean = tf.function(
        lambda: two_replicas.run(lambda: replicas.mean(tensors, 3))
    )()
    for result, tensor in zip(mean, tensors, strict=True):
        for local in two_replicas.experimental_local_results(result):
            assert local.dtype == tensor.dtype and local == tensor


def test_mean_over_one_replica_is_the_tensor_itself():
    tensor = tf.constant(1.0)
    assert replicas.mean([tensor], 7)[0] is tensor


def test_keras_divides_its_losses_again_after_a_step(two_replicas):
    loss = keras.losses.MeanSquaredError()
    y, y_pred = tf.zeros([2, 1]), tf.fill([2, 1], 4.0)
    with two_replicas.scope():
        assert float(loss(y, y_pred)) == 8.0
        with replicas.undivided_losses(two_replicas):
            with replicas.undivided_losses(two_replicas):
                assert float(loss(y, y_pred)) == 16.0
            assert float(loss(y, y_pred)) == 16.0
        assert float(loss(y, y_pred)) == 8.0


def test_names_of_missing_weights_are_their_paths():
    weights = [keras.Variable(1.0, name="a"), tf.Variable(1.0, name="b")]
    one = tf.constant(1.0)
    assert update.missing([None, one], weights) == [weights[0].path]
    assert update.missing([one, None], weights) == ["b:0"]
    with pytest.raises(ValueError, match="none of the weights"):
        update.missing([None, None], weights)

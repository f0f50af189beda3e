"""What adaptive optimizers divide by, against the steps that they take."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from gdtrain.curvature import hessian

adam, rmsprop = keras.optimizers.Adam, keras.optimizers.RMSprop
GRADIENTS = np.random.default_rng(0).normal(size=[6, 2, 3])


@pytest.mark.parametrize(
    "optimizer, keep",
    [
        (adam(epsilon=0.1), 0.9),
        (adam(beta_1=0.5, beta_2=0.9, epsilon=1e-3), 0.5),
        (adam(amsgrad=True, beta_2=0.3), 0.9),
        (keras.optimizers.AdamW(weight_decay=0.0), 0.9),
        (keras.optimizers.LossScaleOptimizer(adam(), 1.0), 0.9),
        (rmsprop(epsilon=0.1), 0),
        (rmsprop(rho=0.5), 0),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_each_step_is_the_average_gradient_divided_by_it(optimizer, keep):
    weight = keras.Variable(np.ones([2, 3]), dtype="float64")
    average, rate = 0.0, float(optimizer.learning_rate)
    assert hessian.preconditioner_of(optimizer, [weight]) is None
    for gradient in GRADIENTS:
        before = weight.numpy()
        optimizer.apply([tf.constant(gradient)], [weight])
        (divided_by,) = hessian.preconditioner_of(optimizer, [weight])
        average = keep * average + (1 - keep) * gradient
        # Keras rounds rates and powers of beta to float32.
        np.testing.assert_allclose(
            weight.numpy() - before,
            -rate * average / divided_by.numpy(),
            rtol=1e-4,
        )


def test_each_weight_has_its_own_whatever_their_order():
    weights = [keras.Variable([1.0]), keras.Variable([1.0, 1.0])]
    optimizer = rmsprop(rho=0.0, epsilon=0.0)
    optimizer.apply([tf.constant([2.0]), tf.constant([3.0, 4.0])], weights)
    for order in (weights, weights[::-1]):
        found = hessian.preconditioner_of(optimizer, order)
        assert [p.shape for p in found] == [w.shape for w in order]
    np.testing.assert_allclose(found[0], [3, 4])


def test_other_optimizers_have_none_that_is_known():
    class Own(adam):
        pass

    weight = keras.Variable([1.0])
    for optimizer in (keras.optimizers.SGD(), keras.optimizers.Lion(), Own()):
        optimizer.apply([tf.constant([1.0])], [weight])
        assert hessian.preconditioner_of(optimizer, [weight]) is None


def test_replicas_have_one_preconditioner(two_replicas):
    with two_replicas.scope():
        weight = keras.Variable([1.0, 1.0])
        optimizer = rmsprop(rho=0.0, epsilon=0.0)
        optimizer.build([weight])

        @tf.function
        def step():
            two_replicas.run(
                lambda: optimizer.apply([tf.constant([2.0, 3.0])], [weight])
            )

        step()
    (found,) = hessian.preconditioner_of(optimizer, [weight], two_replicas)
    np.testing.assert_allclose(found, [4, 6])  # Gradients of both, summed

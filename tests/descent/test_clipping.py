"""A gradient is clipped to the norm asked for, however large it is."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import gdtrain
from gdtrain.descent import clipping

SGD = keras.optimizers.SGD


def clipped(gradients, limit=1.0, optimizer=None, way="eager"):
    optimizer = optimizer or SGD()

    def run():
        tensors = [tf.constant(g, tf.float32) for g in gradients]
        return clipping.clip(tensors, limit, optimizer)

    if way != "eager":
        run = tf.function(run, jit_compile=way == "XLA")
    return [g.numpy() for g in run()]


@pytest.mark.mostly_long(
    "1e+20-eager", "1e+30-graph", "1e+38-XLA", "3e+38-eager", "3e+38-graph"
)
@pytest.mark.parametrize("way", ["eager", "graph", "XLA"])
@pytest.mark.parametrize("size", [1e20, 1e30, 1e38, 3e38])
def test_finite_gradient_whose_square_overflows_is_clipped(way, size):
    first, second = clipped([[size, 0.0], [size]], way=way)
    root = 0.5**0.5
    np.testing.assert_allclose(first, [root, 0], rtol=1e-6)
    np.testing.assert_allclose(second, [root], rtol=1e-6)


def test_a_short_one_beside_a_long_one_keeps_its_share():
    first, second = clipped([[1e25], [1e20]], limit=2.0)
    np.testing.assert_allclose(first, [2.0], rtol=1e-6)
    np.testing.assert_allclose(second, [2e-5], rtol=1e-6)


@pytest.mark.parametrize("size", [1e-30, 0.0])
def test_tiny_gradient_stays_as_it_is(size):
    given = np.array([size, -size], "float32")
    np.testing.assert_array_equal(clipped([given])[0], given)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_gradient_that_is_not_finite_makes_all_nan(bad):
    for gradient in clipped([[1.0, bad], [2.0]]):
        assert np.isnan(gradient).all()


@pytest.mark.parametrize("limit", [0.1, 0.3, 1.0, 7.0])
def test_other_gradients_have_the_bits_of_tensorflow(limit):
    generator = np.random.default_rng(0)
    for size in (1e-12, 1e-3, 1.0, 1e12):
        given = [
            (size * generator.normal(size=shape)).astype("float32")
            for shape in ([3, 4], [7])
        ]
        expected, _ = tf.clip_by_global_norm(given, limit)
        for one, other in zip(clipped(given, limit), expected, strict=True):
            np.testing.assert_array_equal(one, other)


def update(optimizer, gradient, **compile_arguments):
    """What a step of descent adds to weights of 0, given their gradient."""

    class Plane(gdtrain.Model):
        def __init__(self):
            super().__init__()
            self.w = self.add_weight(shape=[2], name="w", initializer="zeros")

        def train_step(self, data):
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(self.w * gradient)
            self.descend(tape, loss)
            return {"loss": loss}

    model = Plane()
    model.compile(optimizer, jit_compile=False, **compile_arguments)
    model.fit(np.zeros([1, 1]), verbose=0)
    return model.w.numpy()


@pytest.mark.parametrize(
    "arguments", [{"clipnorm": 1.0}, {"global_clipnorm": 1.0}]
)
@pytest.mark.parametrize("scaled", [False, True])
def test_optimizers_own_clipping_does_not_overflow(arguments, scaled):
    optimizer = SGD(1.0, **arguments)
    if scaled:
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    moved = update(optimizer, np.array([3e20, -4e20], "float32"))
    np.testing.assert_allclose(moved, [-0.6, 0.8], rtol=1e-6)


def test_global_clipnorm_of_compile_does_not_overflow():
    gradient = np.array([3e25, -4e25], "float32")
    moved = update(SGD(1.0), gradient, global_clipnorm=1.0)
    np.testing.assert_allclose(moved, [-0.6, 0.8], rtol=1e-6)


def test_each_is_clipped_by_itself_where_one_overflows():
    first, second = (
        g.numpy()
        for g in SGD(clipnorm=1.0)._clip_gradients(
            clipping.clip(
                [tf.constant([1e30]), tf.constant([0.5])],
                None,
                SGD(clipnorm=1.0),
            )
        )
    )
    np.testing.assert_allclose(first, [1.0], rtol=1e-6)
    assert second == [0.5]

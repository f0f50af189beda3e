"""The exact limit of the learning rate, found without gdtrain."""

import functools

import numpy as np
import tensorflow as tf

TURNS = 60


@functools.cache
def _product(bench):
    """`(loss, x, y, vectors) -> Hessian times vectors`, compiled."""
    model = bench.model

    @tf.function(reduce_retracing=True)
    def product(x, y, vectors):
        weights = model.trainable_variables
        with tf.GradientTape() as outer:
            with tf.GradientTape() as inner:
                loss = model.compute_loss(x, y, model(x, training=True))
            gradients = inner.gradient(loss, weights)
        return outer.gradient(gradients, weights, output_gradients=vectors)

    return product


def sharpness(bench, data, *, seed, change=None):
    """The largest eigenvalue of the Hessian at the first weights.

    By power iteration over all the data, in float32.
    """
    bench.model.set_weights(bench.initial(seed, change))
    x, y = (tf.constant(part) for part in data)
    random = np.random.default_rng(seed)
    weights = bench.model.trainable_variables
    vectors = [
        tf.constant(random.normal(size=w.shape), "float32") for w in weights
    ]
    value = 0.0
    for _ in range(TURNS):
        length = tf.linalg.global_norm(vectors)
        vectors = [v / length for v in vectors]
        turned = _product(bench)(x, y, vectors)
        value = sum(
            float(tf.reduce_sum(a * b))
            for a, b in zip(vectors, turned, strict=True)
        )
        vectors = turned
    return value


def limit(bench, data, *, seed, change=None):
    """2 / sharpness: beyond it, plain descent leaves the start's valley."""
    return 2 / sharpness(bench, data, seed=seed, change=change)


def of_line(x):
    """The same for a line's data, in closed form: Hessian = 2 X'X / n."""
    matrix = np.hstack([x, np.ones([len(x), 1])]).astype(np.float64)
    return 2 / np.linalg.eigvalsh(2 * matrix.T @ matrix / len(x))[-1]


def best_loss(x, y):
    """The least mean squared error of a linear model, in closed form."""
    matrix = np.hstack([x, np.ones([len(x), 1])]).astype(np.float64)
    solution = np.linalg.lstsq(matrix, y.astype(np.float64), rcond=None)[0]
    return float(np.mean((matrix @ solution - y) ** 2))

"""The lecture's loop as it stands: eager, `tf.GradientTape`, `assign_sub`."""

import keras
import numpy as np
import tensorflow as tf

from tests.benchmarks import peers_keras

EPOCHS = {"line": 200}  # Two of the others: it is slow.


def prepare(name, job, shorten=1):
    """The peer, ready to train; see `fit_speed`."""
    epochs = max(1, EPOCHS.get(job.name, 2) // shorten)
    return (Line if job.is_line else Network)(job, epochs)


class Lecture:
    """Trains by an eager loop."""

    def __init__(self, job, epochs):
        self.epochs = epochs
        self._job = job
        self._x = tf.constant(job.x)
        self._y = tf.constant(job.y)
        self._random = np.random.default_rng(0)

    def run(self):
        """Trains; timed."""
        self._losses = []
        for _ in range(self.epochs):
            if self._job.is_full_batch:
                self._losses.append(self._step(self._x, self._y))
                continue
            for batch in self._job.batches(self._random.permutation):
                x, y = tf.gather(self._x, batch), tf.gather(self._y, batch)
                self._losses.append(self._step(x, y))

    def losses(self):
        """The loss of each step; not timed."""
        return self._losses


class Line(Lecture):
    """The line, with its two weights by hand."""

    def reset(self):
        """Back to the first weights; not timed."""
        w, b = self._job.weights
        self._w = tf.Variable(w.item())
        self._b = tf.Variable(b.item())

    def _step(self, x, y):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(self._w * x + self._b - y))
        for_w, for_b = tape.gradient(loss, [self._w, self._b])
        self._w.assign_sub(self._job.learning_rate * for_w)
        self._b.assign_sub(self._job.learning_rate * for_b)
        return loss


class Network(Lecture):
    """Any network, of Keras's layers."""

    def reset(self):
        """Back to the first weights; not timed."""
        self._model = peers_keras.model(keras.Sequential, self._job)

    def _step(self, x, y):
        model = self._model
        weights = model.trainable_variables
        with tf.GradientTape() as tape:
            loss = model.loss(y, model(x, training=True))
        gradient = tape.gradient(loss, weights)
        if self._job.optimizer == "sgd":
            for weight, part in zip(weights, gradient, strict=True):
                weight.assign_sub(self._job.learning_rate * part)
        else:
            model.optimizer.apply(gradient, weights)
        return loss

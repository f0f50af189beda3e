"""Several softmax regressions of the same photos, solved side by side."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from gdtrain.curvature.hessian import Hessian
from gdtrain.curvature.objective import Objective
from gdtrain.images.cross_entropy import Proof, axis_curvature, prove
from gdtrain.loop.callback import Callback
from gdtrain.model import Model
from gdtrain.optimizers import GradientDescent

# Nesterov's momentum for a condition number of 4,300, which the hardest of
# regressions have after scaling:
# momentum = (sqrt(condition number) - 1) / (sqrt(condition number) + 1).
# Where it is less, restarts make descent about as fast as the momentum for it.
MOMENTUM = 0.97

LOOK = 10  # Steps between two looks at the gradient
_SHARPNESS_TOLERANCE = 0.03
_MAX_PRODUCTS = 30
_SLOWER = 0.5


class _Layer(keras.layers.Layer):
    """Logits of several regressions, with L2 on their kernels.

    The kernel is kept as `kernel * scale`, axis by axis, so that the
    curvature is about the same along all axes.
    """

    def __init__(self, axes: int, regressions: int, classes: int) -> None:
        super().__init__()
        self._shape = regressions, classes
        size = regressions * classes
        self.scale = self.add_weight(
            shape=[axes, 1], initializer="ones", trainable=False, name="scale"
        )
        self.l2 = self.add_weight(
            shape=[], initializer="ones", trainable=False, name="l2"
        )
        self.kernel = self.add_weight(
            shape=[axes, size],
            initializer="zeros",
            regularizer=self._penalty,
            name="kernel",
        )
        self.bias = self.add_weight(
            shape=[size], initializer="zeros", name="bias"
        )

    def _penalty(self, scaled: tf.Tensor) -> tf.Tensor:
        return self.l2 / 2 * tf.reduce_sum(tf.square(scaled / self.scale))

    def call(self, coordinates: tf.Tensor) -> tf.Tensor:
        logits = coordinates @ (self.kernel / self.scale) + self.bias
        return tf.reshape(logits, [-1, *self._shape])


class SoftmaxRegressions:
    """Regressions that differ in the weights of their photos.

    One model has them all: their sum of objectives is one loss, and each has
    weights of its own. For each of them

        objective = sum over photos (weight * cross-entropy)
                    + l2 / 2 * sum(kernel**2)

    Args:
        coordinates: Float32 `[photos, axes]`, uncorrelated.
        labels: Integers `[photos]`.
        weights: `[regressions, photos]`, each row adding up to 1.
        classes: How many classes there are.
        callbacks: For `fit`.
    """

    def __init__(
        self,
        coordinates: np.ndarray,
        labels: np.ndarray,
        weights: np.ndarray,
        *,
        classes: int,
        callbacks: Sequence[keras.callbacks.Callback] = (),
    ) -> None:
        self._coordinates = coordinates
        self._labels, self._weights = labels, weights
        self._callbacks = list(callbacks)
        self._shape = coordinates.shape[1], len(weights), classes
        self._layer = _Layer(*self._shape)
        inputs = keras.Input([coordinates.shape[1]])
        self._model = Model(inputs, self._layer(inputs))
        self._model.compile(
            GradientDescent(1.0, momentum=MOMENTUM, nesterov=True),
            loss=keras.losses.SparseCategoricalCrossentropy(
                from_logits=True, reduction="sum"
            ),
            # XLA would be chosen by the clock, and rounds differently.
            jit_compile=False,
        )
        self._model.optimizer.build(self._model.trainable_variables)
        y = np.repeat(labels[:, np.newaxis], len(weights), axis=1)
        self._data: dict[str, Any] = {
            "x": coordinates,
            "y": y,
            "sample_weight": weights.T.astype(np.float32),
            "batch_size": len(labels),
        }
        self._hessian = Hessian(Objective(self._model, **self._data))
        self._vectors: np.ndarray | None = None
        #: The loss at each step so far.
        self.losses: list[float] = []

    @property
    def kernel(self) -> np.ndarray:
        """`[axes, regressions, classes]`."""
        kernel = self._layer.kernel.numpy() / self._layer.scale.numpy()
        return kernel.reshape(self._shape)

    @kernel.setter
    def kernel(self, kernel: np.ndarray) -> None:
        flat = kernel.reshape(self._shape[0], -1)
        self._layer.kernel.assign(flat * self._layer.scale.numpy())

    @property
    def bias(self) -> np.ndarray:
        """`[regressions, classes]`."""
        return self._layer.bias.numpy().reshape(self._shape[1:])

    @bias.setter
    def bias(self, bias: np.ndarray) -> None:
        self._layer.bias.assign(bias.ravel())

    def prove(self) -> Proof:
        """How far they are from the optimum now."""
        return prove(
            self._coordinates,
            self._labels,
            self._weights,
            self.kernel,
            self.bias,
            float(self._layer.l2.numpy()),
        )

    def solve(self, l2: float, tolerance: float, max_steps: int) -> Proof:
        """Descends from where they are until each `gap` is small enough.

        Args:
            l2: The strength of L2.
            tolerance: The largest `gap`, in the unit of the loss.
            max_steps: How many steps there may be, a multiple of `LOOK`.

        Returns:
            How far they are from the optimum now: of a larger gap if there
            were not enough steps, or a callback ended `fit`.
        """
        self._layer.l2.assign(l2)
        proving = _UntilProven(self, tolerance)
        if proving.is_proven:
            return proving.proof
        curvature = axis_curvature(
            self._coordinates, proving.proof.logits, self._weights
        )
        self._scale(np.sqrt(curvature + l2))
        self.begin(*proving.at)
        self._model.optimizer.learning_rate.assign(1 / self._sharpness())
        done = len(self.losses)
        history = self._model.fit(
            **self._data,
            shuffle=False,
            initial_epoch=done,
            epochs=done + max_steps,
            verbose=0,
            callbacks=[*self._callbacks, proving],
        )
        self.losses += history.history["loss"]
        # Not that of the last look: a callback may have ended `fit` since.
        return self.prove()

    def _scale(self, scale: np.ndarray) -> None:
        """Sets the scales of axes, and leaves the kernel as it is."""
        kernel = self.kernel
        self._layer.scale.assign(scale[:, np.newaxis])
        self.kernel = kernel

    def begin(self, kernel: np.ndarray, bias: np.ndarray) -> None:
        """Sets the weights, at rest."""
        self.kernel, self.bias = kernel, bias
        for velocity in self._model.optimizer.velocities:
            velocity.assign(np.zeros(velocity.shape))

    def slow_down(self) -> None:
        """Makes the learning rate smaller."""
        rate = self._model.optimizer.learning_rate
        rate.assign(rate.numpy() * _SLOWER)

    def _sharpness(self) -> float:
        """The largest eigenvalue of the Hessian, of all regressions."""
        self._hessian.refresh()
        found = self._hessian.largest(
            self._vectors,
            tolerance=_SHARPNESS_TOLERANCE,
            max_products=_MAX_PRODUCTS,
        )
        self._vectors = found.vectors
        return float(found.values[0] + found.error_bounds[0])


class _UntilProven(Callback):
    """Ends `fit` where the gradient proves that the optimum is reached.

    Where an objective has risen since the last look, descent overshot, and
    begins again at rest from there. If it rises from rest, too, the loss
    curves more than where the sharpness was measured, and the learning rate
    becomes smaller.

    References:
        O'Donoghue and Candès, Adaptive Restart for Accelerated Gradient
        Schemes, Foundations of Computational Mathematics, 2015,
        arXiv:1204.3982.
    """

    sync = "never"  # `next_sync` says when.

    def __init__(
        self, regressions: SoftmaxRegressions, tolerance: float
    ) -> None:
        super().__init__()
        self._regressions = regressions
        self._tolerance = tolerance
        self.proof = regressions.prove()
        #: Where descent begins again: kernel and bias at the last look.
        self.at = regressions.kernel, self.proof.bias
        self._begins = True  # At rest, at the last look

    @property
    def is_proven(self) -> bool:
        """Whether the gap was small enough at the last look."""
        return bool(np.max(self.proof.gap) <= self._tolerance)

    def next_sync(self, step: int) -> int:
        return (step // LOOK + 1) * LOOK

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        # A block ends at these steps: the model is not ahead of this epoch.
        if (epoch + 1) % LOOK:
            return
        proof = self._regressions.prove()
        limit = self.proof.objective + self._tolerance
        if not np.all(proof.objective <= limit):
            self._regressions.begin(*self.at)
            if self._begins:
                self._regressions.slow_down()
            self._begins = True
            return
        self._begins = False
        self.proof, self.at = proof, (self._regressions.kernel, proof.bias)
        if self.is_proven:
            self.model.stop_training = True

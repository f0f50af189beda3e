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
ROUND = 100  # Steps until curvature is measured again
_SHARPNESS_TOLERANCE = 0.03
_MAX_PRODUCTS = 30
_SLOWER = 0.5


class _Layer(keras.layers.Layer):
    """Logits of several regressions, with L2 on their kernels.

    The kernel is kept as `kernel * scale`, axis by axis, and the bias as
    `bias * bias_scale`, so that the curvature is about the same along all.
    """

    def __init__(self, axes: int, regressions: int, classes: int) -> None:
        super().__init__(dtype="float32")  # Whatever policy is set
        self._shape = regressions, classes
        size = regressions * classes
        self.scale = self.add_weight(
            shape=[axes, 1], initializer="ones", trainable=False, name="scale"
        )
        self.bias_scale = self.add_weight(
            shape=[], initializer="ones", trainable=False, name="bias_scale"
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
        logits = coordinates @ (self.kernel / self.scale)
        logits += self.bias / self.bias_scale
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
            auto_scale_loss=False,
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
        bias = self._layer.bias.numpy() / self._layer.bias_scale.numpy()
        return bias.reshape(self._shape[1:])

    @bias.setter
    def bias(self, bias: np.ndarray) -> None:
        self._layer.bias.assign(bias.ravel() * self._layer.bias_scale.numpy())

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
            max_steps: How many steps there may be, a multiple of `ROUND`.

        Returns:
            How far they are from the optimum now: of a larger gap if there
            were not enough steps, or a callback ended `fit`.
        """
        self._layer.l2.assign(l2)
        for _ in range(0, max_steps, ROUND):
            proving = _UntilProven(self, tolerance)
            if proving.is_proven:
                break
            self._descend(l2, proving)
        return self.prove()

    def _descend(self, l2: float, proving: "_UntilProven") -> None:
        """Some steps, by the curvature where they begin.

        It falls as answers become certain, more along some axes than along
        others: a long descent would become slow.
        """
        self._scale(proving.logits, l2)
        self.begin(*proving.at, np.full(len(self._weights), True))
        self._model.optimizer.learning_rate.assign(1 / self._sharpness())
        done = len(self.losses)
        self._model.fit(
            **self._data,
            shuffle=False,
            initial_epoch=done,
            epochs=done + ROUND,
            verbose=0,
            callbacks=[*self._callbacks, proving],
        )

    def _scale(self, logits: np.ndarray, l2: float) -> None:
        """Makes the curvature about 1; to be followed by `begin`."""
        curvature = axis_curvature(self._coordinates, logits, self._weights)
        self._layer.scale.assign(np.sqrt(curvature + l2)[:, np.newaxis])
        ones = np.ones([len(self._labels), 1])
        curvature = axis_curvature(ones, logits, self._weights)
        # No less than at probabilities of 0.99, lest a step be too long
        self._layer.bias_scale.assign(np.sqrt(max(curvature[0], 0.01)))

    def begin(
        self, kernel: np.ndarray, bias: np.ndarray, which: np.ndarray
    ) -> None:
        """Sets the weights of some regressions, at rest.

        Args:
            kernel, bias: Of all regressions.
            which: Of which to set them, bool `[regressions]`.
        """
        chosen = which[:, np.newaxis]
        self.kernel = np.where(chosen, kernel, self.kernel)
        self.bias = np.where(chosen, bias, self.bias)
        moves = np.repeat(~which, self._shape[2]).astype(np.float32)
        for velocity in self._model.optimizer.velocities:
            velocity.assign(velocity.numpy() * moves)

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

    A regression whose objective has risen since the last look overshot, and
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
        proof = regressions.prove()
        self.logits = proof.logits
        self._objective, self._gap = proof.objective, proof.gap
        #: Where each begins again: kernel and bias at its last good look.
        self.at = regressions.kernel, proof.bias
        self._rests = np.full(len(proof.gap), True)  # At its last good look

    @property
    def is_proven(self) -> bool:
        """Whether all gaps are small enough."""
        return bool(np.max(self._gap) <= self._tolerance)

    def next_sync(self, step: int) -> int:
        return (step // LOOK + 1) * LOOK

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        # Not what `fit` returns: that is a `History` of the user's if there is
        # one, which may have the epochs of several fits.
        self._regressions.losses.append(logs["loss"])
        # A block ends at these steps: the model is not ahead of this epoch.
        if (epoch + 1) % LOOK:
            return
        proof = self._regressions.prove()
        # Also where it is NaN.
        risen = ~(proof.objective <= self._objective + self._tolerance)
        if np.any(risen):
            self._regressions.begin(*self.at, risen)
            if np.any(risen & self._rests):
                self._regressions.slow_down()
        self._rests = risen
        self._objective = np.where(risen, self._objective, proof.objective)
        self._gap = np.where(risen, self._gap, proof.gap)
        kernel, bias = self.at
        chosen = risen[:, np.newaxis]
        self.at = (
            np.where(chosen, kernel, self._regressions.kernel),
            np.where(chosen, bias, proof.bias),
        )
        if self.is_proven:
            self.model.stop_training = True

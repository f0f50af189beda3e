"""Several softmax regressions of the same photos, solved side by side."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from gdtrain.curvature.hessian import Hessian
from gdtrain.curvature.objective import Objective
from gdtrain.images.axes import parts
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


class Proof(NamedTuple):
    """How far regressions are from their optimum, in float64.

    The bias is the best one for the kernel. Then the objective is strongly
    convex in the kernel, by `l2`, and the bound is the duality gap:

        objective - least objective <= gradient_norm**2 / (2 l2)

    Args:
        bias: `[regressions, classes]`.
        logits: `[photos, regressions, classes]`, with this bias.
        objective: `[regressions]`.
        gradient_norm: Of the kernel, `[regressions]`.
        gap: The bound, `[regressions]`.
    """

    bias: np.ndarray
    logits: np.ndarray
    objective: np.ndarray
    gradient_norm: np.ndarray
    gap: np.ndarray


def prove(
    coordinates: np.ndarray,
    labels: np.ndarray,
    weights: np.ndarray,
    kernel: np.ndarray,
    bias: np.ndarray,
    l2: float,
) -> Proof:
    """Computes a `Proof`.

    Args:
        coordinates: Float `[photos, axes]`.
        labels: Integers `[photos]`.
        weights: Of the photos in each regression, each row adding up to 1,
            `[regressions, photos]`.
        kernel: `[axes, regressions, classes]`.
        bias: Where to begin, `[regressions, classes]`.
        l2: The strength of L2.
    """
    axes, count, classes = kernel.shape
    flat = np.asarray(kernel, np.float64).reshape(axes, -1)
    logits = np.empty([len(labels), count, classes])
    for part in parts(len(labels)):
        product = coordinates[part].astype(np.float64) @ flat
        logits[part] = product.reshape(-1, count, classes)
    targets = np.eye(classes)[labels]
    bias = np.array(bias, np.float64)
    residuals = np.empty_like(logits)
    objective = l2 / 2 * np.sum(np.square(flat).reshape(kernel.shape), (0, 2))
    for i, weight in enumerate(weights):
        bias[i] = best_bias(logits[:, i], targets, weight, bias[i])
        logits[:, i] += bias[i]
        logs = log_softmax(logits[:, i])
        residuals[:, i] = weight[:, np.newaxis] * (np.exp(logs) - targets)
        objective[i] -= weight @ np.sum(logs * targets, axis=1)
    gradient = l2 * flat
    for part in parts(len(labels)):
        turned = coordinates[part].astype(np.float64).T
        gradient += turned @ residuals[part].reshape(turned.shape[1], -1)
    squares = np.sum(np.square(gradient).reshape(kernel.shape), axis=(0, 2))
    return Proof(bias, logits, objective, np.sqrt(squares), squares / (2 * l2))


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """The logarithms of probabilities, over the last axis.

    Example:

    >>> np.exp(log_softmax(np.log([[1.0, 3.0]]))).round(6).tolist()
    [[0.25, 0.75]]
    """
    logits = logits - np.max(logits, axis=-1, keepdims=True)
    return logits - np.log(np.sum(np.exp(logits), axis=-1, keepdims=True))


def axis_curvature(
    coordinates: np.ndarray, logits: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """The curvature of the cross-entropy along each axis.

        mean over photos of coordinate**2
                            * (1 - sum(probabilities**2)) / (classes - 1)

    The second factor is the mean eigenvalue of the Hessian by logits, leaving
    out adding the same to all, which changes nothing.

    Args:
        coordinates: `[photos, axes]`.
        logits: `[photos, regressions, classes]`.
        weights: `[regressions, photos]`, each row adding up to 1.

    Returns:
        The mean over regressions, float64 `[axes]`.

    Example:

    >>> axis_curvature(np.array([[1.0, 2.0]]), np.zeros([1, 1, 2]), np.eye(1))
    array([0.5, 2. ])
    """
    squares = np.sum(np.exp(2 * log_softmax(logits)), axis=-1)
    by_logits = (1 - squares) / (logits.shape[-1] - 1)
    factors = np.mean(weights.T * by_logits, axis=1)
    found = np.zeros(coordinates.shape[1])
    for part in parts(len(coordinates)):
        found += factors[part] @ np.square(coordinates[part], dtype=np.float64)
    return found


def best_bias(
    logits: np.ndarray,
    targets: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray,
) -> np.ndarray:
    """The bias with the least cross-entropy, by Newton's method.

    Args:
        logits: Without bias, `[photos, classes]`.
        targets: One-hot labels, `[photos, classes]`; of each class some.
        weight: Of the photos, `[photos]`.
        bias: Where to begin, `[classes]`.

    Returns:
        `[classes]`, with a mean of 0.

    Example:

    >>> targets = np.eye(2)[[0, 1, 1, 1]]
    >>> bias = best_bias(np.zeros([4, 2]), targets, np.ones(4) / 4, np.zeros(2))
    >>> np.exp(log_softmax(bias)).round(6).tolist()  # As frequent as classes
    [0.25, 0.75]
    """
    shares = weight @ targets

    def loss_at(bias: np.ndarray) -> tuple[float, np.ndarray]:
        logs = log_softmax(logits + bias)
        return -float(weight @ np.sum(logs * targets, axis=1)), np.exp(logs)

    loss, chances = loss_at(bias)
    for _ in range(50):
        gradient = weight @ chances - shares
        if np.max(np.abs(gradient)) < 1e-14:
            break
        curvature = np.diag(weight @ chances)
        curvature -= (chances * weight[:, np.newaxis]).T @ chances
        # Adding the same to each class changes nothing: made invertible there.
        step = np.linalg.lstsq(curvature + 1 / len(bias), gradient)[0]
        tried, tried_chances = loss_at(bias - step)
        while tried > loss + 1e-12 and np.max(np.abs(step)) > 1e-12:
            step /= 2
            tried, tried_chances = loss_at(bias - step)
        bias, loss, chances = bias - step, tried, tried_chances
    return bias - np.mean(bias)


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
            The last `Proof`; of a larger gap if that took all steps.
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
        return proving.proof

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

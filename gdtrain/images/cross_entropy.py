"""Softmax regressions in float64: how far they are from their optimum."""

from typing import NamedTuple

import numpy as np

from gdtrain.images.axes import parts


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

"""Probabilities of classes, from whatever a classifier outputs."""

import numpy as np
from numpy.typing import ArrayLike


def probabilities(
    outputs: ArrayLike, from_logits: bool | None = None
) -> np.ndarray:
    """Turns the outputs of a classifier into probabilities.

    Args:
        outputs: Float `[n, k]`: logits or probabilities of k classes; with
            k = 1, of the second of two classes.
        from_logits: Whether they are logits. By default they are, unless they
            look like probabilities: between 0 and 1 and, if k > 1, of sum 1.

    Returns:
        Float64 `[n, k]`, `[n, 2]` for k = 1. NaN where the model is broken.

    Raises:
        ValueError: if `outputs` has a different shape.

    Example:

    >>> probabilities(np.array([[0.0, 0.0], [800.0, 0.0]])).tolist()
    [[0.5, 0.5], [1.0, 0.0]]
    >>> probabilities(np.array([[0.25]])).tolist()
    [[0.75, 0.25]]
    """
    outputs = np.asarray(outputs, np.float64)
    if outputs.ndim != 2 or not outputs.shape[1]:
        raise ValueError(
            "The model's output must be [examples, classes]. Received: "
            f"outputs of shape {list(outputs.shape)}. Use a model that "
            "classifies whole pictures."
        )
    if outputs.shape[1] == 1:  # Two logits whose difference it is
        second = outputs[:, 0]
        if from_logits or from_logits is None and not _are_shares(second):
            return _softmax(np.stack([np.zeros_like(second), second], 1))
        return np.stack([1 - second, second], 1)
    if from_logits is None:
        from_logits = not (
            _are_shares(outputs)
            and np.allclose(outputs.sum(1), 1, rtol=0, atol=1e-2)
        )
    return _softmax(outputs) if from_logits else outputs


def _are_shares(numbers: np.ndarray) -> bool:
    """Whether all are between 0 and 1; rounding may leave a bit more."""
    return bool(((numbers >= 0) & (numbers <= 1 + 1e-3)).all())


def _softmax(logits: np.ndarray) -> np.ndarray:
    """Softmax of each row; NaN, without a warning, for infinities."""
    with np.errstate(invalid="ignore"):
        powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)

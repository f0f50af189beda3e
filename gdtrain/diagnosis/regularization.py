"""Weight decay and regularizers: how strong they are."""

from typing import NamedTuple

import keras
import numpy as np

from gdtrain.curvature.hessian import preconditioner_of
from gdtrain.curvature.objective import Objective
from gdtrain.diagnosis.sample import Sample
from gdtrain.keras_bridge.optimizers import unwrapped
from gdtrain.optimizers import GradientDescent

_EXAMPLES = 256
_PLAIN = (keras.optimizers.SGD, GradientDescent)  # Steps along the gradient


class Regularization(NamedTuple):
    """How strong weight decay and regularizers are.

    Args:
        strength: See `strength`.
        gradient_share: |r| / (|r| + |g|), with r what they add to the
            gradient, and g the gradient of the loss alone: 0.5 where training
            with them has come to rest. `None` if it is not known.
    """

    strength: float
    gradient_share: float | None


def strength(model: keras.Model) -> float:
    """The optimizer's weight decay, else the largest factor of a regularizer.

    0 if there is neither; factors are known of Keras's L1 and L2.

    Example:

    >>> model = keras.Sequential([keras.Input([1]), keras.layers.Dense(1)])
    >>> model.compile(keras.optimizers.AdamW(weight_decay=0.1))
    >>> strength(model)
    0.1
    """
    decay = float(unwrapped(model.optimizer).weight_decay or 0.0)
    factors = [
        float(np.asarray(getattr(weight.regularizer, name, 0.0)))
        for weight in model.trainable_variables
        for name in ("l1", "l2")
    ]
    return decay or max(factors, default=0.0)


def gradient_share(model: keras.Model, sample: Sample) -> float | None:
    """The share of the gradient that regularization makes, at the weights now.

    Weight decay counts as the gradient weight_decay * P * w, which moves
    weights as far through an optimizer that divides gradients by P.

    Returns:
        See `Regularization`.
    """
    objective = Objective(
        model, *sample.parts, examples=min(_EXAMPLES, sample.examples)
    )
    weights = objective.weights
    with_regularizers = _arrays(objective.gradient()[1])
    before = [weight.regularizer for weight in weights]
    try:
        for weight in weights:
            weight.regularizer = None
        of_loss = _arrays(
            Objective(
                model, *sample.parts, examples=min(_EXAMPLES, sample.examples)
            ).gradient()[1]
        )
    finally:
        for weight, regularizer in zip(weights, before, strict=True):
            weight.regularizer = regularizer
    added = with_regularizers - of_loss
    inner = unwrapped(model.optimizer)
    if inner.weight_decay:
        scales = preconditioner_of(model.optimizer, weights)
        if scales is None and not isinstance(inner, _PLAIN):
            return None
        values = _arrays(objective.values())
        scale = 1.0 if scales is None else _arrays(scales)
        added = added + float(inner.weight_decay) * scale * values
    sizes = np.linalg.norm(added), np.linalg.norm(of_loss)
    return float(sizes[0] / sum(sizes)) if sizes[0] else 0.0


def _arrays(tensors: list) -> np.ndarray:
    """Tensors as one vector."""
    parts = [np.asarray(tensor, np.float64).ravel() for tensor in tensors]
    return np.concatenate(parts)

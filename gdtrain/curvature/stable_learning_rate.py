"""How large the learning rate may be, by optimizer and curvature."""

import math
from typing import NamedTuple

import keras
from keras.optimizers import Optimizer

from gdtrain.keras_bridge.optimizers import unwrapped
from gdtrain.optimizers import GradientDescent


class Limit(NamedTuple):
    """Where an optimizer stops being stable.

        stable learning rate = product / sharpness

    Args:
        product: The largest stable learning rate times sharpness; `None` if
            that is not known.
        is_preconditioned: Whether the sharpness is that of the Hessian
            divided by the preconditioner P, P**-0.5 H P**-0.5.
        words: What the product is made from, or why it is not known.
    """

    product: float | None
    is_preconditioned: bool
    words: str

    def learning_rate(self, sharpness: float) -> float | None:
        """The largest stable learning rate.

        Args:
            sharpness: The largest eigenvalue of the (preconditioned) Hessian.

        Returns:
            A `float`, infinite where the loss does not curve upwards; `None`
            if the limit is not known.
        """
        if self.product is None or math.isnan(sharpness):
            return None
        return self.product / sharpness if sharpness > 0 else math.inf


def limit_of(
    optimizer: keras.optimizers.Optimizer | None, minibatch_noise: bool = False
) -> Limit:
    """The product of learning rate and sharpness at the edge of stability.

    On a quadratic loss, descent diverges along an eigenvector of the Hessian
    when learning_rate * eigenvalue is above

        2                                  plain descent
        2 * (1 + momentum)                 heavy ball
        2 * (1 + momentum)
          / (1 + 2 * momentum)             Nesterov's momentum
        2 * (1 + beta_1) / (1 - beta_1)    Adam, AdamW: of P**-0.5 H P**-0.5
        2 * (1 + momentum)                 RMSprop: of P**-0.5 H P**-0.5

    with the preconditioner P as it stands; 38 for Adam at beta_1 = 0.9. They
    hold for a gradient of all the data. Where a step's gradient is mostly
    noise of a small batch, momentum adds up that noise, and the limit is

        2 * (1 - momentum)                 heavy ball, small batches

    of the curvature of a batch along its own gradient, which is larger than
    that of all the data: the limit by the sharpness of all the data is an
    upper bound.

    Not considered are decoupled weight decay (which lowers the limit by the
    share learning_rate * weight_decay or less) and clipping (which keeps a
    diverging loss from growing).

    Args:
        optimizer: A Keras optimizer; `None` if there is none.
        minibatch_noise: Whether gradients are mostly noise of small batches.
            Defaults to `False`.

    Returns:
        A `Limit`; its `product` is `None` where no limit is known.

    Example:

    >>> import keras
    >>> limit_of(keras.optimizers.SGD(momentum=0.9)).product
    3.8
    >>> limit_of(keras.optimizers.Lion()).words
    'the limit of Lion is not known'

    References:
        Cohen et al., Gradient Descent on Neural Networks Typically Occurs at
        the Edge of Stability, ICLR 2021, arXiv:2103.00065, section 2 and
        appendix B (momentum, Nesterov's). Cohen et al., 2022,
        arXiv:2207.14484, section 2 (Adam, RMSprop). Andreyev et al., 2026,
        arXiv:2604.14108 (small batches).
    """
    if optimizer is None:
        return Limit(None, False, "the model has no optimizer")
    optimizer = unwrapped(optimizer)
    name = type(optimizer).__name__
    # Exactly these classes: a subclass may differ.
    if type(optimizer) in (keras.optimizers.SGD, GradientDescent):
        return _of_descent(optimizer, name, minibatch_noise)
    if type(optimizer) in _ADAPTIVE:
        return _of_adaptive(optimizer, name, minibatch_noise)
    return Limit(None, False, f"the limit of {name} is not known")


_ADAPTIVE = (
    keras.optimizers.Adam,
    keras.optimizers.AdamW,
    keras.optimizers.RMSprop,
)


def _of_descent(
    optimizer: Optimizer, name: str, minibatch_noise: bool
) -> Limit:
    """The limit of descent on the gradient itself."""
    momentum = optimizer.momentum
    if not momentum:
        return Limit(2.0, False, f"2 / sharpness, for {name}")
    if optimizer.nesterov and minibatch_noise:
        words = "Nesterov's momentum with small batches"
        return Limit(None, False, f"the limit of {words} is not known")
    product, words, kind = 2 * (1 + momentum), "2 (1 + momentum)", ""
    if minibatch_noise:
        product, words = 2 * (1 - momentum), "2 (1 - momentum)"
        kind = ", small batches"
    elif optimizer.nesterov:
        product /= 1 + 2 * momentum
        words, kind = f"{words} / (1 + 2 momentum)", ", nesterov"
    words = f"{words} / sharpness, for {name} with momentum={momentum:g}{kind}"
    return Limit(product, False, words)


def _of_adaptive(
    optimizer: Optimizer, name: str, minibatch_noise: bool
) -> Limit:
    """The limit of descent on a preconditioned gradient."""
    is_rmsprop = isinstance(optimizer, keras.optimizers.RMSprop)
    unknown = ""
    if minibatch_noise:
        unknown = f"{name} with small batches"
    elif is_rmsprop and optimizer.centered:
        unknown = f"centered {name}"
    if unknown:
        return Limit(None, True, f"the limit of {unknown} is not known")
    if is_rmsprop:
        product = 2 * (1 + optimizer.momentum)
        words = "2 (1 + momentum)" if optimizer.momentum else "2"
    else:
        product = 2 * (1 + optimizer.beta_1) / (1 - optimizer.beta_1)
        words = "2 (1 + beta_1) / (1 - beta_1)"
    words += f" / preconditioned sharpness, for {name}"
    return Limit(product, True, words)

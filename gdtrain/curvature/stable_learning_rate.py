"""How large the learning rate may be, by optimizer and curvature."""

import math
from typing import NamedTuple

import keras

from gdtrain.curvature import preconditioner
from gdtrain.descent.gradient_descent import GradientDescent


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

    def learning_rate(self, sharpness):
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


def limit_of(optimizer, small_batches=False):
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

    of the curvature that a batch sees along its own gradient, which is larger
    than that of all the data; so that, measured over all the data, the
    limit is an upper one.

    Left out are weight decay that the optimizer does by itself (which
    shrinks the limit by the share learning_rate * weight_decay or less) and
    clipping (which keeps a diverging run from growing).

    Args:
        optimizer: A Keras optimizer; `None` if there is none.
        small_batches: Whether noise of small batches rules. Defaults to
            `False`.

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
    optimizer = preconditioner.inner(optimizer)
    name = type(optimizer).__name__
    # The very classes: a subclass may do something else.
    if type(optimizer) in _DESCENT:
        return _of_descent(optimizer, name, small_batches)
    if type(optimizer) in _ADAPTIVE:
        return _of_adaptive(optimizer, name, small_batches)
    return Limit(None, False, f"the limit of {name} is not known")


_DESCENT = (keras.optimizers.SGD, GradientDescent)
_ADAPTIVE = (
    keras.optimizers.Adam,
    keras.optimizers.AdamW,
    keras.optimizers.RMSprop,
)


def _of_descent(optimizer, name, small_batches):
    """The limit of descent on the gradient itself."""
    momentum = optimizer.momentum
    if not momentum:
        return Limit(2.0, False, f"2 / sharpness, for {name}")
    kind = f"{name} with momentum={momentum:g}"
    if optimizer.nesterov and small_batches:
        return Limit(
            None,
            False,
            "the limit of Nesterov's momentum with small batches is not known",
        )
    if small_batches:
        words = f"2 (1 - momentum) / sharpness, for {kind}, small batches"
        return Limit(2 * (1 - momentum), False, words)
    if optimizer.nesterov:
        product = 2 * (1 + momentum) / (1 + 2 * momentum)
        words = f"2 (1 + momentum) / (1 + 2 momentum) / sharpness, for {kind}"
        return Limit(product, False, f"{words}, nesterov")
    words = f"2 (1 + momentum) / sharpness, for {kind}"
    return Limit(2 * (1 + momentum), False, words)


def _of_adaptive(optimizer, name, small_batches):
    """The limit of descent on a preconditioned gradient."""
    if small_batches:
        return Limit(
            None, True, f"the limit of {name} with small batches is not known"
        )
    if getattr(optimizer, "centered", False):
        return Limit(None, True, f"the limit of centered {name} is not known")
    if isinstance(optimizer, keras.optimizers.RMSprop):
        product = 2 * (1 + optimizer.momentum)
        words = "2 (1 + momentum)" if optimizer.momentum else "2"
    else:
        product = 2 * (1 + optimizer.beta_1) / (1 - optimizer.beta_1)
        words = "2 (1 + beta_1) / (1 - beta_1)"
    words += f" / preconditioned sharpness, for {name}"
    return Limit(product, True, words)

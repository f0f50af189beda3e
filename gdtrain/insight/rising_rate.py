"""What a rising learning rate leaves of momentum."""

import keras

from gdtrain.descent.gradient_descent import GradientDescent

# Their velocity is made of steps as long as they were at their own rates;
# that of Adam and others is made of gradients alone. The very classes: a
# subclass may do something else.
_OF_STEPS = (
    keras.optimizers.SGD,
    keras.optimizers.RMSprop,
    GradientDescent,
)


def constant_share(optimizer, growth):
    """The constant rate that moves as far as a rising one, as a share of it.

    Momentum adds up the steps before. If the rate rises by the factor
    `growth` from each to the next, these were smaller than they are once the
    rate stays, so that a range test sees a rate do less than it will:

        (1 - momentum) / (1 - momentum / growth)

    With Nesterov's momentum, of which the last step counts once more:

        (1 - momentum) * (1 + momentum / (1 - momentum / growth))

    Args:
        optimizer: A Keras optimizer.
        growth: The factor, 1 or more.

    Returns:
        A `float`; 1 for optimizers that add up no steps, and for a momentum
        of 1, of which no constant rate does as much.

    Example:

    >>> import keras
    >>> round(constant_share(keras.optimizers.SGD(momentum=0.9), 1.5), 3)
    0.25
    >>> constant_share(keras.optimizers.Adam(), 1.5)
    1.0
    """
    if type(optimizer) not in _OF_STEPS or optimizer.momentum in (0, 1):
        return 1.0
    momentum = optimizer.momentum
    kept = 1 / (1 - momentum / growth)
    if getattr(optimizer, "nesterov", False):
        kept = 1 + momentum * kept
    return (1 - momentum) * kept

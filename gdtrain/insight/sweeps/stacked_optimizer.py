"""One optimizer for several runs, each with a learning rate of its own."""

import keras
import tensorflow as tf

from gdtrain import keras_bridge
from gdtrain.descent.gradient_descent import GradientDescent

# Those that move each number by itself, so that numbers of several runs can
# be moved together. Others, as Lamb, look at a weight as a whole.
_KNOWN = (
    GradientDescent,
    keras.optimizers.Adadelta,
    keras.optimizers.Adagrad,
    keras.optimizers.Adam,
    keras.optimizers.Adamax,
    keras.optimizers.AdamW,
    keras.optimizers.Ftrl,
    keras.optimizers.Lion,
    keras.optimizers.Nadam,
    keras.optimizers.RMSprop,
    keras.optimizers.SGD,
)


def why_not(optimizer):
    """Why an optimizer cannot serve several runs; `None` if it can."""
    name = type(optimizer).__name__
    if type(optimizer) not in _KNOWN:
        return f"{name} is not known to move each number by itself"
    if optimizer.use_ema:
        return f"{name} keeps averages of weights (use_ema)"
    if keras_bridge.excludes_from_weight_decay(optimizer):
        return f"{name} excludes some weights from weight decay"
    if int(optimizer.iterations.numpy()):
        return f"{name} has taken steps before"
    return None


def stacked(optimizer, learning_rates):
    """An optimizer like another one, for weights `[runs, size]`.

    Clipping is left out: it is done for each run by itself.

    Args:
        optimizer: One that `why_not` has nothing against.
        learning_rates: Of the runs, floats.
    """
    column = tf.constant([[rate] for rate in learning_rates], tf.float32)
    config = {
        **optimizer.get_config(),
        "learning_rate": lambda: column,
        "clipnorm": None,
        "clipvalue": None,
        "global_clipnorm": None,
    }
    return type(optimizer).from_config(config)

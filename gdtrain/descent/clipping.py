"""Clipping, after the mean and never before it."""

import tensorflow as tf

from gdtrain import keras_bridge
from gdtrain.descent import replicas
from gdtrain.descent.gradients import dense


def clip(gradients, global_clipnorm, optimizer):
    """Scales gradients so that their global norm is at most a limit.

        gradient <- gradient * min(1, global_clipnorm / global_norm)

    Gradients of norm 0 stay 0; if one is not finite, all become NaN.

    Args:
        gradients: A list of tensors or indexed slices; `None` stays `None`.
            Means over micro-batches and replicas.
        global_clipnorm: The limit, or `None` for none.
        optimizer: The Keras optimizer that will apply the gradients. On
            several replicas it would clip by `clipnorm`, `global_clipnorm` or
            `clipvalue` of its own before adding them up, which is too early;
            so that is done here, and then changes nothing there.

    Returns:
        A list like `gradients`.

    References:
        Pascanu et al., ICML 2013, arXiv:1211.5063, section 3.2. On one
        replica, the numbers of `keras.optimizers.Optimizer(global_clipnorm)`.
    """
    if global_clipnorm is not None:
        # The norm of indexed slices would count a repeated row's parts apart.
        gradients, _ = tf.clip_by_global_norm(
            [dense(g) for g in gradients], global_clipnorm
        )
    if replicas.count() > 1:
        inner = getattr(optimizer, "inner_optimizer", optimizer)
        present = [g for g in gradients if g is not None]
        clipped = iter(keras_bridge.clip_as(inner, present))
        gradients = [None if g is None else next(clipped) for g in gradients]
    return gradients

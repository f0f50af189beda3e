"""Clipping, after the mean and never before it."""

from typing import Any

import tensorflow as tf

from gdtrain.descent import replicas
from gdtrain.descent.gradients import Gradient, dense, mapped
from gdtrain.keras_bridge import optimizers
from gdtrain.keras_bridge.optimizers import unwrapped


def clip(
    gradients: list[Gradient | None],
    global_clipnorm: float | None,
    optimizer: Any,
    twice: bool = False,
) -> list[Gradient | None]:
    """Scales gradients so that their global norm is at most a limit.

        gradient <- gradient * min(1, global_clipnorm / global_norm)

    Gradients of norm 0 stay 0; if one is not finite, all become NaN. A finite
    gradient stays finite, also where the square of a number is not: that of
    1e20 is more than float32 holds, and Keras makes NaN or 0 of such a
    gradient.

    Args:
        gradients: A list of tensors or indexed slices; `None` stays `None`.
            Means over micro-batches and replicas.
        global_clipnorm: The limit, or `None` for none.
        optimizer: The Keras optimizer that will apply the gradients. On
            several replicas it would clip by `clipnorm`, `global_clipnorm` or
            `clipvalue` of its own before adding them up, which is too early;
            so that is done here, and then changes nothing there.
        twice: Whether it is done here on one replica, too, to round equally.

    Returns:
        A list like `gradients`.

    References:
        Pascanu et al., ICML 2013, arXiv:1211.5063, section 3.2. On one
        replica, the numbers of `keras.optimizers.Optimizer(global_clipnorm)`.
    """
    present = [g for g in gradients if g is not None]
    if not present:
        return gradients
    if global_clipnorm is not None:
        # The norm of indexed slices would count a repeated row's parts apart.
        present = _clipped([dense(g) for g in present], global_clipnorm)
    inner = unwrapped(optimizer)
    present = _within_range(present, inner)
    if twice or replicas.count() > 1:
        present = optimizers.clip_gradients(inner, present)
    clipped = iter(present)
    return [None if g is None else next(clipped) for g in gradients]


def _clipped(gradients: list[tf.Tensor], limit: float) -> list[tf.Tensor]:
    """Gradients clipped together.

    Where squares do not overflow, the numbers of `tf.clip_by_global_norm`.
    """
    norm = tf.linalg.global_norm(gradients)
    return tf.cond(
        tf.math.is_finite(norm),
        lambda: tf.clip_by_global_norm(gradients, limit, norm)[0],
        lambda: _clipped_exactly(gradients, limit),
    )


def _clipped_exactly(gradients: list[Gradient], limit: float) -> list[Gradient]:
    """As `_clipped`, by float64; NaN if a gradient is not finite."""
    squares = tf.add_n([_squares(g) for g in gradients])
    factor = tf.minimum(limit / tf.sqrt(squares), 1.0)
    nan = tf.constant(float("nan"), tf.float64)
    factor = tf.where(tf.math.is_finite(squares), factor, nan)
    # The factor may be too small for float32.
    return [
        mapped(g, lambda v: tf.cast(tf.cast(v, tf.float64) * factor, v.dtype))
        for g in gradients
    ]


def _squares(gradient: Gradient) -> tf.Tensor:
    """The sum of squares of a gradient in float64, which does not overflow."""
    if isinstance(gradient, tf.IndexedSlices):
        gradient = gradient.values
    return 2.0 * tf.nn.l2_loss(tf.cast(gradient, tf.float64))


def _within_range(gradients: list[Gradient], optimizer: Any) -> list[Gradient]:
    """Gradients whose norm an optimizer's own clipping can compute.

    All but those whose squares overflow are left as they are. The others come
    with the norm that it clips to, which leaves them alone.
    """
    of_each = getattr(optimizer, "clipnorm", None)  # It may be `None`.
    limit = of_each or getattr(optimizer, "global_clipnorm", None)
    if not limit:
        return gradients
    groups = [[g] for g in gradients] if of_each else [gradients]
    return tf.cond(
        tf.math.is_finite(tf.linalg.global_norm(gradients)),
        lambda: gradients,
        lambda: [
            one for group in groups for one in _clipped_exactly(group, limit)
        ],
    )

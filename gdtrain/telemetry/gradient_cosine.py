"""Whether gradients of consecutive steps point the same way."""

import tensorflow as tf

from gdtrain.telemetry import norms
from gdtrain.telemetry.quantity import Parts, Quantity


class GradientCosine(Quantity):
    """Cosine of the angle to the gradient of the step before.

        gradient_cosine = sum(gradient * before) / norm(gradient) / norm(before)

    For the whole model, and for each layer. Near 1 along a slope; negative
    where descent jumps from one side of a valley to the other, as it does
    with too large a learning rate; about 0 where the noise of small batches
    prevails. NaN if it cannot be known: at the first step, after steps that
    were not measured, and for a gradient of zero.

    Cost: a copy of the gradients that is kept, and two passes over it; some
    15% of a small MLP's step, within the noise of a convolutional network's.

    References:
        Balles and Hennig, Gradients as features for deep hyperparameter
        optimization, 2016; on oscillation: Cohen et al., ICLR 2021,
        arXiv:2103.00065, appendix.

    Example:

    >>> GradientCosine().name
    'gradient_cosine'
    """

    name = "gradient_cosine"
    looks_back = True

    def measure(self, record):
        """The whole, and `Parts` by layer."""
        now = [tf.cast(g, tf.float32) for g in record.gradients]
        before = record.keep(
            self.name, lambda: [tf.zeros(g.shape) for g in now]
        )
        (step_before,) = record.keep(
            f"{self.name}/step", lambda: [tf.constant(-1)]
        )
        kept = [tf.identity(variable) for variable in before]
        names: list[str] = []

        def numbers():
            (names[:], dots), (_, now_squares), (_, kept_squares) = (
                norms.whole_and_by_layer(values, record.layers)
                for values in (
                    norms.dot_products(now, kept),
                    norms.squared_norms(now),
                    norms.squared_norms(kept),
                )
            )
            # Not divided by each root: where nothing else uses it, TensorFlow
            # makes `rsqrt` of such a division, which has other bits.
            lengths = tf.sqrt(now_squares) * tf.sqrt(kept_squares)
            return tf.cast(dots / lengths, tf.float32)

        cosines = norms.exactly(numbers)
        is_next = tf.equal(record.step, step_before + 1)
        cosines = tf.where(is_next, cosines, float("nan"))
        for variable, gradient in zip(before, now, strict=True):
            variable.assign(gradient)
        step_before.assign(record.step)
        return {self.name: Parts(names, cosines)}

"""How large a batch has to be for its gradient to be more than noise."""

import tensorflow as tf

from gdtrain.telemetry import norms
from gdtrain.telemetry.quantity import Quantity
from gdtrain.telemetry.unknown import say_left_out


class GradientNoiseScale(Quantity):
    """Variance of the gradient of an example over its mean, in examples.

        gradient_noise_scale = trace(covariance of an example's gradient)
                               / norm(true gradient) ** 2

    Batches well below it are mostly noise, so that twice the batch is worth
    nearly twice the learning rate; batches well above it waste examples.

    It takes the gradients of the k parts of a batch of B examples, which are
    its micro-batches, on each replica:

        noise = (mean of norm(part) ** 2 - norm(batch) ** 2) * B / (k - 1)
        signal = norm(batch) ** 2 - noise / B

    Both are averaged over about the last 100 times that it was measured, as
    one of them says little; their quotient is NaN until the signal is
    positive. It cannot be known from a batch of one part: then it is left
    out, and the log ("gdtrain") says so.

    Cost: one pass over the gradient of each part.

    References:
        McCandlish et al., An Empirical Model of Large-Batch Training, 2018,
        arXiv:1812.06162, section 2.2 and appendix A.1.

    Example:

    >>> GradientNoiseScale().name
    'gradient_noise_scale'
    """

    name = "gradient_noise_scale"
    needs = frozenset({"parts"})

    _DECAY = 0.99

    def measure(self, record):
        """`{"gradient_noise_scale": scalar}`; nothing if unknown."""
        if record.parts is None:
            say_left_out(
                self.name,
                "it needs a batch of several parts: "
                "compile(microbatches=2), or several replicas",
            )
            return {}
        examples, count, squared_norm = record.parts
        whole = tf.reduce_sum(norms.squared_norms(record.gradients))
        noise = (squared_norm - whole) * examples / (count - 1.0)
        signal = whole - noise / examples
        (kept,) = record.keep(self.name, lambda: [tf.zeros([2])])
        means = self._DECAY * kept + (1 - self._DECAY) * tf.stack(
            [noise, signal]
        )
        # An update that is not finite, or of one part only, tells nothing.
        means = tf.where(tf.reduce_all(tf.math.is_finite(means)), means, kept)
        kept.assign(means)
        scale = tf.where(means[1] > 0, means[0] / means[1], float("nan"))
        return {self.name: scale}

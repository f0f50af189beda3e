"""How much gradients differ: from step to step, and within a batch."""

import tensorflow as tf

from gdtrain.telemetry import norms
from gdtrain.telemetry.quantity import Measured, Quantity, Scalars
from gdtrain.telemetry.record import Record


class GradientCosine(Quantity):
    """Cosine of the angle to the gradient of the step before.

        gradient_cosine = sum(gradient * before) / norm(gradient) / norm(before)

    For the whole model, and for each layer. Near 1 along a slope; negative
    where descent jumps from one side of a valley to the other, as it does
    with too large a learning rate; about 0 where the noise of small batches
    prevails. NaN where it is unknown: at the first step, after steps that
    were not measured, and for a gradient of zero.

    Columns: `gradient_cosine`, `gradient_cosine/<layer>`

    Unit: none, from -1 to 1.

    Cost: a copy of the gradients that is kept, and two passes over it.

    References:
        Balles and Hennig, Gradients as features for deep hyperparameter
        optimization, 2016; on oscillation: Cohen et al., ICLR 2021,
        arXiv:2103.00065, appendix.

    Example:

    >>> from gdtrain.telemetry.measurement import evaluate
    >>> from gdtrain.telemetry.record import StepVariables
    >>> keep = StepVariables().keep
    >>> for step, gradient in enumerate([[1.0, 0.0], [-2.0, 0.0]]):
    ...     evaluate(
    ...         GradientCosine(),
    ...         gradients=[tf.constant(gradient)],
    ...         layers=["line"],
    ...         step=tf.constant(step + 1),
    ...         keep=keep,
    ...     )
    {'gradient_cosine': nan, 'gradient_cosine/line': nan}
    {'gradient_cosine': -1.0, 'gradient_cosine/line': -1.0}
    """

    name = "gradient_cosine"
    looks_back = True

    def measure(self, record: Record) -> Measured:
        """Of the whole model, and by layer."""
        now = [tf.cast(g, tf.float32) for g in record.gradients]
        before = record.keep(
            self.name, lambda: [tf.zeros(g.shape) for g in now]
        )
        (step_before,) = record.keep(
            f"{self.name}/step", lambda: [tf.constant(-1)]
        )
        kept = [tf.identity(variable) for variable in before]
        names: list[str] = []

        def numbers() -> tf.Tensor:
            (names[:], dots), (_, now_squares), (_, kept_squares) = (
                norms.whole_and_by_layer(values, record.layers)
                for values in (
                    norms.dot_products(now, kept),
                    norms.squared_norms(now),
                    norms.squared_norms(kept),
                )
            )
            # Not divided by each root: TensorFlow turns such a division into
            # `rsqrt`, which rounds otherwise, unless something else uses it.
            lengths = tf.sqrt(now_squares) * tf.sqrt(kept_squares)
            return tf.cast(dots / lengths, tf.float32)

        cosines = norms.exactly(numbers)
        is_next = tf.equal(record.step, step_before + 1)
        cosines = tf.where(is_next, cosines, float("nan"))
        for variable, gradient in zip(before, now, strict=True):
            variable.assign(gradient)
        step_before.assign(record.step)
        return {self.name: Scalars(names, cosines)}


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

    Both are averaged over about the last 100 measurements, as a single one
    is too noisy; their quotient is NaN until the signal is positive. It is
    unknown for a batch of one part; then nothing is measured, and the log
    ("gdtrain") says so.

    Columns: `gradient_noise_scale`

    Unit: examples.

    Cost: one pass over the gradient of each part.

    References:
        McCandlish et al., An Empirical Model of Large-Batch Training, 2018,
        arXiv:1812.06162, section 2.2 and appendix A.1.

    Example:

    >>> from gdtrain.telemetry.measurement import evaluate
    >>> from gdtrain.telemetry.record import GradientParts
    >>> two, mean = tf.constant(2.0), tf.constant(14.0)
    >>> parts = GradientParts(examples=two, count=two, squared_norm=mean)
    >>> evaluate(
    ...     GradientNoiseScale(),
    ...     gradients=[tf.constant([3.0, 2.0])],  # Of (2, 2) and (4, 2)
    ...     gradient_parts=parts,
    ... )
    {'gradient_noise_scale': 0.166...}
    """

    name = "gradient_noise_scale"
    needs = frozenset({"gradient_parts"})

    _DECAY = 0.99

    def measure(self, record: Record) -> Measured:
        """The scale; nothing if it is unknown."""
        if record.gradient_parts is None:
            return self.skip(
                "it needs a batch of several parts: "
                "compile(microbatches=2), or several replicas"
            )
        examples, count, squared_norm = record.gradient_parts
        whole = tf.reduce_sum(norms.squared_norms(record.gradients))
        noise = (squared_norm - whole) * examples / (count - 1.0)
        signal = whole - noise / examples
        (kept,) = record.keep(self.name, lambda: [tf.zeros([2])])
        means = self._DECAY * kept + (1 - self._DECAY) * tf.stack(
            [noise, signal]
        )
        # An update that is not finite, or of one part only, does not count.
        means = tf.where(tf.reduce_all(tf.math.is_finite(means)), means, kept)
        kept.assign(means)
        scale = tf.where(means[1] > 0, means[0] / means[1], float("nan"))
        return {self.name: scale}

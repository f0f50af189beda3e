"""Why an update of finite gradients is not finite: it is tried otherwise."""

import contextlib

import keras
import numpy as np
import tensorflow as tf

from gdtrain.descent.gradients import dense
from gdtrain.telemetry.record import with_rates

_DECAYS = ("weight_decay", "adam_weight_decay")


def bad_rate(optimizers):
    """`(name, value)` of a learning rate that is not finite, or `None`."""
    for optimizer in optimizers:
        for name, one in with_rates(optimizer).items():
            if not np.isfinite(_rate(one)):
                return name, _rate(one)
    return None


def rates_said(optimizers):
    """The learning rates as words, for example `"0.1"`."""
    rates = [_rate(one) for one in _in_use(optimizers)]
    return " and ".join(f"{rate:g}" for rate in dict.fromkeys(rates))


def too_much_decay(optimizers):
    """Weight decay by which weights grow, w * (1 - rate * decay): in words.

    Empty if there is none.
    """
    for one in _in_use(optimizers):
        for name in _DECAYS:
            decay = getattr(one, name, None) or 0
            if decay * _rate(one) > 2:
                return f"`{name}` of {decay:g}"
    return ""


def _in_use(optimizers):
    """Those that have made an update, each with a rate of its own.

    All, if none has: the compiled one may be there without being used.
    """
    every = [o for some in optimizers for o in with_rates(some).values()]
    used = [o for o in every if int(tf.convert_to_tensor(o.iterations))]
    return used or every


def _rate(optimizer):
    return float(tf.cast(optimizer.learning_rate, tf.float32))


def reason(optimizer, gradients, is_finite):
    """What made an update not finite, proven by one without it.

    Args:
        optimizer: The Keras optimizer.
        gradients: Those of the update, finite.
        is_finite: Given gradients and a context, makes the update once more
            within it, from the variables before, and says whether they are
            finite after.

    Returns:
        `(evidence, advice)`, sentences; both empty if nothing helps.
    """
    for changed, evidence, advice in _trials(optimizer):
        if is_finite(gradients, changed):
            return evidence, advice
    norm = tf.linalg.global_norm(
        [tf.cast(dense(g), tf.float64) for g in gradients if g is not None]
    )
    short = [_divided(g, norm) for g in gradients]
    if norm > 1 and is_finite(short, contextlib.nullcontext()):
        return (
            f"The norm of the gradient is {float(norm):.2g}; for a gradient "
            "of norm 1, the same update is finite.",
            "Write `compile(global_clipnorm=1.0)`.",
        )
    return "", ""


def _divided(gradient, norm):
    """A gradient divided by a float64, which may be too large for float32."""
    if gradient is None:
        return None
    gradient = dense(gradient)
    return tf.cast(tf.cast(gradient, tf.float64) / norm, gradient.dtype)


def _trials(optimizer):
    """Yields `(changed, evidence, advice)`: the optimizer without something."""
    several = list(with_rates(optimizer).values())
    if any(getattr(one, "epsilon", None) == 0 for one in several):
        yield (
            _attribute(several, "epsilon", 1e-7),
            "With an epsilon of 1e-7 in the place of 0, the same update is "
            "finite.",
            "Give the optimizer an epsilon that is not 0.",
        )
    for name in _DECAYS:
        decay = max((getattr(one, name, None) or 0 for one in several))
        if decay:
            yield (
                _attribute(several, name, None),
                f"Without `{name}` ({decay:g}), the same update is finite.",
                f"Make `{name}` times the learning rate less than 1: it is "
                f"{decay:g} times {rates_said([optimizer])}.",
            )
    if all(isinstance(o.learning_rate, keras.Variable) for o in several):
        smaller = [min(1e-3, _rate(o) / 1e3) for o in several]
        yield (
            _rates(several, smaller),
            f"The learning rate is {rates_said([optimizer])}; with "
            f"{min(smaller):g}, the same update is finite.",
            "A learning rate that is too large does this. Try a smaller one, "
            "or `global_clipnorm`.",
        )


@contextlib.contextmanager
def _attribute(several, name, value):
    """While open, an attribute of optimizers has another value."""
    before = [(o, getattr(o, name)) for o in several if hasattr(o, name)]
    for one, _ in before:
        setattr(one, name, value)
    try:
        yield
    finally:
        for one, old in before:
            setattr(one, name, old)


@contextlib.contextmanager
def _rates(several, rates):
    """While open, optimizers have other learning rates."""
    before = [_rate(one) for one in several]
    for one, rate in zip(several, rates, strict=True):
        one.learning_rate.assign(rate)
    try:
        yield
    finally:
        for one, rate in zip(several, before, strict=True):
            one.learning_rate.assign(rate)

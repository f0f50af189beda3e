"""What makes gradients, or an update by finite ones, not finite."""

import contextlib
import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

import keras
import tensorflow as tf

from gdtrain.autopsy.cause import Cause
from gdtrain.autopsy.nonfinite_values import any_nonfinite, kind_of
from gdtrain.autopsy.replay import StepReplay
from gdtrain.descent import clipping, settings
from gdtrain.descent.gradients import dense
from gdtrain.descent.optimizers import by_name

_DECAYS = ("weight_decay", "adam_weight_decay")
_Optimizers = Iterable[keras.optimizers.Optimizer]


def rates_in_use(optimizers: _Optimizers) -> str:
    """The learning rates as words, for example `"0.1"`."""
    found = [_rate(one) for one in _in_use(optimizers)]
    return " and ".join(f"{rate:g}" for rate in dict.fromkeys(found))


def too_much_decay(optimizers: _Optimizers) -> str:
    """Weight decay by which weights grow, w * (1 - rate * decay): in words.

    Empty if there is none.
    """
    for one in _in_use(optimizers):
        for name in _DECAYS:
            decay = _decay(one, name)
            if decay * _rate(one) > 2:
                return f"`{name}` of {decay:g}"
    return ""


def in_gradient(
    step: StepReplay, names: list[str], gradient: list[Any]
) -> Cause:
    """The first gradient that is not finite, from the loss backwards.

    Args:
        step: The step.
        names, gradient: What `StepReplay.backward` returned.
    """
    weights = step.model.trainable_variables
    place = next(i for i, one in enumerate(gradient) if kind_of(one))

    def is_bad(part: Any) -> bool:
        forward = step.forward(part)
        return any_nonfinite(step.gradients(forward, weights))

    examples = None
    if place >= len(names) - len(weights):  # Of a weight: no rows of examples
        examples = step.examples_where(is_bad, step.data)
    return step.with_evidence(
        step.cause("gradient", names[place], gradient[place], examples)
    )


def in_update(step: StepReplay, gradient: list[Any]) -> Cause | None:
    """The update, if it makes a variable not finite; `None` if not.

    The evidence is a setting of the optimizer, or the length of the gradient,
    without which the same update is finite.

    Args:
        step: The step.
        gradient: The gradient of each trained weight, finite.
    """
    optimizer = step.model.optimizer
    clipnorm = settings.of(step.model).global_clipnorm
    gradient = clipping.clip(gradient, clipnorm, optimizer)
    variable = step.nonfinite_after_update(gradient)
    if variable is None:
        return None
    cause = step.cause("update", variable.path, variable, ())
    for changed, evidence, advice in _changes(optimizer):
        if step.nonfinite_after_update(gradient, changed) is None:
            return dataclasses.replace(cause, evidence=evidence, advice=advice)
    norm = tf.linalg.global_norm(
        [tf.cast(dense(g), tf.float64) for g in gradient if g is not None]
    )
    short = clipping.clip(gradient, 1.0, optimizer)
    if norm > 1 and step.nonfinite_after_update(short) is None:
        return dataclasses.replace(
            cause,
            evidence=f"The norm of the gradient is {float(norm):.2g}; for a "
            "gradient of norm 1, the same update is finite.",
            advice="Write `compile(global_clipnorm=1.0)`.",
        )
    return cause


def _changes(
    optimizer: keras.optimizers.Optimizer,
) -> Iterator[tuple[contextlib.AbstractContextManager, str, str]]:
    """Yields `(changed, evidence, advice)`: the optimizer without something."""
    parts = list(by_name(optimizer).values())
    # Not every optimizer of Keras has an epsilon.
    if any(getattr(one, "epsilon", None) == 0 for one in parts):
        yield (
            _changed(parts, "epsilon", [1e-7] * len(parts)),
            "With an epsilon of 1e-7 in the place of 0, the same update is "
            "finite.",
            "Give the optimizer an epsilon that is not 0.",
        )
    for name in _DECAYS:
        decay = max(_decay(one, name) for one in parts)
        if decay:
            yield (
                _changed(parts, name, [None] * len(parts)),
                f"Without `{name}` ({decay:g}), the same update is finite.",
                f"Make `{name}` times the learning rate less than 1: it is "
                f"{decay:g} times {rates_in_use([optimizer])}.",
            )
    if all(isinstance(o.learning_rate, keras.Variable) for o in parts):
        smaller = [min(1e-3, _rate(o) / 1e3) for o in parts]
        yield (
            _changed(parts, "learning_rate", smaller),
            f"The learning rate is {rates_in_use([optimizer])}; with "
            f"{min(smaller):g}, the same update is finite.",
            "A learning rate that is too large does this. Try a smaller one, "
            "or `global_clipnorm`.",
        )


def _in_use(optimizers: _Optimizers) -> list[keras.optimizers.Optimizer]:
    """Those that have made an update, each with a rate of its own.

    All, if none has: the compiled one may be there without being used.
    """
    every = [o for some in optimizers for o in by_name(some).values()]
    used = [o for o in every if int(tf.convert_to_tensor(o.iterations))]
    return used or every


def _rate(optimizer: keras.optimizers.Optimizer) -> float:
    return float(tf.cast(optimizer.learning_rate, tf.float32))


def _decay(optimizer: keras.optimizers.Optimizer, name: str) -> float:
    return getattr(optimizer, name, None) or 0  # Only Muon has the second.


@contextlib.contextmanager
def _changed(
    optimizers: _Optimizers, name: str, values: Iterable[Any]
) -> Iterator[None]:
    """While open, a setting of optimizers has other values."""
    with contextlib.ExitStack() as stack:
        for one, value in zip(optimizers, values):
            if hasattr(one, name):
                # Of a learning rate, the variable changes.
                is_rate = name == "learning_rate"
                before = _rate(one) if is_rate else getattr(one, name)
                stack.callback(setattr, one, name, before)
                setattr(one, name, value)
        yield

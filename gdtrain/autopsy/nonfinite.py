"""Finds out why a step was not finite, by running it again in parts."""

import logging
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np

from gdtrain.autopsy import forward_search, update_search
from gdtrain.autopsy.cause import Cause
from gdtrain.autopsy.nonfinite_values import (
    any_nonfinite,
    kind_of,
    nonfinite_variables,
)
from gdtrain.autopsy.replay import (
    LossRaised,
    StepReplay,
    Weights,
    first_sentence,
)
from gdtrain.descent.optimizers import learning_rates

_log = logging.getLogger("gdtrain")

_GROWN = 100  # Times that no healthy training makes weights larger


def find(model: keras.Model, data: Any, start: Weights = None) -> Cause:
    """Finds the first part of a step that is not as it should be.

    In this order: the learning rate, the weights before the step, the growth
    of the weights since training began, the data, the outputs of layers, the
    loss, the gradients on their way back, the weights after the update. All
    of it runs eagerly, outside XLA, and all variables are as before at the
    end.

    The cause is tried, where it can be: without it, the same step is finite.
    So NaN in the data that the model replaces, as by a mask, is not named, nor
    are examples where the weights have grown too large.

    Of a user's own `train_step` only the data, the weights, the learning rate
    and the outputs for `x` are looked at. What cannot be found is
    `"nowhere"`, with the reason.

    Args:
        model: A `DescentTrainer`, compiled and built, with its variables as
            they were before the step.
        data: The batch of the step: `x`, `(x, y)` or `(x, y, sample_weight)`
            of tensors or arrays; `None` if it is no longer available.
        start: Values of the trained weights when training began; `None` if
            unknown.

    Example:

    >>> import gdtrain
    >>> root = keras.layers.Lambda(keras.ops.sqrt, name="root")
    >>> model = gdtrain.Sequential([keras.Input([1]), root])
    >>> model.add(keras.layers.Dense(1))
    >>> model.compile("sgd", "mse")
    >>> data = np.array([[1.0], [-1.0], [4.0]]), np.ones([3, 1])
    >>> cause = find(model, data)
    >>> cause.where, cause.name, cause.kind, cause.examples
    ('output', 'root', 'NaN', (1,))
    """
    if data is None:
        return Cause("nowhere", reason="Its batch is no longer available.")
    step = None
    try:
        step = StepReplay(model, data, start)
        return _search(step)
    except Exception as error:  # Whatever a model raises when it runs eagerly
        _log.debug("Why a step was not finite was not found", exc_info=True)
        return Cause(
            "nowhere",
            reason="The cause was not found: run again in parts and outside "
            f"XLA, it raised {type(error).__name__}: {first_sentence(error)}",
        )
    finally:
        if step is not None:
            step.restore()


def _search(step: StepReplay) -> Cause:
    cause = _in_rate(step) or _in_variables(step, trained=True)
    if cause:
        return cause
    if not step.is_repeatable:
        return _in_own_step(step)
    try:
        forward = step.forward(step.data)
    except LossRaised as raised:
        return forward_search.in_raised_loss(step, raised)
    if kind_of(forward.loss):
        # Known by its metric, which the next forward pass resets.
        name = forward_search.loss_name(step.model)
        return (
            _before_forward(step)
            or forward_search.in_outputs(step, forward)
            or forward_search.in_loss(step, name, forward)
        )
    names, gradient = step.backward(forward)
    outputs = len(gradient) - len(step.model.trainable_variables)
    of_weights = gradient[outputs:]
    if any_nonfinite(of_weights):
        return _in_growth(step) or update_search.in_gradient(
            step, names, gradient
        )
    return update_search.in_update(step, of_weights) or step.cause(
        "nowhere",
        reason="Run again in parts and outside XLA, all of it was finite: "
        "its random numbers differ there, or XLA rounds differently.",
    )


def _before_forward(step: StepReplay) -> Cause | None:
    """What a forward pass is given that makes it not finite."""
    return (
        _in_variables(step, trained=False)
        or _in_growth(step)
        or forward_search.in_data(step)
    )


def _in_own_step(step: StepReplay) -> Cause:
    """What can be found of a user's own `train_step`."""
    cause, outputs = None, "outputs are finite"
    try:
        forward = step.forward(step.data)
        if any_nonfinite(keras.tree.flatten(forward.y_pred)):
            cause = _before_forward(step) or forward_search.in_outputs(
                step, forward
            )
    except Exception as error:  # It may have no `call`.
        outputs = f"outputs are not known ({first_sentence(error)[:-1]})"
    return (
        cause
        or forward_search.in_data(step, is_proven=False)
        or _in_growth(step, is_proven=False)
        or step.cause(
            "nowhere",
            reason="Its data, weights and learning rate are finite, its "
            f"{outputs}. The rest of a `train_step` of its own cannot be run "
            "again in parts.",
        )
    )


def _in_rate(step: StepReplay) -> Cause | None:
    """A learning rate that is no finite number."""
    for optimizer in step.optimizers:
        for name, rate in learning_rates(optimizer).items():
            if kind_of(rate):
                return step.cause("learning rate", name, rate, ())
    return None


def _in_variables(step: StepReplay, trained: bool) -> Cause | None:
    """Variables before the step: weights and slots, or the others."""
    step.restore()
    for one in nonfinite_variables(step.model):
        # Others may be infinite on purpose, as a running maximum is.
        if trained == (one.role != "other") and (trained or one.nans):
            return step.cause("weights", one.name, kind=one.kind)
    return None


def _in_growth(step: StepReplay, is_proven: bool = True) -> Cause | None:
    """Weights that a learning rate has made too large since training began.

    Args:
        step: The step.
        is_proven: Whether the step must be finite with the weights from then.
    """
    if step.start is None:
        return None
    now = _norm(w.numpy() for w in step.model.trainable_variables)
    then = _norm(step.start)
    if not now > _GROWN * max(then, 1.0):
        return None
    if is_proven and not step.is_finite(step.data, step.start):
        return None
    evidence = (
        "Since training began, the norm of the weights has gone from "
        f"{then:.2g} to {now:.2g}"
    )
    if is_proven:
        evidence += "; with those from then, the same batch is finite"
    decay = update_search.too_much_decay(step.optimizers)
    return step.cause(
        "growth",
        update_search.rates_in_use(step.optimizers),
        kind=f"too large for {decay}" if decay else "too large",
        advice=decay and f"Make {decay} times the learning rate less than 1.",
        evidence=f"{evidence}.",
    )


def _norm(arrays: Iterable[np.ndarray]) -> float:
    """The norm of arrays together, in float64."""
    squares = (np.sum(np.asarray(a, "float64") ** 2) for a in arrays)
    return sum(map(float, squares)) ** 0.5

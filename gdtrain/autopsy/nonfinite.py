"""Finds out why a step was not finite, by running it again in parts."""

import logging
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from gdtrain.autopsy import update_search
from gdtrain.autopsy.cause import Cause
from gdtrain.autopsy.nonfinite_values import (
    any_nonfinite,
    kind_of,
    nonfinite_variables,
    rows_of,
    zeroed,
)
from gdtrain.autopsy.replay import (
    Forward,
    StepReplay,
    Weights,
    first_sentence,
)
from gdtrain.descent.optimizers import learning_rates
from gdtrain.keras_bridge import losses

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
    try:
        step = StepReplay(model, data, start)
        try:
            return _search(step)
        finally:
            step.restore()
    except Exception as error:  # Whatever a model raises when it runs eagerly
        _log.debug("Why a step was not finite was not found", exc_info=True)
        return Cause(
            "nowhere",
            reason="The cause was not found: run again in parts and outside "
            f"XLA, it raised {type(error).__name__}: {first_sentence(error)}",
        )


def _search(step: StepReplay) -> Cause:
    cause = _in_rate(step) or _in_variables(step, trained=True)
    if cause:
        return cause
    if not step.is_repeatable:
        return _in_own_step(step)
    forward = step.forward(step.data)
    # Known by its metric, which the next forward pass resets.
    name = _loss_name(step.model)
    if forward.error is not None:
        return _in_raised_loss(step, name, forward, forward.error)
    if kind_of(forward.loss):
        return _in_forward(step, forward) or _in_loss(step, name, forward)
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


def _in_forward(step: StepReplay, forward: Forward) -> Cause | None:
    """What a forward pass is given or puts out that is not finite."""
    return (
        _in_variables(step, trained=False)
        or _in_growth(step)
        or _in_data(step)
        or _in_outputs(step, forward)
    )


def _in_own_step(step: StepReplay) -> Cause:
    """What can be found of a user's own `train_step`."""
    cause, outputs = None, "outputs are finite"
    try:
        forward = step.forward(step.data)
        if any_nonfinite(keras.tree.flatten(forward.y_pred)):
            cause = _in_forward(step, forward)
    except Exception as error:  # It may have no `call`.
        outputs = f"outputs are not known ({first_sentence(error)[:-1]})"
    return (
        cause
        or _in_data(step, is_proven=False)
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


def _in_data(step: StepReplay, is_proven: bool = True) -> Cause | None:
    """Data that are not finite, if the step is finite without that.

    Args:
        step: The step.
        is_proven: Whether that is to be tried.
    """
    bad = [(name, leaf) for name, leaf in step.named_data() if kind_of(leaf)]
    if not bad:
        return None
    if not is_proven:
        return step.cause("data", *bad[0])
    evidence = _evidence_without(step, [leaf for _, leaf in bad])
    if evidence is None:
        return None
    for name, leaf in bad:
        alone = zeroed(step.data, but=leaf)
        if len(bad) == 1 or not step.is_finite(alone, backward=False):
            return step.cause("data", name, leaf, evidence=evidence)
    return None


def _evidence_without(step: StepReplay, bad: list[Any]) -> str | None:
    """Why tensors of the data are the cause; `None` if they are not."""
    by_zeros = step.is_finite(zeroed(step.data), backward=False)
    if by_zeros:
        return "With 0 in its place, the same step is finite."
    examples = {row for one in bad for row in rows_of(one, step.batch_size)}
    by_others = step.is_finite_without(sorted(examples))
    if by_others:
        return "Without these examples, the same step is finite."
    # What could not be tried is taken to be so.
    return "" if by_zeros is None and by_others is None else None


def _in_outputs(step: StepReplay, forward: Forward) -> Cause | None:
    """The first output of a layer or operation, unless it has no effect.

    It has none where all that is computed of it is finite: so with logits of
    minus infinity, which a softmax makes 0.
    """
    for name, tensor in forward.outputs:
        if kind_of(tensor):
            results = [
                call.outputs
                for call in forward.calls
                if any(one is tensor for one in call.inputs)
            ]
            if not results or any(map(any_nonfinite, results)):
                return step.with_evidence(step.cause("output", name, tensor))
    return None


def _in_loss(step: StepReplay, name: str, forward: Forward) -> Cause:
    """What makes the loss of finite outputs not finite."""
    if any_nonfinite(step.model.losses):
        bad = (
            f"regularizer of {weight.path}"
            for weight in step.model.trainable_variables
            if weight.regularizer and kind_of(weight.regularizer(weight))
        )
        added = next(bad, "added by layers")
        return step.cause("loss", added, forward.loss)
    cause = _in_labels(step, forward.y_pred)
    if cause:
        return cause
    x, y, sample_weight = step.data
    if sample_weight is not None and step.is_finite(
        (x, y, None), backward=False
    ):
        return step.cause(
            "data",
            "sample_weight",
            sample_weight,
            (),
            kind="values that are too large",
            evidence="Without it, the same step is finite.",
        )
    examples = _examples(step, forward.y_pred)
    return step.with_evidence(step.cause("loss", name, forward.loss, examples))


def _in_raised_loss(
    step: StepReplay, name: str, forward: Forward, error: Exception
) -> Cause:
    """What makes a loss impossible to compute."""
    return _in_labels(step, forward.y_pred) or step.cause(
        "loss",
        name,
        examples=_examples(step, forward.y_pred, type(error)),
        kind="not computable",
        evidence=f"{type(error).__name__}: {first_sentence(error)}",
    )


def _examples(
    step: StepReplay, y_pred: Any, *errors: type[Exception]
) -> list[int]:
    """Examples whose loss is not finite, or raises one of some errors."""

    def is_bad(part: Any) -> bool:
        try:
            return bool(kind_of(losses.compute_loss(step.model, *part)))
        except errors:
            return True

    x, y, sample_weight = step.data
    return step.examples_where(is_bad, (x, y, y_pred, sample_weight))


def _in_labels(step: StepReplay, y_pred: Any) -> Cause | None:
    """Labels that are none of the classes, which XLA does not report."""
    y = step.data[1]
    if not _loss_name(step.model).startswith("sparse_categorical"):
        return None
    if not tf.is_tensor(y) or not tf.is_tensor(y_pred) or not y.shape.rank:
        return None
    labels = np.asarray(y).reshape([y.shape[0], -1])
    classes = y_pred.shape[-1]
    if labels.dtype.kind not in "iuf":
        return None
    outside = ((labels < 0) | (labels >= classes)).any(axis=1)
    if not outside.any():
        return None
    return step.cause(
        "data",
        "y",
        examples=np.flatnonzero(outside).tolist(),
        kind=f"labels outside of 0 to {classes - 1}",
    )


def _loss_name(model: keras.Model) -> str:
    """The name of the first loss that is not finite, or `"loss"`.

    With several outputs, Keras has a metric for each output's loss.
    """
    for metric in model.metrics:
        if any_nonfinite(metric.variables):
            return metric.name
    loss = model.loss
    if isinstance(loss, str):
        return loss
    # A `keras.losses.Loss` or a function
    name = getattr(loss, "name", None) or getattr(loss, "__name__", None)
    return name or "loss"

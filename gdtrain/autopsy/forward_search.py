"""What makes a forward pass not finite: data, outputs of layers, the loss."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from gdtrain.autopsy.cause import Cause
from gdtrain.autopsy.nonfinite_values import (
    any_nonfinite,
    kind_of,
    rows_of,
    zeroed,
)
from gdtrain.autopsy.replay import (
    Call,
    Forward,
    LossRaised,
    StepReplay,
    first_sentence,
)
from gdtrain.keras_bridge import losses


def in_data(step: StepReplay, is_proven: bool = True) -> Cause | None:
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


def in_outputs(step: StepReplay, forward: Forward) -> Cause | None:
    """The first output of a layer or operation, unless it has no effect."""
    for call in forward.calls:
        for tensor in call.outputs:
            if kind_of(tensor) and not _is_absorbed(tensor, forward.calls):
                cause = step.cause("output", call.name, tensor)
                return step.with_evidence(cause)
    return None


def _is_absorbed(tensor: tf.Tensor, calls: list[Call]) -> bool:
    """Whether all that is computed of a tensor is finite.

    So with logits of minus infinity, which a softmax makes 0.
    """
    results = [
        call.outputs
        for call in calls
        if any(one is tensor for one in call.inputs)
    ]
    return bool(results) and not any(map(any_nonfinite, results))


def in_loss(step: StepReplay, name: str, forward: Forward) -> Cause:
    """What makes the loss of finite outputs not finite."""
    if any_nonfinite(step.model.losses):
        added = _bad_regularizer(step.model) or "added by layers"
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


def in_raised_loss(step: StepReplay, raised: LossRaised) -> Cause:
    """What makes a loss impossible to compute."""
    error = raised.error
    return _in_labels(step, raised.y_pred) or step.cause(
        "loss",
        loss_name(step.model),
        examples=_examples(step, raised.y_pred, type(error)),
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
    if not loss_name(step.model).startswith("sparse_categorical"):
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


def _bad_regularizer(model: keras.Model) -> str | None:
    """The weight whose regularizer is not finite, in words; or `None`."""
    for weight in model.trainable_variables:
        if weight.regularizer and kind_of(weight.regularizer(weight)):
            return f"regularizer of {weight.path}"
    return None


def loss_name(model: keras.Model) -> str:
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

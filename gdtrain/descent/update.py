"""The update: a Keras optimizer moves the weights."""

import warnings
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from gdtrain.common.explained import more
from gdtrain.descent.gradients import Gradient, loss_scale, multiply
from gdtrain.descent.optimizers import by_name
from gdtrain.keras_bridge import optimizers


def check_optimizer(optimizer: Any) -> None:
    """Refuses an optimizer that accumulates gradients by itself.

    Raises:
        ValueError: if `gradient_accumulation_steps` is set: Keras then runs
            schedules that many times too fast, and fails on several replicas.
    """
    for one in by_name(optimizer).values():
        steps = one.gradient_accumulation_steps
        if steps:
            raise ValueError(
                "The optimizer must not accumulate gradients by itself: its "
                "learning-rate schedule would count micro-batches instead of "
                f"updates. Received: {type(one).__name__}("
                f"gradient_accumulation_steps={steps}). Write "
                f"`model.compile(..., microbatches={steps})` instead, and "
                f"give `fit` a batch_size {steps} times as large."
                + more("optimizer")
            )


def prepare(optimizer: Any, weights: Sequence[Any]) -> None:
    """Makes the optimizer's own variables, if it has none yet.

    Warns if there are no weights: then there is nothing to update, as in
    Keras, though moving averages and metrics still change.

    Raises:
        RuntimeError: if there is no optimizer.
        ValueError: if the optimizer accumulates gradients by itself, or was
            built for other weights.
    """
    if not weights:
        warnings.warn(
            "The model does not have any trainable weights, so training "
            "changes none. Set `trainable = True` on a layer, then compile "
            "again." + more("no-gradient"),
            stacklevel=3,
        )
        return
    if optimizer is None:
        raise RuntimeError(
            "There is no optimizer to descend with. Call "
            "`model.compile(optimizer=...)` first, or pass `optimizer`."
            + more("optimizer")
        )
    check_optimizer(optimizer)
    build(optimizer, weights)


def build(optimizer: Any, weights: Sequence[Any]) -> None:
    """Makes the optimizer's own variables, if it has none yet."""
    optimizers.reset_empty_build(optimizer)
    if not optimizer.built:
        with tf.init_scope():
            optimizer.build(weights)
    new = optimizers.unknown_weights(optimizer, weights)
    if new:
        raise ValueError(
            "The optimizer was made for other weights; these became trainable "
            f"after that: {[getattr(w, 'path', w.name) for w in new]}. Call "
            "`model.compile(...)` again with a new optimizer."
            + more("optimizer")
        )


def apply(
    optimizer: Any,
    gradients: list[Gradient | None],
    weights: Sequence[Any],
) -> None:
    """Moves `weights` against `gradients`, in place.

        w <- w - learning_rate * gradient

    or what the optimizer does instead.

    Args:
        optimizer: A Keras optimizer, built.
        gradients: A list of tensors, equal on all replicas; `None` leaves the
            weight alone.
        weights: The weights, a list as long. If it is empty, nothing
            happens: the optimizer's count of updates stays, as in Keras.
    """
    if not weights:
        return
    scale = loss_scale(optimizer)
    if scale is not None:
        # A loss-scaling optimizer divides by the scale itself.
        gradients = [multiply(g, scale) for g in gradients]
    with warnings.catch_warnings(), optimizers.gradients_summed(optimizer):
        # `missing` has named these weights; Keras would at every trace.
        warnings.filterwarnings("ignore", "Gradients do not exist")
        optimizer.apply(gradients, weights)


def missing(
    gradients: Sequence[Gradient | None], weights: Sequence[Any]
) -> list[str]:
    """Names of the weights that the loss does not depend on.

    Raises:
        ValueError: if it depends on none of them, and there are some.
    """
    names = [
        getattr(w, "path", w.name)
        for w, g in zip(weights, gradients, strict=True)
        if g is None
    ]
    if weights and len(names) == len(weights):
        raise ValueError(
            "The loss depends on none of the weights, so that there is no "
            f"gradient to descend. Received: weights {names}. Compute the "
            "loss from the model's output inside `with tf.GradientTape()`."
            + more("no-gradient")
        )
    return names

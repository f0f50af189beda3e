"""Losses and metrics of a compiled model."""

import contextlib
import contextvars
from collections.abc import Callable, Iterator
from typing import Any

import keras
import tensorflow as tf
from keras.src import tree
from keras.src.losses import loss as keras_loss
from keras.src.losses import losses as keras_losses
from keras.src.trainers import compile_utils
from keras.src.utils import python_utils


def compute_loss(
    model: keras.Model,
    x: Any,
    y: Any,
    y_pred: Any,
    sample_weight: Any,
    training: bool = True,
) -> tf.Tensor:
    """`model.compute_loss(..., training=training)`.

    A `compute_loss` written before Keras 3.3 has no argument `training`; the
    private `_compute_loss` omits it. Without it such models break.
    """
    return model._compute_loss(
        x=x,
        y=y,
        y_pred=y_pred,
        sample_weight=sample_weight,
        training=training,
    )


def track_loss(model: keras.Model, loss: tf.Tensor, examples: Any) -> None:
    """Adds a mean loss over `examples` examples to the metric `loss`.

    Needs `_loss_tracker`; without it the loss of an epoch is missing.
    """
    model._loss_tracker.update_state(loss, sample_weight=examples)


def function_of_loss(loss: Any) -> tuple[Callable | None, dict[str, Any]]:
    """The function that one of Keras's losses calls, and its arguments.

    `(None, {})` for a loss of the user's own. Needs `LossFunctionWrapper`,
    `fn` and `_fn_kwargs`; without them no loss is recognized, and mistakes in
    labels are reported in Keras's words.
    """
    is_keras = (
        isinstance(loss, keras_losses.LossFunctionWrapper)
        and type(loss).call is keras_losses.LossFunctionWrapper.call
        and type(loss).__call__ is keras_loss.Loss.__call__
        and getattr(loss.fn, "__module__", "").startswith("keras.")
    )
    return (loss.fn, loss._fn_kwargs) if is_keras else (None, {})


def replace_compiled_loss(
    model: keras.Model,
    wrap: Callable[[Callable, str | None], Callable],
    explain_mismatch: Callable[[Any, Any, Any], str | None],
) -> None:
    """Corrects the losses of several outputs, and explains what goes wrong.

    Keras weights the loss of an output by the size of the batch as far as it
    is known while tracing: in a graph of unknown batch size, a smaller last
    batch counts as much as the others. Eager execution is right.

    Needs `_compile_loss`, replaced here by an object made with the arguments
    that `CompileLoss` keeps (`_user_loss`, `_user_loss_weights`), and its
    `_flat_losses` and `_metrics`; without them the numbers are Keras's.

    Args:
        model: The model, compiled.
        wrap: Called with each loss and the name of its output, returns the
            loss to use.
        explain_mismatch: Called with labels, outputs and the names of outputs
            that Keras cannot match, returns the reason or `None`.
    """
    loss = model._compile_loss
    if isinstance(loss, compile_utils.CompileLoss):
        model._compile_loss = _CompileLoss(loss, wrap, explain_mismatch)


def has_logits(output: tf.Tensor) -> bool:
    """Whether Keras knows what an output was before softmax or sigmoid.

    Its cross-entropies then take that, whatever `from_logits` says. Needs
    `_keras_logits`, which activations set, and that Keras looks at the last
    operation of a graph; without them, a softmax with `from_logits=True` is
    taken for a mistake, which Keras has corrected.

    Args:
        output: An output of a program that is being traced.
    """
    if hasattr(output, "_keras_logits"):
        return True
    return output.op.type in ("Softmax", "Sigmoid")


def changed_losses(model: keras.Model, change: Callable[[Any], Any]) -> Any:
    """What a model is compiled with, but each loss as `change` makes it.

    For `losses_set`. Needs `_compile_loss`, and `CompileLoss` with
    `_user_loss` and `_user_loss_weights`; without them it cannot be tried
    whether a loss fits an output better with `from_logits`.
    """
    before = model._compile_loss
    changed = compile_utils.CompileLoss(
        tree.map_structure(change, before._user_loss),
        before._user_loss_weights,
        output_names=before.output_names,
    )
    return _CompileLoss(changed, lambda loss, _: loss, lambda *_: None)


@contextlib.contextmanager
def losses_set(model: keras.Model, changed: Any) -> Iterator[None]:
    """While open, a model has the losses that `changed_losses` made.

    Needs `_compile_loss`, as that does.
    """
    before = model._compile_loss
    # Past `__setattr__`, which would track it
    vars(model)["_compile_loss"] = changed
    try:
        yield
    finally:
        vars(model)["_compile_loss"] = before


class _CompileLoss(compile_utils.CompileLoss):
    """See `replace_compiled_loss`."""

    _flat_losses: list[Any]

    def __init__(
        self,
        original: compile_utils.CompileLoss,
        wrap: Callable[[Callable, str | None], Callable],
        explain_mismatch: Callable[[Any, Any, Any], str | None],
    ) -> None:
        super().__init__(
            original._user_loss,
            original._user_loss_weights,
            output_names=original.output_names,
        )
        self._wrap = wrap
        self._explain_mismatch = explain_mismatch

    def build(self, y_true: Any, y_pred: Any) -> None:
        super().build(y_true, y_pred)
        self._flat_losses = [
            entry._replace(loss=self._wrap(entry.loss, entry.name))
            for entry in self._flat_losses
        ]
        self._metrics[:] = [_OutputLoss(name=m.name) for m in self._metrics]

    def call(
        self, y_true: Any, y_pred: Any, sample_weight: Any = None
    ) -> tf.Tensor:
        token = _output.set(tree.flatten(y_pred)[0])
        try:
            return super().call(y_true, y_pred, sample_weight)
        except (ValueError, TypeError, KeyError) as error:
            reason = None
            if y_true is not None:
                names = self.output_names
                reason = self._explain_mismatch(y_true, y_pred, names)
            if reason is None:
                raise
            raise ValueError(reason) from error
        finally:
            _output.reset(token)


class _OutputLoss(keras.metrics.Mean):
    """The mean of an output's loss over examples."""

    def update_state(self, values: Any, sample_weight: Any = None) -> None:
        if sample_weight is None:
            sample_weight = keras.ops.shape(_output.get())[0]
        super().update_state(values, sample_weight)


# An output whose loss is being computed; each replica has a thread.
_output: contextvars.ContextVar = contextvars.ContextVar("output")


def leaf_metrics(model: keras.Model) -> list[keras.metrics.Metric]:
    """The metrics of `model` that have a result, each by itself.

    Keras keeps those given to `compile` in one `CompileMetrics`. They are
    built at their first update, which a user's own step may never do, and
    raise when asked for a result before. Needs `CompileMetrics` and `built`;
    without them TensorBoard has no accuracy of each step.
    """
    found: list[keras.metrics.Metric] = []
    for metric in filter(_is_built, model.metrics):
        is_group = isinstance(metric, compile_utils.CompileMetrics)
        found += filter(_is_built, metric.metrics if is_group else [metric])
    return found


def _is_built(metric: keras.metrics.Metric) -> bool:
    return getattr(metric, "built", True)


def are_metrics_built(model: keras.Model) -> bool:
    """Whether the metrics given to `compile` have their variables.

    And those of the losses of several outputs. Needs `_compile_metrics` and
    `_compile_loss`; without them they are taken as built.
    """
    metrics = getattr(model, "_compile_metrics", None)
    loss = getattr(model, "_compile_loss", None)
    has_several = loss is not None and len(loss.output_names or ()) > 1
    return all(
        part is None or part.built
        for part in (metrics, loss if has_several else None)
    )


def is_keras_metric(metric: keras.metrics.Metric) -> bool:
    """Whether a metric's class is Keras's own, not a user's.

    Needs the name of Keras's package; without it, only means are shown at
    each step.
    """
    return type(metric).__module__.startswith("keras.src.metrics.")


def flat_metrics(model: keras.Model, logs: dict[str, Any]) -> Any:
    """Logs in the order in which `evaluate` returns them.

    Needs `_flatten_metrics_in_order`; without it `evaluate` breaks.
    """
    return model._flatten_metrics_in_order(logs)


def pythonify_logs(logs: dict[str, Any]) -> dict[str, Any]:
    """Logs with scalars as Python numbers, by name, as callbacks expect them.

    Keras asks of each number whether it is a tensor, which takes longer than a
    small epoch: of numbers it is known. Needs `pythonify_logs`; without it
    callbacks would get tensors.
    """
    if all(type(value) is float for value in logs.values()):
        return dict(sorted(logs.items()))
    return python_utils.pythonify_logs(logs)

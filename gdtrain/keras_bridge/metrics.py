"""Metrics of a compiled model, and the logs made of them."""

from typing import Any

import keras
from keras.src.trainers import compile_utils
from keras.src.utils import python_utils


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

    Needs `_compile_metrics`; without it they are taken as built.
    """
    metrics = getattr(model, "_compile_metrics", None)
    return metrics is None or metrics.built


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
    """Logs with scalars as Python numbers, as callbacks expect them.

    Needs `pythonify_logs`; without it callbacks would get tensors.
    """
    return python_utils.pythonify_logs(logs)

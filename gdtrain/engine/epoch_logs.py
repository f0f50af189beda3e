"""What `History` shows of an epoch."""

import numpy as np

from gdtrain import keras_bridge


def of(model, logs, means):
    """The logs of an epoch, from those of its last step.

    For each name that the step returned: the result of the metric of that
    name, if the step updated it, as in Keras; else the mean over the epoch of
    the scalars returned. (Keras shows a metric of that name even if it was
    never updated, as 0, and otherwise the scalar of the last step.)

    Args:
        model: The model.
        logs: What the last step returned; passed on if it is no dict.
        means: Means over the epoch by name.

    Returns:
        A dict with the keys of `logs`.
    """
    if not isinstance(logs, dict):
        return logs
    results = _results(model)
    return {
        name: results.get(name, means.get(name, value))
        for name, value in logs.items()
    }


def names_of_metrics(model):
    """Names under which the results of a model's metrics appear in logs."""
    return [
        name
        for metric in keras_bridge.built_metrics(model)
        for name in _result(metric)
    ]


def _results(model):
    """Results of the metrics that were updated since their reset."""
    metrics = keras_bridge.built_metrics(model)
    if len(metrics) == len(model.metrics):
        results = model.get_metrics_result()
    else:
        results = {}
        for metric in metrics:
            results.update(_result(metric))
    for metric in metrics:
        if not _updated(metric):
            for name in _result(metric):
                results.pop(name, None)
    return results


def _result(metric):
    result = metric.result()
    return result if isinstance(result, dict) else {metric.name: result}


def _updated(metric):
    """Whether a metric counted anything: its state is not all zero."""
    return not metric.variables or any(
        np.any(variable.numpy()) for variable in metric.variables
    )

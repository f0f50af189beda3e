"""What `History` shows of an epoch.

For each name that the step returned: the result of the metric of that name, if
the step updated it, as in Keras; else the mean over the epoch of the scalars
returned. (Keras shows a metric of that name even if it was never updated, as
0, and otherwise the scalar of the last step.)
"""

import tensorflow as tf

from gdtrain import keras_bridge


def of(model, logs, means):
    """The logs of an epoch, from those of its last step.

    Args:
        model: The model.
        logs: What the last step returned; passed on if it is no dict.
        means: Means over the epoch by name.

    Returns:
        A dict with the keys of `logs`.
    """
    if not isinstance(logs, dict):
        return logs
    shown = {
        name: result for name, (result, updated) in results(model).items()
        if updated
    }
    return {
        name: shown.get(name, means.get(name, value))
        for name, value in logs.items()
    }


def results(model):
    """Results of metrics: `{name: (result, whether it was updated)}`."""
    metrics = keras_bridge.built_metrics(model)
    updated = {
        name: _updated(metric) for metric in metrics for name in _result(metric)
    }
    if len(metrics) == len(model.metrics):
        found = model.get_metrics_result()
    else:
        found = {k: v for m in metrics for k, v in _result(m).items()}
    return {
        name: (result, updated.get(name, True))
        for name, result in found.items()
    }


def names_of_metrics(model):
    """Names under which the results of a model's metrics appear in logs."""
    return [
        name
        for metric in keras_bridge.built_metrics(model)
        for name in _result(metric)
    ]


def _result(metric):
    result = metric.result()
    return result if isinstance(result, dict) else {metric.name: result}


def _updated(metric):
    """Whether a metric counted anything: its state is not all zero."""
    if not metric.variables:
        return True
    return tf.reduce_any(
        [
            tf.reduce_any(tf.not_equal(variable, tf.zeros([], variable.dtype)))
            for variable in metric.variables
        ]
    )

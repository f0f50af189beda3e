"""What `History` shows of an epoch.

For each name that the step returned: the metric's result, if the scalar is the
result of a metric; the value of the last step, if it is made of metrics'
states otherwise; else the mean over the epoch of the scalars returned,
weighted by examples. See `gdtrain.engine.provenance`. (Keras shows a metric of
that name even if it was never updated, as 0, and otherwise the scalar of the
last step.)
"""

from typing import Any

from gdtrain.engine.provenance import Origins


def of(logs: Any, origins: Origins, means: dict[str, float]) -> Any:
    """The logs of an epoch, from those of its last step.

    Args:
        logs: What the last step returned; passed on if it is no dict.
        origins: Where the scalars in it come from.
        means: Means over the epoch, or last values of states, by name.

    Returns:
        A dict with the keys of `logs`.
    """
    if not isinstance(logs, dict):
        return logs
    return {
        name: origins.results[name]()
        if name in origins.results
        else means.get(name, value)
        for name, value in logs.items()
    }

"""What a step of the user's own returns."""

from typing import Any

import tensorflow as tf


def check(logs: Any, method: str) -> Any:
    """Returns what `train_step` or `test_step` returned, a dict.

    Args:
        logs: What it returned.
        method: The name of the method.

    Raises:
        TypeError: if it is not a dict.

    Example:

    >>> check({"loss": 1.0}, "train_step")
    {'loss': 1.0}
    >>> check(None, "train_step")
    Traceback (most recent call last):
    TypeError: `train_step` must return a dict of numbers by name. Received...
    """
    if hasattr(logs, "items"):
        return logs
    if logs is None:
        received = "nothing (None)"
    elif tf.is_tensor(logs):
        received = f"a tensor of shape {logs.shape} and dtype {logs.dtype.name}"
    else:
        received = f"{logs!r} of type {type(logs).__name__}"
    raise TypeError(
        f"`{method}` must return a dict of numbers by name. Received: "
        f'{received}. End it with `return {{"loss": loss}}`, or with '
        "`return self.compute_metrics(x, y, y_pred)`."
    )

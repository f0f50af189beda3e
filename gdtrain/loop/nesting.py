"""A pass over data within another one of the same model.

A callback of `fit` may call `evaluate`, `predict`, `train_on_batch` or `fit`
of the model that is being trained. These reset the metrics and set attributes
that the outer pass still needs; Keras then shows results of the inner one as
those of the epoch. Here the outer pass finds them as it left them.
"""

import contextlib
import contextvars
from collections.abc import Iterator
from typing import Any

import keras

from gdtrain.state import variables

# Models whose data are being gone over, in this thread
_under_way: contextvars.ContextVar[tuple[Any, ...]] = contextvars.ContextVar(
    "under_way", default=()
)


@contextlib.contextmanager
def entered(model: Any, *attributes: str) -> Iterator[None]:
    """Surrounds one pass over data.

    Within another pass, metrics and some attributes are set back at the end.
    Weights, optimizer and random states stay as the inner pass leaves them.

    Args:
        model: A `DescentTrainer`.
        *attributes: Names of attributes that the pass sets.
    """
    outer = _under_way.get()
    is_inner = any(one is model for one in outer)
    metrics = _Metrics(model) if is_inner else None
    kept = {name: getattr(model, name, None) for name in attributes}
    token = _under_way.set((*outer, model))
    try:
        yield
    finally:
        _under_way.reset(token)
        if metrics is not None:
            metrics.set_back()
            for name, value in kept.items():
                setattr(model, name, value)


class _Metrics:
    """The states of a model's metrics, kept to be set back."""

    def __init__(self, model: Any) -> None:
        self._strategy = model.distribute_strategy
        self._metrics: list[keras.Metric] = list(model.metrics)
        self._variables = [list(m.variables) for m in self._metrics]
        self._values = [
            variables.values(some, self._strategy) for some in self._variables
        ]

    def set_back(self) -> None:
        """Makes them as they were; what is new since then is reset."""
        for metric, some, values in zip(
            self._metrics, self._variables, self._values, strict=True
        ):
            metric.reset_state()  # It may have variables that are new.
            variables.assign(some, values, self._strategy)

"""What the parts of a batch leave behind, joined in the order of the parts.

See `gdtrain.descent.virtual_workers`. Each part begins with the variables that
the step began with, on whatever replica it runs:

| variables | begin of part v | end of the step |
|---|---|---|
| of metrics that add up | 0 | value before + sum over parts |
| moving averages of layers | value before | mean over parts |
| seeds of layers | seed before + v | seed before, as many draws as a part had |
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf

from gdtrain.descent import replicas, virtual_workers
from gdtrain.descent.virtual_workers import VirtualWorkers
from gdtrain.keras_bridge import layers, randomness
from gdtrain.step import provenance

_BETWEEN_SEEDS = 1_000_003  # Far from those that layers next to each other have


class PartStates:
    """Variables of a model within one step on one replica.

    Args:
        model: A `DescentTrainer`, compiled, before the step.
        workers: The virtual workers of the step.
    """

    def __init__(self, model: keras.Model, workers: VirtualWorkers) -> None:
        self._model, self._workers = model, workers
        self._metrics = provenance.summed_variables(model)
        self._averages = layers.moving_statistics(model)
        self._seeds = randomness.random_states(model)
        self._metrics_before = _values(self._metrics)
        self._averages_before = _values(self._averages)
        self._seeds_before = _values(self._seeds)
        self._found: list[list[tf.Tensor | None]] = []
        self._scalars: dict[str, tf.Tensor] = {}

    @contextlib.contextmanager
    def part(self) -> Iterator[None]:
        """Surrounds the forward and backward pass of the next part."""
        number = self._workers.first + len(self._found)
        for metric in self._metrics:
            metric.assign(tf.zeros(metric.shape, metric.dtype))
        _assign(self._averages, self._averages_before)
        for state, before in zip(self._seeds, self._seeds_before, strict=True):
            shift = tf.constant([number * _BETWEEN_SEEDS, 0], before.dtype)
            state.assign(before + shift)
        yield
        if not self._found:
            self._add_new_metrics()

    def add(self, scalars: dict[str, tf.Tensor]) -> None:
        """Adds what the part left, with the scalars that its step returned."""
        share = self._workers.shares[len(self._found)]
        self._scalars = scalars
        self._found.append(
            [
                *virtual_workers.weighted(list(scalars.values()), share),
                *virtual_workers.weighted(_values(self._averages), share),
                # A part without examples counts nothing: its mean is NaN.
                *(
                    tf.where(share > 0, value, tf.zeros_like(value))
                    for value in _values(self._metrics)
                ),
            ]
        )

    def finish(self) -> dict[str, tf.Tensor]:
        """Sets the variables; returns the means of the scalars by name."""
        found = iter(virtual_workers.ordered_sums(self._found))
        scalars = {name: next(found) for name in self._scalars}
        _assign(self._averages, [next(found) for _ in self._averages])
        for metric, before, change in zip(
            self._metrics, self._metrics_before, found, strict=True
        ):
            # Whoever reads a metric adds up over replicas.
            metric.assign(before + replicas.of_first(change))
        for state, before in zip(self._seeds, self._seeds_before, strict=True):
            now = tf.convert_to_tensor(state)
            state.assign(tf.stack([before[0], now[1]]))
        return scalars

    def _add_new_metrics(self) -> None:
        """Adds metrics that were made in the first part."""
        known = {id(variable) for variable in self._metrics}
        for one in provenance.summed_variables(self._model):
            if id(one) not in known:
                self._metrics.append(one)
                self._metrics_before.append(tf.zeros(one.shape, one.dtype))


def _values(variables: list[Any]) -> list[tf.Tensor]:
    return [tf.convert_to_tensor(variable) for variable in variables]


def _assign(variables: list[Any], values: list[Any]) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)

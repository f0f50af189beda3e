"""A state that some workers and replicas saved, for another number of them.

Weights and optimizer are equal on all replicas. Variables that are summed when
they are read, as those of metrics, have a part of the sum on each replica: the
whole sum goes to the first replica, and zero to all others.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from gdtrain.distributed.workers import Workers
from gdtrain.keras_bridge import layers
from gdtrain.state import variables
from gdtrain.state.variables import Strategy, Value, Variable

_State = dict[str, Any]


class Layout(NamedTuple):
    """The replicas that a state holds values of.

    Args:
        workers: How many processes train.
        replicas: Of how many replicas the state has values: of those of one
            process, or of all in a state that was joined.
    """

    workers: int
    replicas: int

    def in_words(self, now: "Layout") -> str:
        """How this layout differs from that of now."""
        if self.workers == now.workers:
            return f"{_counted(self.replicas, 'replica')}, now {now.replicas}"
        return f"{_counted(self.workers, 'worker')}, now {now.workers}"


def layout_of(strategy: Strategy) -> Layout:
    """The layout of the states that this process captures."""
    workers = Workers(strategy).count
    return Layout(workers, strategy.num_replicas_in_sync // workers)


def layout_in(state: _State) -> Layout | None:
    """The layout of a state; `None` if it says nothing of it."""
    found = state.get("saved_by")  # Earlier versions did not save it.
    return None if found is None else Layout(**found)


def joined(states: Iterator[_State], index: int) -> _State:
    """One state of those of all workers, for one of another number of them.

    Args:
        states: Those of one step, in the order of workers.
        index: Which worker it is for. Random states and states of callbacks
            are those of the worker with the same index, or of the first.

    Example:

    >>> saved = {"step": 3, "random": {}, "callbacks": {}}
    >>> saved["saved_by"] = {"workers": 2, "replicas": 1}
    >>> sums = [{"metric": [np.array(total)]} for total in (4.0, 5.0)]
    >>> state = joined((saved | {"variables": v} for v in sums), index=0)
    >>> state["variables"], state["saved_by"]
    ({'metric': [(array(4.), array(5.))]}, {'workers': 2, 'replicas': 2})
    """
    whole = dict(next(states))
    workers, each = Layout(**whole["saved_by"])
    parts = {
        kind: [_expanded(value, each) for value in values]
        for kind, values in whole["variables"].items()
    }
    for worker, state in enumerate(states, 1):
        if worker == index:
            whole |= {name: state[name] for name in ("random", "callbacks")}
        for kind, values in state["variables"].items():
            for found, value in zip(parts[kind], values, strict=True):
                found += [
                    # Of equal ones, one array is kept in memory.
                    found[0] if _same(found[0], one) else one
                    for one in _expanded(value, each)
                ]
    whole["variables"] = {
        kind: [_value(found) for found in values]
        for kind, values in parts.items()
    }
    whole["saved_by"] = {"workers": workers, "replicas": workers * each}
    return whole


class Move:
    """Takes the values of a state to the replicas of this process.

    Args:
        state: What `FitState.capture` gave, or `joined`.
        strategy: The `tf.distribute.Strategy` of the model.

    Attributes:
        there, here: The layouts; equal if nothing has to be done.
    """

    def __init__(self, state: _State, strategy: Strategy) -> None:
        self.here = layout_of(strategy)
        self.there = layout_in(state) or self.here
        #: Of how many replicas the values are, once moved
        self._count = self.here.replicas
        self._first = 0  # Which of them is the first of this process
        if self.there.workers != self.here.workers:
            self._count = strategy.num_replicas_in_sync
            self._first = Workers(strategy).index * self.here.replicas

    @property
    def is_needed(self) -> bool:
        """Whether a state is of another number of workers or replicas."""
        return self.there != self.here

    def difference(
        self, kind: str, some: Sequence[Variable], values: Sequence[Value]
    ) -> str | None:
        """What keeps values from being moved; `None` if nothing does."""
        if not self.is_needed or self.there.replicas == self._count:
            return None
        for variable, value in zip(some, values, strict=False):
            if isinstance(value, tuple) and _rule(variable) is None:
                return (
                    f"{kind} variable {variables.name_of(variable)!r} is "
                    "different on each replica, so that its values cannot be "
                    f"moved: the run was saved by {self.in_words()}"
                )
        return None

    def in_words(self) -> str:
        """How the layouts differ."""
        return self.there.in_words(self.here)

    def values(
        self, some: Sequence[Variable], values: Sequence[Value]
    ) -> list[Value]:
        """Values for the replicas of this process.

        Args:
            some: The variables.
            values: Those in the state.
        """
        if not self.is_needed:
            return list(values)
        pairs = zip(some, values, strict=True)
        return [self._moved(variable, value) for variable, value in pairs]

    def _moved(self, variable: Variable, value: Value) -> Value:
        each = _expanded(value, self.there.replicas)
        if len(each) != self._count:
            each = spread(each, _rule(variable), self._count)
        return _value(each[self._first :][: self.here.replicas])


def spread(
    each: Sequence[np.ndarray],
    rule: tf.VariableAggregation | None,
    count: int,
) -> list[np.ndarray]:
    """Values for so many replicas, which read together give the same.

    Args:
        each: The value on each replica.
        rule: How they are read together; `None` if one by one, when they
            must be equal.
        count: For how many replicas.

    Example:

    >>> sums = [np.array([4.0]), np.array([5.0])]
    >>> spread(sums, tf.VariableAggregation.SUM, 3)
    [array([9.]), array([0.]), array([0.])]
    """
    first = each[0]
    if rule == tf.VariableAggregation.SUM:
        total = np.sum(each, axis=0, dtype=first.dtype)
        return [total, *[np.zeros_like(first)] * (count - 1)]
    if rule == tf.VariableAggregation.MEAN and not _equal(each):
        first = np.mean(each, axis=0).astype(first.dtype)
    return [first] * count


def _rule(variable: Variable) -> tf.VariableAggregation | None:
    """How the values of a variable on replicas are read together.

    `None` if a replica's value is its own.
    """
    if isinstance(variable, keras.Variable):
        variable = layers.tensorflow_variable(variable)
    rule = variable.aggregation
    if variable.synchronization != tf.VariableSynchronization.ON_READ:
        return None
    return None if rule == tf.VariableAggregation.NONE else rule


def _expanded(value: Value, count: int) -> list[np.ndarray]:
    """The value on each of so many replicas."""
    return list(value) if isinstance(value, tuple) else [value] * count


def _value(each: Sequence[np.ndarray]) -> Value:
    """One value if it is that of all replicas; else that of each."""
    return each[0] if _equal(each) else tuple(each)


def _equal(each: Sequence[np.ndarray]) -> bool:
    return all(_same(each[0], one) for one in each)


def _same(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two arrays have the same bits."""
    return one is other or one.tobytes() == other.tobytes()


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"

"""Optimizers: their weights, slots, clipping and learning rate."""

import collections
import contextlib
import threading
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import keras
import tensorflow as tf

Optimizer: TypeAlias = keras.optimizers.Optimizer
Variables = Sequence[keras.Variable]
_Slot = Any  # A `keras.Variable`, or whatever an optimizer keeps per weight


def unwrapped(optimizer: Optimizer) -> Any:
    """The optimizer that one for loss scaling wraps; else itself."""
    # Not by class: a wrapper of the user's own may be of any.
    return getattr(optimizer, "inner_optimizer", optimizer)


_summed: collections.Counter[int] = collections.Counter()  # By `id`
_lock = threading.Lock()


@contextlib.contextmanager
def gradients_summed(optimizer: Optimizer) -> Iterator[None]:
    """While open, gradients of an optimizer are those of all replicas.

    Keras's `apply` adds up over replicas. Where gradients are equal on all of
    them already, that would send each number twice, and round it.

    Needs `_all_reduce_sum_gradients`, looked up at each update; without it,
    updates on several replicas are as many times too large.

    Args:
        optimizer: A Keras optimizer, or one for loss scaling that wraps it.
    """
    # Replicas are traced on threads of their own, one within the other.
    inner = unwrapped(optimizer)
    _count_users(inner, +1)
    try:
        yield
    finally:
        _count_users(inner, -1)


def _count_users(inner: Any, change: int) -> None:
    name = type(inner)._all_reduce_sum_gradients.__name__
    with _lock:
        _summed[id(inner)] += change
        # Past `__setattr__`, which would track it
        if _summed[id(inner)]:
            vars(inner)[name] = _as_they_are
        else:
            del vars(inner)[name], _summed[id(inner)]


def _as_they_are(pairs: Any) -> list:
    return list(pairs)


def slot(
    optimizer: Optimizer,
    slots: Sequence[_Slot],
    variable: keras.Variable,
) -> _Slot:
    """The entry of `slots` (one per weight) that belongs to `variable`.

    Needs `_get_variable_index`, which Keras's own guide to writing an
    optimizer uses; without it momentum breaks.
    """
    return slots[optimizer._get_variable_index(variable)]


def unknown_weights(
    optimizer: Optimizer, weights: Variables
) -> list[keras.Variable]:
    """Those of some weights that a built optimizer was not built for.

    Needs `_trainable_variables_indices` and `_var_key`; without them Keras's
    own error comes later, without the names of all weights.
    """
    inner = unwrapped(optimizer)
    known = getattr(inner, "_trainable_variables_indices", None)
    if not known:
        return []
    return [w for w in weights if inner._var_key(w) not in known]


def optimized_weights(optimizer: Optimizer) -> list[keras.Variable]:
    """The weights that an optimizer was built for; empty if it is not built.

    Needs `_trainable_variables`; without it, an update that names no weights
    is not measured.
    """
    return list(getattr(optimizer, "_trainable_variables", None) or [])


def reset_empty_build(optimizer: Optimizer) -> None:
    """Lets an optimizer that was built for no weights be built again.

    Keras builds it so where all weights were frozen, and where it reads an
    HDF5 file. Needs `_trainable_variables`; without it Keras says that it
    does not know the weights.
    """
    inner = unwrapped(optimizer)
    if inner.built and getattr(inner, "_trainable_variables", None) == []:
        inner.built = optimizer.built = False


def squared_gradients(optimizer: Optimizer) -> list[keras.Variable]:
    """The averages whose root Adam, AdamW or RMSprop divide by, per weight.

    Needs `_velocities` and `_velocity_hats`; without them the preconditioner
    of these optimizers is not known.
    """
    if getattr(optimizer, "amsgrad", False):  # RMSprop has none.
        return optimizer._velocity_hats
    return optimizer._velocities


def clip_gradients(
    optimizer: Optimizer, gradients: list[tf.Tensor]
) -> list[tf.Tensor]:
    """Clips by the optimizer's clipnorm, global_clipnorm or clipvalue.

    Needs `_clip_gradients`; without it, optimizers with a clip of their own
    break on several replicas.
    """
    return optimizer._clip_gradients(gradients)


def excludes_from_weight_decay(optimizer: Optimizer) -> bool:
    """Whether `exclude_from_weight_decay` was called with some weights.

    Needs `_exclude_from_weight_decay` and `_exclude_from_weight_decay_pattern`;
    without them, a sweep of such a model decays all weights.
    """
    return bool(
        getattr(optimizer, "_exclude_from_weight_decay", None)
        or getattr(optimizer, "_exclude_from_weight_decay_pattern", None)
    )


def learning_rate_variable(optimizer: Optimizer) -> keras.Variable | None:
    """The variable of an optimizer's learning rate; `None` if it is scheduled.

    Needs `_learning_rate`, as `learning_rate` gives the value of a schedule;
    without it a learning rate cannot be set over that of a checkpoint.
    """
    rate = getattr(unwrapped(optimizer), "_learning_rate", None)
    return rate if isinstance(rate, keras.Variable) else None


def schedule_of(
    optimizer: Optimizer,
) -> keras.optimizers.schedules.LearningRateSchedule | None:
    """The schedule that an optimizer follows; `None` if it has a rate.

    Needs `_learning_rate`, as `learning_rate` gives the value of a schedule;
    without it the rates of a training that was not measured are not known.
    """
    rate = getattr(unwrapped(optimizer), "_learning_rate", None)
    schedules = keras.optimizers.schedules.LearningRateSchedule
    return rate if isinstance(rate, schedules) else None


@contextlib.contextmanager
def replaced_learning_rate(
    optimizer: Optimizer,
    schedule: keras.optimizers.schedules.LearningRateSchedule,
) -> Iterator[None]:
    """While open, an optimizer follows a schedule instead of its own rate.

    Keras's own setter drops the variable that was there, or refuses. Needs
    `_learning_rate`, looked up at each update; without it no range of rates
    can be tried.

    Args:
        optimizer: A Keras optimizer that has a rate itself.
        schedule: The schedule to follow.
    """
    # Past `__setattr__`, which would track it
    before = vars(optimizer)["_learning_rate"]
    vars(optimizer)["_learning_rate"] = schedule
    try:
        yield
    finally:
        vars(optimizer)["_learning_rate"] = before

"""Faults of the data: scale, order, labels, NaN, nothing to learn."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.zoo.planted import names, spoiled
from tests.zoo.planted.fault import (
    COSTS,
    Fault,
    Pair,
    guess,
    has_labels,
    has_numbers,
    has_values,
    is_binary,
    with_data,
)
from tests.zoo.training import Examples, Training


def _has_features(training: Training, data: Examples) -> bool:
    return has_numbers(data) and data.x.ndim == 2


def _has_pictures(training: Training, data: Examples) -> bool:
    return has_numbers(data) and data.x.ndim == 4


def _has_numbers(training: Training, data: Examples) -> bool:
    return has_numbers(data)


def _has_values(training: Training, data: Examples) -> bool:
    return has_values(data) and training.loss == "mse"


def _has_labels(training: Training, data: Examples) -> bool:
    return has_labels(data)


def _can_be_guessed(training: Training, data: Examples) -> bool:
    """Whether the least loss of a constant output is known."""
    if has_labels(data) or is_binary(data):
        return True
    return has_values(data) and training.loss == "mse"


def _inputs(
    fits: Callable[[Training, Examples], bool], spoil: Callable[..., Any]
) -> Fault:
    """At the rate that is best for these inputs, and at that of scaled ones."""
    return Fault(
        names.INPUTS,
        lambda training: with_data(training, spoil), fits,
        rates=("own", "healthy"), compare_rates=True,
    )  # fmt: skip


def _targets(by: float, offset: float) -> Fault:
    """At both rates, as inputs."""
    return Fault(
        names.TARGETS,
        lambda training: with_data(
            training,
            lambda data, seed: spoiled.large_targets(data, by, offset),
        ),
        _has_values, rates=("own", "healthy"), compare_rates=True,
        read=lambda outputs: outputs / by - offset,
    )  # fmt: skip


def _sorted(training: Training) -> Training:
    changed = with_data(training, lambda data, seed: spoiled.ordered(data))
    return dataclasses.replace(changed, shuffle=False)


def _has_an_order(training: Training, data: Examples) -> bool:
    """At least 8 batches an epoch, of targets that can be sorted."""
    batch = training.batch_size or len(data.y)
    return isinstance(data.y, np.ndarray) and len(data.y) >= 8 * batch


def _costs_in_own_loss(pair: Pair) -> bool:
    return pair.lost_in_own_loss >= COSTS


def _noisy(share: float) -> Callable[[Training], Training]:
    return lambda training: with_data(
        training, lambda data, seed: spoiled.random_labels(data, share, seed)
    )


def _clean_can_be_learned(pair: Pair) -> bool:
    """The clean labels are learned to half of the loss, a fifth is wrong."""
    noisy = pair.spoiled.training.draw(pair.planted.seed).y
    wrong = np.mean(noisy != pair.clean.y)
    return bool(wrong >= 0.2 and pair.without.end <= 0.5 * pair.without.first)


def is_nonfinite(pair: Pair) -> bool:
    """Losses or weights are not finite; those of the healthy training are.

    A relu of TensorFlow's makes 0 of NaN, so that losses may stay finite.
    """
    values = [pair.planted.loss, *pair.planted.weights]
    finite = all(np.isfinite(value).all() for value in values)
    return not finite and math.isfinite(pair.without.end)


def _with_nonfinite(value: float, where: str) -> Fault:
    def fits(training: Training, data: Examples) -> bool:
        return has_numbers(data) if where == "x" else has_values(data)

    return Fault(
        names.NONFINITE,
        lambda training: with_data(
            training,
            lambda data, seed: spoiled.with_nonfinite(
                data, value, where, seed
            ),
        ),
        fits, is_nonfinite,
    )  # fmt: skip


def learns_nothing(pair: Pair) -> bool:
    """At most 10% better than an output that is the same for all examples."""
    data = pair.spoiled.training.draw(pair.planted.seed)
    return pair.planted.end >= 0.9 * guess(data)


#: Wrong labels that are learned by heart are overfitted: both are true.
_BY_HEART = (names.OVERFITTING,)

FAULTS: dict[str, Fault] = {
    "inputs + 30 deviations": _inputs(
        _has_numbers, lambda data, seed: spoiled.shifted(data, 30.0)
    ),
    "inputs x 100": _inputs(
        _has_numbers, lambda data, seed: spoiled.scaled(data, 100.0)
    ),
    "inputs x 0.003": _inputs(
        _has_numbers, lambda data, seed: spoiled.scaled(data, 0.003)
    ),
    "pixels 0 to 255": _inputs(
        _has_pictures, lambda data, seed: spoiled.pixels(data)
    ),
    "one feature x 10,000": _inputs(
        _has_features,
        lambda data, seed: spoiled.one_large_feature(data, 1e4, seed),
    ),
    "one feature x 300": _inputs(
        _has_features,
        lambda data, seed: spoiled.one_large_feature(data, 300.0, seed),
    ),
    "targets x 1,000": _targets(1000.0, 0.0),
    "targets + 100": _targets(1.0, 100.0),
    "targets x 300 + 3,000": _targets(300.0, 10.0),
    "sorted": Fault(
        names.ORDER, _sorted, _has_an_order,
        _costs_in_own_loss, compare_rates=True,
    ),
    "40% of labels drawn": Fault(
        names.LABELS,  _noisy(0.4), _has_labels, _clean_can_be_learned,
        rates=("own", "healthy"), also=_BY_HEART,
    ),
    "70% of labels drawn": Fault(
        names.LABELS,  _noisy(0.7), _has_labels, _clean_can_be_learned,
        rates=("own",), also=_BY_HEART,
    ),
    "NaN in inputs": _with_nonfinite(math.nan, "x"),
    "infinity in inputs": _with_nonfinite(math.inf, "x"),
    "NaN in targets": _with_nonfinite(math.nan, "y"),
    "unrelated targets": Fault(
        names.NOT_LEARNING,
        lambda training: with_data(training, spoiled.unrelated),
        _can_be_guessed, learns_nothing,
        also=(names.LABELS,),  # Of which all are noise
    ),
    "constant inputs": Fault(
        names.NOT_LEARNING,
        lambda training: with_data(
            training, lambda data, seed: spoiled.constant_inputs(data)
        ),
        _can_be_guessed, learns_nothing,
    ),
}  # fmt: skip

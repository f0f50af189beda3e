"""What is planted in a healthy training, and whether it is really there."""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tests.zoo.bench import Bench, Trained
from tests.zoo.planted import names
from tests.zoo.sweep import HEALTHY
from tests.zoo.training import Examples, Training

#: A fault is there if it costs this share of the gain, or more.
COSTS = 0.25


@dataclasses.dataclass(frozen=True)
class Pair:
    """The same training with and without what was planted.

    Args:
        healthy, spoiled: Benches; the models have the weights at the end.
        without, planted: What the trainings came to.
        clean: The data of the healthy one.
        read: Takes outputs of the spoiled model and returns what the healthy
            one would have to put out to mean the same.
    """

    healthy: Bench
    spoiled: Bench
    without: Trained
    planted: Trained
    clean: Examples
    read: Callable[[Any], Any]

    @property
    def lost(self) -> float:
        """The share of the healthy gain that the spoiled training lacks.

            (end of spoiled - end of healthy) / (first - end of healthy)

        Both ends are losses of the healthy training's data, by its own loss
        function and without regularizers.
        """
        x = self.spoiled.training.draw(self.planted.seed).x
        outputs = self.read(self.spoiled.model(x, training=False))
        return self._share(self.loss(self.healthy, outputs))

    @property
    def lost_in_own_loss(self) -> float:
        """The same, by the loss that the spoiled training had."""
        return self._share(self.planted.end)

    def _share(self, end: float) -> float:
        gain = self.without.first - self.without.end
        return (end - self.without.end) / gain

    def loss(self, bench: Bench, outputs: Any) -> float:
        """The loss of a bench, of given outputs on the healthy data."""
        y = keras.tree.map_structure(tf.convert_to_tensor, self.clean.y)
        outputs = keras.tree.map_structure(tf.convert_to_tensor, outputs)
        losses = bench.model.compute_loss(None, y, outputs)
        loss = float(losses - sum(bench.model.losses))
        return loss if math.isfinite(loss) else math.inf


def costs_a_quarter(pair: Pair) -> bool:
    """The fault costs at least a quarter of the gain."""
    return pair.lost >= COSTS


def same(outputs: Any) -> Any:
    """Outputs mean what they mean without the fault."""
    return outputs


def always(training: Training, data: Examples) -> bool:
    """Any training can have it."""
    return True


@dataclasses.dataclass(frozen=True)
class Fault:
    """Something to plant.

    Args:
        kind: The verdict that names it, or `tests.zoo.sweep.HEALTHY`.
        plant: Takes a healthy training and returns a spoiled one.
        fits: Whether a training and its data can have it at all.
        is_there: The check, which knows nothing of a diagnosis.
        rates: At which learning rates. `"own"`: the best one of the spoiled
            training itself, so that nothing is wrong with the rate;
            `"healthy"`: that of the healthy one; `"zero"`.
        compare_rates: Whether the rate may be wrong as well, so that
            `names_of_rate` are accepted too.
        read: As in `Pair`.
        also: Other verdicts that are right about it.
    """

    kind: str
    plant: Callable[[Training], Training]
    fits: Callable[[Training, Examples], bool] = always
    is_there: Callable[[Pair], bool] = costs_a_quarter
    rates: tuple[str, ...] = ("healthy",)
    compare_rates: bool = False
    read: Callable[[Any], Any] = same
    also: tuple[str, ...] = ()

    def accepted(self, planted: Trained, best: Trained | None) -> set[str]:
        """First verdicts that are right; none if nothing is wrong.

        Args:
            planted: The spoiled training.
            best: The same at its own best rate, if that is known.
        """
        if self.kind == HEALTHY:
            return set()
        found = {self.kind, *self.also}
        if self.compare_rates and best:
            found |= names_of_rate(planted, best)
        return found


def names_of_rate(planted: Trained, best: Trained) -> set[str]:
    """What is wrong with the rate of a spoiled training, besides the fault.

    Then there are two faults, and either may be named first: with the rate
    that is best for the spoiled training, it gains twice as much or more.
    """
    gain = best.first - best.end
    if not gain > 0 or planted.first - planted.end > 0.5 * gain:
        return set()
    if planted.rate < best.rate:
        return {names.TOO_SMALL}
    return {names.DIVERGING, names.OSCILLATING}


def has_labels(data: Examples) -> bool:
    """One output, whose targets are whole numbers of classes."""
    return isinstance(data.y, np.ndarray) and data.y.dtype.kind in "iu"


def is_binary(data: Examples) -> bool:
    """One output of one unit, whose targets are 0 or 1 as float."""
    return _is_yes_or_no(data.y) and data.y.shape[-1] == 1


def _is_yes_or_no(y: Any) -> bool:
    return (
        isinstance(y, np.ndarray)
        and y.dtype.kind == "f"
        and set(np.unique(y)) <= {0.0, 1.0}
    )


def has_values(data: Examples) -> bool:
    """One output, a regression; no autoencoder."""
    return (
        isinstance(data.y, np.ndarray)
        and not has_labels(data)
        and not _is_yes_or_no(data.y)
        and data.y.shape != np.shape(data.x)
    )


def has_numbers(data: Examples) -> bool:
    """Inputs are numbers and no words; no autoencoder."""
    return (
        isinstance(data.x, np.ndarray)
        and data.x.dtype.kind == "f"
        and data.x is not data.y
        and np.shape(data.y) != data.x.shape
    )


def takes_logits(training: Training) -> bool:
    """Whether the loss takes logits."""
    return bool(getattr(training.loss, "from_logits", False))


def guess(data: Examples) -> float:
    """The least loss of an output that is the same for all examples.

    Cross-entropy of labels, mean squared error of values.
    """
    if has_labels(data) or is_binary(data):
        _, counts = np.unique(data.y, return_counts=True)
        shares = counts / counts.sum()
        return float(-np.sum(shares * np.log(shares)))
    return float(np.mean(np.var(data.y, axis=0)))


def with_data(training: Training, spoil: Callable[[Any, int], Any]) -> Training:
    """The training with other data, a function of `(x, y)` and a seed.

    Examples for validation are spoiled in the same way.
    """

    @functools.lru_cache(8)
    def draw(seed: int) -> Examples:
        clean = training.draw(seed)
        x, y = spoil((clean.x, clean.y), seed)
        held = clean.held and spoil(clean.held, seed)
        return Examples(x, y, held)

    return dataclasses.replace(training, draw=draw)

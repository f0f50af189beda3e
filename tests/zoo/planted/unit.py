"""A fault in a training of a part, planted, trained and checked."""

import dataclasses
import functools
import math
from collections.abc import Iterator

import keras
import numpy as np

from tests.zoo import halves
from tests.zoo.bench import Bench, Trained
from tests.zoo.planted import FAULTS, deep
from tests.zoo.planted.fault import Fault, Pair
from tests.zoo.sweep import FACTOR, HEALTHY, LEARNED, START, Labelled
from tests.zoo.training import Examples, Setup, Training, assembled


def training_of(setup: Setup) -> Training:
    """What a `Setup` names, with its fault."""
    without = dataclasses.replace(setup, fault="")
    tasks = halves.tasks(setup.half) | {
        task.name: task for task in deep.TASKS[setup.half]
    }
    training = assembled(tasks[setup.task], without)
    return FAULTS[setup.fault].plant(training) if setup.fault else training


@functools.lru_cache(2)
def without_fault(setup: Setup, seed: int) -> tuple[Bench, Trained]:
    """A healthy training at its best learning rate, and its bench."""
    bench = Bench(training_of(setup))
    start = START.get(setup.optimizer, 0.01)
    return bench, at_best_rate(bench, seed, start)


def at_best_rate(bench: Bench, seed: int, start: float) -> Trained:
    """The training whose rate has a worse one on each side.

    Rates are a power of `FACTOR` from `start`; the search goes downhill by
    tens, and then by `FACTOR`. Of ends from 0 to 2% of the first loss, and of
    those that are infinite, the least rate is the best.
    """
    runs: dict[int, Trained] = {}

    def end(power: int) -> tuple[float, int]:
        if power not in runs:
            runs[power] = bench.train(start * FACTOR**power, seed)
        run = runs[power]
        least = 0.02 * run.first if run.end >= 0 else run.end
        return max(run.end, least), power

    best = 0
    for stride in (2, 1):
        while abs(best) <= 24:
            near = min((best - stride, best, best + stride), key=end)
            if near == best:
                break
            best = near
    return runs[best]


@dataclasses.dataclass(frozen=True)
class Planted:
    """Trainings of a setup with a fault.

    Args:
        setup: What is trained; it has a fault.
        seed: Of data, weights and order.
    """

    setup: Setup
    seed: int

    def __str__(self) -> str:
        return f"{self.setup}, seed {self.seed}"

    @property
    def fault(self) -> Fault:
        """What is planted."""
        return FAULTS[self.setup.fault]

    def runs(self) -> list[Labelled]:
        """Those in which the fault is there; none of a task not learned."""
        healthy, without = without_fault(_base(self.setup), self.seed)
        clean = healthy.training.draw(self.seed)
        if not without.end < LEARNED * without.first:
            return []
        spoiled = Bench(training_of(self.setup))
        best = self._best(spoiled, without.rate)
        found = []
        for place, rate in self._rates(without, best):
            planted = spoiled.train(rate, self.seed)
            pair = Pair(
                healthy, spoiled, without, planted, clean, self.fault.read
            )
            gain = (planted.first - planted.end) / (without.first - without.end)
            if self.fault.is_there(pair):
                names = tuple(sorted(self.fault.accepted(planted, best)))
                found.append(
                    Labelled(planted, self.fault.kind, names, gain, place)
                )
        return found

    def _best(self, spoiled: Bench, rate: float) -> Trained | None:
        """The spoiled training at its own best rate, where that is asked."""
        if not self.fault.compare_rates and "own" not in self.fault.rates:
            return None
        return at_best_rate(spoiled, self.seed, rate)

    def _rates(
        self, without: Trained, best: Trained | None
    ) -> Iterator[tuple[str, float]]:
        """Where the learning rate is, in words, and what it is.

        Two that are the same count once.
        """
        if "own" in self.fault.rates and best:
            yield "best rate", best.rate
        is_same = best and math.isclose(best.rate, without.rate, rel_tol=0.01)
        if "healthy" in self.fault.rates and not is_same:
            yield "best rate without the fault", without.rate
        if "zero" in self.fault.rates:
            yield "rate 0", 0.0


def units(half: str) -> list[Planted]:
    """Each fault in some trainings of a part; those of one training together.

    Trainings are taken evenly from all that the fault fits.
    """
    setups = halves.setups(half) + [
        Setup(half, task, *setting)
        for task, settings in deep.SETTINGS[half].items()
        for setting in settings
    ]
    kinds = [fault.kind for fault in FAULTS.values()]
    faults, healthy = halves.PARTS[half].tried
    found = []
    for number, (name, fault) in enumerate(FAULTS.items()):
        tried = healthy if fault.kind == HEALTHY else faults
        fitting = [setup for setup in setups if _fits(fault, setup)]
        count = min(-(-tried // kinds.count(fault.kind)), len(fitting))
        found += [
            dataclasses.replace(fitting[at], fault=name)
            for i in range(count)
            for at in [(i * len(fitting) // count + number) % len(fitting)]
        ]
    found.sort(key=lambda setup: setups.index(_base(setup)))
    return [Planted(setup, 0) for setup in found]


def _base(setup: Setup) -> Setup:
    return dataclasses.replace(setup, fault="")


def _fits(fault: Fault, setup: Setup) -> bool:
    """Faults are planted where inputs are one array."""
    data, model = _example(setup.half, setup.task)
    if not isinstance(data.x, np.ndarray):
        return False
    training = dataclasses.replace(training_of(setup), build=lambda: model)
    return fault.fits(training, data)


@functools.cache
def _example(half: str, task: str) -> tuple[Examples, keras.Model]:
    """Data and a model of a task."""
    setup = Setup(half, task, "descent", None, "constant", 1)
    return training_of(setup).draw(0), training_of(setup).build()

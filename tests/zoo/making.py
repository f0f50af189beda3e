"""What the zoo consists of: sweeps over rates, and planted faults."""

import dataclasses
import functools
import itertools

from tests.zoo import halves
from tests.zoo.bench import Bench
from tests.zoo.planted import unit
from tests.zoo.sweep import START, Labelled, labelled, sweep
from tests.zoo.training import Setup

SEEDS = (0, 1)


@dataclasses.dataclass(frozen=True)
class Sweep:
    """Trainings of a setup at many learning rates.

    Args:
        setup: What is trained.
        seed: Of data, weights and order.
    """

    setup: Setup
    seed: int

    def __str__(self) -> str:
        return f"{self.setup}, seed {self.seed}"

    def runs(self) -> list[Labelled]:
        """All of them, with what is true of them."""
        start = START.get(self.setup.optimizer, 0.01)
        bench = bench_of(self.setup)
        runs = sweep(bench, self.seed, start)
        return labelled(
            {
                power: run._replace(silent=bench.is_silent(run))
                for power, run in runs.items()
            }
        )


@functools.lru_cache(4)
def bench_of(setup: Setup) -> Bench:
    """The compiled model of a setup."""
    return Bench(unit.training_of(setup))


def units(half: str) -> list[Sweep | unit.Planted]:
    """All of a part: sweeps of the first seed, faults, the other sweeps."""
    first, *others = (
        [Sweep(setup, seed) for setup in halves.setups(half)] for seed in SEEDS
    )
    return [*first, *unit.units(half), *itertools.chain(*others)]

"""Faults of the learning rate, planted as multiples of its exact limit."""

import numpy as np

from tests.zoo import benches, limits
from tests.zoo.bench import Specimen

DIVERGING = "learning rate too large: diverging"
OSCILLATING = "learning rate too large: oscillating"
TOO_SMALL = "learning rate too small"
NOT_LEARNING = "not learning"

# kind: how many times the limit of plain descent, and how many steps
TOO_LARGE = {
    "line, descent": (1.05, 4, 150),
    "line, descent, minimal": (1.05, 4, 60),
    "line, heavy ball": (2.2, 5, 150),
    "line, descent, batches of 10": (3, 6, 200),
    "plane, descent": (1.05, 4, 100),
    "tanh net, descent": (4, 40, 200),
    "relu net, descent": (10, 60, 200),
    "relu net, momentum, batches of 32": (6, 40, 300),
    "CNN, descent, batches of 32": (10, 40, 120),
}
# kind: rates that are far too large for an optimizer that scales its steps
FAR_TOO_LARGE = {
    "tanh net, Adam, batches of 16": (3, 10, 200),
    "relu net, Adam, batches of 32": (2, 8, 200),
}
BOUNCING = {
    "line, descent": (0.988, 0.9999, 120),
    "line, descent, cosine": (0.988, 0.9999, 120),
    "plane, descent": (0.99, 0.9999, 100),
}
SOMETIMES_BOUNCING = {
    # Heavy ball's limit is 1 + momentum times as large.
    "line, heavy ball": (1.9 * 0.99, 1.9 * 0.9999, 150),
    "tanh net, descent": (0.9, 1.6, 200),
    "tanh net, descent, cosine": (0.9, 1.6, 200),
}
CREEPING = {
    "line, descent": (1e-5, 1e-3, 200),
    "line, momentum": (1e-6, 1e-4, 200),
    "line, descent, minimal": (1e-5, 1e-3, 200),
    "line, descent, batches of 10": (1e-5, 1e-3, 300),
    "plane, SGD, batches of 16": (1e-5, 1e-3, 320),
    "tanh net, descent": (1e-5, 1e-3, 300),
    "relu net, descent": (1e-5, 1e-3, 300),
    "CNN, descent, batches of 32": (1e-4, 2e-3, 180),
}
CREEPING_ADAM = {
    "line, Adam": (1e-6, 2e-4, 200),
    "tanh net, Adam, batches of 16": (1e-7, 3e-6, 320),
    "relu net, Adam, batches of 32": (1e-7, 1e-5, 300),
    "CNN, Adam, batches of 32": (1e-7, 5e-6, 180),
}


def between(low, high, seed, kind):
    """A number drawn evenly on a logarithmic scale."""
    random = np.random.default_rng([7, seed, len(kind), ord(kind[0])])
    return float(np.exp(random.uniform(np.log(low), np.log(high))))


def late(telemetry):
    """The mean loss of the last quarter."""
    loss = np.asarray(telemetry["loss"], np.float64)
    return float(np.mean(loss[-max(len(loss) // 4, 1) :]))


def limit_of(bench, data, seed):
    """The exact limit; of a line, in closed form."""
    if bench.kind.startswith(("line", "plane")):
        return limits.of_line(data[0])
    return limits.limit(bench, data, seed=seed)


def trainings(table, seeds):
    """Trains each kind of a table with every seed.

    Yields:
        `(bench, data, limit or None, seed, rate, steps, telemetry)`.
    """
    for kind, (low, high, steps) in table.items():
        for seed in seeds:
            bench, data = benches.get(kind), benches.data_of(kind)(seed)
            scaled = "Adam" not in kind
            unit = limit_of(bench, data, seed) if scaled else 1.0
            rate = between(low, high, seed, kind) * unit
            telemetry, _ = bench.train(data, rate, steps, seed=seed)
            yield bench, data, unit, seed, rate, steps, telemetry


def diverging(seeds):
    """Beyond the limit: the loss ends above where it began.

    Or it rises to ten times as much, and what is left learns no more. A
    hundredth of the rate does not do so.
    """
    for table in (TOO_LARGE, FAR_TOO_LARGE):
        for bench, data, _, seed, rate, steps, telemetry in trainings(
            table, seeds
        ):
            ends = late(telemetry)
            first = float(telemetry["loss"][0])
            highest = np.max(np.asarray(telemetry["loss"]))
            calm, _ = bench.train(data, rate / 100, steps, seed=seed)
            bad = not ends < 2 * first or (
                highest > 10 * first and ends > 0.7 * first
            )
            if bad and late(calm) < 1.05 * first:
                yield Specimen(DIVERGING, bench.kind, seed, telemetry)


def oscillating(seeds):
    """Just under the limit: jumps from side to side and hardly descends.

    A fifth of the rate comes to less than half of the loss. Of heavy ball and
    nets, the loss is not above the start, but rises at a fifth of the steps
    or more, which descent on all data does beyond the limit only.
    """
    for table in (BOUNCING, SOMETIMES_BOUNCING):
        for bench, data, _, seed, rate, steps, telemetry in trainings(
            table, seeds
        ):
            calm, _ = bench.train(data, rate / 5, steps, seed=seed)
            if late(telemetry) < 2 * late(calm):
                continue
            loss = np.asarray(telemetry["loss"])
            rises = np.mean(np.diff(loss[len(loss) // 2 :]) > 0)
            if table is BOUNCING or (rises > 0.2 and late(telemetry) < loss[0]):
                yield Specimen(OSCILLATING, bench.kind, seed, telemetry)


def too_small(seeds):
    """Far under the limit: 0.3 of it comes a long way in as many steps."""
    for table in (CREEPING, CREEPING_ADAM):
        for bench, data, unit, seed, _, steps, telemetry in trainings(
            table, seeds
        ):
            good = 0.3 * unit if table is CREEPING else 0.01
            if "momentum" in bench.kind:
                good *= 0.2
            better, _ = bench.train(data, good, steps, seed=seed)
            first = float(better["loss"][0])
            if late(telemetry) - late(better) > 0.5 * (first - late(better)):
                yield Specimen(TOO_SMALL, bench.kind, seed, telemetry)


def standing_still(seeds):
    """A rate of 0."""
    kinds = [
        "line, descent",
        "tanh net, Adam, batches of 16",
        "relu net, momentum, batches of 32",
        "CNN, descent, batches of 32",
    ]
    for kind in kinds:
        for seed in seeds:
            bench, data = benches.get(kind), benches.data_of(kind)(seed)
            telemetry, _ = bench.train(data, 0.0, 160, seed=seed)
            yield Specimen(NOT_LEARNING, kind, seed, telemetry)

"""Trainings with nothing wrong: how far they are is known."""

import numpy as np

from tests.zoo import benches, limits, rates
from tests.zoo.bench import Specimen

CONVERGED, CONVERGING = "converged", "converging"
NOISE_FLOOR, NOTHING = "noise floor", "nothing to report"

# kind: learning rate, as a share of the limit unless Adam or alike; steps
FULL = {
    "line, descent": (0.1, 0.6, 600),
    "line, descent, cosine": (0.1, 0.6, 600),
    "line, descent, minimal": (0.1, 0.6, 600),
    "line, momentum": (0.02, 0.2, 600),
    "line, heavy ball": (0.02, 0.2, 600),
    "line, Adam": (0.03, 0.1, 800),
    "plane, descent": (0.2, 0.6, 800),
    "ridged net, Adam": (0.005, 0.02, 2500),
    "ridged net, momentum": (0.03, 0.1, 2500),
}
ON_THE_WAY = {
    "line, descent": (0.05, 0.3, 40),
    "line, momentum": (0.005, 0.02, 60),
    "line, descent, batches of 10": (0.02, 0.1, 40),
    "line, Adam": (0.005, 0.02, 150),
    "plane, descent": (0.1, 0.4, 60),
    "tanh net, descent": (0.1, 0.4, 300),
    "tanh net, descent, batches of 16": (0.05, 0.2, 320),
    "tanh net, Adam, batches of 16": (0.002, 0.01, 320),
    "tanh net, RMSprop": (0.001, 0.004, 300),
    "relu net, descent": (0.1, 0.4, 300),
    "relu net, momentum, batches of 32": (0.01, 0.04, 180),
    "relu net, Adam, batches of 32": (0.002, 0.006, 180),
    "CNN, descent, batches of 32": (0.1, 0.4, 120),
    "CNN, Adam, batches of 32": (0.002, 0.006, 120),
    "batch norm, momentum": (0.003, 0.02, 180),
    "batch norm, Adam": (0.001, 0.004, 180),
    "8 tanh, Adam": (0.001, 0.004, 240),
    "6 relu, Adam": (0.001, 0.004, 240),
    "6 relu, descent": (0.1, 0.4, 240),
}
NOISY = {
    "line, descent, batches of 10": (0.1, 0.4, 800),
    "line, RMSprop, batches of 20": (0.02, 0.05, 800),
    "plane, SGD, batches of 16": (0.1, 0.3, 1200),
    "plane, Adam, batches of 16": (0.03, 0.1, 1200),
}
FIXED = ("Adam", "RMSprop", "batch norm")


def trainings(table, seeds):
    """Trains each kind of a table: `(bench, data, seed, train, steps)`."""
    for kind, (low, high, steps) in table.items():
        for seed in seeds:
            bench, data = benches.get(kind), benches.data_of(kind)(seed)
            unit = 1.0
            if not any(word in kind for word in FIXED):
                unit = rates.limit_of(bench, data, seed)
            rate = unit * rates.between(low, high, seed, kind)
            yield bench, data, seed, rate, steps


def converged(seeds):
    """All data at every step: less than 1e-5 of the gain is left."""
    for bench, data, seed, rate, steps in trainings(FULL, seeds):
        telemetry, _ = bench.train(data, rate, steps, seed=seed)
        loss = np.asarray(telemetry["loss"], np.float64)
        if bench.kind.startswith(("line", "plane")):
            best = limits.best_loss(*data)
        else:
            long, _ = bench.train(data, rate, 2 * steps, seed=seed)
            best = np.min(long["loss"])
        if loss[-1] - best < 1e-5 * (loss[0] - best):
            yield Specimen(CONVERGED, bench.kind, seed, telemetry)


def converging(seeds):
    """Cut off on the way: 3% to 60% of the gain of 8 times as many is to come.

    And the loss of all data, without noise, came down by 3% of that gain or
    more in the last half.
    """
    for bench, data, seed, rate, steps in trainings(ON_THE_WAY, seeds):
        bench.train(data, rate, steps // 2, seed=seed)
        before = bench.loss(data)
        telemetry, _ = bench.train(data, rate, steps, seed=seed)
        falls = before - bench.loss(data)
        long, _ = bench.train(data, rate, 8 * steps, seed=seed)
        loss = np.asarray(telemetry["loss"], np.float64)
        tenth = max(len(loss) // 10, 3)
        now, first, best = loss[-tenth:].mean(), loss[0], rates.late(long)
        whole = first - best
        # Shares of the loss itself, where it goes to 0
        if falls > 0.03 * whole and 0.03 < (now - best) / whole < 0.6:
            yield Specimen(CONVERGING, bench.kind, seed, telemetry)


def noise_floor(seeds):
    """Batches: the last halves of it and of one twice as long are alike."""
    for bench, data, seed, rate, steps in trainings(NOISY, seeds):
        telemetry, _ = bench.train(data, rate, steps, seed=seed)
        long, _ = bench.train(data, rate, 2 * steps, seed=seed)
        loss = np.asarray(telemetry["loss"], np.float64)
        half = loss[len(loss) // 2 :]
        if abs(rates.late(long) - half.mean()) < 0.1 * half.mean():
            yield Specimen(NOISE_FLOOR, bench.kind, seed, telemetry)


def short(seeds):
    """One to four steps, of which nothing can be said."""
    for bench, data, seed, rate, _ in trainings(
        {
            "line, descent": (0.1, 0.4, 0),
            "relu net, Adam, batches of 32": (0.001, 0.003, 0),
            "CNN, Adam, batches of 32": (0.001, 0.003, 0),
        },
        seeds,
    ):
        steps = 1 + seed % 4
        x, y = data
        batch = bench.batch_size or len(x)
        few = x[: steps * batch], y[: steps * batch]
        telemetry, _ = bench.train(few, rate, steps, seed=seed)
        yield Specimen(NOTHING, bench.kind, seed, telemetry)


def generalizing(seeds):
    """Plenty of examples, validation beside: nothing is overfitted."""
    for kind, rate, epochs in (
        ("relu net, Adam, batches of 32", 0.003, 40),
        ("tanh net, Adam, batches of 16", 0.003, 40),
        ("line, descent, batches of 10", 0.05, 60),
    ):
        bench = benches.get(kind)
        for seed in seeds:
            x, y = benches.data_of(kind)(seed, examples=768)
            data, held = (x[:256], y[:256]), (x[256:], y[256:])
            steps = epochs * -(-256 // bench.batch_size)
            telemetry, history = bench.train(
                data, rate, steps, seed=seed, validation=held
            )
            risk = history["val_loss"]
            if risk[-1] < 1.03 * min(risk):
                yield Specimen(
                    "healthy", f"{kind}, validated", seed, telemetry, history
                )

"""Faults of data and layers."""

import numpy as np

from gdtrain.writers.memory import MemoryWriter
from tests.zoo import benches, rates
from tests.zoo.bench import Specimen

VANISHING, EXPLODING = "vanishing gradients", "exploding gradients"
DEAD, NONFINITE = "dead layer", "non-finite"
OVERFITTING, PLATEAU = "overfitting", "plateau"


def nothing_to_learn(seeds):
    """Labels that have nothing to do with the inputs, or inputs of zero."""
    for kind, rate in (
        ("coin net, Adam, batches of 32", 3e-4),
        ("coin net, descent, batches of 64", 0.02),
    ):
        for seed in seeds:
            bench = benches.get(kind)
            telemetry, _ = bench.train(
                benches.data_of(kind)(seed), rate, 160, seed=seed,
                change=_small_head,
            )  # fmt: skip
            yield Specimen(rates.NOT_LEARNING, kind, seed, telemetry)
    for kind, rate in (
        ("relu net, descent", 0.05),
        ("relu net, momentum, batches of 32", 0.005),
    ):
        for seed in seeds:
            x, labels = benches.data_of(kind)(seed)
            # Classes are of one size: guessing is the best there is.
            telemetry, _ = benches.get(kind).train(
                (0 * x + 1, labels), rate, 180, seed=seed,
                change=lambda weights: _small_head(weights, 0.0),
            )  # fmt: skip
            yield Specimen(
                rates.NOT_LEARNING, f"{kind}, x = 1", seed, telemetry
            )


def constant_output(seeds):
    """An output that is multiplied by 0."""
    bench = benches.get("times zero, Adam")
    for seed in seeds:
        data = benches.data_of("tanh")(seed)
        telemetry, _ = bench.train(data, 1e-3, 120, seed=seed)
        yield Specimen(rates.NOT_LEARNING, bench.kind, seed, telemetry)


def _small_head(weights, by=0.01):
    """Outputs near 0: the loss begins at that of guessing."""
    return [*weights[:-2], by * weights[-2], weights[-1]]


def vanishing(seeds):
    """Deep sigmoids, whose derivative is at most 1/4 a layer.

    Tanh in their place learns in as many steps.
    """
    for kind, rate, steps in (
        ("8 sigmoids, descent", 0.1, 300),
        ("12 sigmoids, momentum", 0.02, 300),
        ("10 sigmoids, Adam", 1e-4, 150),
    ):
        for seed in seeds:
            data = benches.data_of(kind)(seed)
            telemetry, _ = benches.get(kind).train(data, rate, steps, seed=seed)
            yield Specimen(VANISHING, kind, seed, telemetry)


def _scale(factor):
    """Multiplies all kernels but the last."""

    def change(weights):
        return [
            w * factor if w.ndim > 1 and i < len(weights) - 2 else w
            for i, w in enumerate(weights)
        ]

    return change


def exploding(seeds):
    """Deep relu of weights 3 to 6 times too long, each layer multiplies.

    The first gradient is over 100 times that of the same net before. Half of
    them have a rate so small that the run does not end at once.
    """
    for kind, rate in (
        ("6 relu, descent", 0.01),
        ("6 relu, Adam", 0.003),
        ("8 relu, momentum", 0.01),
    ):
        bench = benches.get(kind)
        for seed in seeds:
            data = benches.data_of(kind)(seed)
            factor = rates.between(3, 6, seed, kind)
            slow = 1e-8 if "Adam" not in kind else 1e-3
            normal, _ = bench.train(data, 0.0, 6, seed=seed)
            telemetry, _ = bench.train(
                data, rate * (1, slow)[seed % 2], 120, seed=seed,
                change=_scale(factor),
            )  # fmt: skip
            grown = telemetry["gradient_norm"][0] / normal["gradient_norm"][0]
            if grown > 100:
                yield Specimen(EXPLODING, kind, seed, telemetry)


def _kill(layer):
    """Sets the bias of a dense layer so low that relu is never above 0."""

    def change(weights):
        changed = list(weights)
        changed[2 * layer + 1] = changed[2 * layer + 1] - 100
        return changed

    return change


def dead(seeds):
    """A layer of relu whose biases are -100."""
    for kind, layer, rate in (
        ("relu net, descent", 0, 0.1),
        ("relu net, momentum, batches of 32", 1, 0.02),
        ("relu net, Adam, batches of 32", 0, 0.003),
        ("relu net, full", 1, 0.1),
        ("CNN, Adam, batches of 32", 1, 0.003),
        ("6 relu, descent", 3, 0.1),
    ):
        for seed in seeds:
            telemetry, _ = benches.get(kind).train(
                benches.data_of(kind)(seed), rate, 180, seed=seed,
                change=_kill(layer),
            )  # fmt: skip
            yield Specimen(DEAD, kind, seed, telemetry)


def nonfinite(seeds):
    """A NaN or an infinity among the inputs or targets, met in some batch."""
    for kind, rate in (
        ("line, descent, batches of 10", 0.02),
        ("tanh net, Adam, batches of 16", 0.005),
        ("relu net, momentum, batches of 32", 0.01),
        ("CNN, Adam, batches of 32", 0.003),
        ("tanh net, descent", 0.05),
        ("plane, SGD, batches of 16", 0.01),
    ):
        for seed in seeds:
            x, y = benches.data_of(kind)(seed)
            x = x.copy()
            x[seed % len(x)] = (np.nan, np.inf)[seed // 2 % 2]
            telemetry, _ = benches.get(kind).train((x, y), rate, 150, seed=seed)
            yield Specimen(NONFINITE, kind, seed, telemetry)


def overfitting(seeds):
    """Few noisy examples: the true loss, on 4,000 new ones, rises again."""
    for kind, rate, epochs in (
        ("wide net, Adam", 0.02, 200),
        ("wide net, momentum, batches of 8", 0.01, 150),
    ):
        bench = benches.get(kind)
        for seed in seeds:
            draw = benches.data_of(kind)
            x, y = draw(seed, examples=4200, noise=0.8)
            few = x[:24], y[:24]
            batches = -(-24 // (bench.batch_size or 24))
            held, truth = (x[32:232], y[32:232]), (x[200:], y[200:])
            train = lambda other: bench.train(  # noqa: E731
                few, rate, epochs * batches, seed=seed, validation=other
            )
            risk = train(truth)[1]["val_loss"]
            telemetry, history = train(held)
            if risk[-1] > 1.25 * min(risk):
                yield Specimen(OVERFITTING, kind, seed, telemetry, history)


def plateau(seeds):
    """Weights near 0, a saddle: cut off before training leaves it.

    Targets have a variance of 1, which is the loss while only the bias
    learns. The whole training comes to less than half of it.
    """
    for kind, scale, rate, steps in (
        ("tanh net, descent", 1e-6, 0.1, 800),
        ("tanh net, descent", 1e-5, 0.05, 1200),
        ("deep line, descent", 0.06, 0.1, 1200),
        ("plateau net, momentum", 1e-6, 0.01, 800),
    ):
        bench = benches.get(kind)
        for seed in seeds:
            x, y = benches.data_of("ridged")(seed)
            if kind.startswith("deep"):
                y = 2 * x[:, :1] + 0 * y
            y = (y - y.mean()) / y.std() + 1.5
            telemetry, _ = bench.train(
                (x, y), rate, steps, seed=seed,
                change=lambda ws, by=scale: [w * by for w in ws],
            )  # fmt: skip
            loss = np.asarray(telemetry["loss"])
            settled = int(np.argmax(loss < 1.01))
            leaves = int(np.argmax(loss < 0.99))
            if leaves > 2 * settled and rates.late(telemetry) < 0.5:
                yield Specimen(
                    PLATEAU, f"{kind}, {scale:g}", seed, cut(telemetry, leaves)
                )


def cut(telemetry, rows):
    """The first rows of a telemetry, as a `MemoryWriter`."""
    writer = MemoryWriter()
    names = telemetry.names
    values = np.stack([telemetry[name][:rows] for name in names], 1)
    writer.write(telemetry.steps[:rows], names, values)
    return writer

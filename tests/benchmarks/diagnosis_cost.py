"""What a verdict from telemetry alone costs, in CPU seconds.

    python -m tests.benchmarks.diagnosis_cost [--steps 100000] [--layers 15]

Of made-up trainings with 5 quantities and 3 for each layer: one that falls,
one that diverges, one that stands still, each as a whole and in epochs. It is
no test: on a busy machine the figures vary. Takes some seconds.
"""

import argparse
import os
import statistics
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np  # noqa: E402

import gdtrain  # noqa: E402
from gdtrain.writers.memory import MemoryWriter  # noqa: E402

WANTED = 0.2  # Seconds, for 100,000 steps of 50 quantities
EPOCHS = 100


def courses(steps):
    """Losses by what they do, float64 `[steps]`."""
    places = np.linspace(0, 1, steps)
    noise = np.random.default_rng(0).normal(0, 0.05, steps)
    return {
        "falls": 1 + np.exp(-3 * places) + noise,
        "diverges": 1 + np.exp(20 * places - 10) + noise,
        "stands still": 1 + noise,
    }


def telemetry(loss, layers):
    """A `MemoryWriter` with a loss and the quantities of so many layers."""
    random, count = np.random.default_rng(1), len(loss)
    columns = {
        "loss": loss,
        "learning_rate": np.full(count, 0.1),
        "gradient_norm": 1 + random.random(count),
        "weight_norm": 1 + random.random(count),
        "nonfinite_count": np.zeros(count),
    }
    for layer in range(layers):
        for name, size in (
            ("gradient_norm", 1.0),
            ("weight_norm", 1.0),
            ("update_ratio", 1e-3),
        ):
            columns[f"{name}/{layer}"] = size * (1 + random.random(count))
    writer = MemoryWriter()
    table = np.stack(list(columns.values()), 1).astype(np.float32)
    writer.write(np.arange(1, count + 1), list(columns), table)
    return writer


def seconds(source, history, repeats=5):
    """The median of some diagnoses, and the verdict."""
    spent = []
    for _ in range(repeats):
        start = time.process_time()
        found = gdtrain.diagnose(source, history=history)
        spent.append(time.process_time() - start)
    return statistics.median(spent), found.verdict.name


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--layers", type=int, default=15)
    options = parser.parse_args()
    print(f"{options.steps:,} steps of {5 + 3 * options.layers} quantities")
    print("| loss | epochs | verdict | CPU seconds | wanted |")
    print("|---|---|---|--:|--:|")
    falling = np.linspace(2, 1, EPOCHS).tolist()
    history = {"loss": falling, "val_loss": falling}
    for name, loss in courses(options.steps).items():
        source = telemetry(loss, options.layers)
        for epochs, given in (("unknown", None), (str(EPOCHS), history)):
            spent, verdict = seconds(source, given)
            cells = name, epochs, verdict, f"{spent:.2f}", f"{WANTED:g}"
            print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()

"""Memory and time of the curvature of a network of a million weights.

    python -m tests.benchmarks.curvature_memory

Each measurement in a process of its own: by how many MB its peak of resident
memory grows during `gdtrain.curvature`, and what that is in vectors as long
as the weights; and seconds a Hessian-vector product, over those of a gradient.
It is no test: on a busy machine the seconds vary. Takes a minute on two cores.
"""

import os
import pathlib
import statistics
import subprocess
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras  # noqa: E402
import numpy as np  # noqa: E402

import gdtrain  # noqa: E402
from gdtrain.curvature.objective import Objective  # noqa: E402
from tests.benchmarks import machine, tables  # noqa: E402

FEATURES, HIDDEN, CLASSES = 1000, 990, 10
WEIGHTS = (FEATURES + 1) * HIDDEN + (HIDDEN + 1) * CLASSES
#: Of a vector as long as the weights, in float32.
VECTOR_MEGABYTES = WEIGHTS * 4 / 2**20
TOP = (1, 5)
EXAMPLES = (256, 4096)


def megabytes(field):
    """A field of this process's status: now `VmRSS`, at most `VmHWM`."""
    status = pathlib.Path("/proc/self/status").read_text()
    return int(status.partition(f"{field}:")[2].split()[0]) / 1024


def seconds(call, repeats=3):
    """How long a call takes, without the first time."""
    call()
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        found.append(time.perf_counter() - start)
    return statistics.median(found)


def make(examples):
    """The network, and data in NumPy: `(model, x, y)`."""
    model = gdtrain.Sequential(
        [
            keras.Input([FEATURES]),
            keras.layers.Dense(HIDDEN, activation="relu"),
            keras.layers.Dense(CLASSES),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss)
    random = np.random.default_rng(0)
    x = random.standard_normal([examples, FEATURES], "float32")
    return model, x, random.integers(0, CLASSES, examples)


def measure(top, examples):
    """`[MB, products, seconds a product, seconds a gradient]`."""
    model, x, y = make(examples)
    objective = Objective(model, x, y)
    before = megabytes("VmRSS")
    of_gradient = seconds(objective.gradient)
    of_product = seconds(
        lambda: objective.hessian_vector_product(objective.values())
    )
    # So small a tolerance that the room for vectors is used up.
    found = gdtrain.curvature(model, x, y, top, tolerance=1e-9)
    grown = megabytes("VmHWM") - before
    return [grown, found.products, of_product, of_gradient]


def measured(top, examples):
    """What `measure` finds in a process of its own."""
    command = [sys.executable, "-m", __spec__.name, str(top), str(examples)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [float(word) for word in done.stdout.splitlines()[-1].split()]


def main():
    rows = [
        [
            "top, examples",
            "MB",
            "vectors",
            "products",
            "ms a product",
            "product:gradient",
        ]
    ]
    for top in TOP:
        for examples in EXAMPLES:
            grown, products, product, gradient = measured(top, examples)
            rows.append(
                [
                    f"{top}, {examples:,}",
                    f"{grown:.0f}",
                    f"{grown / VECTOR_MEGABYTES:.0f}",
                    f"{products:.0f}",
                    f"{product * 1e3:.1f}",
                    f"{product / gradient:.2f}",
                ]
            )
    tables.print_table(rows)
    print(machine.summary(machine.describe()))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(*measure(*map(int, sys.argv[1:])))
    else:
        main()

"""How long the first step takes, and the import.

    python -m tests.benchmarks.first_step [--repeats 5] [--only NAME ...]

From the call of `fit` to the end of the first step: tracing, building of the
optimizer and whatever else happens once. The model has 16 convolutions with
batch normalization. Each measurement is in a fresh process, all in turn, and
again. CPU seconds of all threads are there as they vary less on a busy
machine. Prints a Markdown table; medians, least and most in brackets. Takes
five minutes on two cores.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras  # noqa: E402
import numpy as np  # noqa: E402

import gdtrain  # noqa: E402
from tests.benchmarks import machine, processes  # noqa: E402

CALLBACKS = {
    "Keras": None,
    "gdtrain": [],
    "gdtrain, Telemetry": ["Telemetry"],
    "gdtrain, four callbacks": [
        "TensorBoard",
        "BackupAndRestore",
        "NonfiniteGuard",
        "Telemetry",
    ],
}
_WITH_FOLDER = ("TensorBoard", "BackupAndRestore")
WANTED = {"gdtrain, Telemetry": 1.05, "gdtrain, four callbacks": 1.15}
_IMPORT = (
    "import time; w, c = time.perf_counter(), time.process_time(); "
    "import {}; print(time.perf_counter() - w, time.process_time() - c)"
)


class _FirstStep(keras.callbacks.Callback):
    """Notes when the first step has ended."""

    now = None

    def on_train_batch_end(self, batch, logs=None):
        if self.now is None:
            self.now = _now()


def _now():
    """Seconds, and CPU seconds of this process."""
    return np.array([time.perf_counter(), time.process_time()])


def model(base, blocks=16):
    """Convolutions with batch normalization, compiled."""
    layers = [keras.Input([16, 16, 3])]
    for _ in range(blocks):
        layers += [
            keras.layers.Conv2D(8, 3, padding="same", use_bias=False),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
        ]
    layers += [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(10)]
    made = base(layers)
    made.compile(
        keras.optimizers.Adam(),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return made


def first_step(name):
    """Seconds and CPU seconds from `fit` to the end of its first step."""
    chosen = CALLBACKS[name]
    random = np.random.default_rng(0)
    x = random.normal(size=[72, 16, 16, 3]).astype("float32")
    y = random.integers(0, 10, 72)
    trained = model(keras.Sequential if chosen is None else gdtrain.Sequential)
    end = _FirstStep()
    with tempfile.TemporaryDirectory() as folder:
        callbacks = [
            getattr(gdtrain.callbacks, kind)(
                *[os.path.join(folder, kind)] * (kind in _WITH_FOLDER)
            )
            for kind in chosen or []
        ]
        begin = _now()
        trained.fit(x, y, batch_size=32, verbose=0, callbacks=[*callbacks, end])
    return (end.now - begin).tolist()


def imported(name):
    """Seconds and CPU seconds of the import of a package, in a new process."""
    command = [sys.executable, "-c", _IMPORT.format(name)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [float(number) for number in done.stdout.split()]


def measure(names, repeats):
    """For each name, a list of seconds and CPU seconds, `[repeats, 2]`."""
    found = {name: [] for name in names}
    for _ in range(repeats):
        for name in names:
            if name.startswith("import "):
                value = imported(name.removeprefix("import "))
            else:
                value = processes.call("first_step.first_step", name=name).value
            found[name].append(value)
    return {name: np.array(values) for name, values in found.items()}


def _cell(numbers):
    """Median, least and most."""
    return (
        f"{statistics.median(numbers):.2f} "
        f"({min(numbers):.2f} to {max(numbers):.2f})"
    )


def print_table(title, found):
    """Prints rows of names, with ratios to the first."""
    first = next(iter(found.values()))
    print(f"\n| {title} | seconds | CPU seconds | ratio | CPU ratio | wanted |")
    print("|---|--:|--:|--:|--:|--:|")
    for name, values in found.items():
        cells = [_cell(column) for column in values.T]
        cells += [f"{ratio:.3f}" for ratio in np.median(values / first, 0)]
        print(f"| {name} | {' | '.join(cells)} | {WANTED.get(name, '-')} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", nargs="+", default=list(CALLBACKS))
    options = parser.parse_args()
    print(machine.summary(machine.describe()))
    print_table(
        "from `fit` to the end of the first step",
        measure(options.only, options.repeats),
    )
    print_table(
        "import", measure(["import keras", "import gdtrain"], options.repeats)
    )
    print(
        f"\nMedian of {options.repeats} processes (least to most). Ratio: "
        "median of the ratios to the first row, of processes side by side."
    )


if __name__ == "__main__":
    main()

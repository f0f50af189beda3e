"""What telemetry costs: `fit` with it over `fit` without, in one run.

    python -m tests.benchmarks.telemetry_cost [--repeats 7]
    python -m tests.benchmarks.telemetry_cost --each FILE [--repeats 7]

Each variant is trained between two trainings without telemetry, so that both
meet the same machine; the tables have medians of the ratios of all repeats.
With `--each`, what every single quantity costs at each step, also as a CSV file
that the documentation shows: in time of the processor, on one thread, which
other programs disturb least. It is no test: on a busy machine the figures vary.
Takes four minutes on two cores, with `--each` two.
"""

import argparse
import csv
import os
import statistics
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf  # noqa: E402

import gdtrain  # noqa: E402
from gdtrain.telemetry import presets  # noqa: E402
from tests.benchmarks import jobs, machine, writing  # noqa: E402
from tests.benchmarks.variants import (  # noqa: E402
    Variant,
    measure,
    repeated,
)

# Job, how it is compiled, and epochs of one training: about a second
NETWORKS = [
    ("digits_cnn", False, 24),
    ("digits_mlp", False, 120),
    ("digits_mlp", True, 240),
]
# The same for single quantities: a small network, where they cost most
EACH = [("digits_mlp", 15)]
WANTED = {
    ("digits_cnn", "standard"): 1.05,
    ("digits_cnn", "full"): 1.25,
    ("digits_mlp", "standard"): 1.30,
    ("digits_mlp", "full"): 2.0,
}


def telemetry(quantities):
    """Makes callbacks that keep quantities in memory."""
    return lambda: [gdtrain.callbacks.Telemetry(quantities)]


def tensorboard(quantities):
    """Makes callbacks that write quantities for TensorBoard."""
    return lambda: [
        gdtrain.callbacks.TensorBoard(tempfile.mkdtemp(), quantities)
    ]


def networks(repeats):
    """Prints the ratios of the networks."""
    for name, jit_compile, epochs in NETWORKS:
        job = jobs.make(name)
        makers = {"off": lambda: []}
        for preset in ("minimal", "standard", "full"):
            makers[f"{preset}, TensorBoard"] = tensorboard(preset)
        variants = {
            how: Variant(job, jit_compile, make) for how, make in makers.items()
        }
        seconds, ratios = measure(
            variants, dict.fromkeys(variants, epochs), repeats
        )
        print(f"\n{name}, {'XLA' if jit_compile else 'a graph'}")
        for how, ratio in ratios.items():
            step = seconds[how] / job.steps_per_epoch * 1e6
            wanted = WANTED.get((name, how.removesuffix(", TensorBoard")))
            most = f", at most {wanted}" if wanted else ""
            print(f"  {how:24}{step:8.0f} us a step{ratio:7.3f}{most}")


def line(repeats):
    """Prints how much faster the line with TensorBoard is than Keras."""
    job = jobs.make("line")
    variants = {
        "Keras": Variant(job, None, lambda: []),
        "gdtrain, TensorBoard": Variant(job, "auto", tensorboard("standard")),
    }
    seconds, _ = measure(
        variants, {"Keras": 50, "gdtrain, TensorBoard": 2000}, repeats
    )
    keras_seconds, ours = seconds.values()
    print("\nline, a step of all 200 points")
    for how, value in seconds.items():
        print(f"  {how:24}{value * 1e6:8.0f} us a step")
    print(f"  times faster{keras_seconds / ours:20.0f}, at least 100")


def each(repeats, path):
    """Prints what every quantity costs by itself, and writes it to a file.

    One that needs a batch of several parts is compared with a training that
    has them. Quartiles say how far repeats differ.
    """
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    with open(path, "w", newline="") as file:
        print(f"# {machine.summary(machine.describe())}", file=file)
        print(f"# median of {repeats} repeats", file=file)
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(
            ["network", "quantity", "microseconds_a_step"]
            + ["times_as_long", "lower_quartile", "upper_quartile"]
        )
        for name, epochs in EACH:
            job = jobs.make(name)
            network = jobs.TITLES[name]
            print(f"\n{network}, a graph, each alone")
            for how, found in _each_of(job, epochs, repeats):
                rows.writerow([network, how, *found])
                file.flush()
                print(f"  {how:24}{found[0]:>8} us a step{found[1]:>7}")


def _each_of(job, epochs, repeats):
    """Yields each quantity with its row of figures."""
    for parts in (1, 2):
        some = [
            quantity
            for quantity in presets.PRESETS["full"]
            if ("gradient_parts" in quantity.needs) == (parts > 1)
        ]
        makers = {"off": lambda: []} | {
            quantity.name: telemetry([quantity.every(1)]) for quantity in some
        }
        variants = {
            how: Variant(job, False, make, microbatches=parts)
            for how, make in makers.items()
        }
        times, ratios = repeated(
            variants,
            dict.fromkeys(variants, epochs),
            repeats,
            time.process_time,
        )
        step = statistics.median(times["off"]) / job.steps_per_epoch
        for how, values in ratios.items():
            low, middle, high = statistics.quantiles(values, n=4)
            more = (middle - 1) * step * 1e6
            yield (
                how,
                (f"{more:.1f}", f"{middle:.3f}", f"{low:.3f}", f"{high:.3f}"),
            )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--each", metavar="FILE")
    options = parser.parse_args()
    print(machine.summary(machine.describe()))
    print("Ratio to the first, median of", options.repeats)
    if options.each:
        return each(options.repeats, options.each)
    networks(options.repeats)
    line(options.repeats)
    print(
        f"\nwriting: {writing.measure():.2f} us a scalar on the writer's "
        "thread, at most 2"
    )


if __name__ == "__main__":
    main()

"""What telemetry costs: `fit` with it over `fit` without, in one run.

    python -m tests.benchmarks.telemetry_cost [--repeats 7] [--each]

Each variant is trained between two trainings without telemetry, so that both
meet the same machine; the tables have medians of the ratios of all repeats.
With `--each`, also what every single quantity costs. It is no test: on a busy
machine the figures vary. Takes four minutes on two cores, with `--each` half
an hour.
"""

import argparse
import os
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import gdtrain  # noqa: E402
from gdtrain.telemetry import presets  # noqa: E402
from tests.benchmarks import jobs, machine, writing  # noqa: E402
from tests.benchmarks.variants import Variant, measure  # noqa: E402

# Job, how it is compiled, and epochs of one training: about a second
NETWORKS = [
    ("digits_cnn", False, 24),
    ("digits_mlp", False, 120),
    ("digits_mlp", True, 240),
]
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


def each(repeats):
    """Prints what every quantity costs by itself, at each step."""
    for name, jit_compile, epochs in NETWORKS:
        job = jobs.make(name)
        makers = {"off": lambda: []}
        for quantity in presets.PRESETS["full"]:
            makers[quantity.name] = telemetry([quantity.every(1)])
        variants = {
            how: Variant(job, jit_compile, make) for how, make in makers.items()
        }
        seconds, ratios = measure(
            variants, dict.fromkeys(variants, epochs), repeats
        )
        print(f"\n{name}, {'XLA' if jit_compile else 'a graph'}, each alone")
        for how, ratio in ratios.items():
            more = (seconds[how] - seconds["off"]) / job.steps_per_epoch
            print(f"  {how:24}{more * 1e6:+8.0f} us a step{ratio:7.3f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--each", action="store_true")
    options = parser.parse_args()
    print(machine.summary(machine.describe()))
    print("Ratio to the first, median of", options.repeats)
    networks(options.repeats)
    line(options.repeats)
    print(
        f"\nwriting: {writing.measure():.2f} us a scalar on the writer's "
        "thread, at most 2"
    )
    if options.each:
        each(options.repeats)


if __name__ == "__main__":
    main()

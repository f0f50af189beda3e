"""What steering costs: `fit` with it over `fit` without, in one run.

    python -m tests.benchmarks.stability_cost [--repeats 5]

Each variant is trained between two trainings without callbacks, so that both
meet the same machine; the table has medians of the ratios of all repeats.
Probes are compiled in the training that warms up, and how long the first one
takes is printed by itself. "Always" is `Stability` without a budget, at each
100th step whatever it costs; the share that probes themselves take is beside
it, for one of 1 and one of 4 Hessian-vector products. It is no test: on a
busy machine the figures vary. Takes five minutes on two cores.
"""

import argparse
import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras  # noqa: E402

import gdtrain  # noqa: E402
from tests.benchmarks import jobs, machine  # noqa: E402
from tests.benchmarks.variants import Variant, measure  # noqa: E402

# Job, epochs of one training (more than a second), and the ratio wanted
NETWORKS = [("digits_cnn", 48, 1.05), ("digits_mlp", 240, 1.10)]


class Timed(gdtrain.callbacks.Stability):
    """It notes how long its probes take, in seconds."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.seconds = []

    def _measure(self):
        start = time.perf_counter()
        found = super()._measure()
        self.seconds.append(time.perf_counter() - start)
        return found


def stability(job, **how):
    """Stability every 100 steps; one callback for all trainings of a model."""
    return Timed(job.x, job.y, every_steps=100, **how)


def scheduler(job):
    """A rate that follows a schedule, set at each step."""
    decay = keras.optimizers.schedules.ExponentialDecay(
        job.learning_rate, 1000, 0.9
    )
    return gdtrain.callbacks.LearningRateScheduler(decay, unit="step")


def makers(job):
    """Callbacks by what they are called in the table."""
    return {
        "Stability": stability(job),
        "always": stability(job, budget=None),
        "always, sharpness alone": stability(job, budget=None, what_if=None),
        "LearningRateScheduler": scheduler(job),
    }


def report(job, epochs, wanted, repeats):
    """Prints the ratios of one network."""
    callbacks = makers(job)
    variants = {"off": Variant(job, False, lambda: [])}
    for what, callback in callbacks.items():
        variants[what] = Variant(job, False, lambda one=callback: [one])
    seconds, ratios = measure(
        variants, dict.fromkeys(variants, epochs), repeats
    )
    steps = epochs * job.steps_per_epoch
    print(
        f"\n{job.name}, {steps} steps of {len(job.x)} examples in "
        f"{seconds['off'] * epochs:.1f} s"
    )
    for what, callback in callbacks.items():
        most = f", at most {wanted}" if what == "Stability" else ""
        print(f"  {what:24}{ratios[what]:7.3f}{most}{probes(callback)}")


def probes(callback):
    """How many probes there were, and how long they took, in words."""
    if not isinstance(callback, Timed):
        return ""
    first, *others = callback.seconds
    others.sort()
    return (
        f"; {len(others)} probes of {1e3 * others[len(others) // 2]:.1f} ms, "
        f"the first {first:.1f} s"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    print(machine.summary(machine.describe()))
    print("Time of fit with it over time without, median of", options.repeats)
    for name, epochs, wanted in NETWORKS:
        report(jobs.make(name), epochs, wanted, options.repeats)


if __name__ == "__main__":
    main()

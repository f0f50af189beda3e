"""A step of ResNet-8 by gdtrain and by Keras, in float32 and in bfloat16.

    python -m tests.benchmarks.resnet8 [--processes 5] [--repeats 3]

The network is that of MLPerf Tiny for pictures of 32 x 32 x 3, the batch 128.
Each process trains one library's model under one dtype policy, those of all in
turn; gdtrain's also with `Telemetry()`, one epoch after another, so that
both meet the same machine. The table has medians over processes, with the least
and the most, in milliseconds a step, and seconds of all cores together. It is
no test: on a busy machine the figures vary. Takes some 8 minutes on two cores.

References:
    Banbury et al., MLPerf Tiny Benchmark, 2021, arXiv:2106.07597.
"""

import argparse
import statistics
import time

import keras
import numpy as np

import gdtrain
from tests.benchmarks import machine, processes, tables

STEPS = 10  # Of an epoch
BATCH = 128
BASES = {"Keras": keras.Model, "gdtrain": gdtrain.Model}
POLICIES = ["float32", "mixed_bfloat16"]


def network(base):
    """ResNet-8: a convolution, three blocks of two, and 10 classes."""
    layers = keras.layers
    decay = keras.regularizers.L2(1e-4)

    def convolution(x, filters, size, stride=1):
        return layers.Conv2D(
            filters,
            size,
            strides=stride,
            padding="same",
            kernel_initializer="he_normal",
            kernel_regularizer=decay,
        )(x)

    def normalized(x):
        return layers.BatchNormalization()(x)

    keras.utils.set_random_seed(0)
    inputs = keras.Input([32, 32, 3])
    x = layers.ReLU()(normalized(convolution(inputs, 16, 3)))
    for filters, stride in ((16, 1), (32, 2), (64, 2)):
        y = layers.ReLU()(normalized(convolution(x, filters, 3, stride)))
        y = normalized(convolution(y, filters, 3))
        if stride > 1:
            x = convolution(x, filters, 1, stride)
        x = layers.ReLU()(layers.add([x, y]))
    x = layers.Flatten()(layers.AveragePooling2D(8)(x))
    outputs = layers.Dense(10, "softmax", dtype="float32")(x)
    model = base(inputs, outputs)
    loss = "sparse_categorical_crossentropy"
    model.compile("adam", loss, metrics=["accuracy"])
    return model


def pictures():
    """Noise with a faint picture of its class, and the classes."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 10, STEPS * BATCH)
    classes = random.normal(size=[10, 8, 8, 3]).repeat(4, 1).repeat(4, 2)
    noise = random.normal(size=[len(labels), 32, 32, 3])
    return (noise + classes[labels]).astype("float32"), labels


def measure(library, policy, repeats):
    """Milliseconds a step, on the clock and of all cores, by program."""
    keras.config.set_dtype_policy(policy)
    model = network(BASES[library])
    x, y = pictures()
    makers = {library: lambda: []}
    if library == "gdtrain":
        makers["Telemetry"] = lambda: [gdtrain.callbacks.Telemetry()]
    found = {name: {"ms": [], "cpu": []} for name in makers}
    for repeat in range(1 + repeats):  # The first one warms up
        for name, make in makers.items():
            cpu, start = time.process_time(), time.perf_counter()
            history = model.fit(
                x, y, batch_size=BATCH, verbose=0, callbacks=make()
            )
            seconds = time.perf_counter() - start
            cpu = time.process_time() - cpu
            if repeat:
                found[name]["ms"].append(1e3 * seconds / STEPS)
                found[name]["cpu"].append(1e3 * cpu / STEPS)
    loss = history.history["loss"][-1]
    if not loss < 2.0:
        raise AssertionError(f"{library}, {policy}: a loss of {loss}.")
    return {
        name: {what: statistics.median(values) for what, values in one.items()}
        for name, one in found.items()
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--policies", nargs="+", default=POLICIES)
    options = parser.parse_args()
    print(machine.summary(machine.describe()))
    rounds = []
    for _ in range(options.processes):
        rounds.append({})
        for policy in options.policies:
            for library in BASES:
                found = processes.call(
                    "resnet8.measure",
                    library=library,
                    policy=policy,
                    repeats=options.repeats,
                ).value
                for name, one in found.items():
                    rounds[-1][policy, name] = one
    rows = [["", "ms a step", "ms of all cores", "to Keras", "to without"]]
    for policy, name in rounds[0]:

        def ratio(other, what="ms", program=(policy, name)):
            each = [one[program][what] / one[other][what] for one in rounds]
            return tables.spread(each, "{:.3f}")

        def cell(what, program=(policy, name)):
            return tables.spread([one[program][what] for one in rounds])

        rows.append(
            [
                f"{name}, {policy}",
                cell("ms"),
                cell("cpu"),
                "" if name == "Keras" else ratio((policy, "Keras")),
                ratio((policy, "gdtrain")) if name == "Telemetry" else "",
            ]
        )
    tables.print_table(rows)


if __name__ == "__main__":
    main()

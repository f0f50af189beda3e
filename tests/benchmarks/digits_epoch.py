"""Time of an epoch of the digits network, as a ratio to stock Keras.

    python -m tests.benchmarks.digits_epoch [--repeats N]

Each repeat trains every variant for some epochs, one after another, so that
all of them meet the same machine; the table shows medians over repeats. It is
no test: on a busy machine the figures vary. Takes two minutes on two cores.
"""

import argparse
import os
import statistics
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras  # noqa: E402
import tensorflow as tf  # noqa: E402
from sklearn.datasets import load_digits  # noqa: E402

import gdtrain  # noqa: E402

EPOCHS = 3


def network(base):
    """The small convolutional network, 8x8 pictures to 10 classes."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    model = base(
        [
            keras.Input([8, 8, 1]),
            layers.Conv2D(32, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(64, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(10),
        ]
    )
    model.compile(
        keras.optimizers.Adam(1e-3),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=7)
    repeats = parser.parse_args().repeats
    images, labels = load_digits(return_X_y=True)
    images = (images.reshape(-1, 8, 8, 1) / 16).astype("float32")[:-360]
    labels = labels[:-360]
    logs = tempfile.mkdtemp()
    variants = {
        "keras": (network(keras.Sequential), lambda: []),
        "gdtrain": (network(gdtrain.Sequential), lambda: []),
        "gdtrain, Telemetry": (
            network(gdtrain.Sequential),
            lambda: [gdtrain.callbacks.Telemetry()],
        ),
        "gdtrain, TensorBoard": (
            network(gdtrain.Sequential),
            lambda: [gdtrain.callbacks.TensorBoard(tempfile.mkdtemp(dir=logs))],
        ),
        "keras, TensorBoard(update_freq=1)": (
            network(keras.Sequential),
            lambda: [
                keras.callbacks.TensorBoard(
                    tempfile.mkdtemp(dir=logs), update_freq=1
                )
            ],
        ),
    }

    def seconds(model, callbacks):
        start = time.perf_counter()
        model.fit(
            images,
            labels,
            batch_size=64,
            epochs=EPOCHS,
            verbose=0,
            callbacks=callbacks(),
        )
        return (time.perf_counter() - start) / EPOCHS

    for variant in variants.values():  # Traces and warms up
        seconds(*variant)
    times = {name: [] for name in variants}
    for _ in range(repeats):
        for name, variant in variants.items():
            times[name].append(seconds(*variant))
    print(
        f"TensorFlow {tf.__version__}, Keras {keras.__version__}, "
        f"{os.cpu_count()} CPUs, median of {repeats}"
    )
    ratios = {
        name: statistics.median(
            ours / stock
            for ours, stock in zip(values, times["keras"], strict=True)
        )
        for name, values in times.items()
    }
    for name, values in times.items():
        median = statistics.median(values) * 1e3
        print(f"{name:35} {median:8.1f} ms an epoch, ratio {ratios[name]:.2f}")


if __name__ == "__main__":
    main()

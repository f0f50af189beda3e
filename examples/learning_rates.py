"""Four learning rates on one problem, and why each did what it did.

    python examples/learning_rates.py

The lecture's paragraph as a program. A line is fitted four times from the
same start, with learning rates far too small, good, just under the limit and
just over it. The limit is measured beforehand, from how the loss curves, and
printed beside the exact one. gdtrain.diagnose then tells what each run did,
from its numbers. The same for a network that reads digits, where the limit
moves with the weights: the rates are shares of the limit where training
starts. Two pictures are drawn. Takes about 40 seconds on two CPU cores.
"""

import argparse
import dataclasses
import os
import sys

import learning_rate_pictures as pictures
import numpy as np
from _console import import_quietly, make_folder, positive_integer, run
from line_data import START, curvature, least_squares, make_points

# Of the limit, and what that is for the line
SHARES = {
    "far too small": 5e-5,
    "good": 0.5,
    "just under the limit": 0.995,
    "just over the limit": 1.01,
}
# The limit of a network moves; these are of the one where training starts.
NETWORK_SHARES = {
    "far too small": 1e-3,
    "half the limit": 0.5,
    "the limit": 1.0,
    "far over the limit": 30.0,
}


@dataclasses.dataclass
class Run:
    """A training with one learning rate.

    Args:
        name: What is to be expected of it.
        learning_rate: A float.
        telemetry: A `gdtrain.callbacks.Telemetry`.
        diagnosis: A `gdtrain.diagnosis.verdict.Diagnosis`.
        path: A `gdtrain.callbacks.WeightPath` of the line; `None` of the
            network.
        steps_per_epoch: An integer.
    """

    name: str
    learning_rate: float
    telemetry: object
    diagnosis: object
    path: object = None
    steps_per_epoch: int = 1


@dataclasses.dataclass
class Result:
    """What `main` found."""

    exact_limit: float  # 2 / largest eigenvalue of 2 X'X / n
    limit: float  # As gdtrain.curvature measures it
    network_limit: float
    line: list
    network: list
    pictures: list


def main(argv=None):
    """Runs the example.

    Args:
        argv: The arguments of the command line. Defaults to `sys.argv[1:]`.

    Returns:
        A `Result`.

    Raises:
        InputError: if a folder cannot be used.
    """
    options = parse(argv)
    folder = make_folder(options.pictures)
    import_quietly("gdtrain")
    x, y = (a.reshape(-1, 1) for a in make_points(seed=1).scaled)
    exact, limit, line = fit_line(x, y, options.steps)
    drawn = [
        pictures.draw_line(
            make_line(limit), x, y, line, folder / "learning_rates.png"
        )
    ]
    network_limit, network = fit_network(options.epochs)
    drawn.append(
        pictures.draw_network(network, folder / "learning_rates_digits.png")
    )
    print("\nPictures:", *drawn, sep="\n  ")
    return Result(exact, limit, network_limit, line, network, drawn)


# ---------------------------------------------------------------- the line


def fit_line(x, y, steps):
    """Fits a line at four rates: `(exact limit, measured limit, runs)`."""
    import gdtrain

    found = gdtrain.curvature(make_line(learning_rate=0.1), x, y)
    exact = 2 / curvature(x[:, 0])[1]
    print(f"A line through {len(x)} points.")
    print(f"Measured: {found}.")
    print(f"Exact limit, 2 / largest eigenvalue of 2 X'X / n: {exact:.4g}.")

    best = least_squares(x[:, 0], y[:, 0])
    runs = []
    for name, share in SHARES.items():
        model = make_line(share * found.stable_learning_rate)
        path = gdtrain.callbacks.WeightPath()
        # So that `diagnose` knows the limit; it is the same at each step.
        stability = gdtrain.callbacks.Stability(x, y, what_if=None)
        callbacks = [path, stability]
        runs.append(train(name, model, x, y, len(x), steps, callbacks))
        runs[-1].path = path
        print_run(runs[-1], share)
        w, b = (weight.item() for weight in model.get_weights())
        print(f"  It ends at w = {w:.4g}, b = {b:.4g}; exact are", end=" ")
        print(f"{best.w:.4g} and {best.b:.4g}.")
        if share < 0.01:
            more = steps * SHARES["good"] / share
            print(
                f"  To come as far as half the limit brings it in {steps} "
                f"steps, which is\n  the next run, takes {more:,.0f} such "
                "steps."
            )
    return exact, found.stable_learning_rate, runs


def make_line(learning_rate):
    """Makes a line that starts where the lecture's does."""
    import keras

    import gdtrain

    line = keras.layers.Dense(
        1,
        kernel_initializer=keras.initializers.Constant(START.w),
        bias_initializer=keras.initializers.Constant(START.b),
        name="line",
    )
    model = gdtrain.Sequential([keras.Input([1]), line])
    model.compile(gdtrain.GradientDescent(learning_rate), loss="mse")
    return model


# ------------------------------------------------------------- the network


def fit_network(epochs):
    """Trains on digits at four rates: `(limit at the start, runs)`."""
    from sklearn.datasets import load_digits

    import gdtrain

    images, labels = load_digits(return_X_y=True)
    images = (images / 16).astype("float32")
    found = gdtrain.curvature(make_network(0.1), images, labels)
    limit = found.stable_learning_rate
    print(f"\nA network that reads {len(images)} digits.")
    print(f"Measured before the first step: {found}.")
    print(
        "How the loss of a network curves depends on its weights, and so "
        "does the limit:\neach run below moves it."
    )
    runs = []
    for name, share in NETWORK_SHARES.items():
        model = make_network(share * limit)
        stability = gdtrain.callbacks.Stability(
            images, labels, every_steps=30, budget=None, what_if=None
        )
        runs.append(
            train(name, model, images, labels, 64, epochs, [stability])
        )
        print_run(runs[-1], share)
        print_limits(runs[-1], limit)
        _, accuracy = model.evaluate(images, labels, verbose=0)
        print(f"  It reads {accuracy:.0%} of the digits that it learned from.")
    print_best(runs)
    return limit, runs


def print_limits(run, limit):
    """Prints how the stable limit moved while a network trained."""
    limits = run.telemetry["stable_learning_rate"]
    known = np.flatnonzero(np.isfinite(limits))
    first, last = known[[0, -1]]
    steps, loss = run.telemetry.steps, run.telemetry["loss"]
    flat = "" if loss[-1] < loss[0] else " (where it is ruined, it is flat)"
    print(
        f"  The limit was {limit:.3g} before the first step, "
        f"{limits[first]:.3g} after step {steps[first]}, and "
        f"{limits[last]:.3g} after step {steps[last]}{flat}."
    )


def print_best(runs):
    """Prints which learning rate ended with the least loss, and why."""
    best = min(runs, key=last_loss)
    shares = best.telemetry["stability"]
    shares = shares[np.isfinite(shares)]
    print(
        f"\nThe least loss at the end, {last_loss(best):.3g} over the last "
        f"epoch, has learning rate {best.learning_rate:.3g}.\nWhile it "
        f"trained, the limit moved: it was {shares[0]:.2g} times the limit "
        f"after the first step,\nand {shares[-1]:.2g} times at the end."
    )


def last_loss(run):
    """The mean loss of a network's last epoch; infinity if it is not finite."""
    mean = float(np.mean(run.telemetry["loss"][-run.steps_per_epoch :]))
    return mean if np.isfinite(mean) else np.inf


def make_network(learning_rate):
    """Makes the network, from the same start each time."""
    import keras

    import gdtrain

    keras.utils.set_random_seed(1)
    model = gdtrain.Sequential(
        [
            keras.Input([64]),
            keras.layers.Dense(64, activation="tanh", name="first"),
            keras.layers.Dense(64, activation="tanh", name="second"),
            keras.layers.Dense(10, activation="softmax", name="third"),
        ]
    )
    model.compile(
        gdtrain.GradientDescent(learning_rate),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model


# -------------------------------------------------------------------- both


def train(name, model, x, y, batch_size, epochs, callbacks=()):
    """Trains, and has gdtrain tell what it did: a `Run`."""
    import gdtrain

    telemetry = gdtrain.callbacks.Telemetry()
    model.fit(
        x,
        y,
        batch_size=batch_size,
        epochs=epochs,
        verbose=0,
        callbacks=[telemetry, *callbacks],
    )
    rate = float(model.optimizer.learning_rate)
    return Run(
        name,
        rate,
        telemetry,
        gdtrain.diagnose(telemetry),
        steps_per_epoch=-(-len(x) // batch_size),
    )


def print_run(run, share):
    """Prints a run's losses and its diagnosis in words."""
    loss = run.telemetry["loss"]
    print(
        f"\nLearning rate {run.learning_rate:.3g}, {run.name} "
        f"({share:g} times the limit at the start):\n"
        f"  loss {loss[0]:.3g} -> {loss[-1]:.3g} in {len(loss)} steps"
    )
    for line in str(run.diagnosis.verdict).splitlines():
        print(f"  {line}")


def parse(argv):
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n")[0], allow_abbrev=False
    )
    add = parser.add_argument
    add(
        "--steps",
        type=positive_integer,
        default=200,
        help="for the line (default: 200)",
    )
    add(
        "--epochs",
        type=positive_integer,
        default=30,
        help="for digits (default: 30)",
    )
    add(
        "--pictures",
        default=os.path.join("output", "learning_rates"),
        metavar="FOLDER",
        help="where to draw (default: %(default)s)",
    )
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(run(main))

"""Shows the edge of stability: how sharp a loss descent leads to.

    python examples/edge_of_stability.py

Descent is stable where the loss curves less than 2 / learning_rate. One might
think that a network must be trained well below that. It is the other way
round: descent with all examples in each step goes where the loss curves more
and more, until the sharpness (the largest curvature) is 2 / learning_rate.
There it stays; the loss goes up and down from step to step, and down in the
long run (Cohen et al., Gradient Descent on Neural Networks Typically Occurs
at the Edge of Stability, ICLR 2021, arXiv:2103.00065).

This script trains one network from one start with three learning rates,
measures the sharpness meanwhile, prints both numbers, and draws a picture. It
takes half a minute on two CPU cores.
"""

# TensorFlow, and what imports it, is imported by the functions that use it:
# that takes seconds, which `--help` should not.
import argparse
import dataclasses
import math
import os
import sys

import numpy as np
from _console import import_quietly, make_folder, run
from edge_report import draw, print_head, print_meaning, print_row
from sklearn.datasets import load_digits

EXAMPLES = 500


@dataclasses.dataclass
class Run:
    """What one training gave.

    `loss` float32 `[steps]`; `probed` int `[probes]`, the steps after which
    the sharpness was measured; `sharpness` float32 `[probes]`.
    """

    learning_rate: float
    loss: np.ndarray
    probed: np.ndarray
    sharpness: np.ndarray

    @property
    def limit(self):
        """The sharpness at which descent stops being stable."""
        return 2 / self.learning_rate

    @property
    def reached(self):
        """The first step at which the sharpness was seen there, or `None`."""
        there = self.probed[self.sharpness >= self.limit]
        return int(there[0]) if len(there) else None

    @property
    def last(self):
        """The sharpness in the second half of the training, `[any]`."""
        return self.sharpness[self.probed > len(self.loss) / 2]

    def rising(self, begin, end):
        """In which share of the steps from `begin` to `end` the loss rose."""
        changes = np.diff(self.loss[begin:end])
        return float((changes > 0).mean()) if len(changes) else math.nan


def main(argv=None):
    """Runs the example.

    Args:
        argv: The arguments of the command line. Defaults to `sys.argv[1:]`.

    Returns:
        A list of `Run`, one for each learning rate.
    """
    options = parse(argv)
    folder = make_folder(options.pictures)
    import_quietly("gdtrain")
    print(
        f"{EXAMPLES} digits, all of them in each of {options.steps} steps.\n"
        "Claim: the sharpness becomes 2 / learning_rate, and stays."
    )
    print_head()
    runs = []
    for learning_rate in options.learning_rates:
        runs.append(train(learning_rate, options.steps, options.every_steps))
        print_row(runs[-1])
    print_meaning(runs)
    draw(runs, folder / "edge_of_stability.png")
    print(f"\nPicture: {folder / 'edge_of_stability.png'}")
    return runs


def make_data():
    """Pictures `[examples, 64]` about zero, and targets `[examples, 10]`."""
    images, labels = load_digits(return_X_y=True)
    x = images[:EXAMPLES] / 16
    # A third, so that training begins where the loss is rather flat.
    x = (x - x.mean(axis=0)) / 3
    y = np.eye(10)[labels[:EXAMPLES]]
    return x.astype("float32"), y.astype("float32")


def make_model(learning_rate):
    """Makes the network, compiled, with the same weights each time."""
    import keras

    import gdtrain

    keras.utils.set_random_seed(0)
    model = gdtrain.Sequential(
        [
            keras.Input([64]),
            keras.layers.Dense(32, activation="tanh"),
            keras.layers.Dense(32, activation="tanh"),
            keras.layers.Dense(10),
        ]
    )
    model.compile(gdtrain.GradientDescent(learning_rate), loss="mse")
    return model


def train(learning_rate, steps, every_steps):
    """Trains the network; returns a `Run`."""
    import gdtrain

    x, y = make_data()
    telemetry = gdtrain.callbacks.Telemetry(["loss"])
    stability = gdtrain.callbacks.Stability(
        x, y, every_steps, examples=None, budget=None, what_if=None
    )
    # One batch of all examples, so that an epoch is one step.
    make_model(learning_rate).fit(
        x,
        y,
        batch_size=len(x),
        epochs=steps,
        verbose=0,
        callbacks=[stability, telemetry],
    )
    known = ~np.isnan(telemetry["sharpness"])
    return Run(
        learning_rate,
        telemetry["loss"],
        telemetry.steps[known],
        telemetry["sharpness"][known],
    )


# -------------------------------------------------------------- the options


def parse(argv):
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n")[0], allow_abbrev=False
    )
    add = parser.add_argument
    add(
        "--learning-rates",
        type=positive(float),
        nargs="+",
        default=[0.7, 1.0, 1.5],
        metavar="RATE",
        help="default: 0.7 1 1.5",
    )
    add(
        "--steps",
        type=positive(int),
        default=5000,
        help="of each training (default: %(default)s)",
    )
    add(
        "--every-steps",
        type=positive(int),
        default=25,
        metavar="STEPS",
        help="measure the sharpness that often (default: %(default)s)",
    )
    add(
        "--pictures",
        default=os.path.join("output", "edge_of_stability"),
        metavar="FOLDER",
        help="where to draw edge_of_stability.png (default: %(default)s)",
    )
    return parser.parse_args(argv)


def positive(kind):
    """Makes a reader of finite positive numbers, for argparse."""

    def read(text):
        value = kind(text)  # A ValueError becomes a message of argparse.
        if not 0 < value < math.inf:
            raise argparse.ArgumentTypeError(f"must be positive: {text!r}")
        return value

    read.__name__ = "number" if kind is float else "integer"
    return read


if __name__ == "__main__":
    sys.exit(run(main))

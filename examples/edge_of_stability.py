"""Shows the edge of stability: how sharp a loss descent leads to.

    python examples/edge_of_stability.py

Descent is stable where the loss curves less than 2 / learning_rate. One might
think that a network must be trained well below that. It is the other way
round: descent with all examples in each step goes where the loss curves more
and more, until the sharpness (the largest curvature) is 2 / learning_rate.
There it stays; the loss goes up and down from step to step, and down in the
long run (Cohen et al., Gradient Descent on Neural Networks Typically Occurs
at the Edge of Stability, ICLR 2021, arXiv:2103.00065).

Trains one network from one start with three learning rates, and prints and
draws both numbers. Takes half a minute on two CPU cores.
"""

import argparse
import pathlib

import _quiet  # noqa: F401
import keras
import numpy as np
from sklearn.datasets import load_digits

import gdtrain

EXAMPLES = 500


def make_data():
    """Pictures `[500, 64]` about zero, and targets `[500, 10]`."""
    images, labels = load_digits(return_X_y=True)
    x = images[:EXAMPLES] / 16
    # A third, so that training begins where the loss is rather flat.
    return (x - x.mean(axis=0)) / 3, np.eye(10)[labels[:EXAMPLES]]


def make_model(learning_rate):
    """The network, compiled, with the same weights each time."""
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(32, activation="tanh") for _ in range(2)]
    layers = [keras.Input([64]), *layers, keras.layers.Dense(10)]
    model = gdtrain.Sequential(layers)
    model.compile(gdtrain.GradientDescent(learning_rate), loss="mse")
    return model


def train(learning_rate, steps, every_steps):
    """Trains the network; returns a `gdtrain.callbacks.Telemetry`."""
    x, y = make_data()
    telemetry = gdtrain.callbacks.Telemetry(["loss"])
    stability = gdtrain.callbacks.Stability(
        x, y, every_steps, examples=None, budget=None, what_if=None
    )
    # One batch of all examples, so that an epoch is one step.
    callbacks, model = [stability, telemetry], make_model(learning_rate)
    model.fit(x, y, len(x), steps, verbose=0, callbacks=callbacks)
    return telemetry


def report(learning_rate, telemetry):
    """Prints a row, and returns what it means."""
    loss, limit = telemetry["loss"], 2 / learning_rate
    measured = ~np.isnan(telemetry["sharpness"])
    steps = telemetry.steps[measured]
    sharpness = telemetry["sharpness"][measured]
    there = [*steps[sharpness >= limit], "never"][0]
    rose, late = loss[1:] > loss[:-1], sharpness[steps > len(loss) / 2]
    mean = late.mean() if len(late) else np.nan
    print(
        f"{learning_rate:6g}{limit:9.3f}{sharpness[0]:10.3f}{there:>7}"
        f"{mean:10.3f}{mean / limit:7.2f}{loss[-1]:9.4f}"
        f"{rose[len(rose) // 2 :].mean():6.0%}"
    )
    if not np.isfinite(loss[-1]):
        return " was too large from the start: the loss grew without end."
    if there == "never":
        return " is not there yet: it takes more --steps."
    if there == 1:
        return " began beyond its limit, and went to where the loss is flatter."
    before = rose[: there - 1].mean()
    return f": the loss rose in {before:.0%} of the steps before it was there."


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--learning-rates", type=float, nargs="+", default=[0.7, 1.0, 1.5])
    add("--steps", type=int, default=5000, help="of each training")
    add("--every-steps", type=int, default=25, help="measure sharpness so")
    add("--output", default="output/edge_of_stability", help="a folder")
    options = parser.parse_args(argv)
    rates, steps = options.learning_rates, options.steps
    if min(*rates, steps, options.every_steps) <= 0 or max(rates) == np.inf:
        parser.error("learning rates and steps must be positive numbers.")
    picture = pathlib.Path(options.output, "edge_of_stability.png")
    picture.parent.mkdir(parents=True, exist_ok=True)
    print(f"{EXAMPLES} digits, all of them in each of {steps} steps.")
    print("Claim: the sharpness becomes 2 / learning_rate, and stays.\n")
    print("  rate 2 / rate  sharp at  there  2nd half   over     loss  loss")
    print("                   step 1 at step     mean  limit   at end  rose")
    sources, meanings = {}, []
    for rate in rates:
        telemetry = train(rate, steps, options.every_steps)
        sources[f"learning rate {rate:g}"] = telemetry
        meanings.append(f"Learning rate {rate:g}{report(rate, telemetry)}")
    print("\nThere: first seen at 2 / rate. Over limit: mean / (2 / rate).")
    print(*meanings, sep="\n")
    limits = {"sharpness": [2 / rate for rate in rates]}
    shown = ["sharpness", "loss"]
    gdtrain.plots.compare(sources, shown, picture, limits=limits)
    print(f"\nPicture: {picture}")
    return sources


if __name__ == "__main__":
    main()

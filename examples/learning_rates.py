"""Four learning rates on one problem, and why each did what it did.

    python examples/learning_rates.py

A line is fitted from one start with rates far too small, good, just under the
limit and just over it. The limit is measured beforehand, from how the loss
curves, and printed beside the exact one; `gdtrain.diagnose` then explains
each run from its numbers. The same for a network that reads digits, whose
limit moves with its weights. Draws two pictures; 40 seconds on two CPU cores.
"""

import argparse
import pathlib
import types

import _quiet  # noqa: F401
import keras
import numpy as np
from sklearn.datasets import load_digits

import gdtrain

# The learning rates, as shares of the limit where training starts
LINE = {"far too small": 5e-5, "good": 0.5}
LINE |= {"just under the limit": 0.995, "just over the limit": 1.01}
NETWORK = {"far too small": 1e-3, "half the limit": 0.5}
NETWORK |= {"the limit": 1.0, "far over the limit": 30.0}


def make_line(rate):
    line = keras.layers.Dense(1, name="line")
    model = gdtrain.Sequential([keras.Input([1]), line])
    model.compile(gdtrain.GradientDescent(rate), loss="mse")
    model.set_weights([np.zeros([1, 1]), -np.ones(1)])
    return model


def make_network(rate):
    keras.utils.set_random_seed(1)
    layers = [keras.Input([64])]
    layers += [keras.layers.Dense(64, "tanh", name=name) for name in "ab"]
    layers += [keras.layers.Dense(10, "softmax", name="c")]
    model, loss = gdtrain.Sequential(layers), "sparse_categorical_crossentropy"
    model.compile(gdtrain.GradientDescent(rate), loss, metrics=["accuracy"])
    return model


def train(make, shares, x, y, batch_size, epochs):
    """Measures the limit, then trains at shares of it: `(limit, runs)`."""
    found = gdtrain.curvature(make(0.1), x, y)
    print(f"Measured before the first step: {found}.")
    limit, runs = found.stable_learning_rate, {}
    for name, share in shares.items():
        rate = share * limit
        model = make(rate)
        path = gdtrain.callbacks.WeightPath(-(-len(x) // batch_size))
        telemetry = gdtrain.callbacks.Telemetry()
        stability = gdtrain.callbacks.Stability(
            x, y, every_steps=30, budget=None, what_if=None
        )
        callbacks = [path, telemetry, stability]
        model.fit(x, y, batch_size, epochs, verbose=0, callbacks=callbacks)
        verdict, loss = gdtrain.diagnose(telemetry).verdict, telemetry["loss"]
        print(
            f"\nRate {rate:.3g}, {name} ({share:g} times the limit at first):"
        )
        print(f"Loss {loss[0]:.3g} -> {loss[-1]:.3g} in {len(loss)} steps.")
        print(verdict)
        limits = telemetry["stable_learning_rate"]
        known = np.flatnonzero(np.isfinite(limits))[[0, -1]]
        moved = [f"{limits[i]:.3g} after {telemetry.steps[i]}" for i in known]
        print(f"The limit was {limit:.3g} before step 1,", ", ".join(moved))
        run = {"model": model, "path": path, "telemetry": telemetry}
        run |= {"rate": rate, "verdict": verdict}
        runs[f"{rate:.3g}, {name}"] = types.SimpleNamespace(**run)
    return limit, runs


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=200, help="of the line")
    parser.add_argument("--epochs", type=int, default=30, help="of the digits")
    parser.add_argument("--output", default="output/learning_rates")
    options = parser.parse_args(argv)
    if min(options.steps, options.epochs) < 1:
        parser.error("--steps and --epochs must be positive integers.")
    folder = pathlib.Path(options.output)
    folder.mkdir(parents=True, exist_ok=True)

    x = np.linspace(-1, 4, 60)[:, np.newaxis]
    y = 0.1 * x + 0.5 + np.random.default_rng(1).normal(0, 0.1, x.shape)
    inputs = np.hstack([x, np.ones_like(x)])
    exact = 2 / np.linalg.norm(2 * inputs.T @ inputs / len(x), 2)
    print(f"60 points. Exact limit, 2 / largest curvature: {exact:.4g}.")
    limit, line = train(make_line, LINE, x, y, len(x), options.steps)
    more = options.steps * LINE["good"] / LINE["far too small"]
    print(f"\nFar too small needs {more:,.0f} steps to come as far as good.")
    paths = {label: run.path for label, run in line.items()}
    surface = gdtrain.landscape(make_line(limit), x, y, path=paths)
    gdtrain.plots.landscape(surface, folder / "learning_rates.png")

    x, y = load_digits(return_X_y=True)
    print("\nA network that reads digits. Its limit depends on its weights.")
    x, epochs = x / 16, options.epochs
    limit_of_network, network = train(make_network, NETWORK, x, y, 64, epochs)
    print("\nAt the end, loss and share of digits read right:")
    for label, run in network.items():
        loss, right = run.model.evaluate(x, y, verbose=0)
        print(f"  {loss:9.3g} {right:6.1%} at {label}")
    *sane, _ = network.items()  # The curvature of the ruined one is noise.
    sources = {label: run.telemetry for label, run in sane}
    picture = folder / "learning_rates_digits.png"
    shown, limits = ["loss", "stability"], {"stability": [1]}
    gdtrain.plots.compare(sources, shown, picture, limits=limits)
    print(f"\nPictures: {folder}/learning_rates.png, learning_rates_digits.png")
    return exact, limit, line, limit_of_network, network


if __name__ == "__main__":
    main()

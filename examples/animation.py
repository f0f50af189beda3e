"""Animates descent on a line at three learning rates.

    python examples/animation.py

Each is a real run from the same start: a rate far too small, half the stable
limit, and just over it. Above are the points and the line after each step,
below the path of w and b over the loss. The titles say what `gdtrain.diagnose`
finds. Writes an animated GIF in half a minute; README shows it.
"""

import argparse
import pathlib

import _quiet  # noqa: F401
import keras
import numpy as np
from matplotlib.animation import FuncAnimation, PillowWriter
from matplotlib.figure import Figure

import gdtrain

SHARES_OF_LIMIT = (0.01, 0.5, 1.03)
COLORS = ("tab:orange", "tab:green", "tab:red")
FRAMES_A_SECOND = 6


def train(learning_rate, x, y, steps):
    """The path of (w, b), one row for each step, and the verdict's name."""
    line = keras.layers.Dense(1, name="line")
    model = gdtrain.Sequential([keras.Input([1]), line])
    model.compile(gdtrain.GradientDescent(learning_rate), loss="mse")
    model.set_weights([np.full([1, 1], -0.3), np.full(1, 1.2)])
    path = gdtrain.callbacks.WeightPath()
    telemetry = gdtrain.callbacks.Telemetry()
    callbacks = [path, telemetry]
    model.fit(x, y, len(x), steps, verbose=0, callbacks=callbacks)
    name = gdtrain.diagnose(telemetry, model, x, y).verdict.name
    return path.weights, name


def animation(runs, x, y):
    """A Matplotlib animation of runs: `[(learning_rate, path, name), ...]`."""
    figure = Figure(figsize=(9, 5.2), layout="constrained")
    axes = figure.subplots(2, len(runs), sharex="row", sharey="row")
    w, b = np.meshgrid(np.linspace(-0.7, 1.0, 90), np.linspace(-0.5, 1.7, 90))
    errors = w[..., None] * x[:, 0] + b[..., None] - y[:, 0]
    loss = np.mean(errors**2, axis=-1)
    moving = []
    for column, (learning_rate, path, name) in enumerate(runs):
        above, below = axes[:, column]
        above.set_title(f"learning rate {learning_rate:.2g}\n{name}", size=11)
        above.plot(x, y, ".", color="tab:blue", markersize=4)
        above.set(ylim=(-0.6, 1.9), xticks=[], yticks=[])
        below.contour(w, b, np.log(loss), 12, colors="0.75", linewidths=0.8)
        below.set(xlim=(-0.7, 1.0), ylim=(-0.5, 1.7), xticks=[], yticks=[])
        below.set_xlabel("w")
        color = COLORS[column]
        (line,) = above.plot([], [], color=color, linewidth=2)
        (trace,) = below.plot([], [], ".-", color=color, linewidth=1)
        moving.append((path, line, trace))
    axes[0, 0].set_ylabel("points and line")
    axes[1, 0].set_ylabel("b, on contours of the loss")
    ends = x[[0, -1], 0]

    def draw(step):
        figure.suptitle(f"step {step}", size=11)
        for path, line, trace in moving:
            line.set_data(ends, path[step, 0] * ends + path[step, 1])
            trace.set_data(*path[: step + 1].T)

    last = len(runs[0][1]) - 1
    steps = [*range(last + 1), *[last] * 2 * FRAMES_A_SECOND]
    return FuncAnimation(figure, draw, steps)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=40, help="default: 40")
    parser.add_argument("--output", default="output/descent.gif")
    options = parser.parse_args(argv)
    if options.steps < 1:
        parser.error("--steps must be a positive integer.")
    x = np.linspace(-1, 4, 60)[:, np.newaxis]
    y = 0.1 * x + 0.5 + np.random.default_rng(1).normal(0, 0.1, x.shape)
    inputs = np.hstack([x, np.ones_like(x)])
    limit = 2 / np.linalg.norm(2 * inputs.T @ inputs / len(x), 2)
    runs = []
    for share in SHARES_OF_LIMIT:
        path, name = train(share * limit, x, y, options.steps)
        runs.append((share * limit, path, name))
        print(f"learning rate {share * limit:.2g}: {name}")
    output = pathlib.Path(options.output)
    output.parent.mkdir(parents=True, exist_ok=True)
    writer = PillowWriter(fps=FRAMES_A_SECOND)
    animation(runs, x, y).save(output, writer, dpi=90)
    print(f"Animation: {output}")
    return runs


if __name__ == "__main__":
    main()

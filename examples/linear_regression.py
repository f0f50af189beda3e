"""Fits y = w x + b by gradient descent, which `Line.train_step` is all of.

    python examples/linear_regression.py                        60 points
    python examples/linear_regression.py --learning-rate 0.1    on from there
    python examples/linear_regression.py --data TABLE.csv --x NAME --y NAME

Prints w and b every 20 steps beside those expected. Run again, it continues.
"""

import argparse
import os
import pathlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
stderr = os.dup(2)  # TensorFlow 2.21 logs on import in spite of that.
os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
try:
    import keras
    import numpy as np
    import tensorflow as tf

    import gdtrain
finally:
    os.dup2(stderr, 2)


class Line(gdtrain.Model):
    def __init__(self, start):
        super().__init__()
        self.w, self.b = self.add_weight(name="w"), self.add_weight(name="b")
        self.set_weights(start)

    def call(self, x):
        return self.w * x + self.b

    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((self(x) - y) ** 2)
        gradient_w, gradient_b = tape.gradient(loss, [self.w, self.b])
        learning_rate = self.optimizer.learning_rate
        self.w.assign_sub(learning_rate * gradient_w)
        self.b.assign_sub(learning_rate * gradient_b)
        return {"loss": loss, "learning_rate": learning_rate}


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--data", default="points", help="points, diabetes, or a CSV file")
    add("--x", help="column of the CSV file to fit from")
    add("--y", help="column of the CSV file to fit")
    add("--steps", type=int, default=200, help="default: 200")
    add("--learning-rate", type=float, default=0.198, help="default: 0.198")
    add("--output", default="output/linear_regression", help="a folder")
    options = parser.parse_args(argv)
    steps, rate, folder = options.steps, options.learning_rate, options.output
    if steps < 1 or not 0 < rate < np.inf:
        parser.error("--steps and --learning-rate must be positive numbers.")
    x, truth, scale = np.linspace(-1, 4, 60), [0.1, 0.5], (0, 1, 0, 1)
    y = np.polyval(truth, x) + np.random.default_rng(1).normal(0, 0.1, 60)
    try:
        if options.data != "points" or options.x or options.y:
            from table import read_columns  # Its pandas is for tables alone.

            x, y, scale = read_columns(options.data, options.x, options.y)
            truth = np.polyfit(x, y, 1)
        pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        parser.exit(2, f"error: {error}\n")
    x_mean, x_spread, y_mean, y_spread = scale  # So one rate suits any.
    points = np.stack([(x - x_mean) / x_spread, (y - y_mean) / y_spread])

    state, start, done = pathlib.Path(folder, "line.npz"), np.array([0, -1]), 0
    saved = dict(np.load(state)) if state.exists() else {"points": None}
    if np.array_equal(saved["points"], points):
        start, done = saved["line"], int(saved["steps"])
        print(f"Continues after step {done}. Delete {state} to begin again.")

    exact, inputs = np.polyfit(*points, 1), np.vander(points[0], 2)
    curvature = 2 * inputs.T @ inputs / len(x)
    factor = np.eye(2) - rate * curvature  # Of the error at each step
    limit = 2 / np.linalg.norm(curvature, 2)
    is_stable = "is stable" if rate < limit else "diverges, and is not saved"
    print(f"Learning rates up to {limit:.4g} are stable: {rate:g} {is_stable}.")
    print("  step        loss           w           b  expected w  expected b")

    def print_step(epoch, logs):
        after = epoch + 1 - done
        if after % 20 == 0 or after == steps:
            error = np.linalg.matrix_power(factor, after) @ (start - exact)
            row = logs["loss"], *model.get_weights(), *(exact + error)
            print(f"{epoch + 1:6}", *(f"{number:11.5g}" for number in row))

    model = Line(start)
    model.compile(gdtrain.GradientDescent(rate), jit_compile=False)
    model.optimizer.iterations.assign(done)
    epochs = {"initial_epoch": done, "epochs": done + steps, "verbose": 0}
    rows = keras.callbacks.LambdaCallback(on_epoch_end=print_step)
    log = gdtrain.callbacks.TensorBoard(f"{folder}/logs", ["loss"])
    model.fit(*points[..., None], len(x), callbacks=[rows, log], **epochs)
    w, b = model.get_weights()
    if rate < limit:  # Otherwise it diverges.
        np.savez(state, points=points, line=[w, b], steps=done + steps)
    w = w * y_spread / x_spread
    b = y_mean + y_spread * b - w * x_mean
    best = np.polyfit(x, y, 1)
    print(f"Fitted: y = {w:.5g} x {b:+.5g}")
    print("Exact:  y = {:.5g} x {:+.5g}".format(*best))
    off = np.abs(np.polyval([w, b] - best, x)).max() / y_spread
    closer = f" Run again with --learning-rate {limit / 2:.2g} to come closer."
    print(f"Up to {off * y_spread:.2g} apart.{'' if off < 1e-5 else closer}")
    picture = gdtrain.plots.FittedLine(x, y, truth=np.poly1d(truth))
    seen = np.polyval([w, b], np.linspace(x.min(), x.max(), 200))
    picture.draw(seen).savefig(f"{folder}/line.png", dpi=150)
    print(f"Picture: {folder}/line.png. Log: tensorboard --logdir {folder}")


if __name__ == "__main__":
    main()

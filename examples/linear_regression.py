"""Fits a line by gradient descent: by hand, then with `gdtrain.Model`.

    python examples/linear_regression.py

Prints the 200 steps of both, which end at the same w and b; what 200 more
steps and a smaller learning rate bring; and how far from the exact
least-squares line each of them is. Draws a picture and writes a TensorBoard
log. Takes 10 to 15 seconds on two CPU cores, half of it to import TensorFlow.

A learning rate that is too large is a result, too: it is explained and drawn,
and the exit code is 0. Data that cannot be used: exit code 2.
"""

# TensorFlow, and what imports it, is imported by the functions that use it:
# that takes seconds, which `--help` and a mistyped file name should not.
import argparse
import contextlib
import dataclasses
import itertools
import math
import os
import pathlib
import sys

from _console import (
    InputError,
    import_quietly,
    log_lines,
    make_folder,
    run,
)
from line_data import (
    START,
    Line,
    least_squares,
    make_points,
    read_csv,
    read_diabetes,
)
from line_pictures import draw, draw_divergence
from line_report import (
    Diverged,
    print_data,
    print_divergence,
    print_lines,
    print_reason,
    step_printer,
)


# ------------------------------------------------------------- the lecture


def descend_by_hand(x, y, line, *, steps, learning_rate, after_step):
    """Moves a line by gradient descent on the mean squared error.

    Args:
        x: Array `[n]`.
        y: Array `[n]`.
        line: The `Line` to start from.
        steps: How many, each with all n points.
        learning_rate: A positive number.
        after_step: Called with the number of the step, the loss it began
            with, and the w and b it led to.

    Returns:
        The `Line` after the last step.
    """
    import tensorflow as tf

    x, y = tf.constant(x, tf.float32), tf.constant(y, tf.float32)
    w, b = tf.Variable(line.w), tf.Variable(line.b)
    for step in range(1, steps + 1):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((w * x + b - y) ** 2)
        gradient_w, gradient_b = tape.gradient(loss, [w, b])
        w.assign_sub(learning_rate * gradient_w)
        b.assign_sub(learning_rate * gradient_b)
        after_step(step, float(loss), float(w), float(b))
    return Line(float(w), float(b))


def make_model(line):
    """Makes a `gdtrain.Model` of a line."""
    import gdtrain

    class LineModel(gdtrain.Model):
        def __init__(self):
            super().__init__()
            self.w = self.add_weight(name="w")
            self.b = self.add_weight(name="b")

        def call(self, x):
            return self.w * x + self.b

    model = LineModel()
    model.w.assign(line.w)
    model.b.assign(line.b)
    # Not by XLA, which may round otherwise, so that both end at the same bits.
    model.compile(gdtrain.GradientDescent(), loss="mse", jit_compile=False)
    return model


def fit(model, x, y, *, steps, learning_rate, after_step, tensorboard):
    """Does what `descend_by_hand` does, from where the model is.

    Its arguments are the same, but for `model`, from `make_model`, and
    `tensorboard`, a `gdtrain.callbacks.TensorBoard`.
    """
    import keras

    model.optimizer.learning_rate = learning_rate
    done = int(model.optimizer.iterations)
    printer = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: after_step(
            epoch + 1, logs["loss"], float(model.w), float(model.b)
        )
    )
    # One batch of all points, so that an epoch is one step.
    model.fit(
        x.reshape(-1, 1),
        y.reshape(-1, 1),
        batch_size=len(x),
        initial_epoch=done,
        epochs=done + steps,
        verbose=0,
        callbacks=[printer, tensorboard],
    )
    return Line(float(model.w), float(model.b))


# --------------------------------------------------------------- the script


@dataclasses.dataclass
class Result:
    """What `main` found: lines in the units of the data, and its files.

    `course` has, for each step by hand from the start, the loss that it began
    with and the line that it led to.
    """

    exact: Line
    by_hand: Line = None
    by_fit: Line = None
    longer: Line = None  # `by_fit`, and as many steps more.
    smaller: Line = None  # `longer`, and more with a smaller learning rate.
    unchanged: Line = None  # `longer`, and more with the same learning rate.
    course: list = dataclasses.field(default_factory=list)
    diverged: bool = False  # The loss is larger than at the start.
    picture: pathlib.Path = None
    log_folder: pathlib.Path = None


def main(argv=None):
    """Runs the example.

    Args:
        argv: The arguments of the command line. Defaults to `sys.argv[1:]`.

    Returns:
        A `Result`.

    Raises:
        InputError: if the data or a folder cannot be used.
    """
    options = parse(argv)
    data = read_data(options)
    pictures = make_folder(options.pictures)
    result = Result(data.unscaled(least_squares(*data.scaled)))
    make_folder(options.logs)
    import_quietly("gdtrain")

    print_data(data, options.learning_rate)
    try:
        descend(data, options, result)
        print_lines(data, options, result)
        print_reason(data, options, result)
    except Diverged as error:
        print_divergence(error, data, options)
    losses = [loss for loss, _ in result.course]
    result.diverged = not losses[-1] <= losses[0]  # So if it is NaN, too.
    result.picture = pictures / "line.png"
    picture_of = draw_divergence if result.diverged else draw
    picture_of(data, options, result)
    print(f"\nPicture: {result.picture}")
    if result.log_folder:
        print(log_lines(result.log_folder, options.logs))
    return result


def descend(data, options, result):
    """Descends as the lecture does; the lines go into `result`."""
    import gdtrain

    x, y = data.scaled
    steps, rate = options.steps, options.learning_rate
    smaller = options.smaller_learning_rate

    def by_hand(title, line, course):
        print_step = step_printer(data, title, steps)

        def after_step(step, loss, w, b):
            course.append(
                (loss * data.y_scale.spread**2, data.unscaled(Line(w, b)))
            )
            print_step(step, loss, w, b)

        line = descend_by_hand(
            x,
            y,
            line,
            steps=steps,
            learning_rate=rate,
            after_step=after_step,
        )
        return data.unscaled(line)

    title = f"By hand, {steps} steps"
    result.by_hand = by_hand(title, START, result.course)

    model = make_model(START)
    result.log_folder = make_run_folder(options.logs)
    tensorboard = gdtrain.callbacks.TensorBoard(
        result.log_folder,
        hparams={"smaller_learning_rate": smaller},
        pictures=[gdtrain.plots.FittedLine(x, y)],
    )

    def go_on(title, rate, last_step):
        line = fit(
            model,
            x,
            y,
            steps=steps,
            learning_rate=rate,
            after_step=step_printer(data, title, last_step),
            tensorboard=tensorboard,
        )
        return line, data.unscaled(line)

    title = f"With gdtrain.Model and fit, {steps} steps"
    _, result.by_fit = go_on(title, rate, steps)
    w_off = result.by_fit.w - result.by_hand.w
    b_off = result.by_fit.b - result.by_hand.b
    print(f"Difference to by hand: {w_off:.1g} in w, {b_off:.1g} in b.")

    title = f"On from there, {steps} more"
    line, result.longer = go_on(title, rate, 2 * steps)
    result.unchanged = by_hand(None, line, [])

    title = f"On with learning rate {smaller:g}, {steps} more"
    _, result.smaller = go_on(title, smaller, 3 * steps)


# -------------------------------------------------------------- the options


def parse(argv):
    """Reads the command line."""
    folder = os.path.join("output", "linear_regression")
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n")[0],
        allow_abbrev=False,
    )
    add = parser.add_argument
    add(
        "--data",
        default="points",
        metavar="WHAT",
        help="points (of a known line, the default), diabetes (442 patients, "
        "from scikit-learn), or the path of a CSV file with column names in "
        "its first line",
    )
    add("--x", metavar="NAME", help="column of the CSV file to fit from")
    add("--y", metavar="NAME", help="column of the CSV file to fit")
    add(
        "--steps",
        type=number(int, above=0),
        default=200,
        help="steps of each descent (default: %(default)s)",
    )
    add(
        "--learning-rate",
        type=number(float, above=0),
        metavar="RATE",
        help="default: 0.2 for the points, 0.01 for a table",
    )
    add(
        "--smaller-learning-rate",
        type=number(float, above=0),
        metavar="RATE",
        help="the one to go on with (default: a tenth of --learning-rate)",
    )
    add(
        "--seed",
        type=number(int, above=-1),
        default=1,
        help="of the points' noise (default: %(default)s)",
    )
    add(
        "--pictures",
        default=folder,
        metavar="FOLDER",
        help="where to draw line.png (default: %(default)s)",
    )
    add(
        "--logs",
        default=os.path.join(folder, "logs"),
        metavar="FOLDER",
        help="where TensorBoard's logs go, one folder a run "
        "(default: %(default)s)",
    )
    return with_rates(parser.parse_args(argv))


def with_rates(options):
    """Fills in the learning rates that were not given."""
    if options.learning_rate is None:
        options.learning_rate = 0.2 if options.data == "points" else 0.01
    if options.smaller_learning_rate is None:
        options.smaller_learning_rate = options.learning_rate / 10
    if options.smaller_learning_rate >= options.learning_rate:
        raise InputError(
            "--smaller-learning-rate must be smaller than --learning-rate. "
            f"Received: {options.smaller_learning_rate:g} and "
            f"{options.learning_rate:g}."
        )
    return options


def number(kind, above):
    """Makes a reader of finite numbers above a limit, for argparse."""

    def read(text):
        with contextlib.suppress(ValueError):
            if above < kind(text) < math.inf:
                return kind(text)
        what = "an integer" if kind is int else "a finite number"
        raise argparse.ArgumentTypeError(
            f"must be {what} above {above}. Received: {text!r}"
        )

    return read


def read_data(options):
    """Makes or reads the data that the options name."""
    if options.data not in ("points", "diabetes"):
        return read_csv(options.data, options.x, options.y)
    if options.x or options.y:
        raise InputError(
            "--x and --y name columns of a CSV file, but --data is "
            f"{options.data}. Leave them out, or give --data a CSV file."
        )
    if options.data == "diabetes":
        return read_diabetes()
    return make_points(options.seed)


def make_run_folder(logs):
    """Makes a new folder, so that no run draws over another's curves."""
    for count in itertools.count(1):
        folder = pathlib.Path(logs) / f"run-{count}"
        try:
            folder.mkdir()
            return folder
        except FileExistsError:
            pass


if __name__ == "__main__":
    sys.exit(run(main))

"""Learns to tell pictures apart, by gradient descent on a network.

    python examples/image_classifier.py                       digits
    python examples/image_classifier.py --data fashion_mnist  clothes
    python examples/image_classifier.py --data FOLDER         your photos
    python examples/image_classifier.py --predict IMAGE       what is this?

The algorithm that fits a line in linear_regression.py, on a larger scale: the
gradient of a loss in 150,000 weights and more, from a few pictures at a time,
with momentum and a learning rate that falls to 0. It prints the accuracy on
pictures held out, saves the model with the names of its classes, draws
predictions and confusions, and writes a TensorBoard log.

Right of what is held out, and time on two CPU cores:
    digits         98.1% (median of 5 seeds; 97.8 to 98.6), 20 seconds
    fashion_mnist  92.3% (median of 3 seeds; 92.1 to 92.3), 4 to 6 minutes
    200 photos of hot dogs and other food, from scratch: 72.5% (median of 5
    seeds; 57.5 to 80), 40 seconds. Guessing gets 50%.
"""

import argparse
import datetime
import math
import os
import pathlib
import shlex
import sys
import types

import numpy as np


def main(argv=None):
    """Trains, or with `--predict` asks; returns what it found."""
    options = parse(argv)
    return train(options) if options.predict is None else ask(options)


def fail(message):
    """Ends with one line, and exit code 2."""
    print(f"error: {' '.join(str(message).split())}", file=sys.stderr)
    raise SystemExit(2)


def train(options):
    """Trains a network, says how good it is, and saves it."""
    # Imported here as they import TensorFlow: `--help` should not wait.
    import image_data
    import image_network
    import keras

    from gdtrain import images, plots

    output = pathlib.Path(options.output)
    logs = pathlib.Path(options.logs or output / "logs")
    try:
        if options.data == "digits":
            data = image_data.read_digits()
        elif options.data == "fashion_mnist":
            data = image_data.read_fashion_mnist()
        else:
            data = images.read_folder(
                options.data, size=96, fit="crop", seed=options.seed
            )
        output.mkdir(parents=True, exist_ok=True)
        logs.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        is_missing = isinstance(error.__cause__, FileNotFoundError)
        fail(f"{error}{' Or write digits or fashion_mnist.' * is_missing}")
    keras.utils.set_random_seed(options.seed)
    asked = {name: v for name, v in vars(options).items() if v is not None}
    asked = {n: asked[n] for n in asked if n in image_network.Recipe._fields}
    recipe = image_network.recipe_for(options.data)._replace(**asked)
    network = image_network.make(data, recipe)
    print(data)
    print(
        f"{network.count_params():,} weights, {recipe.epochs} epochs, "
        f"{recipe.batch_size} pictures a step, learning rate from "
        f"{recipe.learning_rate:g} down to 0."
    )
    now = f"{datetime.datetime.now():%Y%m%d-%H%M%S}-{os.getpid()}"
    model = output / "model.keras"
    try:
        image_network.train(network, data, recipe, logs / now)
        image_network.save(model, network, data.class_names)
    except (ArithmeticError, OSError) as error:
        fail(error)
    held_out, names = data.held_out, data.class_names
    outputs = network.predict(held_out.images, batch_size=256, verbose=0)
    pictures = output / "predictions.png", output / "confusion.png"
    judged = held_out.labels, outputs, names
    plots.predictions(held_out.images, *judged, pictures[0], seed=options.seed)
    plots.confusion(*judged, pictures[1])

    commonest = np.bincount(data.training.labels).argmax()
    result = types.SimpleNamespace(
        accuracy=float(np.mean(outputs.argmax(1) == held_out.labels)),
        guessing=float(np.mean(held_out.labels == commonest)),
        network=network,
        model=model,
        pictures=pictures,
        log_folder=logs / now,
    )
    count = len(held_out)
    right = round(result.accuracy * count)
    # Agresti and Coull, 1998: as if of 4 more pictures 2 were right. It
    # does not claim certainty when all are.
    p = (right + 2) / (count + 4)
    margin = 2 * math.sqrt(p * (1 - p) / (count + 4))
    print(
        f"\nAccuracy on the pictures held out: {result.accuracy:.1%} "
        f"({right:,} of {count:,}), give or take {100 * margin:.1f} points.\n"
        f"Always saying '{names[commonest]}' would get {result.guessing:.1%}."
        f"\n\nModel: {model}"
        f"\nPictures: {pictures[0]}, {pictures[1]}"
        f"\nLog: {logs / now}. To see it at "
        "http://localhost:6006/#custom_scalars:\n"
        f"  tensorboard --logdir {shlex.quote(str(logs))}"
        "\nTo ask about a picture of your own, run this with "
        f"--predict IMAGE --model {shlex.quote(str(model))}"
    )
    return result


def ask(options):
    """Says what is on a picture: `(class name, probability)`."""
    # Imported here as they import TensorFlow: `--help` should not wait.
    import image_network

    from gdtrain.images import decode

    model = options.model or os.path.join(options.output, "model.keras")
    try:
        decode(options.predict, size=(1, 1))  # Is it a picture at all?
        network, class_names = image_network.load(model)
        *size, channels = network.input_shape[1:]
        image = decode(
            options.predict, size=size, channels=channels, fit="crop"
        )
    except ValueError as error:
        fail(error)
    [probabilities] = network.predict(image[np.newaxis], verbose=0)
    best = probabilities.argmax()
    print(f"{class_names[best]} ({probabilities[best]:.2f})")
    return class_names[best], float(probabilities[best])


def number(kind, low, high):
    """Makes a reader of numbers from `low` to `high`, for argparse."""

    def read(text):
        try:
            if low <= kind(text) <= high:
                return kind(text)
        except ValueError:
            pass
        what = f"must be {kind.__name__} from {low:g} to {high:g}"
        raise argparse.ArgumentTypeError(f"{what}. Received: {text!r}")

    return read


def parse(argv):
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add(
        "--data",
        help="digits (from scikit-learn; the default), fashion_mnist (from "
        "Debian's dataset-fashion-mnist or else downloaded), or a folder with "
        "a folder of JPEG or PNG files for each class, named after it",
    )
    whole = number(int, 1, 10**9)
    add("--epochs", type=whole, help="default: 30, 10, 40 for a folder")
    add("--batch-size", type=whole, help="default: 64, 16 for a folder")
    rate = number(float, 1e-30, sys.float_info.max)
    add("--learning-rate", type=rate, help="default: 0.1, 0.05, 0.02")
    seed = number(int, 0, 2**32 - 1)
    add("--seed", type=seed, help="of all that is drawn (default: 0)")
    add("--output", default="output/image_classifier", help="a folder")
    add("--logs", help="for TensorBoard (default: logs in --output)")
    add("--predict", help="say what is on this JPEG or PNG file; no training")
    add("--model", help="for --predict (default: model.keras in --output)")
    options = parser.parse_args(argv)
    for name in ("data", "epochs", "batch_size", "learning_rate", "seed"):
        if options.predict and getattr(options, name) is not None:
            fail(
                "--predict asks a saved model and trains none, so "
                f"--{name.replace('_', '-')} has no meaning. Remove one."
            )
    if options.model and not options.predict:
        fail(
            "--model names a saved model for --predict; training saves its "
            "own in --output. Add --predict IMAGE, or remove --model."
        )
    options.data, options.seed = options.data or "digits", options.seed or 0
    return options


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        print("stopped by Ctrl-C", file=sys.stderr)
        sys.exit(130)

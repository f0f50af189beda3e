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
import dataclasses
import datetime
import math
import os
import pathlib
import shlex
import sys

import image_model
import numpy as np
from _console import (
    InputError,
    complete_file,
    import_quietly,
    log_lines,
    make_folder,
    positive_integer,
    run,
)
from image_data import (
    open_picture,
    read_digits,
    read_fashion_mnist,
    read_folder,
    to_array,
)

MODEL_FILE = "model.keras"


@dataclasses.dataclass
class Result:
    """What `main` found by training, and its files."""

    accuracy: float  # On what is held out; so is the next.
    guessing: float  # The accuracy of always naming the commonest class.
    class_names: list
    network: object
    model: pathlib.Path
    predictions: pathlib.Path
    confusion: pathlib.Path
    log_folder: pathlib.Path


@dataclasses.dataclass
class Prediction:
    """What a picture was taken for, and the probability that it is."""

    class_name: str
    confidence: float

    def __str__(self):
        return f"{self.class_name} ({self.confidence:.2f})"


def main(argv=None):
    """Runs the example.

    Args:
        argv: The arguments of the command line. Defaults to `sys.argv[1:]`.

    Returns:
        A `Result`, or with `--predict` a `Prediction`.

    Raises:
        InputError: if an option, the data, a picture or a model cannot be
            used. No model and no picture is written then.
    """
    options = parse(argv)
    return train(options) if options.predict is None else predict(options)


def train(options):
    """Trains a network, says how good it is, and saves it."""
    data = read_data(options)
    output = make_folder(options.output)
    log_folder = make_folder(options.logs) / run_name()
    # Imported here because it imports TensorFlow: that takes seconds, which
    # `--help` and a mistyped name should not.
    image_network = import_quietly("image_network")

    recipe = image_network.recipe_for(
        options.data,
        epochs=options.epochs,
        batch_size=options.batch_size,
        learning_rate=options.learning_rate,
    )
    network = image_network.make(data, recipe, options.seed)
    print_start(data, network, recipe)
    image_network.train(network, data, recipe, log_folder)
    probabilities = network.predict(
        data.held_out.images, batch_size=256, verbose=0
    )

    labels = data.held_out.labels
    result = Result(
        accuracy=share(probabilities.argmax(1), labels),
        guessing=share(commonest(data.training.labels), labels),
        class_names=data.class_names,
        network=network,
        model=output / MODEL_FILE,
        predictions=output / "predictions.png",
        confusion=output / "confusion.png",
        log_folder=log_folder,
    )
    image_model.save(result.model, network, data.class_names)
    draw(result, data, probabilities, options.seed)
    print_result(result, data, options)
    return result


def predict(options):
    """Says what is on a picture."""
    picture = open_picture(options.predict)
    class_names = image_model.read_class_names(options.model)
    network = image_model.load(options.model)
    image = to_array(picture, network.input_shape[1:])
    [probabilities] = network.predict(image[np.newaxis], verbose=0)
    best = probabilities.argmax()
    prediction = Prediction(class_names[best], float(probabilities[best]))
    print(prediction)
    return prediction


# ----------------------------------------------------------------- the report


def share(predicted, labels):
    """The share of pictures that are of the class predicted."""
    return float(np.mean(predicted == labels))


def commonest(labels):
    """The class with most pictures."""
    return np.bincount(labels).argmax()


def draw(result, data, probabilities, seed):
    """Draws the two pictures."""
    # Imported here because it imports Matplotlib, which takes a second.
    import image_pictures

    with complete_file(result.predictions) as path:
        image_pictures.draw_predictions(
            path, data.held_out, probabilities, data.class_names, seed
        )
    with complete_file(result.confusion) as path:
        image_pictures.draw_confusion(
            path, data.held_out.labels, probabilities, data.class_names
        )


def print_start(data, network, recipe):
    """Says what is learned from, and how."""
    print(data.description)
    print(
        f"{network.count_params():,} weights, {recipe.epochs} epochs, "
        f"{recipe.batch_size} pictures a step, learning rate from "
        f"{recipe.learning_rate:g} down to 0."
    )


def print_result(result, data, options):
    """Says how good the network is, and where things are."""
    count = len(data.held_out)
    right = round(result.accuracy * count)
    # Agresti and Coull, 1998: as if of 4 more pictures 2 were right. It
    # does not claim certainty when all are.
    p = (right + 2) / (count + 4)
    margin = 2 * math.sqrt(p * (1 - p) / (count + 4))
    name = data.class_names[commonest(data.training.labels)]
    print(
        f"\nAccuracy on the pictures held out: {result.accuracy:.1%} "
        f"({right:,} of {count:,}), give or take {100 * margin:.1f} points."
        f"\nAlways saying '{name}' would get {result.guessing:.1%}."
        f"\n\nModel: {result.model}"
        f"\nPictures: {result.predictions}, {result.confusion}"
        f"\n{log_lines(result.log_folder, options.logs)}"
        "\nTo ask about a picture of your own, run this with "
        f"--predict IMAGE --model {shlex.quote(str(result.model))}"
    )


# ---------------------------------------------------------------- the options


def parse(argv):
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n")[0], allow_abbrev=False
    )
    add_options(parser.add_argument)
    options = parser.parse_args(argv)
    training = vars(options).keys() - {"predict", "model", "output"}
    given = sorted(
        f"--{name.replace('_', '-')}"
        for name in training
        if getattr(options, name) is not None
    )
    if options.predict is not None and given:
        raise InputError(
            f"--predict asks a saved model and trains none, so {given[0]} "
            "has no meaning. Leave out one of the two."
        )
    if options.predict is None and options.model is not None:
        raise InputError(
            "--model names a saved model for --predict; training saves its "
            "own in --output. Add --predict IMAGE, or leave out --model."
        )
    return with_defaults(options)


def with_defaults(options):
    """Fills in the options that were not given, but for the recipe's."""
    options.data = options.data or "digits"
    options.seed = options.seed or 0
    options.logs = options.logs or os.path.join(options.output, "logs")
    options.model = options.model or os.path.join(options.output, MODEL_FILE)
    return options


def add_options(add):
    """Adds the options, by the `add_argument` of a parser."""
    add(
        "--data",
        metavar="WHAT",
        help="digits (1,797, from scikit-learn; the default), fashion_mnist "
        "(70,000 pictures of clothes, from Debian's dataset-fashion-mnist or "
        "else downloaded), or a folder with a folder of JPEG or PNG files "
        "for each class, named after it",
    )
    add(
        "--epochs",
        type=positive_integer,
        help="how often each picture is learned from (default: 30 for "
        "digits, 10 for fashion_mnist, 40 for a folder)",
    )
    add(
        "--batch-size",
        type=positive_integer,
        metavar="PICTURES",
        help="pictures in a step (default: 64; 16 for a folder)",
    )
    add(
        "--learning-rate",
        type=positive_number,
        metavar="RATE",
        help="of the first step; it falls to 0 (default: 0.1 for digits, "
        "0.05 for fashion_mnist, 0.02 for a folder)",
    )
    add(
        "--seed",
        type=seed,
        help="of first weights, order, dropout, variations, and what of a "
        "folder is held out (default: 0)",
    )
    add(
        "--output",
        default=os.path.join("output", "image_classifier"),
        metavar="FOLDER",
        help="where model.keras, predictions.png and confusion.png go "
        "(default: %(default)s)",
    )
    add(
        "--logs",
        metavar="FOLDER",
        help="where TensorBoard's logs go, one folder a run (default: logs "
        "in --output)",
    )
    add(
        "--predict",
        metavar="IMAGE",
        help="say what is on this JPEG or PNG file, and how sure that is; no "
        "training. A model of digits or clothes expects one light on dark "
        "that fills the picture, as those it learned from",
    )
    add(
        "--model",
        metavar="PATH",
        help="what to ask with --predict (default: model.keras in --output)",
    )


def positive_number(text):
    """Reads a finite number above 0."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(
            f"must be a positive number. Received: {text!r}"
        )
    return number


def seed(text):
    """Reads an integer that NumPy takes as a seed."""
    if not (text.isdecimal() and int(text) < 2**32):
        raise argparse.ArgumentTypeError(
            f"must be an integer from 0 to {2**32 - 1}. Received: {text!r}"
        )
    return int(text)


def read_data(options):
    """Reads the data that the options name."""
    if options.data == "digits":
        return read_digits()
    if options.data == "fashion_mnist":
        return read_fashion_mnist()
    return read_folder(options.data, options.seed)


def run_name():
    """The name of a run's log folder, which no other run has."""
    return f"{datetime.datetime.now():%Y%m%d-%H%M%S}-{os.getpid()}"


if __name__ == "__main__":
    sys.exit(run(main))

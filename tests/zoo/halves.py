"""The split of the zoo, written down before any of its runs was made.

Thresholds were set on the part "build", and how good they were was reported of
the part "report". Since then both are known, and thresholds may be set on both;
how good they are is reported of the part "reserve", which nobody looks at while
they are set. No architecture and no data set is in two parts.
`tests/zoo/test_zoo.py` checks that the parts are these.

There were two parts at first: code, and recipes of runs on disk, name a part
by its `half`.
"""

import importlib
from typing import NamedTuple

from tests.zoo.training import Setup, Task, Training, assembled


class Part(NamedTuple):
    """What a part is made of, by name.

    Args:
        data: Names of the functions that draw data.
        architectures: Names of the functions that build models.
        optimizers: Keys of `tests.zoo.training.OPTIMIZERS`.
        tried: How many trainings with a kind of fault are tried, at least, and
            how many healthy ones that look as if something were wrong. Many
            drop out.
    """

    data: tuple[str, ...]
    architectures: tuple[str, ...]
    optimizers: tuple[str, ...]
    tried: tuple[int, int] = (24, 90)


PARTS = {
    "build": Part(
        data=(
            "plane", "waves", "blobs", "bars", "tones", "topics", "needle",
            "rings", "factors", "orchard",
        ),
        architectures=(
            "linear", "tanh_net", "relu_net", "cnn", "gru", "mean_of_words",
            "attention", "residual", "autoencoder", "two_heads",
        ),
        optimizers=(
            "descent", "momentum", "adam", "adamw", "rmsprop", "nadam",
        ),
    ),
    "report": Part(
        data=(
            "survey", "friedman", "moons", "shapes", "forecast", "shop",
            "grammar", "textures", "counts", "sensors",
        ),
        architectures=(
            "logistic", "gelu_net", "selu_net", "residual_cnn", "lstm",
            "embedded_columns", "transformer", "conv_autoencoder",
            "exponential_net", "heads_from_sequence",
        ),
        optimizers=(
            "descent", "momentum", "adam", "nesterov", "adagrad", "lion",
        ),
    ),
    "reserve": Part(
        data=(
            "clicks", "rents", "regimes", "symptoms", "chirps", "reviews",
            "weaves", "scenes", "clouds", "signatures",
        ),
        architectures=(
            "factorization", "cross_net", "mixture_of_experts", "many_labels",
            "dilated_cnn", "bidirectional_gru", "depthwise_net", "u_net",
            "deep_sets", "siamese",
        ),
        optimizers=(
            "descent", "momentum", "nesterov", "adam", "adamw", "rmsprop",
            "nadam", "adagrad", "lion", "adamax", "lamb",
        ),
        tried=(8, 38),
    ),
}  # fmt: skip


def tasks(half: str) -> dict[str, Task]:
    """The tasks of a part, by name."""
    module = importlib.import_module(f"tests.zoo.{half}_half")
    return {task.name: task for task in module.TASKS}


def setups(half: str) -> list[Setup]:
    """All trainings of a part but for rate and seed, none with a fault.

    The first setting of each task comes first.
    """
    module = importlib.import_module(f"tests.zoo.{half}_half")
    columns = zip(*module.SETTINGS.values(), strict=True)
    return [
        Setup(half, task, *setting)
        for column in columns
        for task, setting in zip(module.SETTINGS, column, strict=True)
    ]


def training_of(setup: Setup) -> Training:
    """What a `Setup` names, without a fault."""
    return assembled(tasks(setup.half)[setup.task], setup)

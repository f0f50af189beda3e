"""The split of the zoo, written down before any threshold was set.

Thresholds are set on the half "build"; how good they are is reported of the
half "report", which nobody looks at while they are set. No architecture and no
data set is in both. `tests/zoo/test_zoo.py` checks that the halves are these.
"""

import importlib
from typing import NamedTuple

from tests.zoo.training import Setup, Task, Training, assembled


class Half(NamedTuple):
    """What a half is made of, by name.

    Args:
        data: Names of the functions that draw data.
        architectures: Names of the functions that build models.
        optimizers: Keys of `tests.zoo.training.OPTIMIZERS`.
    """

    data: tuple[str, ...]
    architectures: tuple[str, ...]
    optimizers: tuple[str, ...]


HALVES = {
    "build": Half(
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
    "report": Half(
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
}  # fmt: skip


def tasks(half: str) -> dict[str, Task]:
    """The tasks of a half, by name."""
    module = importlib.import_module(f"tests.zoo.{half}_half")
    return {task.name: task for task in module.TASKS}


def setups(half: str) -> list[Setup]:
    """All trainings of a half but for rate and seed, none with a fault.

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

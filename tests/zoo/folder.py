"""Runs of the zoo on disk: written once, opened as often as needed."""

import contextlib
import dataclasses
import fcntl
import glob
import json
import os
import shutil
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import keras
import numpy as np

from tests.zoo.sweep import Labelled
from tests.zoo.training import Examples, Setup, Training


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a run was made, and what is true of it.

    Args:
        setup: All of it but rate and seed.
        rate: Its largest learning rate.
        seed: Of data, weights and order.
        label, accepted, gain, place, why: As in `tests.zoo.sweep.Labelled`.
        first, end: As in `tests.zoo.bench.Trained`.
    """

    setup: Setup
    rate: float
    seed: int
    label: str
    accepted: tuple[str, ...]
    gain: float
    place: str
    why: str
    first: float
    end: float

    def __str__(self) -> str:
        return f"{self.label}: {self.setup}, {self.place}, seed {self.seed}"


class Kept(NamedTuple):
    """A run on disk.

    Args:
        folder: Its path.
        recipe: A `Recipe`.
        history: The dict of lists that `fit` returned.
    """

    folder: str
    recipe: Recipe
    history: dict[str, list[float]]

    @property
    def telemetry(self) -> str:
        """The path of its telemetry, as `gdtrain.diagnose` takes it."""
        return os.path.join(self.folder, "telemetry.npz")

    def rebuilt(self, training: Training) -> tuple[keras.Model, Examples]:
        """The model at the end of the run, compiled as it was, and the data.

        Args:
            training: That of the run, `tests.zoo.planted.unit.training_of`.
        """
        model = training.compiled(self.recipe.rate)
        with np.load(os.path.join(self.folder, "state.npz")) as state:
            weights = [state[f"weights/{i}"] for i in range(len(model.weights))]
            model.set_weights(weights)
            for i, variable in enumerate(model.optimizer.variables):
                variable.assign(state[f"optimizer/{i}"])
        return model, training.draw(self.recipe.seed)


def path_in(parent: str, name: str) -> str:
    """The path of a name that may have any characters.

    Example:

    >>> path_in("runs", "0 / 0, batch all")
    'runs/0___0__batch_all'
    """
    return os.path.join(
        parent, "".join(c if c.isalnum() else "_" for c in name)
    )


def keep(folder: str, setup: Setup, run: Labelled) -> None:
    """Writes a run into a folder; `recipe.json` is the last file."""
    trained = run.trained
    os.makedirs(folder, exist_ok=True)
    trained.telemetry.save(os.path.join(folder, "telemetry.npz"))
    state: dict[str, Any] = {}
    for name in ("weights", "optimizer"):
        values = getattr(trained, name)
        state |= {f"{name}/{i}": value for i, value in enumerate(values)}
    np.savez(os.path.join(folder, "state.npz"), **state)
    recipe = Recipe(
        setup, trained.rate, trained.seed, run.label, run.accepted,
        float(run.gain), run.place, run.why, trained.first, trained.end,
    )  # fmt: skip
    for name, content in (
        ("history", trained.history),
        ("recipe", dataclasses.asdict(recipe)),
    ):
        with open(os.path.join(folder, f"{name}.json"), "w") as file:
            json.dump(content, file)


def load(folder: str) -> Kept:
    """A run that `keep` wrote."""
    with open(os.path.join(folder, "recipe.json")) as file:
        recipe = json.load(file)
    with open(os.path.join(folder, "history.json")) as file:
        history = json.load(file)
    recipe["setup"] = Setup(**recipe["setup"])
    recipe["accepted"] = tuple(recipe["accepted"])
    return Kept(folder, Recipe(**recipe), history)


def runs(*folders: str) -> list[Kept]:
    """All runs in folders, at any depth, those of one setup together."""
    found = {
        os.path.dirname(path)
        for folder in folders
        for path in glob.glob(
            os.path.join(folder, "**", "recipe.json"), recursive=True
        )
    }
    return [load(folder) for folder in sorted(found) if ".part" not in folder]


def make(
    folder: str, setup: Setup, runs_of: Callable[[], list[Labelled]]
) -> bool:
    """Makes the runs of a setup, unless they exist or are being made.

    The folder appears when all of them are written. Another process that
    makes the same ones at the same time leaves them to the first.

    Args:
        folder: Where to; each run has a folder in it.
        setup: What is trained.
        runs_of: Returns the runs.

    Returns:
        Whether it made them.
    """
    with _claimed(f"{folder}.lock") as is_mine:
        if not is_mine or os.path.isdir(folder):
            return False
        part = f"{folder}.part"
        shutil.rmtree(part, ignore_errors=True)
        os.makedirs(part)
        for i, run in enumerate(runs_of()):
            keep(os.path.join(part, f"{i:02}"), setup, run)
        os.rename(part, folder)
        return True


@contextlib.contextmanager
def _claimed(path: str) -> Iterator[bool]:
    """Whether this process holds a lock, which ends with it."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True

"""A training of the zoo: in words, and as objects."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np

import gdtrain

#: Name to a function of a learning rate (a number, a schedule)
OPTIMIZERS: dict[str, Callable[..., keras.optimizers.Optimizer]] = {
    "descent": gdtrain.GradientDescent,
    "momentum": lambda rate: keras.optimizers.SGD(rate, momentum=0.9),
    "nesterov": lambda rate: keras.optimizers.SGD(
        rate, momentum=0.9, nesterov=True
    ),
    "adam": keras.optimizers.Adam,
    "adamw": keras.optimizers.AdamW,
    "rmsprop": keras.optimizers.RMSprop,
    "nadam": keras.optimizers.Nadam,
    "adagrad": keras.optimizers.Adagrad,
    "lion": keras.optimizers.Lion,
    "adamax": keras.optimizers.Adamax,
    "lamb": keras.optimizers.Lamb,
}

#: Name to a function of peak (a number or a variable) and number of steps
SCHEDULES: dict[str, Callable[[Any, int], Any]] = {
    "cosine": lambda peak, steps: keras.optimizers.schedules.CosineDecay(
        peak, steps
    ),
    "exponential": lambda peak, steps: (
        keras.optimizers.schedules.ExponentialDecay(peak, steps, 0.05)
    ),
    "warm-up": lambda peak, steps: keras.optimizers.schedules.CosineDecay(
        0.0, steps - steps // 10, warmup_target=peak, warmup_steps=steps // 10
    ),
}


class Examples(NamedTuple):
    """Data of a training; `y` may be a dict of arrays.

    Args:
        x, y: Of training.
        held: `(x, y)` of validation, from the same source, or `None`.
    """

    x: Any
    y: Any
    held: tuple[Any, Any] | None = None


@dataclasses.dataclass(frozen=True)
class Task:
    """Data, model and loss.

    Args:
        draw: Takes a generator and a number of examples; returns `(x, y)`.
        build: Returns a new model of the drawn data, not compiled.
        loss: As `compile` takes it.
        examples: How many.
    """

    draw: Callable[[np.random.Generator, int], tuple[Any, Any]]
    build: Callable[[], keras.Model]
    loss: Any
    examples: int = 256

    @property
    def name(self) -> str:
        """Data and architecture."""
        return f"{self.draw.__name__} {self.build.__name__}"


@dataclasses.dataclass(frozen=True)
class Setup:
    """A training in words: all of it but learning rate and seed.

    Args:
        half: A part of the zoo, a key of `tests.zoo.halves.PARTS`.
        task: One of its tasks.
        optimizer: A key of `OPTIMIZERS`.
        batch_size: In examples; `None` for all of them.
        schedule: `"constant"` or a key of `SCHEDULES`.
        steps: At least how many; whole epochs.
        validated: Whether other examples are used for validation.
        fault: What is planted, a key of `tests.zoo.planted.FAULTS`; `""` for
            nothing.
    """

    half: str
    task: str
    optimizer: str
    batch_size: int | None
    schedule: str
    steps: int
    validated: bool = False
    fault: str = ""

    def __str__(self) -> str:
        batch = f"batch {self.batch_size or 'all'}"
        words = [self.task, self.optimizer, batch, self.schedule]
        return ", ".join(words + [self.fault] * bool(self.fault))


@dataclasses.dataclass(frozen=True)
class Training:
    """A training as objects: all of it but learning rate and seed.

    A fault is planted, and advice is followed, by `dataclasses.replace`.

    Args:
        draw: Takes a seed; returns `Examples`.
        build: Returns a new model.
        loss: As `compile` takes it.
        optimizer: Takes a learning rate; returns an optimizer.
        batch_size: In examples; `None` for all of them.
        schedule: `"constant"`, or a function as in `SCHEDULES`.
        steps: At least how many; whole epochs.
        shuffle: Whether the order of examples changes with the epoch.
    """

    draw: Callable[[int], Examples]
    build: Callable[[], keras.Model]
    loss: Any
    optimizer: Callable[[Any], keras.optimizers.Optimizer]
    batch_size: int | None
    schedule: Any
    steps: int
    shuffle: bool = True

    def compiled(self, rate: Any) -> keras.Model:
        """A new model, compiled, with its optimizer built.

        Args:
            rate: The largest learning rate, a number; with a schedule, it may
                be a variable.
        """
        if self.schedule != "constant":
            rate = self.schedule(rate, self.steps)
        model = self.build()
        model.compile(
            self.optimizer(rate),
            loss=self.loss,
            jit_compile=False,
        )
        model.optimizer.build(model.trainable_variables)
        return model


def assembled(task: Task, setup: Setup) -> Training:
    """The objects of a task in a setting."""

    def draw(seed: int) -> Examples:
        count = task.examples
        total = count + count // 2 * setup.validated
        x, y = task.draw(np.random.default_rng([17, seed]), total)
        if not setup.validated:
            return Examples(x, y)
        first, last = (
            keras.tree.map_structure(
                lambda part, where=where: part[where], (x, y)
            )
            for where in (slice(count), slice(count, None))
        )
        return Examples(*first, held=last)

    schedule = SCHEDULES.get(setup.schedule, "constant")
    optimizer = OPTIMIZERS[setup.optimizer]
    return Training(
        draw, task.build, task.loss, optimizer, setup.batch_size, schedule,
        setup.steps,
    )  # fmt: skip

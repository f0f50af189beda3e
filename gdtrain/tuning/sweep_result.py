"""What a sweep over learning rates trains, and what it found."""

import dataclasses
import pickle
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from gdtrain.common import notebook
from gdtrain.common.explained import more
from gdtrain.data import choice
from gdtrain.data.protocols import DataSource
from gdtrain.descent import optimizers
from gdtrain.keras_bridge import models
from gdtrain.model import from_keras
from gdtrain.state.preserved import check_can_be_read_again
from gdtrain.trainer import DescentTrainer

_LARGER = 2  # Times the loss at the start: from there on, a run diverges


class SweepRun(NamedTuple):
    """The training at one learning rate.

    Args:
        losses: The loss of each step, float32 `[steps]`.
        history: As that of Keras: lists of floats by name, one an epoch.
        weights: The trained weights, as `model.get_weights()` gives them.
    """

    losses: np.ndarray
    history: dict[str, list[float]]
    weights: list[np.ndarray]


@dataclasses.dataclass(frozen=True)
class SweepJob:
    """The same training at several learning rates.

    Args:
        build: Makes the model, compiled.
        x, y, sample_weight, epochs, batch_size, shuffle, validation_data: As
            in `keras.Model.fit`.
        learning_rates: A tuple of floats.
        seed: Of weights, order and dropout.

    Raises:
        TypeError: if `build` is no function.
        ValueError: if the data can be read only once.
    """

    build: Callable[[], keras.Model]
    x: Any
    y: Any
    sample_weight: Any
    learning_rates: tuple[float, ...]
    epochs: int
    batch_size: int | None
    shuffle: bool
    validation_data: Any
    seed: int

    def __post_init__(self) -> None:
        check_can_be_read_again(self.x)
        if not callable(self.build) or isinstance(self.build, keras.Model):
            raise TypeError(
                "`build` must be a function that makes a compiled model. "
                f"Received: {self.build!r} of type "
                f"{type(self.build).__name__}. Write `lambda: make_model()`."
            )

    def model(self) -> DescentTrainer:
        """The model at its start, built if possible.

        Raises:
            TypeError: if `build` makes no Keras model.
            ValueError: if it is not compiled, or its learning rate cannot be
                set.
        """
        keras.utils.set_random_seed(self.seed)
        model = self.build()
        if not isinstance(model, keras.Model):
            raise TypeError(
                "`build` must return a keras.Model. Received: "
                f"{model!r} of type {type(model).__name__}. Write a function "
                "without arguments that makes and compiles the model."
            )
        if not model.compiled or model.optimizer is None:
            raise ValueError(
                "`build` must return a compiled model. Received: model "
                f"{model.name!r}, which is not. Call `model.compile(optimizer, "
                "loss)` in it."
            )
        if optimizers.is_scheduled(model.optimizer):
            raise ValueError(
                "The model that `build` returns must have a learning rate "
                "that can be set. Received: an optimizer with a schedule, "
                f"{model.optimizer.learning_rate!r}. Compile with a number; "
                "it is replaced." + more("learning-rate-schedule")
            )
        model = from_keras(model)
        if not model.built:
            models.build(model, next(self.data_sources()).batch_spec)
        return model

    def data_sources(self) -> Iterator[DataSource]:
        """The data to train on, and those to validate on if there are any.

        The first in the order that `fit` takes for the seed.
        """
        how = {
            "strategy": tf.distribute.get_strategy(),
            "batch_size": self.batch_size,
        }
        keras.utils.set_random_seed(self.seed)
        data = self.x, self.y, self.sample_weight
        yield choice.data_source(*data, **how, shuffle=self.shuffle)
        if self.validation_data is not None:
            data = keras.utils.unpack_x_y_sample_weight(self.validation_data)
            yield choice.data_source(*data, **how)


class SweepResult:
    """The result of `gdtrain.sweep`. Prints as a table.

    A run counts as diverged if a loss of it was not finite, or if the mean
    loss of its last tenth of steps is more than twice the loss of its first
    step.

    Args:
        job: The `SweepJob`.
        runs: A `SweepRun` for each learning rate.
        vectorized: Whether all of them were trained in one program.

    Attributes:
        learning_rates: Float64 `[rates]`.
        losses: The loss of each step, float32 `[rates, steps]`.
        history: For each rate the history of Keras: a dict of lists by name,
            one number an epoch.
        vectorized: Whether all were trained in one program.

    Example:

    >>> import keras, numpy as np, gdtrain
    >>> def build():
    ...     line = keras.layers.Dense(1, kernel_initializer="zeros")
    ...     model = gdtrain.Sequential([keras.Input([1]), line])
    ...     model.compile(gdtrain.GradientDescent(), loss="mse")
    ...     return model
    >>> x = np.array([[-1.0], [1.0]])
    >>> found = gdtrain.sweep(
    ...     build, x, x, learning_rates=[0.01, 0.5, 1.2], epochs=4, verbose=0
    ... )
    >>> print(found)  # Stable below 2 / sharpness = 1
    learning_rate  first loss  final loss
             0.01           1       0.886
              0.5           1           0  best
              1.2           1        7.53  diverged from step 3 on
    >>> found.best, found.weights(1)[0].tolist()
    (0.5, [[1.0]])
    """

    def __init__(
        self, job: SweepJob, runs: Iterable[SweepRun], vectorized: bool
    ) -> None:
        self._job: SweepJob | None = job
        self._runs = list(runs)
        self.vectorized = vectorized
        self.learning_rates = np.array(job.learning_rates)
        self.losses = np.stack([run.losses for run in self._runs])
        self.history = [run.history for run in self._runs]

    def __getstate__(self) -> dict[str, Any]:
        # `build` may be a function without a name.
        kept = self._job if _can_be_pickled(self._job) else None
        return {**vars(self), "_job": kept}

    @property
    def labels(self) -> list[str]:
        """The learning rates in few characters, all distinct."""
        for digits in (3, 6):
            short = [f"{rate:.{digits}g}" for rate in self.learning_rates]
            if len(set(short)) == len(short):
                return short
        return [repr(float(rate)) for rate in self.learning_rates]

    @property
    def final_loss(self) -> np.ndarray:
        """The loss of the last epoch, float64 `[rates]`.

        Of validation, if there is any; else the mean over the epoch, as in
        the history.
        """
        name = "val_loss" if "val_loss" in self.history[0] else "loss"
        return np.array([history[name][-1] for history in self.history])

    @property
    def diverged(self) -> np.ndarray:
        """Which runs diverged, bool `[rates]`."""
        tail = -max(1, self.losses.shape[1] // 10)
        with np.errstate(over="ignore", invalid="ignore"):
            late = self.losses[:, tail:].astype(np.float64).mean(axis=1)
        finite = np.isfinite(self.losses).all(axis=1)
        return ~finite | (late > self._limits())

    @property
    def best(self) -> float | None:
        """The learning rate of the lowest final loss; `None` if all diverged.

        Runs that diverged are ignored.
        """
        place = self._best()
        return None if place is None else float(self.learning_rates[place])

    def weights(self, run: int) -> list[np.ndarray]:
        """The trained weights of a run, as `model.get_weights()` gives them.

        Args:
            run: Its place among the learning rates.
        """
        return [weight.copy() for weight in self._runs[run].weights]

    def model(self, run: int) -> DescentTrainer:
        """A model with the trained weights of a run.

        Its optimizer has the learning rate, and has taken no step.

        Args:
            run: Its place among the learning rates.

        Raises:
            RuntimeError: if this is a copy without `build`.
        """
        if self._job is None:
            raise RuntimeError(
                "To make its models, a sweep that was copied or pickled must "
                "have had a `build` and data that can be pickled. Build the "
                f"model, and call `model.set_weights(sweep.weights({run}))`."
            )
        model = self._job.model()
        model.set_weights(self._runs[run].weights)
        model.optimizer.learning_rate = self._job.learning_rates[run]
        return model

    def diverged_at(self, run: int) -> int | None:
        """The step at which a run diverged; `None` if it did not.

        It is the first step whose loss is not finite or more than twice that
        of the first step, counted from 1; the last step, if there is none.

        Args:
            run: Its place among the learning rates.
        """
        if not self.diverged[run]:
            return None
        losses = self.losses[run]
        beyond = ~(losses <= self._limits()[run])
        return int(np.argmax(beyond)) + 1 if beyond.any() else len(losses)

    def __str__(self) -> str:
        """The table."""
        rows = self._rows()
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join(
            "  ".join(
                [c.rjust(w) for c, w in zip(row[:3], widths)] + row[3:]
            ).rstrip()
            for row in rows
        )

    def _repr_html_(self) -> str:
        """The table and a picture, in a notebook."""

        def table() -> str:
            header, *rows = self._rows()
            return notebook.table(header, rows)

        return notebook.show(
            self, table, lambda: notebook.picture("sweep", self)
        )

    def _rows(self) -> list[list[str]]:
        """The header of the table, and a row for each run."""
        validated = "val_loss" in self.history[0]
        last = "final validation loss" if validated else "final loss"
        rows = [["learning_rate", "first loss", last, ""]]
        best = self._best()
        for run, label in enumerate(self.labels):
            word = "best" if run == best else ""
            if self.diverged[run]:
                word = f"diverged from step {self.diverged_at(run):,} on"
            first, final = self.losses[run, 0], self.final_loss[run]
            rows.append([label, f"{first:.3g}", f"{final:.3g}", word])
        return rows

    def _best(self) -> int | None:
        """The place of the best learning rate, or `None`."""
        losses = np.where(self.diverged, np.inf, self.final_loss)
        losses = np.where(np.isnan(losses), np.inf, losses)
        place = int(np.argmin(losses))
        return place if np.isfinite(losses[place]) else None

    def _limits(self) -> np.ndarray:
        """The loss above which each run counts as diverged, `[rates]`."""
        first = self.losses[:, 0].astype(np.float64)
        return first + (_LARGER - 1) * np.abs(first)


def _can_be_pickled(job: SweepJob | None) -> bool:
    try:
        pickle.dumps(job)
    except Exception:  # Whatever a function or data of the user's raises
        return False
    return True

"""What a sweep over learning rates found."""

import pickle
from typing import Any, NamedTuple

import numpy as np

from gdtrain.common import notebook


class Run(NamedTuple):
    """What came out at one learning rate.

    Args:
        losses: The loss of each step, float32 `[steps]`.
        history: What `History` shows: lists of floats by name, one an epoch.
        weights: The trained weights, as `model.get_weights()` gives them.
    """

    losses: Any
    history: dict[str, list[float]]
    weights: list[Any]


_LARGER = 2  # Times the loss at the start: from there on, a run diverges


class Sweep:
    """The same model from the same start, trained at several learning rates.

    Prints as a table. A run counts as diverged if a loss of it was not
    finite, or if the mean loss of its last tenth of steps is more than twice
    the loss of its first step.

    Args:
        job: The `Job` that was done.
        runs: A list of `Run`, one a learning rate.
        at_once: Whether all of them were trained in one program.

    Attributes:
        learning_rates: Float64 `[rates]`.
        losses: The loss of each step, float32 `[rates, steps]`.
        history: For each rate what `History` shows: a dict of lists by name,
            one number an epoch.
        at_once: Whether all were trained in one program.

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

    def __init__(self, job, runs, at_once):
        self._job = job
        self._runs = list(runs)
        self.at_once = at_once
        self.learning_rates = np.array(job.learning_rates)
        self.losses = np.stack([run.losses for run in self._runs])
        self.history = [run.history for run in self._runs]

    def __getstate__(self):
        # What builds the model may be a function without a name.
        kept = self._job if _can_be_pickled(self._job) else None
        return {**vars(self), "_job": kept}

    @property
    def labels(self):
        """The learning rates in few characters, different ones, a list."""
        for digits in (3, 6):
            short = [f"{rate:.{digits}g}" for rate in self.learning_rates]
            if len(set(short)) == len(short):
                return short
        return [repr(float(rate)) for rate in self.learning_rates]

    @property
    def final_loss(self):
        """The loss of the last epoch, float64 `[rates]`.

        Over the data to validate on, if there are any; else the mean over the
        epoch, as `History` shows it.
        """
        name = "val_loss" if "val_loss" in self.history[0] else "loss"
        return np.array([history[name][-1] for history in self.history])

    @property
    def diverged(self):
        """Which runs diverged, bool `[rates]`."""
        tail = -max(1, self.losses.shape[1] // 10)
        with np.errstate(over="ignore", invalid="ignore"):
            late = self.losses[:, tail:].astype(np.float64).mean(axis=1)
        finite = np.isfinite(self.losses).all(axis=1)
        return ~finite | (late > self._limits())

    @property
    def best(self):
        """The learning rate of the lowest final loss; `None` if all diverged.

        A float. Runs that diverged are left out.
        """
        place = self._best()
        return None if place is None else float(self.learning_rates[place])

    def weights(self, run):
        """The trained weights of a run, as `model.get_weights()` gives them.

        Args:
            run: Its place among the learning rates.
        """
        return [weight.copy() for weight in self._runs[run].weights]

    def model(self, run):
        """A model with the trained weights of a run.

        Its optimizer has the learning rate, and has taken no step.

        Args:
            run: Its place among the learning rates.

        Raises:
            RuntimeError: if this is a copy that lacks what builds the model.
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

    def diverged_at(self, run):
        """The step from which on a run is lost; `None` if it is not.

        It is the first step whose loss is not finite or more than twice that
        of the first step, counted from 1; the last step, if there is none.

        Args:
            run: Its place among the learning rates.
        """
        if not self.diverged[run]:
            return None
        losses = self.losses[run]
        lost = ~(losses <= self._limits()[run])
        return int(np.argmax(lost)) + 1 if lost.any() else len(losses)

    def __str__(self):
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

    def _best(self):
        """The place of the best learning rate, or `None`."""
        losses = np.where(self.diverged, np.inf, self.final_loss)
        losses = np.where(np.isnan(losses), np.inf, losses)
        place = int(np.argmin(losses))
        return place if np.isfinite(losses[place]) else None

    def _limits(self):
        """The loss above which each run is lost, float64 `[rates]`."""
        first = self.losses[:, 0].astype(np.float64)
        return first + (_LARGER - 1) * np.abs(first)


def _can_be_pickled(job):
    try:
        pickle.dumps(job)
    except Exception:  # Whatever a function or data of the user's raises
        return False
    return True

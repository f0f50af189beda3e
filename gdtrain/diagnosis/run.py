"""The run that is judged: its numbers, each step once, in order."""

import dataclasses
import functools
from typing import Any, NamedTuple

import numpy as np

from gdtrain.diagnosis import source
from gdtrain.diagnosis.trend import ENOUGH
from gdtrain.telemetry import presets

GRADIENT_LEFT = 0.02  # Of the first gradient: below, it only rounds
_QUANTITIES = {quantity.name for quantity in presets.PRESETS["full"]}


class Limit(NamedTuple):
    """A stable limit of the learning rate, and where it is from, in words."""

    value: float
    source: str


@dataclasses.dataclass(frozen=True)
class Run:
    """Numbers of one training by one optimizer.

    Args:
        name: Of the update, such as `"generator"`; `""` if there is one only.
        steps: Int64 `[n]`, growing.
        values: A dict from name to float64 `[n]`; NaN where not measured.
        steps_per_epoch: An integer, or `None` if it is not known.
    """

    name: str
    steps: Any
    values: dict[str, Any]
    steps_per_epoch: int | None = None

    def get(self, name):
        """Values of a name, or `None` if there are none."""
        values = self.values.get(name)
        if values is None or np.isnan(values).all():
            return None
        return values

    def layers(self, quantity):
        """`{layer: values}`; empty if no layer was measured."""
        start = f"{quantity}/"
        return {
            name.removeprefix(start): values
            for name, values in self.values.items()
            if name.startswith(start) and not np.isnan(values).all()
        }

    @functools.cached_property
    def loss_rows(self):
        """Rows where the loss was measured, up to the first nonfinite one."""
        loss = self.values.get("loss")
        if loss is None:
            return np.empty(0, int)
        measured = np.flatnonzero(~np.isnan(loss))
        end = self.first_nonfinite
        return measured if end is None else measured[measured < end]

    @functools.cached_property
    def first_nonfinite(self):
        """The first row that is not finite, or `None`."""
        loss, count = self.values.get("loss"), self.get("nonfinite_count")
        rows = []
        if loss is not None and not np.isnan(loss).all():
            rows.append(source.first_nonfinite(loss))
        elif loss is not None:
            rows.append(0)
        if count is not None:
            counted = np.flatnonzero(np.nan_to_num(count) > 0)
            rows.append(int(counted[0]) if len(counted) else None)
        return min((row for row in rows if row is not None), default=None)

    @property
    def loss(self):
        """Finite losses, float64 `[k]`."""
        if not len(self.loss_rows):
            return np.empty(0)
        return self.values["loss"][self.loss_rows]

    @functools.cached_property
    def means(self):
        """Losses over whole epochs, if there are enough; else each step's.

        The batches of an epoch have every example once, so that a mean over
        it varies by far less than one over as many other batches.

        Returns:
            `(steps, losses)`: float64 `[k]`, their middle, and `[k]`.
        """
        steps, loss = self.loss_steps.astype(np.float64), self.loss
        if not self.steps_per_epoch or not len(loss):
            return steps, loss
        epochs = (self.loss_steps - 1) // self.steps_per_epoch
        _, place, counts = np.unique(
            epochs, return_inverse=True, return_counts=True
        )
        whole = counts == counts.max()
        if whole.sum() < ENOUGH:
            return steps, loss
        sums = np.bincount(place, steps), np.bincount(place, loss)
        return tuple(total[whole] / counts[whole] for total in sums)

    @property
    def mean_loss(self):
        """What `means` are, in words."""
        is_each = len(self.means[1]) == len(self.loss)
        return "loss" if is_each else "mean loss of an epoch"

    @property
    def loss_steps(self):
        """Their steps, int64 `[k]`."""
        return self.steps[self.loss_rows]

    @property
    def span(self):
        """`(first, last)` step."""
        return int(self.steps[0]), int(self.steps[-1])

    @functools.cached_property
    def learning_rate(self):
        """The largest one, or `None`; it may change from step to step."""
        rates = self.get("learning_rate")
        return None if rates is None else float(np.nanmax(rates))

    @functools.cached_property
    def usual_learning_rate(self):
        """The median one, or `None`."""
        rates = self.get("learning_rate")
        return None if rates is None else float(np.nanmedian(rates))

    @property
    def last_learning_rate(self):
        """The one at the end, or `None`."""
        return last_known(self.get("learning_rate"), len(self.steps) - 1)

    def rate_in_force(self, first, last):
        """The largest learning rate of rows `first` to `last`, or `None`.

        It may fall within them, by a schedule; what the loss did there is
        the largest one's doing. The last one before them, if none is known.
        """
        rates = self.get("learning_rate")
        if rates is None:
            return None
        there = rates[first : last + 1]
        if np.isnan(there).all():
            return last_known(rates, first)
        return float(np.nanmax(there))

    @property
    def is_resumed(self):
        """Whether its first steps are missing."""
        spacing = np.median(np.diff(self.steps)) if len(self.steps) > 1 else 1
        return self.steps[0] > 2 * spacing

    @functools.cached_property
    def only_rounds(self):
        """Whether the gradient is so small that its direction tells nothing.

        `False` if it was not measured.
        """
        norms = self.at_loss("gradient_norm")
        if norms is None:
            return False
        known = norms[np.isfinite(norms)]
        late = known[len(known) // 2 :]
        return bool(len(late) and np.median(late) < GRADIENT_LEFT * known[0])

    def measured_limit(self, row):
        """The stable limit that was measured last up to a row, or `None`.

        Returns:
            A `Limit`.
        """
        limits = self.get("stable_learning_rate")
        place = place_of_last(limits, row)
        if place is None:
            return None
        source = f"measured at step {int(self.steps[place]):,}"
        return Limit(float(limits[place]), source)

    def until(self, row):
        """The `Run` of the rows before `row`."""
        values = {name: column[:row] for name, column in self.values.items()}
        return dataclasses.replace(self, steps=self.steps[:row], values=values)

    def at_loss(self, name):
        """Values of a name at the rows of `loss`, or `None`."""
        values = self.get(name)
        return None if values is None else values[self.loss_rows]


def place_of_last(values, row):
    """The place of the last finite number up to a row, or `None`.

    Example:

    >>> place_of_last(np.array([1.0, np.nan, 3.0]), 1)
    0
    """
    if values is None:
        return None
    known = np.flatnonzero(np.isfinite(values[: row + 1]))
    return int(known[-1]) if len(known) else None


def last_known(values, row):
    """The last finite number up to a row, or `None`.

    Example:

    >>> last_known(np.array([1.0, np.nan, 3.0]), 1)
    1.0
    """
    place = place_of_last(values, row)
    return None if place is None else float(values[place])


def runs_of(source, steps_per_epoch=None):
    """The runs of a `Source`: one, or one for each named update.

    Of a step that came again, as after going back to a checkpoint, the later
    one counts.

    Args:
        source: A `Source`.
        steps_per_epoch: An integer, or `None` if it is not known.

    Returns:
        A list of `Run`.
    """
    backwards = source.steps[::-1]
    later = np.minimum.accumulate(backwards)[::-1]
    kept = source.steps < np.append(later[1:], np.iinfo(np.int64).max)
    steps = source.steps[kept]
    values = {name: column[kept] for name, column in source.values.items()}
    names = [
        name.removesuffix("/loss")
        for name in values
        if name.endswith("/loss")
        and name.partition("/")[0] not in _QUANTITIES  # A layer named so
    ]
    if not names:
        return [Run("", steps, values, steps_per_epoch)]
    return [
        Run(name, steps, _part(values, name), steps_per_epoch) for name in names
    ]


def _part(values, name):
    """What was measured of one update of several."""
    start = f"{name}/"
    part = {
        key.removeprefix(start): column
        for key, column in values.items()
        if key.startswith(start)
    }
    if "learning_rate" in values:
        part.setdefault("learning_rate", values["learning_rate"])
    return part

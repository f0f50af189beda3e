"""The training that is judged: its numbers, each step once, in order."""

import dataclasses
import functools
from typing import NamedTuple

import numpy as np

from gdtrain.diagnosis.trend import ENOUGH, Trend, trend
from gdtrain.telemetry import presets
from gdtrain.telemetry.step_table import StepTable

GRADIENT_LEFT = 0.02  # Of the first gradient: below, it is mostly rounding
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
        values: By name, float64 `[n]`; NaN where not measured.
        has_loss: At which steps the loss was measured, bool `[n]`.
        steps_per_epoch: `None` if it is not known.
    """

    name: str
    steps: np.ndarray
    values: dict[str, np.ndarray]
    has_loss: np.ndarray
    steps_per_epoch: int | None = None

    def get(self, name: str) -> np.ndarray | None:
        """Values of a name, or `None` if there are none."""
        values = self.values.get(name)
        return None if values is None or np.isnan(values).all() else values

    def layers(self, quantity: str) -> dict[str, np.ndarray]:
        """Values by layer; empty if no layer was measured."""
        start = f"{quantity}/"
        return {
            name.removeprefix(start): values
            for name, values in self.values.items()
            if name.startswith(start) and not np.isnan(values).all()
        }

    @functools.cached_property
    def first_nonfinite(self) -> int | None:
        """The first row that is not finite, or `None`."""
        bad = np.zeros(len(self.steps), bool)
        if "loss" in self.values:
            bad = self.has_loss & ~np.isfinite(self.values["loss"])
        count = self.get("nonfinite_count")
        if count is not None:
            bad = bad | (np.nan_to_num(count) > 0)
        return int(np.argmax(bad)) if bad.any() else None

    @functools.cached_property
    def loss_rows(self) -> np.ndarray:
        """Rows where the loss was measured, before the first nonfinite one."""
        return np.flatnonzero(self.has_loss[: self.first_nonfinite])

    @property
    def loss(self) -> np.ndarray:
        """Finite losses, float64 `[k]`."""
        if not len(self.loss_rows):
            return np.empty(0)
        return self.values["loss"][self.loss_rows]

    @property
    def loss_steps(self) -> np.ndarray:
        """Their steps, int64 `[k]`."""
        return self.steps[self.loss_rows]

    @functools.cached_property
    def means(self) -> tuple[np.ndarray, np.ndarray]:
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
        middles = np.bincount(place, steps)[whole] / counts[whole]
        return middles, np.bincount(place, loss)[whole] / counts[whole]

    @property
    def mean_loss(self) -> str:
        """What `means` are, in words."""
        is_each = len(self.means[1]) == len(self.loss)
        return "loss" if is_each else "mean loss of an epoch"

    @functools.cached_property
    def trend(self) -> Trend | None:
        """The trend of the loss; `None` of fewer than `ENOUGH` losses."""
        if len(self.loss) < ENOUGH:
            return None
        return trend(self.loss, self.means[1])

    @property
    def early_loss(self) -> np.ndarray:
        """The first eighth of the losses."""
        return self.loss[: max(len(self.loss) // 8, 1)]

    @property
    def span(self) -> tuple[int, int]:
        """`(first, last)` step."""
        return int(self.steps[0]), int(self.steps[-1])

    @property
    def last_half(self) -> tuple[int, int]:
        """`(first, last)` step of the last half of the losses."""
        half = self.loss_steps[len(self.loss) // 2 :]
        return int(half[0]), int(half[-1])

    @functools.cached_property
    def learning_rate(self) -> float | None:
        """The largest one, or `None`; it may change from step to step."""
        rates = self.get("learning_rate")
        return None if rates is None else float(np.nanmax(rates))

    @functools.cached_property
    def usual_learning_rate(self) -> float | None:
        """The median one, or `None`."""
        rates = self.get("learning_rate")
        return None if rates is None else float(np.nanmedian(rates))

    @property
    def last_learning_rate(self) -> float | None:
        """The one at the end, or `None`."""
        return last_known(self.get("learning_rate"), len(self.steps) - 1)

    def rate_in_force(self, first: int, last: int) -> float | None:
        """The largest learning rate of rows `first` to `last`, or `None`.

        A schedule may lower it within them; what the loss did there is the
        effect of the largest. The last one before them, if none is known.
        """
        rates = self.get("learning_rate")
        if rates is None:
            return None
        there = rates[first : last + 1]
        if np.isnan(there).all():
            return last_known(rates, first)
        return float(np.nanmax(there))

    @property
    def is_resumed(self) -> bool:
        """Whether its first steps are missing."""
        spacing = np.median(np.diff(self.steps)) if len(self.steps) > 1 else 1
        return bool(self.steps[0] > 2 * spacing)

    @functools.cached_property
    def gradient_is_rounding(self) -> bool:
        """Whether the gradient became so small that its direction is noise.

        `False` if it was not measured.
        """
        norms = self.at_loss("gradient_norm")
        if norms is None:
            return False
        known = norms[np.isfinite(norms)]
        late = known[len(known) // 2 :]
        return bool(len(late) and np.median(late) < GRADIENT_LEFT * known[0])

    def measured_limit(self, row: int) -> Limit | None:
        """The stable limit that was measured last up to a row, or `None`."""
        limits = self.get("stable_learning_rate")
        place = place_of_last(limits, row)
        if limits is None or place is None:
            return None
        source = f"measured at step {int(self.steps[place]):,}"
        return Limit(float(limits[place]), source)

    def at_loss(self, name: str) -> np.ndarray | None:
        """Values of a name at the rows of `loss`, or `None`."""
        values = self.get(name)
        return None if values is None else values[self.loss_rows]

    def until(self, row: int) -> "Run":
        """The `Run` of the rows before `row`."""
        return dataclasses.replace(
            self,
            steps=self.steps[:row],
            values={name: v[:row] for name, v in self.values.items()},
            has_loss=self.has_loss[:row],
        )

    def with_loss(self, loss: np.ndarray) -> "Run":
        """The same with other losses, float64 `[n]`."""
        return dataclasses.replace(self, values=self.values | {"loss": loss})


def place_of_last(values: np.ndarray | None, row: int) -> int | None:
    """The place of the last finite number up to a row, or `None`.

    Example:

    >>> place_of_last(np.array([1.0, np.nan, 3.0]), 1)
    0
    """
    if values is None:
        return None
    known = np.flatnonzero(np.isfinite(values[: row + 1]))
    return int(known[-1]) if len(known) else None


def last_known(values: np.ndarray | None, row: int) -> float | None:
    """The last finite number up to a row, or `None`."""
    place = place_of_last(values, row)
    return None if values is None or place is None else float(values[place])


def runs_of(table: StepTable, steps_per_epoch: int | None = None) -> list[Run]:
    """The runs of a table: one, or one for each named update.

    Of a step that was repeated, as after restoring a checkpoint, the later
    one counts.

    Args:
        table: Of at least one step.
        steps_per_epoch: `None` if it is not known.
    """
    backwards = table.steps[::-1]
    later = np.minimum.accumulate(backwards)[::-1]
    kept = table.steps < np.append(later[1:], np.iinfo(np.int64).max)
    table = table[kept]
    values = {name: table[name].astype(np.float64) for name in table.names}
    updates = [
        name.removesuffix("/loss")
        for name in values
        if name.endswith("/loss")
        and name.partition("/")[0] not in _QUANTITIES  # A layer named so
    ]
    return [
        Run(
            update,
            table.steps,
            _part(values, update),
            _has_loss(table, f"{update}/loss" if update else "loss"),
            steps_per_epoch,
        )
        for update in updates or [""]
    ]


def _has_loss(table: StepTable, name: str) -> np.ndarray:
    """At which steps a loss was measured; none if there is no such loss."""
    if name in table:
        return table.measured(name)
    return np.zeros(len(table), bool)


def _part(values: dict[str, np.ndarray], update: str) -> dict[str, np.ndarray]:
    """What was measured of one update of several; all of a single one."""
    if not update:
        return values
    start = f"{update}/"
    part = {
        key.removeprefix(start): column
        for key, column in values.items()
        if key.startswith(start)
    }
    if "learning_rate" in values:
        part.setdefault("learning_rate", values["learning_rate"])
    return part

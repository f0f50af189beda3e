"""The training that is judged: its numbers, each step once, in order."""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from gdtrain.diagnosis.trend import ENOUGH, Trend, trend
from gdtrain.telemetry import presets
from gdtrain.telemetry.step_table import StepTable

_PARTS = 64  # Means that a trend is found from
WASTED = 0.05  # Of the sum of all learning rates
DECAYED = 0.1  # Times the largest learning rate
GRADIENT_LEFT = 0.02  # Of the first gradient: below, it is mostly rounding
_QUANTITIES = {quantity.name for quantity in presets.PRESETS["full"]}


class Limit(NamedTuple):
    """A stable limit of the learning rate, and where it is from, in words."""

    value: float
    source: str


@dataclasses.dataclass(frozen=True)
class Epochs:
    """Losses of the epochs of a training.

    Args:
        count: How many epochs there were; 0 if unknown.
        validated: Those that were validated, from 1, int64 `[n]`.
        loss: Their losses, float64 `[n]`.
        val_loss: Their losses of validation, float64 `[n]`.
    """

    count: int
    validated: np.ndarray
    loss: np.ndarray
    val_loss: np.ndarray


NO_EPOCHS = Epochs(0, np.empty(0, np.int64), np.empty(0), np.empty(0))


class Columns(Mapping[str, np.ndarray]):
    """Columns by name, each made when it is first used, and kept.

    Most verdicts need few of them.

    Args:
        makers: By name, what returns a column, float64 `[n]`.

    Example:

    >>> columns = Columns({"loss": lambda: np.ones(2)})
    >>> columns["loss"] is columns["loss"]
    True
    """

    def __init__(self, makers: dict[str, Callable[[], np.ndarray]]) -> None:
        self._makers = makers
        self._made: dict[str, np.ndarray] = {}

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._made:
            self._made[name] = self._makers[name]()
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)


@dataclasses.dataclass(frozen=True)
class Run:
    """Numbers of one training by one optimizer.

    Args:
        name: Of the update, such as `"generator"`; `""` if there is one only.
        steps: Int64 `[n]`, growing.
        values: By name, float64 `[n]`; NaN where not measured. There is
            always a `loss`.
        has_loss: At which steps the loss was measured, bool `[n]`.
        steps_per_epoch: `None` if it is not known.
        epochs: Of all updates together.
    """

    name: str
    steps: np.ndarray
    values: Mapping[str, np.ndarray]
    has_loss: np.ndarray
    steps_per_epoch: int | None = None
    epochs: Epochs = NO_EPOCHS

    def get(self, name: str) -> np.ndarray:
        """Values of a name, float64 `[n]`; NaN if there are none."""
        if name in self.values:
            return self.values[name]
        return np.full(len(self.steps), np.nan)

    def at_loss(self, name: str) -> np.ndarray:
        """Values of a name at the rows of `loss`."""
        return self.get(name)[self.loss_rows]

    def layers(self, quantity: str) -> dict[str, np.ndarray]:
        """Values by layer; empty if no layer was measured."""
        start = f"{quantity}/"
        return {
            name.removeprefix(start): self.values[name]
            for name in self.values
            if name.startswith(start) and _is_known(self.values[name])
        }

    @functools.cached_property
    def first_nonfinite(self) -> int | None:
        """The first row that is not finite, or `None`."""
        bad = self.has_loss & ~np.isfinite(self.values["loss"])
        bad |= np.nan_to_num(self.get("nonfinite_count")) > 0
        return int(np.argmax(bad)) if bad.any() else None

    @functools.cached_property
    def loss_rows(self) -> np.ndarray:
        """Rows where the loss was measured, before the first nonfinite one."""
        return np.flatnonzero(self.has_loss[: self.first_nonfinite])

    @property
    def loss(self) -> np.ndarray:
        """Finite losses, float64 `[k]`."""
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
        return self.rate_in_force(0, len(self.steps) - 1)

    @property
    def usual_learning_rate(self) -> float | None:
        """The median one, or `None`."""
        rates = self.get("learning_rate")
        return None if np.isnan(rates).all() else float(np.nanmedian(rates))

    @property
    def last_learning_rate(self) -> float | None:
        """The one at the end, or `None`."""
        return last_known(self.get("learning_rate"), len(self.steps) - 1)

    @property
    def has_decayed(self) -> bool:
        """Whether the learning rate ends far lower than it was."""
        rate, last = self.learning_rate, self.last_learning_rate
        return bool(rate and last is not None and last < DECAYED * rate)

    def rate_in_force(self, first: int, last: int) -> float | None:
        """The largest learning rate of rows `first` to `last`, or `None`.

        A schedule may lower it within them; what the loss did there is the
        effect of the largest. The last one before them, if none is known.
        """
        rates = self.get("learning_rate")
        there = rates[first : last + 1]
        if np.isnan(there).all():
            return last_known(rates, first)
        return float(np.nanmax(there))

    def _first(self, name: str, end: int) -> np.ndarray:
        return self.values[name][:end]

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
        known = norms[np.isfinite(norms)]
        late = known[len(known) // 2 :]
        return bool(len(late) and np.median(late) < GRADIENT_LEFT * known[0])

    def measured_limit(self, row: int) -> Limit | None:
        """The stable limit that was measured last up to a row, or `None`."""
        limits = self.get("stable_learning_rate")[: row + 1]
        known = np.flatnonzero(np.isfinite(limits))
        if not len(known):
            return None
        source = f"measured at step {int(self.steps[known[-1]]):,}"
        return Limit(float(limits[known[-1]]), source)

    @functools.cached_property
    def distance(self) -> np.ndarray:
        """The sum of learning rates up to a row, float64 `[n]`.

        Of learning rates that are known, and not all 0.
        """
        rates = self.values["learning_rate"]
        rows = np.arange(len(rates))
        known = np.isfinite(rates)
        held = np.interp(rows, rows[known], rates[known])
        lengths = np.diff(self.steps, prepend=2 * self.steps[0] - self.steps[1])
        return np.cumsum(held * lengths)

    @functools.cached_property
    def trend_by_distance(self) -> Trend | None:
        """The trend of the loss over the sum of learning rates.

        It is as if the rate had been constant: that the loss falls more
        slowly as the rate decays does not show in it. The `trend` where the
        rate is constant or not known; `None` of too few losses.
        """
        rates = self.get("learning_rate")
        known = rates[np.isfinite(rates)]
        if not len(known) or np.ptp(known) <= 1e-3 * known.max():
            return self.trend
        loss, distance = self.loss, self.distance[self.loss_rows]
        if len(loss) < ENOUGH:
            return None
        parts = np.ceil(_PARTS * distance / distance[-1]).astype(np.int64) - 1
        parts = np.maximum(parts, 0)  # Before a warm-up, the rate may be 0.
        counts = np.bincount(parts, minlength=_PARTS)
        sums = np.bincount(parts, loss, minlength=_PARTS)
        means = sums[counts > 0] / counts[counts > 0]
        return trend(loss, means) if len(means) >= ENOUGH else None

    @functools.cached_property
    def moving(self) -> "Run":
        """The part before the learning rate decayed to nothing.

        The whole run, unless the last half of it or more adds less than
        `WASTED` to the sum of all learning rates.
        """
        if not self.learning_rate or len(self.steps) < 2:
            return self
        share = self.distance / self.distance[-1]
        end = int(np.argmax(share > 1 - WASTED)) + 1
        if end > len(self.steps) // 2:
            return self
        return dataclasses.replace(
            self,
            steps=self.steps[:end],
            values=Columns(
                {
                    name: functools.partial(self._first, name, end)
                    for name in self.values
                }
            ),
            has_loss=self.has_loss[:end],
        )


def _is_known(values: np.ndarray) -> bool:
    """Whether any number is not NaN."""
    return not (math.isnan(values[0]) and np.isnan(values).all())


def last_known(values: np.ndarray, row: int) -> float | None:
    """The last finite number up to a row, or `None`.

    Example:

    >>> last_known(np.array([1.0, np.nan, 3.0]), 1)
    1.0
    """
    known = values[: row + 1][np.isfinite(values[: row + 1])]
    return float(known[-1]) if len(known) else None


def runs_of(
    table: StepTable,
    steps_per_epoch: int | None = None,
    epochs: Epochs = NO_EPOCHS,
) -> list[Run]:
    """The runs of a table: one, or one for each named update.

    Of a step that was repeated, as after restoring a checkpoint, the later
    one counts.

    Args:
        table: Of at least one step.
        steps_per_epoch: `None` if it is not known.
        epochs: Of all updates together.
    """
    backwards = table.steps[::-1]
    later = np.minimum.accumulate(backwards)[::-1]
    kept = table.steps < np.append(later[1:], np.iinfo(np.int64).max)
    if not kept.all():
        table = table[kept]
    numbers = np.ascontiguousarray(table.array.T)  # A column in one piece
    if table.mask is not None:
        numbers[~table.mask.T] = np.nan
    makers: dict[str, Callable[[], np.ndarray]] = {
        name: functools.partial(numbers[place].astype, np.float64)
        for place, name in enumerate(table.names)
    }
    updates = [
        name.removesuffix("loss")
        for name in makers
        if name.endswith("/loss")
        and name.partition("/")[0] not in _QUANTITIES  # A layer named so
    ]
    runs = []
    for start in updates or [""]:
        part = {
            name.removeprefix(start): make
            for name, make in makers.items()
            if name.startswith(start)
        }
        has_loss = np.zeros(len(table), bool)
        if "loss" in part:
            has_loss = table.measured(f"{start}loss")
        part.setdefault("loss", lambda: np.full(len(table), np.nan))
        if "learning_rate" in makers:
            part.setdefault("learning_rate", makers["learning_rate"])
        name = start.removesuffix("/")
        values = Columns(part)
        runs.append(
            Run(name, table.steps, values, has_loss, steps_per_epoch, epochs)
        )
    return runs

"""Verdicts on a training while it goes on."""

import math
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from gdtrain.callbacks.judged_steps import JudgedSteps, markdown
from gdtrain.callbacks.tensorboard import TensorBoard
from gdtrain.common import failures, notebook
from gdtrain.diagnosis import verdict
from gdtrain.diagnosis.diagnose import Judge, checked, diagnose
from gdtrain.diagnosis.trend import ENOUGH
from gdtrain.diagnosis.verdict import Verdict
from gdtrain.diagnosis.verdicts import diverging, nonfinite
from gdtrain.loop.callback import Callback, Logs, Quantities, State
from gdtrain.telemetry import presets
from gdtrain.telemetry.step_table import BlockTable

_TAG = "diagnosis/live"
_SHARE = 0.01  # Of the time of training
_EXPECTED = 0.05  # Seconds of the first diagnosis
_CONFIDENCE = 0.75  # Twice beyond the threshold
_GROWN = 3  # Times as long is the run in which a trouble was found throughout
_EPOCHS = 5  # Before them, a loss says little

_SKIPPED = "The live diagnosis is skipped"


def _sure(found: Iterable[Verdict]) -> list[Verdict]:
    """Troubles that are far beyond their thresholds."""
    return [
        one for one in found if one.is_trouble and one.confidence >= _CONFIDENCE
    ]


class Confirmed:
    """Which troubles are more than the beginning of a healthy run.

    One that was found at each diagnosis, with a confidence of at least 0.75,
    until the run was three times as long, and five epochs or half of what is
    planned; of a loss that diverges, twice in a row after these epochs. A
    number that is not finite needs no more than a second diagnosis.

    Args:
        least_steps: Five epochs, or half of all, in steps.

    Example:

    >>> plateau = Verdict("plateau", 0.9, (1, 20), {}, "", "")
    >>> confirmed = Confirmed(least_steps=50)
    >>> for step in (20, 40, 60):
    ...     print(step, len(confirmed.of([plateau], step)))
    20 0
    40 0
    60 1
    """

    def __init__(self, least_steps: float = 0) -> None:
        self.least_steps = least_steps
        #: By name, at which step it was first found, and ever since
        self.since: dict[str, int] = {}

    def of(self, found: Iterable[Verdict], step: int) -> list[Verdict]:
        """Those of a new diagnosis, after a step, that are confirmed."""
        sure = _sure(found)
        before = self.since
        self.since = {one.name: before.get(one.name, step) for one in sure}
        return [
            one
            for one in sure
            if one.name in before and self._is_old(one.name, step)
        ]

    def _is_old(self, name: str, step: int) -> bool:
        """Whether a trouble has been there for long enough."""
        if name == nonfinite.NAME:
            return True
        grown = 1 if name == diverging.NAME else _GROWN
        return step >= max(self.least_steps, grown * self.since[name])


class Diagnosis(Callback):
    """Diagnoses the training while it goes on, and says what is wrong.

    What `gdtrain.diagnose` finds on the steps so far (evenly thinned to at
    most 3,000) is in `.diagnosis`, and at the end on all steps. A trouble is
    printed once, in one line, unless `verbose=0`, as soon as it is more than
    the beginning of a healthy run: if it was found at each diagnosis, with a
    confidence of at least 0.75, until the run was three times as long, and
    five epochs old or at half of the planned steps. One that is found at the
    end, with that confidence, is printed too. With a
    `gdtrain.callbacks.TensorBoard` among the callbacks, each change of the
    verdicts is in its tab Text, as `diagnosis/live` at its step.

    It advises, and never steers: weights are bit-equal with it and without
    it. Diagnoses take at most 1% of the time of training, but for the one at
    the end. Of several workers, the first one diagnoses. With
    `BackupAndRestore`, a run that continues is judged as a whole.

    Args:
        quantities: What to measure, as in `gdtrain.callbacks.Telemetry`.
            Defaults to `"standard"`.
        judges: Functions that find verdicts of your own, as in
            `gdtrain.diagnose`. Defaults to none.
        clock: Returns the time in seconds. Defaults to `time.perf_counter`.

    Attributes:
        diagnosis: The last `gdtrain.Diagnosis`; `None` before the first.

    Raises:
        TypeError, ValueError: if an argument cannot be used.

    Example:

    >>> import keras, numpy as np, gdtrain
    >>> model = gdtrain.Sequential([keras.Input([1]), keras.layers.Dense(1)])
    >>> model.compile(gdtrain.GradientDescent(0.5), loss="mse")
    >>> x = np.array([[0.0], [2.0]])  # Stable up to 0.382
    >>> live = gdtrain.callbacks.Diagnosis()
    >>> _ = model.fit(x, 3 * x, epochs=40, verbose=0, callbacks=[live])
    >>> live.diagnosis.verdict.name
    'learning rate too large: diverging'
    """

    sync = "never"

    def __init__(
        self,
        quantities: Quantities = "standard",
        *,
        judges: Sequence[Judge] = (),
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        super().__init__()
        if not callable(clock):
            raise TypeError(
                "`clock` must be a function that returns seconds. Received: "
                f"clock={clock!r}. Leave it out."
            )
        self.quantities = presets.resolve(quantities)
        self._judges = checked(judges)
        self.diagnosis: verdict.Diagnosis | None = None
        self._clock = clock
        self._parts = failures.FailureReporter()
        self._earlier: Any = None  # The `History` of an earlier fit
        self._began, self._spent, self._last = 0.0, 0.0, _EXPECTED  # Seconds
        self._reset()

    def _reset(self) -> None:
        """Begins with a new training."""
        self.diagnosis = None
        self._steps = JudgedSteps()
        self._confirmed = Confirmed()
        self._said: list[str] = []  # Names of troubles
        self._written: list[str] = []  # Names of the last text
        self._is_training = False

    def on_train_begin(self, logs: Logs = None) -> None:
        """Begins to count the time."""
        super().on_train_begin(logs)
        if not self.steps_done:
            self._reset()
        # That of an earlier fit, until an epoch of this one ends
        self._earlier = getattr(self.model, "history", None)  # Set by Keras
        self._began = self._clock()
        self._spent, self._last = 0.0, _EXPECTED  # Seconds
        self._is_training = True

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_earlier": None}

    def on_block(self, table: BlockTable) -> None:
        """Keeps the steps of a block, and diagnoses if there is time."""
        if not self._speaks:
            return
        start = self._clock()
        with self._parts.catch(_SKIPPED, "Training is not affected."):
            chosen = table.select(self.wanted)
            if len(chosen):
                self._steps.write(
                    chosen.steps, chosen.names, chosen.array, chosen.mask
                )
            now = self._clock()
            self._spent += now - start  # To keep steps takes time, too
            has_time = self._spent + self._last <= _SHARE * (now - self._began)
            if has_time and len(self._steps.steps) >= ENOUGH:
                try:
                    self._diagnose()
                finally:
                    self._last = self._clock() - now
                    self._spent += self._last

    def on_train_end(self, logs: Logs = None) -> None:
        """Diagnoses all steps, while other callbacks are still open."""
        self._end()

    def on_error(self, error: BaseException) -> None:
        """The same where an exception ends `fit`."""
        self._end()

    def _end(self) -> None:
        """Diagnoses all steps, once."""
        if self._is_training and self._speaks:
            with self._parts.catch(_SKIPPED, "Training is not affected."):
                if len(self._steps.steps):
                    self._diagnose(is_last=True)
        self._is_training = False

    def get_state(self) -> dict[str, Any]:
        """What is needed to continue exactly, except for times."""
        return {
            "steps": self._steps.get_state(),
            "since": dict(self._confirmed.since),
            "said": list(self._said),
            "written": list(self._written),
        }

    def set_state(self, state: State) -> None:
        """Continues from what `get_state` gave."""
        self._steps.set_state(state["steps"])
        self._confirmed.since = dict(state["since"])
        self._said = list(state["said"])
        self._written = list(state["written"])

    @property
    def _speaks(self) -> bool:
        """Whether this process diagnoses: of several workers, the chief."""
        return self.model.distribute_strategy.extended.should_save_summary

    def _diagnose(self, is_last: bool = False) -> None:
        """Diagnoses the steps so far, and says what is new."""
        # Of some data, the first epoch tells how long an epoch is.
        params = self.params or {}
        self._steps.params = params
        steps = params.get("steps") or math.inf
        epochs = params.get("epochs") or math.inf
        self._confirmed.least_steps = min(
            _EPOCHS * steps, epochs * steps / 2, sys.maxsize
        )
        history = getattr(self.model, "history", None)  # Set by Keras
        if history is self._earlier:
            history = None
        found = diagnose(self._steps, history=history, judges=self._judges)
        self.diagnosis = found
        confirmed = self._confirmed.of(found.verdicts, self.steps_done)
        if is_last:
            confirmed = _sure(found.verdicts)
        self._write(
            confirmed + [one for one in found.verdicts if not one.is_trouble]
        )
        for one in confirmed:
            if one.name not in self._said:
                self._said.append(one.name)
                self._print(one)
                break  # The most important one; the others may follow from it

    def _write(self, verdicts: list[Verdict]) -> None:
        """Writes verdicts into TensorBoard, if they are new."""
        names = sorted(one.name for one in verdicts)
        if not verdicts or names == self._written:
            return
        self._written = names
        text = markdown(verdict.Diagnosis(tuple(verdicts)))
        for callback in self.model._step_hooks.callbacks:
            if isinstance(callback, TensorBoard):
                callback.add_text(_TAG, text, self.steps_done)

    def _print(self, one: Verdict) -> None:
        """One line, in place of the progress bar, which is drawn below it."""
        if not (self.params or {}).get("verbose"):
            return
        is_drawn = sys.stdout.isatty() or notebook.is_running()
        start = "\r\x1b[K" if is_drawn else ""
        line = f"Step {self.steps_done:,}: {one.name}. {one.text} {one.advice}"
        print(start + " ".join(line.split()), flush=True)

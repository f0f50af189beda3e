"""Keeps weights finite, and says where a non-finite step came from."""

import dataclasses
import logging
import warnings
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from gdtrain.autopsy import cause as causes
from gdtrain.autopsy import nonfinite
from gdtrain.autopsy.nonfinite_values import (
    NonfiniteVariable,
    listed,
    nonfinite_variables,
)
from gdtrain.callbacks.backup_and_restore import BackupAndRestore
from gdtrain.callbacks.learning_rate_scheduler import LearningRateScheduler
from gdtrain.common import checks
from gdtrain.common.explained import more
from gdtrain.descent import optimizers
from gdtrain.loop.callback import Callback, State
from gdtrain.loop.fit_state import FitState, Rollback
from gdtrain.state import variables
from gdtrain.step import guard
from gdtrain.telemetry.step_table import BlockTable

_log = logging.getLogger("gdtrain")

# What happens to training after a step that is not finite
_POLICIES = {
    "stop": "Training stops, with the weights before it.",
    "skip": "It was skipped, and training continues.",
    "rollback": "Training continues from its last checkpoint.",
}


class NonfiniteGuard(Callback):
    """Reverts updates that are not finite: weights never become NaN.

    This is decided in the graph, within the step, also by XLA and on several
    replicas: if a trained weight, a variable of the optimizer, a moving
    average, any other variable of a layer or the loss is not finite after a
    step, all variables are set to what they were before it. (An optimizer
    that scales the loss skips steps by itself and adapts; these are finite.)

    A block of steps that can be run again, as of arrays on one replica, first
    runs without a check of each step. If it is not finite at its end, all
    variables are restored and the same steps run again, each one guarded, as
    are all later ones; the result is the same to the bit. In such a block,
    random numbers without a seed in a variable, as of `tf.random.normal`, are
    drawn a second time.

    Before the first step, weights and variables of the optimizer must be
    finite. A variable of a layer that is not trained may start with infinity,
    as a running maximum does: a warning names it, and its finite values stay
    finite.

    The first such step is replayed part by part, without XLA, to find what
    failed first: weights, the learning rate, data, the output of a layer, the
    loss, a gradient or the update; and for which examples. Where possible, the
    step is tried without them. A warning and `report` have the result; for
    this, the initial weights are kept in memory. Telemetry has the column
    `nonfinite_step`: 0 for a finite step, 1 for one that was skipped, 2 for
    one where training halted.

    Args:
        policy: `"stop"`, the default, ends training there. `"skip"` continues
            with the next batch. `"rollback"` continues from the last
            checkpoint of the `BackupAndRestore` among the callbacks, with a
            smaller learning rate; from the one before if the first step after
            the last one fails.
        max_consecutive_skips: With `"skip"`, how many steps in a row may be
            skipped before training stops. Defaults to 10.
        factor: With `"rollback"`, the learning rate is multiplied by this,
            again each time that no later checkpoint was reached. Defaults to
            0.5.
        max_rollbacks: With `"rollback"`, how many of them there may be
            without reaching a later checkpoint, before training stops.
            Defaults to 5.

    Attributes:
        report: Why the first such step was not finite; `None` without one.
        skipped_steps: Numbers of the steps that were reverted.

    Raises:
        TypeError, ValueError: if an argument cannot be used.
        ValueError: when training begins, if weights or variables of the
            optimizer are not finite already; or with `"rollback"`, if there
            is no `BackupAndRestore`, or the learning rate is a schedule or
            set by a scheduler.

    Example:

    >>> import warnings, keras, numpy as np, gdtrain
    >>> model = gdtrain.Sequential([keras.Input([1]), keras.layers.Dense(1)])
    >>> model.compile(gdtrain.GradientDescent(0.1), loss="mse")
    >>> x, y = np.ones([4, 1]), np.ones([4, 1])
    >>> y[2] = np.nan
    >>> guard = gdtrain.callbacks.NonfiniteGuard()
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore")
    ...     _ = model.fit(x, y, verbose=0, callbacks=[guard])
    >>> guard.report.where, guard.report.name, guard.report.indices
    ('data', 'y', (2,))
    >>> bool(np.isfinite(model.get_weights()[0]).all())
    True
    """

    guards_steps = True

    def __init__(
        self,
        policy: str = "stop",
        max_consecutive_skips: int = 10,
        factor: float = 0.5,
        max_rollbacks: int = 5,
    ) -> None:
        super().__init__()
        self.policy = checks.one_of("policy", policy, (*_POLICIES,))
        self.max_consecutive_skips = checks.positive_integer(
            "max_consecutive_skips", max_consecutive_skips
        )
        self.factor = checks.positive_number(
            "factor", factor, "Write 0.5 to halve the learning rate."
        )
        self.max_rollbacks = checks.positive_integer(
            "max_rollbacks", max_rollbacks
        )
        self.report: causes.Cause | None = None
        self.skipped_steps: list[int] = []
        self._backup: BackupAndRestore | None = None
        self._begin()

    def _begin(self) -> None:
        self.report, self.skipped_steps = None, []
        self._has_explained = self._halted = self._has_begun = False
        self._start: list[np.ndarray] | None = None  # Weights at the beginning
        self._rollbacks = -1, 0  # To which step, and how often

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_backup": None}

    def on_fit_begin(self, fit_state: FitState) -> None:
        """Checks the model, and the callbacks that it needs."""
        _check_start(fit_state.model)
        if self.policy == "rollback":
            self._backup = _check_rollback(
                fit_state.model.optimizer, fit_state.callbacks
            )
            self._backup.saves_first = True
        self._begin()
        # The first one halts in any case, to be explained as it was.
        guard.allow(0, fit_state.model._step_hooks.step_variables)

    def on_block(self, table: BlockTable) -> None:
        """Adds the steps that were reverted."""
        verdicts = table.verdicts
        steps = table.first_step + np.flatnonzero(verdicts > guard.FINITE)
        self.skipped_steps += steps.tolist()
        self._halted = bool(verdicts[-1] >= guard.HALTED)

    def on_position(self, fit_state: FitState) -> None:
        """Explains a step that was not finite, and follows the policy."""
        model = fit_state.model
        if not self._has_begun:
            self._has_begun = True
            if not model.built:
                fit_state.trace()
            # Weights may be those of a checkpoint, or made only now.
            if others := _check_start(model):
                _warn(
                    f"Not finite before training: {listed(others)}. "
                    "`NonfiniteGuard` does not change such values; finite "
                    "ones stay finite. If this is not intended, load earlier "
                    "weights."
                )
            self._start = [w.numpy() for w in model.trainable_variables]
        if not self._halted:
            return
        self._halted = False
        if not self._has_explained:
            self._has_explained = True
            self._explain(fit_state)
            if self.policy == "skip":
                # That step was the first of those that may be skipped.
                self._allow()
                return
        if self._backup is not None:
            state = self._state_before(fit_state, self._backup)
            if state is not None:
                raise Rollback(state)
        if self.policy == "skip":
            bad = listed(_strict(nonfinite_variables(model)))
            _warn(
                f"Step {fit_state.steps_done} was skipped as well, more than "
                f"{self.max_consecutive_skips} in a row: training stops. "
                + (f"Not finite: {bad}." if bad else "The weights are finite.")
            )
        fit_state.has_failed = True
        fit_state.stop()

    def get_state(self) -> dict[str, Any]:
        """What is needed to continue exactly."""
        return {
            "skipped_steps": self.skipped_steps,
            "explained": self._has_explained,
            "policy": self.policy,
        }

    def set_state(self, state: State) -> None:
        """Continues from what `get_state` gave."""
        self.skipped_steps = list(state["skipped_steps"])
        # After a rollback, the first cause is not explained a second time.
        if state["policy"] == self.policy:
            self._has_explained |= state["explained"]
        self._allow()

    def _allow(self) -> None:
        """Sets how many steps in a row may be skipped from now on."""
        may_skip = self.policy == "skip" and self._has_explained
        kept = self.model._step_hooks.step_variables
        guard.allow(self.max_consecutive_skips if may_skip else 0, kept)

    def close(self) -> None:
        """Logs which steps were skipped."""
        self._start = None
        if len(self.skipped_steps) > 1:
            _log.info(
                "%d steps were not finite and were skipped: %s",
                len(self.skipped_steps),
                self.skipped_steps[:20],
            )

    def _explain(self, fit_state: FitState) -> None:
        """Finds the cause, and warns."""
        batch, indices = fit_state.last_batch() or (None, None)
        cause = nonfinite.find(fit_state.model, batch, self._start)
        if indices is not None:
            found = tuple(int(indices[place]) for place in cause.examples)
            cause = dataclasses.replace(cause, indices=found)
        self.report = cause
        text = causes.describe(cause, fit_state.steps_done, indices)
        _warn(f"{text} {_POLICIES[self.policy]}")

    def _state_before(
        self, fit_state: FitState, backup: BackupAndRestore
    ) -> dict[str, Any] | None:
        """A checkpoint to continue from, with a smaller learning rate.

        `None` if there is none, or after as many rollbacks as there may be.
        """
        backup.wait()
        epochs, steps_done = fit_state.epochs, fit_state.steps_done
        state = backup.newest(epochs, steps_done)
        if state is None:
            _warn(
                "There is no checkpoint to continue from, as none could be "
                "saved or all were removed: training stops, with the weights "
                "before that step."
            )
            return None
        # If the first step after it fails, no learning rate could help: the
        # checkpoint itself is diverging.
        if steps_done == state["steps_done"] + 1:
            state = backup.newest(epochs, state["steps_done"]) or state
        step, times = self._rollbacks
        times = times + 1 if state["steps_done"] <= step else 1
        if times > self.max_rollbacks:
            _warn(
                f"After step {state['steps_done']}, training was not finite "
                f"with any of {times} learning rates: it stops."
            )
            return None
        self._rollbacks = state["steps_done"], times
        _scale_rates(fit_state.model, state, self.factor**times)
        return state


def _warn(text: str) -> None:
    warnings.warn(text + more("nonfinite"), stacklevel=3)


def _scale_rates(
    model: keras.Model, state: dict[str, Any], factor: float
) -> None:
    """Multiplies the learning rates of a state, in place."""
    values = state["variables"]["optimizer"]
    rates = [
        one.learning_rate
        for optimizer in variables.optimizers(model)
        for one in optimizers.by_name(optimizer).values()
    ]
    for index, variable in enumerate(variables.of(model)["optimizer"]):
        if any(variable is rate for rate in rates):
            values[index] = (values[index] * factor).astype(values[index].dtype)


def _check_start(model: keras.Model) -> list[NonfiniteVariable]:
    """Refuses weights and variables of optimizers that are not finite.

    Returns:
        The other variables that are not.
    """
    found = nonfinite_variables(model)
    bad = _strict(found)
    if bad:
        remedy = (
            "Load earlier weights, or create the model again."
            if bad[0].role == "weight"
            else "Call `compile` with a new optimizer, or set the variable."
        )
        raise ValueError(
            "Weights and variables of the optimizer must be finite before "
            f"training. Received: {listed(bad)}. {remedy}" + more("nonfinite")
        )
    return found


def _strict(found: list[NonfiniteVariable]) -> list[NonfiniteVariable]:
    """Those of them that must be finite: of weights and the optimizer."""
    return [one for one in found if one.role != "other"]


def _check_rollback(
    optimizer: keras.optimizers.Optimizer,
    callbacks: Sequence[keras.callbacks.Callback],
) -> BackupAndRestore:
    """Refuses to roll back without checkpoints, or a rate that can be set.

    Returns:
        The callback that has the checkpoints.
    """
    backups = [c for c in callbacks if isinstance(c, BackupAndRestore)]
    if not backups:
        raise ValueError(
            'With policy="rollback" there must be checkpoints to go back to. '
            "Received: no BackupAndRestore among the callbacks. Add "
            "gdtrain.callbacks.BackupAndRestore(backup_dir), or take another "
            "policy." + more("nonfinite")
        )
    found = ["a schedule"] if optimizers.is_scheduled(optimizer) else []
    schedulers = keras.callbacks.LearningRateScheduler, LearningRateScheduler
    found += [
        f"a callback {type(callback).__name__}, which sets it"
        for callback in callbacks
        if isinstance(callback, schedulers)
    ]
    if found:
        raise ValueError(
            'With policy="rollback" the learning rate must be a number, which '
            f"can be made smaller. Received: {found[-1]}. Give a number, or "
            "another policy." + more("learning-rate-schedule")
        )
    return backups[0]

"""Keeps what is not finite out of the weights, and says where it came from."""

import dataclasses
import logging
import warnings
from typing import Any

import keras
import numpy as np

from gdtrain.autopsy import cause as causes
from gdtrain.autopsy import nonfinite
from gdtrain.autopsy.nonfinite_values import listed, nonfinite_variables
from gdtrain.callbacks.backup_and_restore import BackupAndRestore
from gdtrain.callbacks.learning_rate_scheduler import LearningRateScheduler
from gdtrain.common import checks
from gdtrain.descent import optimizers
from gdtrain.loop.callback import Callback
from gdtrain.loop.fit_state import Rollback
from gdtrain.state import variables
from gdtrain.step import guard

_log = logging.getLogger("gdtrain")

POLICIES = ("stop", "skip", "rollback")
_SCHEDULERS = (keras.callbacks.LearningRateScheduler, LearningRateScheduler)


class NonfiniteGuard(Callback):
    """Leaves out updates that are not finite: weights never become NaN.

    This is decided in the graph, in the very step, also by XLA and on several
    replicas: if a trained weight, a variable of the optimizer, a moving
    average, another variable of a layer or the loss is not finite after a
    step, all variables become what they were before it. (An optimizer that
    scales the loss skips steps by itself and adapts; these are finite.)

    Where a block of steps can be run again, as of arrays on one replica, it
    is first run without checking each step. If it was not finite at its
    end, all variables are put back and the same steps are run again, guarded
    one by one, as are all after it; what remains is the same, to the bit. In
    a block that is run again, random numbers of `tf.random.normal` and the
    like, which have no seed in a variable, are others.

    Before the first step, weights and variables of the optimizer must be
    finite. A variable of a layer that is not trained may begin with infinity,
    as a running maximum does: a warning names it, and what was finite in it
    stays so.

    The first such step is run again, by parts and outside XLA, to find what
    was not as it should be first: weights, the learning rate, data, the output
    of a layer, the loss, a gradient or the update; and for which examples.
    Where it can be tried, the step is finite without it. A warning tells, and
    `report`; for this, the weights from the start are kept in memory.
    Telemetry has a name more, `nonfinite_step`: 0 for a step that was finite,
    1 for one that was left out, 2 for one where training halted.

    Args:
        policy: `"stop"`, the default, ends training there. `"skip"` goes on
            with the next batch. `"rollback"` goes back to the last checkpoint
            of the `BackupAndRestore` among the callbacks, with a smaller
            learning rate; to the one before, if its very first step fails.
        most_in_a_row: With `"skip"`, how many steps may be left out one after
            another before training stops. Defaults to 10.
        factor: With `"rollback"`, by what the learning rate is multiplied,
            once more each time that no later checkpoint was reached.
            Defaults to 0.5.
        most_rollbacks: With `"rollback"`, how often it may go back without
            reaching a later checkpoint, before training stops. Defaults to 5.

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
        self, policy="stop", most_in_a_row=10, factor=0.5, most_rollbacks=5
    ):
        super().__init__()
        if policy not in POLICIES:
            raise ValueError(
                f"`policy` must be one of {POLICIES}. Received: {policy!r}."
            )
        self.policy = policy
        self.most_in_a_row = checks.positive_integer(
            "most_in_a_row", most_in_a_row
        )
        self.factor = checks.positive_number(
            "factor", factor, "Write 0.5 to halve the learning rate."
        )
        self.most_rollbacks = checks.positive_integer(
            "most_rollbacks", most_rollbacks
        )
        self.report: Any = None
        self.left_out: list[int] = []  # Numbers of the steps
        self._halted = False
        self._has_explained = self._has_begun = False
        self._backup: Any = None
        self._start: Any = None  # The weights when training began
        self._rollbacks = -1, 0  # To which step, and how often

    def __getstate__(self):
        return {**super().__getstate__(), "_backup": None}

    def on_fit_begin(self, run):
        """Checks the model, and the callbacks that it needs."""
        _check_start(run.model)
        if self.policy == "rollback":
            self._backup = _backup_among(run.callbacks)
            self._backup.saves_first = True
            _check_rate(run.model.optimizer, run.callbacks)
        self.report, self.left_out, self._rollbacks = None, [], (-1, 0)
        self._has_explained = self._halted = self._has_begun = False
        # The first one halts in any case, to be explained as it was.
        guard.allow(0, run.model._step_hooks.memory)

    def on_block(self, table):
        """Notes which steps were left out."""
        verdicts = table.verdicts
        steps = table.first_step + np.flatnonzero(verdicts > guard.GOES_ON)
        self.left_out += steps.tolist()
        self._halted = bool(verdicts[-1] >= guard.HALTS)

    def on_position(self, run):
        """Explains a step that was not finite, and does what was asked for."""
        if not self._has_begun:
            self._has_begun = True
            if not run.model.built:
                run.queue.trace(run.epoch, run.step)  # Makes the weights.
            # They may be those of a checkpoint, or made only now.
            _warn_of_others(_check_start(run.model))
            self._start = [w.numpy() for w in run.model.trainable_variables]
        if not self._halted:
            return
        self._halted = False
        if not self._has_explained:
            self._has_explained = True
            self._explain(run)
            if self.policy == "skip":
                # That step was the first of those that may be left out.
                self._allow()
                return
        if self.policy == "rollback":
            state = self._state_before(run)
            if state is not None:
                raise Rollback(state)
        if self.policy == "skip":
            warnings.warn(
                f"Step {run.steps_done} was left out as well, more than "
                f"{self.most_in_a_row} in a row: training stops. "
                f"{_said_of_variables(run.model)}",
                stacklevel=2,
            )
        run.has_failed = True
        run.model.stop_training = True

    def get_state(self):
        """What is needed to go on exactly."""
        return {
            "left_out": self.left_out,
            "explained": self._has_explained,
            "policy": self.policy,
        }

    def set_state(self, state):
        """Goes on from what `get_state` gave."""
        self.left_out = list(state["left_out"])
        # What was told before going back need not be told again.
        # (A checkpoint of before policies were noted has none.)
        if state.get("policy", self.policy) == self.policy:
            self._has_explained |= state["explained"]
        self._allow()

    def _allow(self):
        """Says how many steps may be left out, by what was asked for now."""
        most = self.policy == "skip" and self._has_explained
        memory = self.model._step_hooks.memory
        guard.allow(self.most_in_a_row if most else 0, memory)

    def close(self):
        """Says which steps were left out."""
        self._start = None
        if len(self.left_out) > 1:
            _log.info(
                "%d steps were not finite and were left out: %s",
                len(self.left_out),
                self.left_out[:20],
            )

    def _explain(self, run):
        """Finds the cause, and warns."""
        batch, indices = run.last_batch() or (None, None)
        cause = nonfinite.find(run.model, batch, self._start)
        if indices is not None:
            found = tuple(int(indices[place]) for place in cause.examples)
            cause = dataclasses.replace(cause, indices=found)
        self.report = cause
        then = {
            "stop": "Training stops, with the weights before it.",
            "skip": "It was left out, and training goes on.",
            "rollback": "Training goes back to its last checkpoint.",
        }[self.policy]
        text = causes.describe(cause, run.steps_done, indices)
        warnings.warn(f"{text} {then}", stacklevel=2)

    def _state_before(self, run):
        """A checkpoint to go back to, with a smaller learning rate.

        `None` if there were as many in a row as there may be.
        """
        self._backup.wait()
        state = self._backup.newest(run.epochs, run.steps_done)
        if state is None:
            warnings.warn(
                "There is no checkpoint to go back to, as none could be saved "
                "or all were removed: training stops, with the weights before "
                "that step.",
                stacklevel=2,
            )
            return None
        # The first step after it, whose learning rate was not used yet: the
        # checkpoint is on its way to infinity itself.
        if run.steps_done == state["steps_done"] + 1:
            earlier = self._backup.newest(run.epochs, state["steps_done"])
            state = earlier or state
        step, times = self._rollbacks
        times = times + 1 if state["steps_done"] <= step else 1
        if times > self.most_rollbacks:
            warnings.warn(
                f"After step {state['steps_done']}, training was not finite "
                f"with any of {times} learning rates: it stops.",
                stacklevel=2,
            )
            return None
        self._rollbacks = state["steps_done"], times
        _scale_rates(run.model, state, self.factor**times)
        return state


def _scale_rates(model, state, factor):
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


def _check_start(model):
    """Refuses weights and variables of optimizers that are not finite.

    Returns:
        The other variables that are not, a list of `NonfiniteVariable`.
    """
    found = nonfinite_variables(model)
    bad = [one for one in found if one.role != "other"]
    if bad:
        remedy = (
            "Load weights from before, or make the model anew."
            if bad[0].role == "weight"
            else "Call `compile` with a new optimizer, or set the variable."
        )
        raise ValueError(
            "Weights and variables of the optimizer must be finite before "
            f"training. Received: {listed(bad)}. {remedy}"
        )
    return found


def _warn_of_others(found):
    """Says what else is not finite, and what that means."""
    if found:
        warnings.warn(
            "Not finite before training: "
            f"{listed(found)}. `NonfiniteGuard` does not "
            "change what is so already; values that are finite stay so. If "
            "this is not meant, load weights from before.",
            stacklevel=2,
        )


def _said_of_variables(model):
    """What the weights and the optimizer's variables are now."""
    bad = [v for v in nonfinite_variables(model) if v.role != "other"]
    if bad:
        return f"Not finite is {listed(bad)}."
    return "The weights are finite."


def _check_rate(optimizer, callbacks):
    """Refuses a learning rate that cannot be set, or not for long."""
    found = "a schedule" if optimizers.is_scheduled(optimizer) else None
    for callback in callbacks:
        if isinstance(callback, _SCHEDULERS):
            found = f"a callback {type(callback).__name__}, which sets it"
    if found:
        raise ValueError(
            'With policy="rollback" the learning rate must be a number, which '
            f"can be made smaller. Received: {found}. Give a number, or "
            "another policy."
        )


def _backup_among(callbacks):
    """The `BackupAndRestore` to go back by."""
    for callback in callbacks:
        if isinstance(callback, BackupAndRestore):
            return callback
    raise ValueError(
        'With policy="rollback" there must be checkpoints to go back to. '
        "Received: no BackupAndRestore among the callbacks. Add "
        "gdtrain.callbacks.BackupAndRestore(backup_dir), or take another "
        "policy."
    )

"""A run that is killed goes on where it was, and ends as if left alone."""

import os
import time
from typing import Any

from gdtrain.callbacks.run_processes import StopSignals, Workers
from gdtrain.checkpoint.backups import Backups
from gdtrain.common import checks, failures
from gdtrain.data.iterator_state import NoPosition
from gdtrain.loop.callback import Callback
from gdtrain.state import fingerprint
from gdtrain.writers.background import Background
from gdtrain.writers.folder_lock import FolderLock

ON_CHANGE = ("error", "continue", "restart")


class BackupAndRestore(Callback):
    """Saves a run beside training; the same script again goes on with it.

    Weights, optimizer, metrics, generators of random numbers, the place in
    the data, epoch and step, History and what callbacks remember: a run that
    is killed at any moment, any number of times, ends with the same bits as
    one left alone, on the same kind of machine. A run that has ended is not
    run again: `fit` returns its History, and goes on if `epochs` was raised.
    A printed line says so each time.

    A checkpoint belongs to what was asked for: the model, all arguments of
    `compile`, arguments of `fit`, the seed, and the data. Another learning
    rate, another loss, other data: training is refused before its first step,
    with a list of what differs, and `on_change` says what to do instead.
    Data are compared by content: of arrays above 64 MiB, some thousand rows
    all over them; of `tf.data`, its operations, the arrays in it, and its
    first elements, as far as neither random operations nor Python bring
    them; of a generator, its first batches if `keras.utils.set_random_seed`
    was called; of a `keras.utils.PyDataset`, its attributes besides. Your own
    functions and classes are compared by their code, and by the numbers that
    they refer to. What cannot be compared, the line names.

    Optimizers, metrics and variables are found wherever the model's code keeps
    them; run eagerly, as far as they are in attributes, containers, closures
    or globals. Numbers that a step counts in plain Python are not seen: keep
    them in a variable, or in a callback with `get_state`.

    A checkpoint is there whole or not at all, and checked when read: a damaged
    one is named, and the one before it is used. SIGTERM and Ctrl-C save at the
    end of the block of steps and stop; the exit code is 143 or 130. If a
    checkpoint cannot be written, a warning says so and training goes on.

    Exactly set back are arrays, a `keras.utils.PyDataset` (which may have
    `get_state()` and `set_state(state)`; else it is told of the epochs again;
    where an epoch is but a part of it, it must not change at its end, as
    threads read ahead), and `tf.data` on one replica, if its operations allow
    and it shuffles once; where it had read ahead to the end of its data, it
    reads them again. Of arrays the contents are compared with those of the
    checkpoint, of other data the number and shape of batches. Validation data
    are read anew: if they shuffle or repeat, what is validated on may differ.
    A callback of your own may have `get_state()`, a dict of
    numbers, strings, lists and arrays, and `set_state(state)`.
    `jit_compile="auto"` is a graph here, as choosing by the clock is never the
    same twice; `True` is obeyed. What an overhead budget measures follows the
    clock too.

    On several workers, each saves in a folder of its own below, and all of
    them at the same steps: `every_seconds` and signals are then heeded at the
    ends of epochs.

    Args:
        backup_dir: The folder; made if it is not there. One for each run.
        every_steps: Save at steps that are multiples of this. Defaults to
            `None`, no such steps.
        every_seconds: Save when so many seconds have passed. Defaults to 60.
            `None` for never. A run also saves when it ends.
        keep: How many checkpoints to keep. Defaults to 2.
        at_epochs_only: Whether to save between epochs alone. Defaults to
            `False`. Needed for data that cannot be set back, as a generator
            or a pipeline whose maps are random (as augmentation by
            `tf.random.uniform`) or call Python: then they begin anew where a
            run goes on, and what is random in them is drawn anew. Random
            layers within the model need no such thing.
        on_change: What to do if another run was asked for than the one that
            was saved. `"error"`, the default, refuses. `"continue"` goes on
            from the checkpoint with what is asked for now: this learning
            rate, loss, data; an optimizer or metrics whose variables do not
            fit begin anew, and so does the epoch, if data or batches differ.
            `"restart"` trains anew, and overwrites what is there.

    Raises:
        TypeError, ValueError: if an argument cannot be used.
        RuntimeError: when training begins, if another process is using
            `backup_dir`.
        ValueError: when training begins, if the checkpoint is of another
            run, unless `on_change` says to go on; if weights do not fit; if
            it is of a newer format, or damaged with none before it; or if
            data cannot be set back.
        OSError: when training begins, if the folder cannot be written.

    Example:

    >>> import tempfile, keras, numpy as np, gdtrain
    >>> def run(epochs):
    ...     keras.utils.set_random_seed(1)
    ...     model = gdtrain.Sequential([keras.layers.Dense(1)])
    ...     model.compile(gdtrain.GradientDescent(0.1), loss="mse")
    ...     x = np.ones([8, 1])
    ...     backup = gdtrain.callbacks.BackupAndRestore(folder)
    ...     return model.fit(
    ...         x, x, epochs=epochs, verbose=0, callbacks=[backup]
    ...     )
    >>> folder = tempfile.mkdtemp()
    >>> first = run(epochs=2)
    >>> second = run(epochs=3)
    BackupAndRestore: continues at epoch 3 of 3, after 2 steps, from ...
    >>> second.history["loss"][:2] == first.history["loss"]
    True
    """

    deterministic = True

    def __init__(
        self,
        backup_dir,
        every_steps=None,
        every_seconds=60,
        keep=2,
        *,
        at_epochs_only=False,
        on_change="error",
    ):
        super().__init__()
        self.backup_dir = checks.absolute(backup_dir)
        self._every_steps = self.every_seconds = None
        if every_steps is not None:
            self._every_steps = checks.positive_integer(
                "every_steps", every_steps
            )
        if every_seconds is not None:
            self.every_seconds = checks.positive_number(
                "every_seconds", every_seconds, "Or None, for never."
            )
        self.keep = checks.positive_integer("keep", keep)
        self.at_epochs_only = at_epochs_only
        if on_change not in ON_CHANGE:
            raise ValueError(
                f"`on_change` must be one of {ON_CHANGE}. Received: "
                f"on_change={on_change!r}."
            )
        self.on_change = on_change
        self.saves_first = False  # Before the first step
        self._signals = StopSignals()
        self._background = Background()
        self._backups: Any = None
        self._lock: Any = None
        self._workers: Any = None
        self._saved_step = 0
        self._saved_at = 0.0
        self._has_failed = False

    def __getstate__(self):
        self.wait()
        return {
            **super().__getstate__(),
            "_signals": StopSignals(),
            "_backups": None,
            "_lock": None,
            "_workers": None,
        }

    def on_fit_begin(self, run):
        """Looks for a checkpoint to continue from."""
        self._workers = Workers(run.model.distribute_strategy)
        folder = os.path.join(self.backup_dir, self._workers.name)
        self._backups = Backups(folder, self.keep)
        self._backups.check_writable()
        self._lock = FolderLock(folder)
        _check_position(run.feed, self.at_epochs_only)
        run.fingerprint  # noqa: B018  Training changes what it is taken of
        found = self.newest(run.epochs)
        if found is not None:
            self._go_on(run, found)
        self._signals.begin()
        self._note(run)

    def _go_on(self, run, state):
        """Has a run go on from a state, and says so."""
        changes = run.differences(state).listed()
        if self._workers.any(bool(changes)):
            changes = changes or "on another worker, something is different"
            if self.on_change == "error":
                raise ValueError(self._refusal(changes))
            if self.on_change == "restart":
                self._say(f"trains anew in {self.backup_dir!r}, as {changes}.")
                return
        run.resume(state)
        self._say(_going_on(run, state, self.backup_dir, changes))

    def _refusal(self, changes):
        """That a checkpoint is of another run, and what to do."""
        return (
            f"To go on with the run that was saved in {self.backup_dir!r}, "
            f"what is asked for must be the same. Received: {changes}: delete "
            "the folder, or give another one; or pass "
            '`on_change="continue"` to go on from the checkpoint with what is '
            'asked for now, or `on_change="restart"` to train anew.'
        )

    def _say(self, text):
        """Prints a line: it must be seen, whatever is logged."""
        if self._workers.is_first:
            print(f"BackupAndRestore: {text}", flush=True)

    def newest(self, epochs, before=None):
        """The state to go on from for so many epochs; `None` if there is none.

        On several workers, the newest one that all of them have.

        Args:
            epochs: How many.
            before: One of fewer steps than these; `None` for any.
        """
        bound = None if before is None else 2 * before - 1
        while True:
            found = self._newest(epochs, bound)
            number = -1 if found is None else _number(found)
            numbers = self._workers.numbers(number)
            if min(numbers) == max(numbers):
                return found
            bound = min(numbers)

    def _newest(self, epochs, bound):
        found = self._backups.newest(
            lambda entry: (
                bound is None or 2 * entry.step + entry.finished <= bound
            )
        )
        if found is None:
            return None
        state = found[1]
        if _must_go_on(state, epochs):
            found = self._backups.newest(
                lambda entry: (
                    not entry.finished
                    and (bound is None or 2 * entry.step <= bound)
                )
            )
            return None if found is None else found[1]
        return state

    def next_sync(self, step):
        """The next step at whose end the model must be seen."""
        if self._every_steps is None or self.at_epochs_only:
            return None
        return (step // self._every_steps + 1) * self._every_steps

    def on_position(self, run):
        """Saves, if it is time to."""
        if run.has_failed or (run.step and run.model.stop_training):
            return  # The epoch ends here: there is no way back into it.
        stop = self._signals.received is not None
        if self._workers.count > 1:
            stop = run.step == 0 and self._workers.any(stop)
        if self.saves_first:
            self.saves_first = False
            run.queue.trace(run.epoch, run.step)  # Makes all variables
            self._save(run)
        elif stop or run.is_over or self._is_due(run):
            self._save(run)
        if stop and not run.is_over:
            self._background.wait()
            self._signals.stop()

    def close(self):
        """Waits for what is being saved, and releases the folder."""
        self._background.close()
        if self._lock is not None:
            self._lock.release()
            self._lock = None
        self._signals.end()

    def wait(self):
        """Returns when what was saved so far is on disk."""
        self._background.wait()

    def _is_due(self, run):
        if self.at_epochs_only and run.step:
            return False
        every = self._every_steps
        # The run may have gone back.
        self._saved_step = min(self._saved_step, run.steps_done)
        if every and run.steps_done // every > self._saved_step // every:
            return True
        if self.every_seconds is None:
            return False
        due = time.monotonic() - self._saved_at >= self.every_seconds
        if self._workers.count > 1:
            return run.step == 0 and self._workers.any(due)
        return due

    def _note(self, run):
        """Notes where and when it is saved."""
        self._saved_step = run.steps_done
        self._saved_at = time.monotonic()  # No clock that can be set back

    def _save(self, run):
        """Takes the state, and has it written beside training."""
        state = run.capture(exactly=not self.at_epochs_only)
        self._note(run)
        # As large as may wait, so that at most one does.
        self._background.do(
            self._write, state, run.steps_done, run.is_finished, size=2**26
        )

    def _write(self, state, step, is_finished):
        """Writes a checkpoint, on a thread of its own."""
        try:
            self._backups.save(step, state, finished=is_finished)
            self._has_failed = False
        except Exception as error:  # Whatever it is, training must go on.
            if not self._has_failed:
                failures.warn(
                    f"No checkpoint could be saved at step {step}",
                    error,
                    "Training goes on, and it is tried again; if the run ends "
                    "before, what came after the last checkpoint is lost.",
                )
            self._has_failed = True


def _check_position(feed, at_epochs_only):
    """Refuses data that cannot be set back, before the first step."""
    try:
        feed.position()  # From now on, it keeps what it needs to tell that.
    except NoPosition as error:
        if at_epochs_only:
            return
        raise ValueError(
            "To go on exactly with a run, its data must be such that they can "
            f"be set back to any step. Received: {error}. Give arrays, a "
            "keras.utils.PyDataset, or a tf.data.Dataset that shuffles once, "
            "without Python or other random operations; or write "
            "`BackupAndRestore(..., at_epochs_only=True)`: then a run goes "
            "on where an epoch ended, with the data from their beginning, "
            "and random operations of the pipeline draw anew."
        ) from error


def _going_on(run, state, folder, changes):
    """Where a run goes on, in a sentence or several."""
    epoch, step = run.epoch, run.step
    if run.is_finished:
        how = "was stopped early" if run.is_stopped else "is finished"
        text = (
            f"this run {how}: {epoch} epochs, {run.steps_done} steps, in "
            f"{folder!r}; nothing is trained. Delete the folder to train "
            "again"
        )
        text += "." if run.is_stopped else ", or raise `epochs` to train on."
    else:
        place = f"epoch {epoch + 1} of {run.epochs}"
        place += f", step {step + 1} of it" if step else ""
        text = (
            f"continues at {place}, after {run.steps_done} steps, from "
            f"{folder!r}."
        )
    if changes:
        text += f" With what is asked for now: {changes}."
    unknown = fingerprint.not_compared(state["fingerprint"], run.fingerprint)
    if unknown:
        text += f" Not compared: {', '.join(unknown)}."
    return text


def _number(state):
    """What tells a state from others of the same run."""
    return 2 * state["steps_done"] + state["is_finished"]


def _must_go_on(state, epochs):
    """Whether a run that ended has epochs to come."""
    return (
        state["is_finished"]
        and not state["is_stopped"]
        and state["epoch"] < epochs
    )

"""Saves a run, so that it resumes exactly after any interruption."""

import os
import time
import warnings
from typing import Any

from gdtrain.callbacks import shared_backups
from gdtrain.checkpoint.crashes import CrashLog
from gdtrain.checkpoint.groups import GroupBackups
from gdtrain.common import cadence, checks, failures
from gdtrain.common.explained import more
from gdtrain.common.signals import StopSignals
from gdtrain.data.iterators import NoPosition
from gdtrain.data.protocols import DataSource
from gdtrain.distributed.workers import Workers
from gdtrain.loop.callback import Callback
from gdtrain.loop.fit_state import FitState, State
from gdtrain.state import fingerprint
from gdtrain.writers.background import Background
from gdtrain.writers.folder_lock import FolderLock, was_locked

# Arguments of Keras's callback: the value that means the same here, and what
# to write for the others
_INSTEAD: dict[str, tuple[Any, str]] = {
    "double_checkpoint": (False, "Write `every_steps=...` and `keep=2`."),
    "delete_checkpoint": (
        False,
        "The checkpoints of a finished run stay, so that it is not run again. "
        "Delete the folder yourself.",
    ),
}


class BackupAndRestore(Callback):
    """Saves a run beside training; starting the same script again resumes it.

    Saved are weights, optimizer, metrics, random generators, the position in
    the data, epoch and step, History and the state of callbacks. A run that is
    killed at any moment, any number of times, ends with the same bits as an
    uninterrupted one, on the same kind of machine. A run that has ended is not
    run again: `fit` returns its History, and continues if `epochs` was raised.
    A printed line says so each time.

    A checkpoint belongs to one request: the model, all arguments of `compile`,
    arguments of `fit`, the seed, and the data. If a different learning rate,
    loss or data are requested, training is refused before its first step, with
    a list of what differs; see `on_change`. The printed line names what could
    not be compared. Compared are:

    | what | how |
    |---|---|
    | arrays | content; above 64 MiB, that of some thousand rows |
    | `tf.data` | operations, arrays, and first elements if deterministic |
    | generator | first batches, after `keras.utils.set_random_seed` |
    | `keras.utils.PyDataset` | attributes, and first batches |
    | your functions and classes | code, and numbers that they refer to |

    | data | position is restored |
    |---|---|
    | arrays | yes |
    | `keras.utils.PyDataset` | yes, by `get_state()` and `set_state(state)` \
    if it has them, else by the calls of its past epochs; if an epoch is a \
    part of it, it must not change as an epoch ends, as threads read ahead |
    | `tf.data` | on one replica, if it shuffles once and its operations \
    allow; what was read ahead to the end of the data is read again |
    | `gdtrain.data.ShardedDataset` | yes, by any number of workers |
    | Grain's datasets and loaders | yes |
    | `gdtrain.data.WorkerData` | as of the data that it marks, also on \
    several replicas; of Python's, if iterators have `get_state()` and \
    `set_state(state)` |
    | generator | no: `at_epochs_only=True` |
    | validation data | no: if they shuffle or repeat, results may differ |

    Random numbers of layers and of `keras.random` with a `SeedGenerator` are
    continued. Those of `tf.random.normal` and its like in a `train_step` are
    not: TensorFlow counts them where nothing can read it, and a warning says
    so. Optimizers, metrics and variables are found wherever the model's code
    keeps them; run eagerly, if they are in attributes, containers, closures or
    globals. Numbers that a step counts in plain Python are not found: keep
    them in a variable, or in a callback with `get_state()`, a dict of numbers,
    strings, lists and arrays, and `set_state(state)`.
    `jit_compile="auto"` is a graph here, as timing two compilers is not
    repeatable; `True` is obeyed. A `budget` of telemetry depends on time, too.

    A checkpoint is complete or absent, and verified when read: a damaged one
    is reported, and the one before it is used. After SIGTERM or Ctrl-C, the
    run is saved at the end of the block of steps and stops, with exit code 143
    or 130. If a checkpoint cannot be written, a warning says so and training
    continues.

    Each of several workers saves in a subfolder of its own, all at the same
    steps. If one of them receives SIGTERM or Ctrl-C, or `every_seconds` have
    passed by its clock, all know it with the next block: they save at its end,
    and after a signal stop with that exit code. A run that some workers or
    replicas saved is continued by any other number of them, with the same
    batches: results then agree up to rounding, except for random numbers that
    each replica draws, as for dropout. All workers must be able to read
    `backup_dir` then. Refused are data that each worker has others of, as a
    `tf.data.Dataset` that is sharded by files; a `tf.data.Dataset` within an
    epoch; and variables that are different on each replica, unless they are
    read as their sum or mean, as those of metrics.

    A scheduler starts workers again that have failed. An error that ends the
    `fit` of one of several workers is written to `backup_dir/crashes`, unless
    it came from another worker that was lost. After the third time in a row at
    the same step, training is refused with the traceback of that worker. A
    worker that is killed, or stopped by a signal, does not count.

    Args:
        backup_dir: The folder; made if it is missing. One for each run.
        every_steps: Save at steps that are multiples of this. Defaults to
            `None`, no such steps.
        every_seconds: Save when so many seconds have passed. Defaults to 60.
            `None` for never. A run also saves when it ends.
        keep: How many checkpoints to keep. Defaults to 2; several workers keep
            3 at least, as not all write equally fast. Once the number of
            workers has changed, those of the number before are removed as
            soon as all workers have saved one.
        save_freq: As in Keras: `"epoch"` to save as each epoch ends, or a
            number of steps, as `every_steps`. Defaults to `None`.
        at_epochs_only: Whether to save between epochs only. Defaults to
            `False`. Needed for data whose position cannot be restored, such
            as a generator, or a pipeline whose maps are random (as
            augmentation by `tf.random.uniform`) or call Python: they start
            from their beginning when a run resumes, with new random numbers.
            Random layers of the model do not need it.
        on_change: What to do if the checkpoint belongs to a different request.
            `"error"`, the default, refuses. `"continue"` continues from the
            checkpoint with the current learning rate, loss and data; an
            optimizer or metrics whose variables do not fit start with new
            ones, and the epoch starts again if data or batches differ.
            `"restart"` trains from the start, and overwrites the folder.
        **keras_arguments: Other arguments of
            `keras.callbacks.BackupAndRestore`, if they are `False`.

    Raises:
        TypeError, ValueError: if an argument cannot be used.
        RuntimeError: when training begins, if a different process is using
            `backup_dir`, also with another number of workers; or if workers
            failed three times in a row at the same step.
        FileNotFoundError: when training begins, if the number of workers has
            changed and not all of them can read what was saved.
        ValueError: when training begins, if the checkpoint belongs to a
            different request, unless `on_change` allows it; if weights do not
            fit; if it is of a different format, or damaged with none before
            it; or if the position of the data cannot be restored.
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

    #: Whether an error that ends `fit` is written down, as it always is with
    #: several workers. A single process may be restarted by a scheduler, too.
    records_crashes: bool = False

    _least_kept = 3  # By each of several workers
    _backups: GroupBackups  # From `on_fit_begin` on
    _workers: Workers

    def __init__(
        self,
        backup_dir: str | os.PathLike,
        every_steps: int | None = None,
        every_seconds: float | None = 60,
        keep: int = 2,
        *,
        save_freq: int | str | None = None,
        at_epochs_only: bool = False,
        on_change: str = "error",
        **keras_arguments: Any,
    ) -> None:
        checks.keras_arguments("BackupAndRestore", keras_arguments, _INSTEAD)
        super().__init__()
        self.backup_dir = checks.absolute(backup_dir)
        self.place = self.backup_dir  # As messages call it
        self._each_epoch = save_freq == "epoch"
        self.sync = "epoch" if self._each_epoch else "never"
        if save_freq is not None and not self._each_epoch:
            if every_steps is not None:
                raise TypeError(
                    "`save_freq` is Keras's name of `every_steps`. Received: "
                    f"save_freq={save_freq!r}, every_steps={every_steps!r}. "
                    "Write one of them."
                )
            every_steps = checks.positive_integer("save_freq", save_freq)
        elif every_steps is not None:
            every_steps = checks.positive_integer("every_steps", every_steps)
        if every_seconds is not None:
            every_seconds = checks.positive_number(
                "every_seconds", every_seconds, "Or None, for never."
            )
        self._every_steps = every_steps
        self.every_seconds = every_seconds
        self.keep = checks.positive_integer("keep", keep)
        self.at_epochs_only = at_epochs_only
        self.on_change = checks.one_of(
            "on_change", on_change, ("error", "continue", "restart")
        )
        self.saves_first = False  # Set to save before the first step
        self._signals = StopSignals()
        self._background = Background()
        self._locks: list[FolderLock] = []
        self._crashes: CrashLog | None = None
        self._fit_state: FitState | None = None  # Once it has begun
        self._reached = 0  # Steps done, at the last position
        self._saved_step = 0
        self._saved_at = 0.0
        self._has_failed = False
        self._begun_at = 0  # Steps done, when `fit` began
        self._knows_step = False  # Whether its random numbers were looked at

    def __getstate__(self) -> dict[str, Any]:
        self.wait()
        state = super().__getstate__()
        state.update(_signals=StopSignals(), _locks=[])
        state.update(_crashes=None, _fit_state=None)
        for name in ("_backups", "_workers"):
            state.pop(name, None)
        return state

    def on_fit_begin(self, fit_state: FitState) -> None:
        """Looks for a checkpoint to continue from."""
        self._workers = Workers(fit_state.model.distribute_strategy)
        self._backups = GroupBackups(
            self.backup_dir, self.keep, self._workers, self._least_kept
        )
        was_begun = was_locked(self._backups.own.directory)
        self._workers.together(lambda: self._open(fit_state.data_source))
        fit_state.fingerprint()  # Before training, which changes it
        found = self.newest(fit_state.epochs)
        if found is not None:
            self._resume(fit_state, found)
        elif was_begun:
            self._print(
                f"no checkpoint in {self.place!r} yet: trains from the start."
            )
        self._signals.begin()
        self._note(fit_state)
        self._fit_state, self._reached = fit_state, fit_state.steps_done
        self._begun_at, self._knows_step = fit_state.steps_done, False

    def _open(self, data_source: DataSource) -> None:
        """Makes and locks the folders, and checks the data."""
        own = self._backups.own
        own.check_writable()
        # The first worker has a lock against other numbers of workers, too.
        folders = {own.directory}
        if self._workers.is_first:
            folders.add(self.backup_dir)
        for folder in sorted(folders):
            self._locks.append(FolderLock(folder))
        if self.records_crashes or self._workers.count > 1:
            self._crashes = self._open_crashes()
            self._crashes.check()
        _check_position(data_source, self.at_epochs_only)

    def _open_crashes(self) -> CrashLog:
        folder = os.path.join(self.backup_dir, "crashes")
        return CrashLog(folder, self._workers.index)

    def _resume(self, fit_state: FitState, state: State) -> None:
        """Has a run continue from a state, and prints a line."""
        changes = fit_state.differences(state).listed()
        if self._workers.any(bool(changes)):
            changes = changes or "on another worker, something is different"
            if self.on_change == "error":
                raise ValueError(
                    "To resume the run that was saved in "
                    f"{self.place!r}, the same must be requested. "
                    f"Received: {changes}. Delete the folder, or give another "
                    'one; or pass `on_change="continue"` to continue from the '
                    "checkpoint with what is requested now, or "
                    '`on_change="restart"` to train from the start.'
                    + more("another-run")
                )
            if self.on_change == "restart":
                self._print(
                    f"trains from the start in {self.place!r}, as {changes}."
                )
                return
        fit_state.resume(state)
        self._print(_place(fit_state, state, self.place, changes))

    def _print(self, text: str) -> None:
        """Prints a line, as a log may be switched off."""
        if self._workers.is_first:
            print(f"{type(self).__name__}: {text}", flush=True)

    def newest(self, epochs: int, before: int | None = None) -> State | None:
        """The state to continue from; see `shared_backups.newest`."""
        return shared_backups.newest(
            self._backups, self._workers, epochs, before
        )

    def next_sync(self, step: int) -> int | None:
        """The next step to save at."""
        if self._every_steps is None or self.at_epochs_only:
            return None
        return cadence.next_multiple(step, self._every_steps)

    def on_position(self, fit_state: FitState) -> None:
        """Saves, if it is due, and stops after a signal."""
        self._reached = fit_state.steps_done
        self._warn_of_random_numbers(fit_state)
        if self._crashes is not None:
            self._crashes.forget(self._reached + fit_state.is_finished)
        stops_within = fit_state.step and fit_state.stops
        if fit_state.has_failed or stops_within:
            return  # This position cannot be resumed.
        signal = self._agreed_signal(fit_state)
        if self.saves_first:
            self.saves_first = False
            fit_state.trace()
            self._save(fit_state)
        elif signal or fit_state.is_over or self._is_due(fit_state):
            self._save(fit_state)
        # Known to all workers with the next block
        reports = self.model._step_hooks.reports
        reports.send(self._signals.received, self._is_late())
        if signal and not fit_state.is_over:
            self.wait()
            self._workers.any(True)  # None leaves before all have saved.
            self._signals.stop()

    def _warn_of_random_numbers(self, fit_state: FitState) -> None:
        """Warns of random numbers in the step that cannot be repeated.

        Once in a `fit`, when its first block has shown what the step does.
        """
        is_traced = fit_state.steps_done > self._begun_at
        if self._knows_step or self.at_epochs_only or not is_traced:
            return
        self._knows_step = True
        if found := sorted(fit_state.queue.random_operations):
            warnings.warn(
                "A resumed run will not end with the same bits: its "
                "`train_step` must draw random numbers from a generator of "
                f"the model. Received: operations {found} of "
                "`tf.random`, whose position cannot be saved. Use "
                "`keras.random` with `seed=self.seed_generator`, a "
                "`keras.random.SeedGenerator` that the model makes in its "
                "`__init__`." + more("random-numbers"),
                stacklevel=2,
            )

    def _agreed_signal(self, fit_state: FitState) -> int | None:
        """The signal at which to stop, on all workers alike; or `None`."""
        if self._workers.count > 1:
            signal = self.model._step_hooks.reports.signal
            if fit_state.is_finished:  # No block comes that could report it.
                own = self._signals.received or 0
                signal = max(self._workers.numbers(own))
            if not signal:
                return None
            self._signals.received = signal
        return self._signals.received

    def on_error(self, error: BaseException) -> None:
        """Writes down an error of this worker, which restarts may repeat."""
        if self._crashes is not None and self._fit_state is not None:
            steps = self._fit_state.queue.block_steps
            self._crashes.add(error, self._reached, self._reached + steps)

    def close(self) -> None:
        """Waits until checkpoints are saved, and releases the folder."""
        self._background.close()
        while self._locks:
            self._locks.pop().release()
        self._crashes = self._fit_state = None
        self._signals.end()

    def wait(self) -> None:
        """Returns when what was saved so far is on disk."""
        self._background.wait()

    def _is_due(self, fit_state: FitState) -> bool:
        if self.at_epochs_only and fit_state.step:
            return False
        step, every = fit_state.steps_done, self._every_steps
        # There may have been a rollback.
        self._saved_step = before = min(self._saved_step, step)
        if self._each_epoch and not fit_state.step and step > before:
            return True
        if every and step // every > before // every:
            return True
        if self._workers.count > 1:
            return self.model._step_hooks.reports.due
        return self._is_late()

    def _is_late(self) -> bool:
        """Whether a checkpoint is due by the clock of this process."""
        if self.every_seconds is None:
            return False
        return time.monotonic() - self._saved_at >= self.every_seconds

    def _note(self, fit_state: FitState) -> None:
        """Sets where and when it was saved last."""
        self._saved_step = fit_state.steps_done
        self._saved_at = time.monotonic()  # No clock that can be set back

    def _save(self, fit_state: FitState) -> None:
        """Captures the state, and has it written beside training."""
        state = fit_state.capture(exactly=not self.at_epochs_only)
        self._note(fit_state)
        # As large as may wait, so that at most one does.
        self._background.do(self._write, state, size=2**26)

    def _write(self, state: State) -> None:
        """Writes a checkpoint, on the writing thread."""
        step = state["steps_done"]
        try:
            self._backups.save(step, state, finished=state["is_finished"])
            self._has_failed = False
        except Exception as error:  # Whatever it is, training continues.
            if not self._has_failed:
                failures.warn(
                    f"No checkpoint could be saved at step {step}",
                    error,
                    "Training continues, and the next checkpoint is tried; if "
                    "the run ends before, what came after the last checkpoint "
                    "is lost." + more("writing-stopped"),
                )
            self._has_failed = True


def _check_position(source: DataSource, at_epochs_only: bool) -> None:
    """Refuses data whose position cannot be restored, before training."""
    try:
        source.position()  # From now on, it keeps what it needs for that.
    except NoPosition as error:
        if at_epochs_only:
            return
        raise ValueError(
            "To resume a run exactly, the position of its data must be "
            f"restorable. Received: {error}. Give arrays, a "
            "keras.utils.PyDataset, or a tf.data.Dataset that shuffles once, "
            "without Python or other random operations; or write "
            "`BackupAndRestore(..., at_epochs_only=True)`: then a run "
            "continues where an epoch ended, with the data from their "
            "beginning, and random operations of the pipeline draw new "
            "numbers." + more("data-position")
        ) from error


def _place(fit_state: FitState, state: State, folder: str, changes: str) -> str:
    """Where a run continues, and what was compared."""
    epoch, step, done = fit_state.epoch, fit_state.step, fit_state.steps_done
    if fit_state.is_finished:
        how, end = "is finished", ", or raise `epochs`."
        if fit_state.is_stopped:
            how, end = "was stopped early", "."
        text = (
            f"this run {how}: {epoch} epochs, {done} steps, in {folder!r}; "
            f"nothing is trained. Delete the folder to train again{end}"
        )
    else:
        place = f"epoch {epoch + 1} of {fit_state.epochs}"
        place += f", step {step + 1} of it" if step else ""
        text = f"continues at {place}, after {done} steps, from {folder!r}"
        move = fit_state.move(state)
        text += f", saved by {move.in_words()}." if move.is_needed else "."
    if changes:
        text += f" With what is requested now: {changes}."
    unknown = fingerprint.not_compared(
        state["fingerprint"], fit_state.fingerprint()
    )
    if unknown:
        text += f" Not compared: {', '.join(unknown)}."
    return text

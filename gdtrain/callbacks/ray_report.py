"""Saves a run to Ray's storage, with its metrics."""

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from gdtrain.callbacks.backup_and_restore import BackupAndRestore
from gdtrain.callbacks.telemetry import Telemetry
from gdtrain.checkpoint.crashes import CrashLog, is_of_others
from gdtrain.common.explained import more
from gdtrain.data.protocols import DataSource
from gdtrain.diagnosis.diagnose import diagnose
from gdtrain.diagnosis.verdict import CURVE
from gdtrain.diagnosis.verdicts import nonfinite, nothing_to_report, overshot
from gdtrain.distributed import ray_session
from gdtrain.distributed.ray_session import RaySession
from gdtrain.loop.fit_state import FitState, State
from gdtrain.writers.folder_lock import FolderLock

# Ray Train reads what was reported as often, and lets workers wait until then.
_INTERVAL = "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S"
_PATIENCE = 60  # Seconds in which Ray sees that a machine is gone


class RayReport(BackupAndRestore):
    """Passes metrics and checkpoints to Ray, and resumes from its storage.

    For `fit` in a function that a `TensorflowTrainer` of Ray Train or a
    `Tuner` of Ray Tune runs. It is a `BackupAndRestore` whose folder is Ray's
    storage: `RunConfig(storage_path=...)`, a folder that all machines see, or
    a bucket (`s3://`, `gs://`). A worker that Ray restarts, on any machine,
    continues from the newest checkpoint there, and the run ends with the same
    bits as an undisturbed one.

    Metrics are those of `History` for the last epoch that ended, `epoch` (how
    many have ended) and `steps`. They are reported with each checkpoint, and
    as each epoch ends. Ray Train reads reports only every 2 seconds
    (`RAY_TRAIN_HEALTH_CHECK_INTERVAL_S`): without a checkpoint, an epoch that
    ends sooner than that after the last report is not reported. Ray's `Result`
    has only metrics that came with a checkpoint; `save_freq="epoch"` saves
    one each epoch.

    Each worker saves its own state, beside training, and all of them together
    are one checkpoint in the storage. It counts once the last worker has
    copied its part; if a worker is killed before that, a restart continues
    from the previous checkpoint. Ray keeps all checkpoints, unless
    `CheckpointConfig(num_to_keep=...)` limits them. If a checkpoint cannot be
    saved, training fails, and Ray restarts it as `FailureConfig` says.

    The number of workers may change between starts, as with
    `ScalingConfig(num_workers=(1, 4))`: `gdtrain.callbacks.BackupAndRestore`
    says what is equal then, and which data are refused.

    A function that Ray runs has one `fit` with it, as all fits of the function
    would share the storage.

    Args:
        every_steps: Save at steps that are multiples of this. Defaults to
            `None`, no such steps.
        every_seconds: Save when so many seconds have passed. Defaults to 60.
            `None` for never. A run also saves when it ends.
        keep: How many of the newest states each checkpoint has. Defaults to
            1. A `NonfiniteGuard` that rolls back may need one more.
        save_freq, at_epochs_only, on_change: As in
            `gdtrain.callbacks.BackupAndRestore`.
        telemetry: A `gdtrain.callbacks.Telemetry` of the same `fit`, which is
            diagnosed at each report. More metrics then are `verdict`, the
            name of what `gdtrain.diagnose` found, and `trouble`: 1 if the loss
            diverges, was surely thrown up by the first updates, or is not
            finite, else 0. `stop={"trouble": 1}` of Ray Tune ends such a
            trial. Defaults to `None`.

    Raises:
        ImportError: if Ray is not installed.
        TypeError, ValueError: if an argument cannot be used.
        RuntimeError: when training begins, if Ray did not start the function.
        ValueError: when training begins, if Ray started several workers and
            the strategy has a different number of them; and as
            `BackupAndRestore` does.

    Example:

    >>> import gdtrain
    >>> report = gdtrain.callbacks.RayReport(every_steps=100)
    >>> callbacks = [report]  # Of `fit`, in `train_loop_per_worker`
    """

    _session: RaySession  # From `on_fit_begin` on

    _least_kept = 1  # All report at once.

    def __init__(
        self,
        every_steps: int | None = None,
        every_seconds: float | None = 60,
        keep: int = 1,
        *,
        save_freq: int | str | None = None,
        at_epochs_only: bool = False,
        on_change: str = "error",
        telemetry: Telemetry | None = None,
    ) -> None:
        ray_session.check_installed("RayReport")
        if not (telemetry is None or isinstance(telemetry, Telemetry)):
            raise TypeError(
                "`telemetry` must be a gdtrain.callbacks.Telemetry. Received: "
                f"telemetry={telemetry!r} of type {type(telemetry).__name__}. "
                "Give the one that is among the callbacks of `fit`."
            )
        super().__init__(
            "Ray's storage",
            every_steps,
            every_seconds,
            keep,
            save_freq=save_freq,
            at_epochs_only=at_epochs_only,
            on_change=on_change,
        )
        self.sync = "epoch"
        self.records_crashes = True
        self.telemetry = telemetry
        self._local: str | None = None
        self._error: BaseException | None = None
        self._crash_names: set[str] = set()  # Of files in Ray's storage
        self._epoch = 0  # Whose metrics are reported
        self._reported_at = self._interval = 0.0  # Seconds

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        state.update(_local=None, _error=None)
        state.pop("_session", None)
        return state

    def on_fit_begin(self, fit_state: FitState) -> None:
        """Looks in Ray's storage for a checkpoint to continue from."""
        self._session = ray_session.current("RayReport")
        # A trial is restarted by Ray Tune as often as it says.
        self.records_crashes = not self._session.is_trial
        self._interval = float(os.environ.get(_INTERVAL, 2))
        self._error = None
        # A place that is the same after a restart: what a killed process left
        # there is removed.
        local = os.path.join(
            tempfile.gettempdir(), f"gdtrain-ray-{self._session.key}"
        )
        self._locks.append(FolderLock(local))
        self._local = local
        self.backup_dir = os.path.join(local, "checkpoint")
        shutil.rmtree(self.backup_dir, ignore_errors=True)
        super().on_fit_begin(fit_state)
        self._epoch = fit_state.epoch

    def _open(self, data_source: DataSource) -> None:
        """Fills the local folder from Ray's storage."""
        count, session = self._workers.count, self._session
        if count != session.count:
            raise ValueError(
                "Workers that Ray starts must train one model together. "
                f"Received: {session.count} workers of Ray, each with a "
                f"strategy of {count}. Make the model within "
                "`gdtrain.distributed.strategy().scope()`."
                + more("workers-differ")
            )
        found = session.fetch(self.backup_dir, self._own_name)
        self.place = found or session.name
        super()._open(data_source)

    def _open_crashes(self) -> CrashLog:
        """The crashes are beside the checkpoints in Ray's storage."""
        folder = os.path.join(str(self._local), "crashes")
        place = self._session.fetch_crashes(folder)
        self._crash_names = _names(folder)
        log = CrashLog(folder, self._workers.index)
        log.place = place
        return log

    def _store_crashes(self) -> None:
        """Makes Ray's storage have the same crashes as the local folder."""
        folder = os.path.join(str(self._local), "crashes")
        before, self._crash_names = self._crash_names, _names(folder)
        self._session.store_crashes(
            folder, self._crash_names - before, before - self._crash_names
        )

    def on_error(self, error: BaseException) -> None:
        """Writes down an error of this worker; Ray restarts all workers."""
        super().on_error(error)
        if self._crashes is not None:
            self._store_crashes()
        if self._local and self._workers.count > 1 and is_of_others(error):
            # Ray ends this worker as soon as it sees that another is lost.
            # Until then, this error would look like a cause.
            time.sleep(_PATIENCE)

    @property
    def _own_name(self) -> str:
        """The name of this worker's folder; empty if it is the only one."""
        own = self._backups.own.directory
        return os.path.relpath(own, self.backup_dir).removeprefix(".")

    def on_position(self, fit_state: FitState) -> None:
        """Saves and reports, if it is due."""
        self._raise()
        super().on_position(fit_state)
        if self._crash_names and self._crashes is not None:
            self._store_crashes()
        ended = fit_state.epoch
        if ended <= self._epoch or fit_state.step or fit_state.has_failed:
            self._epoch = min(ended, self._epoch)  # There may be a rollback.
        elif fit_state.has_next_epoch and self._is_report_due():
            self._report(fit_state, None)

    def _is_report_due(self) -> bool:
        """Whether to report the metrics of an epoch, alike on all workers."""
        if self._session.is_trial:
            return True
        passed = time.monotonic() - self._reported_at
        return self._workers.any(
            self._workers.is_first and passed >= self._interval
        )

    def _save(self, fit_state: FitState) -> None:
        super()._save(fit_state)
        # What is saved before training ends is reported with its end.
        if fit_state.has_next_epoch or fit_state.is_finished:
            self._report(fit_state, self.backup_dir)

    def _write(self, state: State) -> None:
        """Writes a checkpoint, on the writing thread."""
        step, finished = state["steps_done"], state["is_finished"]
        self._attempt(self._backups.save, step, state, finished)
        if self._own_name:
            # What another number of workers saved is in the storage.
            for entry in os.scandir(self.backup_dir):
                if entry.is_dir() and entry.name != self._own_name:
                    shutil.rmtree(entry.path, ignore_errors=True)

    def _report(self, fit_state: FitState, folder: str | None) -> None:
        """Has metrics reported beside training, with what is in a folder."""
        if fit_state.step == 0:
            self._epoch = fit_state.epoch
        self._reported_at = time.monotonic()
        metrics = {
            name: np.asarray(value).tolist()
            for name, value in (fit_state.logs or {}).items()
        }
        metrics |= {"epoch": fit_state.epoch, "steps": fit_state.steps_done}
        if self.telemetry is not None and self._workers.is_first:
            metrics |= _verdict(self.telemetry)
        self._background.do(
            self._attempt, self._session.report, metrics, folder
        )
        if self._session.is_trial:
            # By its report, Ray Tune may end a trial.
            self.wait()
            self._raise()

    def _attempt(self, job: Callable[..., Any], *args: Any) -> None:
        """Does a job of the writing thread, unless one has failed before."""
        if self._error is None:
            try:
                job(*args)
            except BaseException as error:  # Ray ends a trial by SystemExit.
                self._error = error

    def _raise(self) -> None:
        """Raises what has failed on the writing thread."""
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """Waits until all is reported, and removes the local folder."""
        try:
            super().close()
        finally:
            if self._local is not None:
                shutil.rmtree(self._local, ignore_errors=True)
                self._local = None
        if sys.exception() is None:
            self._raise()


def _names(folder: str) -> set[str]:
    return set(os.listdir(folder)) if os.path.isdir(folder) else set()


def _verdict(telemetry: Telemetry) -> dict[str, Any]:
    """The verdict on what was measured so far, and whether it is ruin."""
    if not len(telemetry.table):
        return {"verdict": nothing_to_report.NAME, "trouble": 0}
    found = diagnose(telemetry)
    # As sure as a curve makes it: the first losses of a good run may be high.
    is_ruined = any(
        nonfinite.is_broken([each.name])
        or (each.name == overshot.NAME and each.confidence >= CURVE)
        for each in found.verdicts
    )
    return {"verdict": found.verdict.name, "trouble": int(is_ruined)}

"""What Ray offers to a function that it runs: storage for its results."""

import contextlib
import hashlib
import importlib
import importlib.util
import os
import posixpath
from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import Any

from gdtrain.common.explained import more
from gdtrain.common.failures import RepeatedCrash


def check_installed(user: str) -> None:
    """Checks that Ray is there, without importing it.

    Args:
        user: What needs it.

    Raises:
        ImportError: if it is not.
    """
    if importlib.util.find_spec("ray") is None:
        raise ImportError(
            f"`{user}` needs Ray. Received: no package of the name ray. Write "
            "`pip install gdtrain[ray]`." + more("extras")
        )


class RaySession:
    """The run of Ray Train, or the trial of Ray Tune, that this process is in.

    Args:
        module: `ray.train` or `ray.tune`.

    Attributes:
        count: How many workers Ray has started for it.
        is_trial: Whether it is a trial of Ray Tune.
        name: What users call it.
        key: Tells this worker from others on this machine, also after a
            restart.
    """

    def __init__(self, module: ModuleType) -> None:
        self._ray = module
        context = module.get_context()
        self.is_trial = module.__name__ == "ray.tune"
        self.name = context.get_experiment_name()
        if self.is_trial:
            self.count, own = 1, context.get_trial_id()
        else:
            self.count = context.get_world_size()
            # Runs of one name may have different storages.
            place = context.get_storage().experiment_fs_path
            own = f"{place}/{context.get_world_rank()}"
        whole = f"{os.path.expanduser('~')}/{self.name}/{own}"
        self.key = hashlib.sha256(whole.encode()).hexdigest()[:16]

    def report(self, metrics: Mapping[str, Any], folder: str | None) -> None:
        """Reports metrics, with what is in a folder as a checkpoint.

        Of several workers, all must report equally often. Each waits until
        all do, and copies its folder into the same folder of Ray's storage;
        what is there is a checkpoint once the last of them has.

        Args:
            metrics: Numbers and strings by name; Ray keeps those of the first
                worker.
            folder: Its path; `None` for no checkpoint.
        """
        checkpoint = None
        if folder is not None:
            checkpoint = self._ray.Checkpoint.from_directory(folder)
        self._ray.report(dict(metrics), checkpoint=checkpoint)

    def fetch(self, folder: str, own: str) -> str | None:
        """Copies the newest checkpoint from Ray's storage to a folder.

        Args:
            folder: Its path; made if it is missing.
            own: The folder within the checkpoint that this worker saved. It
                is copied alone, if as many workers saved it as there are now.

        Returns:
            The path of the checkpoint in the storage; `None` if there is no
            checkpoint.
        """
        checkpoint = self._ray.get_checkpoint()
        if checkpoint is None:
            return None
        path, files = checkpoint.path, checkpoint.filesystem
        fs = importlib.import_module("pyarrow.fs")
        found = {
            info.base_name
            for info in files.get_file_info(fs.FileSelector(path))
            if info.type == fs.FileType.Directory
        }
        if own in found and len(found) == self.count:
            checkpoint = type(checkpoint)(posixpath.join(path, own), files)
            folder = os.path.join(folder, own)
        checkpoint.to_directory(folder)
        return path

    def fetch_crashes(self, folder: str) -> str:
        """Copies the files that workers have of crashes to a folder.

        Returns:
            The path of theirs in the storage, whether it is there or not.
        """
        fs, files, path = self._crashes()
        found = files.get_file_info(fs.FileSelector(path, allow_not_found=True))
        os.makedirs(folder, exist_ok=True)
        for info in found:
            copy = os.path.join(folder, info.base_name)
            fs.copy_files(info.path, copy, files, fs.LocalFileSystem())
        return path

    def store_crashes(
        self, folder: str, new: Iterable[str], old: Iterable[str]
    ) -> None:
        """Copies files of a folder to the storage, and removes some there.

        Args:
            folder: Its path.
            new: The names of files to copy.
            old: Those of files to remove; another worker may have done so.
        """
        fs, files, path = self._crashes()
        files.create_dir(path)
        for name in new:
            there = posixpath.join(path, name)
            here = os.path.join(folder, name)
            fs.copy_files(here, there, fs.LocalFileSystem(), files)
        for name in old:
            with contextlib.suppress(OSError):
                files.delete_file(posixpath.join(path, name))

    def _crashes(self) -> tuple[ModuleType, Any, str]:
        """`pyarrow.fs`, the file system of the storage, and a path there."""
        storage = self._ray.get_context().get_storage()
        path = posixpath.join(storage.experiment_fs_path, "crashes")
        # Comes with Ray
        fs = importlib.import_module("pyarrow.fs")
        return fs, storage.storage_filesystem, path


def current(user: str) -> RaySession:
    """The session that this process is in.

    Args:
        user: What needs it.

    Raises:
        RuntimeError: if Ray did not start this function.
    """
    # Not at the top: Ray is optional, and takes a second to import.
    train = importlib.import_module("ray.train")
    try:
        train.get_context()
        return RaySession(train)
    except DeprecationWarning:  # Ray's way to say that Tune runs it
        return RaySession(importlib.import_module("ray.tune"))
    except RuntimeError as error:
        raise RuntimeError(
            f"`{user}` must be used in a function that Ray runs. Received: a "
            "process that Ray Train and Ray Tune did not start. Give the "
            "function to ray.train.tensorflow.TensorflowTrainer or "
            "ray.tune.Tuner; or use gdtrain.callbacks.BackupAndRestore."
            + more("cluster-start")
        ) from error


def stop_repeated_crash() -> Any:
    """Ends a run of Ray Train that fails three times at the same step.

    For `ray.train.RunConfig(callbacks=[...])`. `gdtrain.callbacks.RayReport`
    refuses to train after three such crashes. Without this, Ray restarts the
    refusing workers as often as `FailureConfig(max_failures=...)` says, which
    may be for ever. With it, `fit` of the trainer raises at once, with the
    traceback of the worker that crashed.

    Returns:
        A `ray.train.UserCallback`.

    Raises:
        ImportError: if Ray is not installed.

    Example:

    >>> from ray import train
    >>> settings = train.RunConfig(callbacks=[stop_repeated_crash()])
    """
    check_installed("stop_repeated_crash")
    # Not at the top: Ray is optional, and takes a second to import.
    train = importlib.import_module("ray.train")

    class StopRepeatedCrash(train.UserCallback):  # type: ignore[name-defined]
        def after_exception(
            self, run_context: Any, worker_exceptions: Mapping[int, Exception]
        ) -> None:
            for error in worker_exceptions.values():
                if isinstance(error, RepeatedCrash):
                    raise error  # In Ray's controller, which then ends the run

    return StopRepeatedCrash()

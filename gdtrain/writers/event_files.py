"""Event files read back, as arrays."""

import array
import os
from collections import defaultdict

import numpy as np
import tensorflow as tf
from tensorboard.backend.event_processing import event_file_loader
from tensorboard.compat.proto import event_pb2

from gdtrain.telemetry.step_table import StepTable

_STEP = "step/"

Path = str | os.PathLike
Points = tuple[np.ndarray, np.ndarray]  # Steps int64 `[n]`, values float32


def paths(directory: Path) -> list[str]:
    """The event files of a folder, not of those in it.

    Args:
        directory: The folder; may be missing.

    Returns:
        A list of paths, in the order in which TensorBoard reads them.

    Example:

    >>> paths("no such folder")
    []
    """
    directory = os.fspath(directory)
    if not tf.io.gfile.isdir(directory):
        return []
    return sorted(
        os.path.join(directory, name)
        for name in tf.io.gfile.listdir(directory)
        if "tfevents" in name
    )


def train(log_dir: Path) -> str:
    """The folder that has the curves of training.

    Args:
        log_dir: The folder given to `gdtrain.callbacks.TensorBoard`, whose
            own files these are; or one with a folder `train`, as Keras makes.

    Example:

    >>> train("no such folder")
    'no such folder'
    """
    log_dir = os.fspath(log_dir)
    below = os.path.join(log_dir, "train")
    return below if paths(below) else log_dir


def runs(directory: Path) -> list[str]:
    """The folders of runs in a folder, and in those in it.

    Args:
        directory: The folder; may be missing.

    Returns:
        A sorted list of paths, each as it was given to
        `gdtrain.callbacks.TensorBoard`; the folder alone if it is a run.

    Example:

    >>> import tempfile
    >>> from gdtrain.writers.tensorboard import TensorBoardWriter
    >>> folder = tempfile.mkdtemp()
    >>> for run in ("one", "two"):
    ...     writer = TensorBoardWriter(f"{folder}/{run}")
    ...     writer.write([1], ["step/loss"], [[0.5]])
    ...     writer.close()
    >>> [os.path.basename(run) for run in runs(folder)]
    ['one', 'two']
    >>> [os.path.basename(run) for run in runs(f"{folder}/two")]
    ['two']
    """
    directory = os.fspath(directory)
    if paths(train(directory)):
        return [directory]
    if not tf.io.gfile.isdir(directory):
        return []
    found = []
    for name in sorted(tf.io.gfile.listdir(directory)):
        found += runs(os.path.join(directory, name.rstrip("/")))
    return found


def _of_training(directory: Path) -> str:
    """The folder of a run for its folder `train`, if that is not there.

    The curves of training were in `train` up to version 0.1.0, as Keras has
    them still.
    """
    run, name = os.path.split(os.fspath(directory).rstrip("/"))
    is_gone = name == "train" and not paths(directory)
    return run if is_gone else os.fspath(directory)


def scalars(directory: Path) -> dict[str, Points]:
    """All scalars of a folder, none of them sampled away.

    Args:
        directory: A folder that has event files, or the folder `train` that
            such a folder would have had up to version 0.1.0.

    Returns:
        `{tag: (steps, values)}`: int64 `[n]`, float32 `[n]`.

    Raises:
        FileNotFoundError: if there are no event files.

    Example:

    >>> import tempfile
    >>> from gdtrain.writers.tensorboard import TensorBoardWriter
    >>> folder = tempfile.mkdtemp()
    >>> writer = TensorBoardWriter(folder)
    >>> writer.write([7], ["loss"], [[0.5]])
    >>> writer.close()
    >>> steps, values = scalars(folder)["loss"]
    >>> steps.tolist(), values.tolist()
    ([7], [0.5])
    """
    directory = _of_training(directory)
    if not paths(directory):
        raise FileNotFoundError(
            "The folder must have event files. Received: "
            f"{os.fspath(directory)!r}, which has none. Give the folder of a "
            "run that was written for TensorBoard."
        )
    found: defaultdict[str, _Curve] = defaultdict(_Curve)
    for path in paths(directory):
        # TensorBoard's accumulators take ten times as long and as much room.
        for event in event_file_loader.LegacyEventFileLoader(path).Load():
            if event.session_log.status == event_pb2.SessionLog.START:
                for curve in found.values():
                    curve.drop(event.step)
            for value in event.summary.value:
                if value.HasField("simple_value"):
                    found[value.tag].add(event.step, value.simple_value)
    return {tag: curve.arrays() for tag, curve in found.items()}


def read(log_dir: Path) -> StepTable:
    """What was written of each step of a run.

    Args:
        log_dir: The folder given to `gdtrain.callbacks.TensorBoard`.

    Returns:
        A `StepTable`. Its names are those of the tags `step/<name>`.

    Raises:
        FileNotFoundError: if there is no such tag.

    Example:

    >>> import tempfile
    >>> from gdtrain.writers.tensorboard import TensorBoardWriter
    >>> folder = tempfile.mkdtemp()
    >>> writer = TensorBoardWriter(folder)
    >>> writer.write([7, 8], ["step/loss"], [[0.5], [0.25]])
    >>> writer.close()
    >>> read(folder)["loss"].tolist()
    [0.5, 0.25]
    """
    found = {
        tag.removeprefix(_STEP): points
        for tag, points in scalars(train(log_dir)).items()
        if tag.startswith(_STEP)
    }
    if not found:
        raise FileNotFoundError(
            "The folder must have scalars of steps. Received: "
            f"{os.fspath(log_dir)!r}, none of whose tags begins with "
            f"{_STEP!r}. Give the log_dir of a gdtrain.callbacks.TensorBoard."
        )
    return _table(found)


class _Curve:
    """Points of one tag."""

    def __init__(self) -> None:
        self._steps, self._values = array.array("q"), array.array("f")

    def add(self, step: int, value: float) -> None:
        self._steps.append(step)
        self._values.append(value)

    def drop(self, first: int) -> None:
        """Drops points from a step on, at which a new attempt begins."""
        steps, values = self.arrays()
        self._steps = array.array("q", steps[steps < first].tobytes())
        self._values = array.array("f", values[steps < first].tobytes())

    def arrays(self) -> Points:
        """Steps int64 `[n]`, values float32 `[n]`."""
        return (
            np.array(self._steps, np.int64),
            np.array(self._values, np.float32),
        )


def _table(found: dict[str, Points]) -> StepTable:
    """Curves side by side."""
    steps = np.unique(np.concatenate([at for at, _ in found.values()]))
    values = np.zeros([len(steps), len(found)], np.float32)
    measured = np.zeros(values.shape, bool)
    for column, (at, numbers) in enumerate(found.values()):
        rows = np.searchsorted(steps, at)
        values[rows, column] = numbers
        measured[rows, column] = True
    return StepTable(steps, found, values, measured)

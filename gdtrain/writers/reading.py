"""Event files read back, as arrays."""

import array
import os
from collections import defaultdict
from typing import Protocol, runtime_checkable

import numpy as np
import tensorflow as tf
from tensorboard.backend.event_processing import event_file_loader
from tensorboard.compat.proto import event_pb2

from gdtrain.common.explained import more
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
    run, name = os.path.split(os.fspath(directory).rstrip("/"))
    # Curves of training were in `train` up to version 0.1.0, as in Keras.
    found_in = paths(directory) or (paths(run) if name == "train" else [])
    if not found_in:
        raise FileNotFoundError(
            "The folder must have event files. Received: "
            f"{os.fspath(directory)!r}, which has none. Give the folder of a "
            "run that was written for TensorBoard." + more("no-telemetry")
        )
    found: defaultdict[str, _Curve] = defaultdict(_Curve)
    for path in found_in:
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
            + more("no-telemetry")
        )
    steps = np.unique(np.concatenate([at for at, _ in found.values()]))
    values = np.zeros([len(steps), len(found)], np.float32)
    measured = np.zeros(values.shape, bool)
    for column, (at, numbers) in enumerate(found.values()):
        rows = np.searchsorted(steps, at)
        values[rows, column] = numbers
        measured[rows, column] = True
    return StepTable(steps, found, values, measured)


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


@runtime_checkable
class HasTable(Protocol):
    """What keeps a table of steps, such as `gdtrain.callbacks.Telemetry`."""

    @property
    def table(self) -> StepTable:
        """All steps so far."""


class Source:
    """Numbers of a training, with errors that say where they came from.

    Args:
        table: A `StepTable`.
        origin: Where it came from, in words.
    """

    def __init__(self, table: StepTable, origin: str) -> None:
        self.table = table
        self.origin = origin

    @property
    def steps(self) -> np.ndarray:
        """Step numbers, int64 `[n]`."""
        return self.table.steps

    def __contains__(self, name: object) -> bool:
        return name in self.table

    def __getitem__(self, name: str) -> np.ndarray:
        """Values of one name, float64 `[n]`; NaN where not measured.

        Raises:
            KeyError: if nothing was measured under that name.
        """
        if name not in self.table:
            raise self._missing(name)
        return self.table[name].astype(np.float64)

    def parts(self, quantity: str) -> dict[str, np.ndarray]:
        """Values by part, of all names `quantity/<part>`.

        Raises:
            KeyError: if there is none.
        """
        start = f"{quantity}/"
        names = [name for name in self.table.names if name.startswith(start)]
        if not names:
            raise self._missing(f"{start}...")
        return {name.removeprefix(start): self[name] for name in names}

    def layers(self, quantity: str) -> tuple[np.ndarray, list[str], np.ndarray]:
        """What was measured of each layer, at the steps where it was.

        Returns:
            `(steps, names, values)`: int64 `[k]`, a list of m names, float64
            `[m, k]`.

        Raises:
            KeyError: if there is none.
        """
        parts = self.parts(quantity)
        known = np.any(
            [self.table.measured(f"{quantity}/{part}") for part in parts], 0
        )
        values = np.stack(list(parts.values()))[:, known]
        return self.steps[known], list(parts), values

    def _missing(self, name: str) -> KeyError:
        return KeyError(
            f"{name!r} must have been measured. Received: {self.origin}, with "
            f"{list(self.table.names)}. Train with quantities='standard', or "
            "with a list that has it."
        )


def open_source(source: object) -> Source:
    """Reads the steps of a training.

    Args:
        source: A `StepTable`, or an object with a `table`, such as
            `gdtrain.callbacks.Telemetry`; a log folder of
            `gdtrain.callbacks.TensorBoard`; or an `.npz` file that
            `Telemetry.save` wrote.

    Returns:
        A `Source` of at least one step.

    Raises:
        TypeError: if it is none of these.
        FileNotFoundError: if the folder or the file is not there.
        ValueError: if the file is of another kind, or there are no steps.

    Example:

    >>> from gdtrain.writers.memory import MemoryWriter
    >>> writer = MemoryWriter()
    >>> writer.write([1, 2], ["loss"], [[0.5], [0.25]])
    >>> open_source(writer)["loss"]
    array([0.5 , 0.25])
    """
    if isinstance(source, (str, os.PathLike)):
        opened = _open_path(os.fspath(source))
    elif isinstance(source, StepTable):
        opened = Source(source, "a StepTable")
    elif isinstance(source, HasTable):
        opened = Source(source.table, f"a {type(source).__name__}")
    else:
        raise TypeError(
            "`source` must be a Telemetry callback, a log folder, or an .npz "
            f"file that Telemetry.save wrote. Received: source={source!r} of "
            f"type {type(source).__name__}."
        )
    if not len(opened.steps):
        raise ValueError(
            f"There must be a step to look at. Received: {opened.origin}, "
            "which has none. Look after `fit`, or during it."
            + more("no-telemetry")
        )
    return opened


def _open_path(path: str) -> Source:
    """What a folder or a file holds."""
    if not tf.io.gfile.exists(path):
        raise FileNotFoundError(
            "`source` must be a log folder or an .npz file that is there. "
            f"Received: source={path!r}, looked for from {os.getcwd()!r}."
            + more("no-telemetry")
        )
    if tf.io.gfile.isdir(path):
        return Source(read(path), f"the folder {path!r}")
    return Source(StepTable.load(path), f"the file {path!r}")

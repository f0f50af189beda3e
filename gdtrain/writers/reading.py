"""What was written of a training, read back: an object, a folder, a file."""

import os
from typing import Protocol, runtime_checkable

import numpy as np
import tensorflow as tf

from gdtrain.telemetry.step_table import StepTable
from gdtrain.writers import event_files


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
        )
    return opened


def _open_path(path: str) -> Source:
    """What a folder or a file holds."""
    if not tf.io.gfile.exists(path):
        raise FileNotFoundError(
            "`source` must be a log folder or an .npz file that is there. "
            f"Received: source={path!r}, looked for from {os.getcwd()!r}."
        )
    if tf.io.gfile.isdir(path):
        return Source(event_files.read(path), f"the folder {path!r}")
    return Source(StepTable.load(path), f"the file {path!r}")

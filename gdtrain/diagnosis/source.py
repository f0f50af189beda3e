"""Where numbers of a training come from: an object, a folder, a file."""

import dataclasses
import os
import zipfile
from typing import Any

import numpy as np
import tensorflow as tf

from gdtrain.writers import event_files


def was_measured(values):
    """Tells where a number was measured, from the numbers alone.

    Some quantities are measured at every few steps, and are NaN between. A
    NaN counts as measured if it stands where the usual spacing of the others
    has one due.

    Args:
        values: Float `[n]`.

    Returns:
        Bool `[n]`.

    Example:

    >>> nan = np.nan
    >>> was_measured(np.array([5.0, 4.0, nan, nan])).tolist()
    [True, True, True, True]
    >>> was_measured(np.array([5.0, nan, 4.0, nan, nan])).tolist()
    [True, False, True, False, True]
    """
    numbers = ~np.isnan(values)
    places = np.arange(len(values))
    known = places[numbers]
    if len(known) < 2:
        return np.ones(len(values), bool)
    spacing = max(int(np.median(np.diff(known))), 1)
    latest = np.maximum.accumulate(np.where(numbers, places, known[0]))
    return numbers | ((places - latest) % spacing == 0)


def first_nonfinite(values):
    """The place of the first measured NaN or infinity, or `None`.

    Example:

    >>> first_nonfinite(np.array([5.0, np.inf, np.nan]))
    1
    """
    found = np.flatnonzero(~np.isfinite(values) & was_measured(values))
    return int(found[0]) if len(found) else None


@dataclasses.dataclass(frozen=True)
class Source:
    """Numbers of a training.

    Args:
        steps: Step numbers, int64 `[n]`.
        values: A dict from name to float64 `[n]`; NaN where not measured.
        origin: Where they came from, for errors to tell.
    """

    steps: Any
    values: dict[str, Any]
    origin: str

    def __getitem__(self, name):
        """Values of one name.

        Raises:
            KeyError: if nothing was measured under that name.
        """
        if name not in self.values:
            raise self._missing(name)
        return self.values[name]

    def parts(self, quantity):
        """A dict from part to values, of all names `quantity/<part>`.

        Raises:
            KeyError: if there is none.
        """
        start = f"{quantity}/"
        parts = {
            name.removeprefix(start): values
            for name, values in self.values.items()
            if name.startswith(start)
        }
        if not parts:
            raise self._missing(f"{start}...")
        return parts

    def layers(self, quantity):
        """What was measured of each layer, at the steps where it was.

        Returns:
            `(steps, names, values)`: int64 `[k]`, a list of m names, float64
            `[m, k]`. A NaN is one that was measured.

        Raises:
            KeyError: if there is none.
        """
        parts = self.parts(quantity)
        values = np.stack(list(parts.values()))
        # Layers are measured together, so that one tells of all.
        none = np.isnan(values).all(0)
        known = was_measured(np.where(none, np.nan, 0.0))
        return self.steps[known], list(parts), values[:, known]

    def _missing(self, name):
        """The error for a name that is not there."""
        return KeyError(
            f"{name!r} must have been measured. "
            f"Received: {self.origin}, with {list(self.values)}. Train with "
            "quantities='standard', or with a list that has it."
        )


def open_source(source):
    """Turns whatever holds numbers into a `Source`.

    Args:
        source: An object with `steps`, `names` and `source[name]`, such as
            `gdtrain.callbacks.Telemetry`; a log folder of
            `gdtrain.callbacks.TensorBoard`; or an `.npz` file that
            `Telemetry.save` wrote.

    Returns:
        A `Source` of at least one step.

    Raises:
        TypeError: if it is none of these.
        FileNotFoundError: if the folder or the file is not there.
        ValueError: if the file is another one, or there are no steps.

    Example:

    >>> from gdtrain.writers.memory import MemoryWriter
    >>> writer = MemoryWriter()
    >>> writer.write([1, 2], ["loss"], [[0.5], [0.25]])
    >>> open_source(writer)["loss"]
    array([0.5 , 0.25])
    """
    if isinstance(source, (str, os.PathLike)):
        opened = _open_path(os.fspath(source))
    elif all(hasattr(source, name) for name in ("steps", "names")):
        opened = _collect(source, f"a {type(source).__name__}")
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


def _open_path(path):
    """What a folder or a file holds."""
    if not tf.io.gfile.exists(path):
        raise FileNotFoundError(
            "`source` must be a log folder or an .npz file that is there. "
            f"Received: source={path!r}, looked for from {os.getcwd()!r}."
        )
    if tf.io.gfile.isdir(path):
        return _collect(event_files.read(path), f"the folder {path!r}")
    saved = _load(path)
    missing = {"steps", "names", "values"} - set(saved)
    if missing:
        raise ValueError(
            "`source` must be an .npz file that Telemetry.save wrote. "
            f"Received: source={path!r}, without {sorted(missing)}."
        )
    names, columns = saved["names"].tolist(), saved["values"].T
    values = dict(zip(names, columns.astype(np.float64), strict=True))
    return Source(saved["steps"], values, f"the file {path!r}")


def _load(path):
    """The arrays of an .npz file, by name; none of another file."""
    try:
        saved = np.load(path)
    except (ValueError, EOFError, zipfile.BadZipFile):
        return {}
    if isinstance(saved, np.ndarray):
        return {}
    with saved:
        return dict(saved)


def _collect(table, origin):
    """All that an object knows; it may still grow meanwhile."""
    steps = table.steps
    values = {
        name: np.asarray(table[name], np.float64)[: len(steps)]
        for name in table.names
    }
    return Source(steps, values, origin)

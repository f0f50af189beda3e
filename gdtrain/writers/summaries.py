"""What events of TensorBoard hold: scalars as bytes, and summaries."""

import contextlib
import functools
import io
import itertools
import math
import struct
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from google.protobuf import struct_pb2
from tensorboard.compat.proto import event_pb2
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.custom_scalar import metadata as custom_metadata
from tensorboard.plugins.histogram import metadata as histogram_metadata
from tensorboard.plugins.hparams import api_pb2, plugin_data_pb2
from tensorboard.plugins.hparams import metadata as hparams_metadata
from tensorboard.plugins.image import metadata as image_metadata
from tensorboard.plugins.text import metadata as text_metadata
from tensorboard.util import tensor_util

_STEP_SIZE = 10  # Bytes of the longest varint; shorter ones are padded


def serialize(
    seconds: float,
    steps: np.ndarray,
    names: Sequence[str],
    values: np.ndarray,
    measured: np.ndarray | None = None,
) -> list[bytes]:
    """Serializes an event for each step, without protobuf's messages.

    All events of the same names have their numbers at the same places, where
    NumPy puts those of many steps at once.

    Args:
        seconds: The time that the events are marked with.
        steps: Int64 `[n]`.
        names: m tags.
        values: Float32 `[n, m]`.
        measured: Bool `[n, m]`, or `None` for all. What was not measured is
            not written; nor is an event without values.

    Returns:
        At most n events.

    Example:

    >>> from tensorboard.compat.proto import event_pb2
    >>> steps, values = np.array([7]), np.array([[0.5]], "float32")
    >>> data, = serialize(0.0, steps, ["loss"], values)
    >>> event = event_pb2.Event.FromString(data)
    >>> event.step, event.summary.value[0].tag
    (7, 'loss')
    """
    if measured is None:
        return _complete(seconds, steps, tuple(names), values)
    patterns, which = np.unique(measured, axis=0, return_inverse=True)
    events: list[bytes | None] = [None] * len(steps)
    for index, pattern in enumerate(patterns):
        rows = np.flatnonzero(which.reshape(-1) == index)
        chosen = tuple(itertools.compress(names, pattern))
        made = _complete(seconds, steps[rows], chosen, values[rows][:, pattern])
        for row, event in zip(rows, made, strict=False):  # None if no names
            events[row] = event
    return [event for event in events if event is not None]


def readable(name: Any) -> str:
    """A name as a tag that TensorBoard can read.

    TensorBoard stops reading a file at a tag that is not UTF-8.

    Args:
        name: A string, or anything that `str` takes.

    Example:

    >>> readable("caf\u00e9"), readable("caf" + chr(0xDCE9)), readable(7)
    ('café', 'caf?', '7')
    """
    return str(name).encode(errors="replace").decode()


def _complete(
    seconds: float,
    steps: np.ndarray,
    names: tuple[str, ...],
    values: np.ndarray,
) -> list[bytes]:
    """Events in which every name has a value; none if there are no names."""
    if not names:
        return []
    template, places = _template(names)
    rows = np.tile(template, (len(steps), 1))
    rows[:, 1:9] = np.frombuffer(struct.pack("<d", seconds), np.uint8)
    rows[:, 10 : 10 + _STEP_SIZE] = _varints(steps)
    numbers = np.ascontiguousarray(values, "<f4").view(np.uint8)
    rows[:, places] = numbers
    data, size = rows.tobytes(), len(template)
    return [data[at : at + size] for at in range(0, len(data), size)]


@functools.lru_cache(maxsize=64)
def _template(names: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """An event of some names, uint8, and where its values are.

    Its bytes are: 1 for a field's number, 8 for the time, 1, 10 for the step,
    and the summary, in which 4 for the number end each value.
    """
    values = [Summary.Value(tag=readable(n), simple_value=0) for n in names]
    event = event_pb2.Event(wall_time=1, step=-1)  # The longest, as it has 10
    event.summary.value.extend(values)
    sizes = [Summary(value=[value]).ByteSize() for value in values]
    data = np.frombuffer(event.SerializeToString(), np.uint8)
    first = len(data) - sum(sizes) + np.cumsum(sizes) - 4
    return data, (first[:, None] + np.arange(4)).reshape(-1)


def _varints(numbers: np.ndarray) -> np.ndarray:
    """Int64 `[n]` as varints of ten bytes each, uint8 `[n, 10]`."""
    shifts = np.arange(0, 7 * _STEP_SIZE, 7, dtype=np.uint64)
    data = (numbers.view(np.uint64)[:, None] >> shifts).astype(np.uint8)
    data[:, :-1] |= 128  # Another byte follows, if only zeros
    return data


def text(tag: str, markdown: str) -> Summary:
    """Text for the tab Text.

    Args:
        tag: Its name.
        markdown: A string, which may have headings, tables and links.

    Example:

    >>> text("model", "a **line**").value[0].tensor.string_val[0]
    b'a **line**'
    """
    metadata = text_metadata.create_summary_metadata(None, None)
    text = readable(markdown).encode()
    return _summary(tag, metadata, np.array(text, object))


def image(tag: str, pngs: Sequence[bytes], width: int, height: int) -> Summary:
    """Images for the tab Images, side by side.

    Args:
        tag: Their name.
        pngs: A list of PNG files, each as bytes.
        width: Of each, in pixels.
        height: Of each, in pixels.

    Example:

    >>> image("weights", [b"..."], 640, 480).value[0].tensor.string_val
    [b'640', b'480', b'...']
    """
    metadata = image_metadata.create_summary_metadata(None, None)
    strings = [b"%d" % width, b"%d" % height, *pngs]
    return _summary(tag, metadata, np.array(strings, object))


def figure(tag: str, drawn: Any) -> Summary:
    """A figure for the tab Images.

    Args:
        tag: Its name.
        drawn: A `matplotlib.figure.Figure`.

    Example:

    >>> from matplotlib.figure import Figure
    >>> drawn = Figure(figsize=(2, 1), dpi=100)
    >>> figure("empty", drawn).value[0].tensor.string_val[:2]
    [b'200', b'100']
    """
    png = io.BytesIO()
    drawn.savefig(png, format="png", dpi=drawn.dpi)
    width, height = (int(number) for number in drawn.bbox.size)
    return image(tag, [png.getvalue()], width, height)


def histogram(
    tag: str,
    edges_left: npt.ArrayLike,
    edges_right: npt.ArrayLike,
    counts: npt.ArrayLike,
) -> Summary:
    """A histogram for the tabs Histograms and Distributions.

    Args:
        tag: Its name.
        edges_left: Where the bins begin, float `[bins]`; finite.
        edges_right: Where they end, float `[bins]`; finite.
        counts: How many numbers are in each, `[bins]`.

    Example:

    >>> summary = histogram("weight", [0, 1], [1, 2], [3, 4])
    >>> tensor_util.make_ndarray(summary.value[0].tensor).tolist()
    [[0.0, 1.0, 3.0], [1.0, 2.0, 4.0]]
    """
    metadata = histogram_metadata.create_summary_metadata(None, None)
    bins = np.stack([edges_left, edges_right, counts], 1).astype(np.float64)
    return _summary(tag, metadata, bins)


def custom_scalars(
    categories: Iterable[tuple[str, bool, Iterable[tuple[str, Iterable[str]]]]],
) -> Summary:
    """Which scalars the tab Custom Scalars draws in one chart.

    TensorBoard merges the layouts of all runs: charts under the same title,
    without duplicates.

    Args:
        categories: Of each `(title, closed, charts)`: charts under a title,
            and whether they are folded away until it is clicked. Of each
            chart `(title, tags)`: regular expressions, matched from the
            beginning of a tag.

    Example:

    >>> charts = [("loss", ["step/loss$"])]
    >>> summary = custom_scalars([("gdtrain", False, charts)])
    >>> summary.value[0].tag
    'custom_scalars__config__'
    """
    layout = layout_pb2.Layout()
    for title, closed, charts in categories:
        category = layout.category.add(title=readable(title), closed=closed)
        for name, tags in charts:
            chart = category.chart.add(title=readable(name))
            chart.multiline.tag.extend(map(readable, tags))
    return _summary(
        custom_metadata.CONFIG_SUMMARY_TAG,
        custom_metadata.create_summary_metadata(),
        np.array(layout.SerializeToString(), object),
    )


def hparams(values: Mapping[str, Any]) -> Summary:
    """The start of a run and its hyperparameters, for the tab HParams.

    The tab shows the scalars of runs in and below the folder that this is
    written to, if TensorBoard's log folder is above it. Of several in one
    folder it shows the first; see `gdtrain.writers.tensorboard_runs`.

    Args:
        values: By name: finite numbers, bools and strings are shown as such,
            anything else as a string, or by its type if `str` raises.

    Example:

    >>> hparams({"learning_rate": 0.1}).value[0].tag
    '_hparams_/session_start_info'
    """
    # Without a name of a group, each run is a row of its own.
    start = plugin_data_pb2.SessionStartInfo(start_time_secs=time.time())
    for name, value in values.items():
        start.hparams[readable(name)].CopyFrom(_hparam(value))
    return _hparams_summary(
        hparams_metadata.SESSION_START_INFO_TAG, session_start_info=start
    )


def hparams_end() -> Summary:
    """The successful end of a run, for the tab HParams.

    Example:

    >>> hparams_end().value[0].tag
    '_hparams_/session_end_info'
    """
    end = plugin_data_pb2.SessionEndInfo(
        status=api_pb2.STATUS_SUCCESS, end_time_secs=time.time()
    )
    return _hparams_summary(
        hparams_metadata.SESSION_END_INFO_TAG, session_end_info=end
    )


def _hparam(value: Any) -> struct_pb2.Value:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool):
        return struct_pb2.Value(bool_value=value)
    with contextlib.suppress(OverflowError):  # An int beyond all floats
        if isinstance(value, (int, float)) and math.isfinite(value):
            return struct_pb2.Value(number_value=value)
    try:
        text = readable(value)
    except Exception:  # `__str__` is a user's own, and may raise anything.
        text = f"<{type(value).__name__}>"
    return struct_pb2.Value(string_value=text)


def _hparams_summary(tag: str, **content: Any) -> Summary:
    """A summary of the HParams plugin, which reads its metadata only."""
    data = plugin_data_pb2.HParamsPluginData(**content)
    metadata = hparams_metadata.create_summary_metadata(data)
    return _summary(tag, metadata, np.zeros(0, np.float32))


def _summary(tag: str, metadata: SummaryMetadata, array: np.ndarray) -> Summary:
    """A summary of one tensor."""
    tensor = tensor_util.make_tensor_proto(array)
    value = Summary.Value(tag=readable(tag), metadata=metadata, tensor=tensor)
    return Summary(value=[value])

"""What TensorBoard shows besides scalars, as `Summary` messages.

`TensorBoardWriter.add` writes them.
"""

import math
import time

import numpy as np
from tensorboard.compat.proto import summary_pb2
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.custom_scalar import metadata as custom_metadata
from tensorboard.plugins.histogram import metadata as histogram_metadata
from tensorboard.plugins.hparams import api_pb2
from tensorboard.plugins.hparams import metadata as hparams_metadata
from tensorboard.plugins.hparams import plugin_data_pb2
from tensorboard.plugins.image import metadata as image_metadata
from tensorboard.plugins.text import metadata as text_metadata
from tensorboard.util import tensor_util


def text(tag, markdown):
    """Text for the tab Text.

    Args:
        tag: Its name.
        markdown: A string, which may have headings, tables and links.

    Returns:
        A `Summary`.

    Example:

    >>> text("model", "a **line**").value[0].tensor.string_val[0]
    b'a **line**'
    """
    metadata = text_metadata.create_summary_metadata(None, None)
    return _summary(tag, metadata, np.array(markdown.encode(), object))


def image(tag, pngs, width, height):
    """Images for the tab Images, side by side.

    Args:
        tag: Their name.
        pngs: A list of PNG files, each as bytes.
        width: Of each, in pixels.
        height: Of each, in pixels.

    Returns:
        A `Summary`.

    Example:

    >>> image("weights", [b"..."], 640, 480).value[0].tensor.string_val
    [b'640', b'480', b'...']
    """
    metadata = image_metadata.create_summary_metadata(None, None)
    strings = [b"%d" % width, b"%d" % height, *pngs]
    return _summary(tag, metadata, np.array(strings, object))


def histogram(tag, edges_left, edges_right, counts):
    """A histogram for the tabs Histograms and Distributions.

    Args:
        tag: Its name.
        edges_left: Where the bins begin, float `[bins]`; finite.
        edges_right: Where they end, float `[bins]`; finite.
        counts: How many numbers are in each, `[bins]`.

    Returns:
        A `Summary`.

    Example:

    >>> summary = histogram("weight", [0, 1], [1, 2], [3, 4])
    >>> tensor_util.make_ndarray(summary.value[0].tensor).tolist()
    [[0.0, 1.0, 3.0], [1.0, 2.0, 4.0]]
    """
    metadata = histogram_metadata.create_summary_metadata(None, None)
    bins = np.stack([edges_left, edges_right, counts], 1).astype(np.float64)
    return _summary(tag, metadata, bins)


def custom_scalars(title, charts):
    """Which scalars the tab Custom Scalars draws together.

    TensorBoard takes the layouts of all runs together: charts under the same
    title, without those that are equal.

    Args:
        title: What the charts stand under.
        charts: A list of `(title, tags)`: tags are regular expressions, each
            of which must match from the beginning of a tag.

    Returns:
        A `Summary`.

    Example:

    >>> summary = custom_scalars("gdtrain", [("loss", ["step/loss$"])])
    >>> summary.value[0].tag
    'custom_scalars__config__'
    """
    layout = layout_pb2.Layout()
    category = layout.category.add(title=title)
    for name, tags in charts:
        category.chart.add(title=name).multiline.tag.extend(tags)
    return _summary(
        custom_metadata.CONFIG_SUMMARY_TAG,
        custom_metadata.create_summary_metadata(),
        np.array(layout.SerializeToString(), object),
    )


def hparams(values):
    """Marks the start of a run, for the tab HParams to compare runs by.

    The tab finds the scalars of runs below the folder that this is written
    to, if TensorBoard looks at a folder above it. Of several in one folder,
    it shows the first; see `gdtrain.writers.stale_events`.

    Args:
        values: `{name: value}`. Finite numbers, bools and strings are shown
            as such, all else as the string it prints as.

    Returns:
        A `Summary`.

    Example:

    >>> hparams({"learning_rate": 0.1}).value[0].tag
    '_hparams_/session_start_info'
    """
    # Without a name of a group, each run is a row of its own.
    start = plugin_data_pb2.SessionStartInfo(start_time_secs=time.time())
    for name, value in values.items():
        value = value.item() if isinstance(value, np.generic) else value
        if isinstance(value, bool):
            start.hparams[name].bool_value = value
        elif isinstance(value, (int, float)) and math.isfinite(value):
            start.hparams[name].number_value = value
        else:
            start.hparams[name].string_value = str(value)
    return _hparams_summary(
        hparams_metadata.SESSION_START_INFO_TAG, session_start_info=start
    )


def hparams_end():
    """Marks the good end of a run, for the tab HParams.

    Returns:
        A `Summary`.

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


def _hparams_summary(tag, **content):
    """What the HParams plugin reads: metadata, and a tensor of no use."""
    data = plugin_data_pb2.HParamsPluginData(**content)
    metadata = hparams_metadata.create_summary_metadata(data)
    return _summary(tag, metadata, np.zeros(0, np.float32))


def _summary(tag, metadata, array):
    """A `Summary` of one tensor."""
    tensor = tensor_util.make_tensor_proto(array)
    value = summary_pb2.Summary.Value(
        tag=tag, metadata=metadata, tensor=tensor
    )
    return summary_pb2.Summary(value=[value])

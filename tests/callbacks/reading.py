"""Log folders as TensorBoard reads them, nothing left out."""

import math
import os
import time

import numpy as np
from tensorboard import context
from tensorboard.backend.event_processing import event_accumulator
from tensorboard.data import server_ingester
from tensorboard.plugins.hparams import metadata as hparams_metadata
from tensorboard.util import grpc_util, tensor_util

from gdtrain.writers.tensorboard_runs import FOLDERS
from tests import waiting

EVERYTHING = {"scalars": 0, "tensors": 0}


def opened(folder):
    """A run as TensorBoard's own accumulator reads it."""
    return event_accumulator.EventAccumulator(
        str(folder), size_guidance=EVERYTHING
    ).Reload()


def tensors(folder):
    """What is no scalar, of a run: `{tag: [(step, array), ...]}`."""
    events = opened(folder)
    return {
        tag: [
            (event.step, tensor_util.make_ndarray(event.tensor_proto))
            for event in events.Tensors(tag)
        ]
        for tag in events.Tags()["tensors"]
    }


def hyperparameters(log_dir):
    """What the tab HParams knows of a run, a dict."""
    metadata = opened(log_dir).SummaryMetadata("_hparams_/session_start_info")
    start = hparams_metadata.parse_session_start_info_plugin_data(
        metadata.plugin_data.content
    )
    return {
        name: getattr(value, value.WhichOneof("kind"))
        for name, value in start.hparams.items()
    }


def curves(log_dir):
    """All scalars below a folder: `{run/tag: [(step, value), ...]}`.

    Both of TensorBoard's loaders must agree on them.
    """
    slow = {}
    for run, folder in FOLDERS.items():
        if os.path.isdir(os.path.join(log_dir, folder)):
            events = opened(os.path.join(log_dir, folder))
            for tag in events.Tags()["scalars"]:
                points = [(e.step, e.value) for e in events.Scalars(tag)]
                if points:  # A tag stays known when all its points are gone.
                    slow[f"{run}/{tag}"] = points
    assert_equal_curves(by_server(log_dir, like=slow), slow)
    return slow


def by_server(log_dir, like, plugin="scalars"):
    """The same from the fast loader, TensorBoard's server of data.

    It says nothing of when it has read all.

    Args:
        log_dir: The folder.
        like: It is waited for these curves.
        plugin: What to read; of what is no scalar, the steps alone.
    """
    server = server_ingester.SubprocessServerDataIngester(
        server_binary=server_ingester.get_server_binary(),
        logdir=str(log_dir),
        reload_interval=0,
        channel_creds_type=grpc_util.ChannelCredsType.LOCAL,
        samples_per_plugin={plugin: 0},
    )
    server.start()
    deadline = time.monotonic() + waiting.SECONDS
    found = None
    with server._stdin_handle:  # The server lives as long as it is open.
        while found != like and time.monotonic() < deadline:
            found = _read(server.data_provider, plugin)
    return found


def _read(data, plugin):
    is_scalar = plugin == "scalars"
    names = {folder or ".": run for run, folder in FOLDERS.items()}
    runs = (data.read_scalars if is_scalar else data.read_tensors)(
        context.RequestContext(),
        experiment_id="",
        plugin_name=plugin,
        downsample=10**9,
    )
    return {
        f"{names.get(run, run)}/{tag}": [
            (one.step, one.value) if is_scalar else one.step for one in points
        ]
        for run, tags in runs.items()
        for tag, points in tags.items()
    }


def assert_equal_curves(found, expected, rtol=0.0):
    """Checks curves, point by point."""
    assert set(found) == set(expected)
    for tag, points in expected.items():
        steps, values = zip(*found[tag], strict=True)
        assert list(steps) == [step for step, _ in points], tag
        np.testing.assert_allclose(
            values, [value for _, value in points], rtol, err_msg=tag
        )


def assert_forward(found):
    """Checks that no curve goes back, or stays."""
    for tag, points in found.items():
        before = -math.inf
        for step, _ in points:
            assert step > before, (tag, points)
            before = step

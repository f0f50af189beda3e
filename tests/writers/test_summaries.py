"""TensorBoard's own code reads the summaries, without TensorFlow too."""

import json
import subprocess
import sys

import numpy as np
import pytest
from tensorboard import context
from tensorboard.backend.event_processing import (
    data_provider,
    event_accumulator,
    plugin_event_multiplexer,
)
from tensorboard.plugins import base_plugin
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.hparams import (
    api_pb2,
    backend_context,
    list_session_groups,
)
from tensorboard.plugins.hparams import metadata as hparams_metadata
from tensorboard.util import tensor_util

from gdtrain.writers import summaries
from gdtrain.writers.tensorboard import TensorBoardWriter

ALL = {
    "note": summaries.text("note", "a *line* é"),
    "plots": summaries.image("plots", [b"png1", b"png2"], 640, 480),
    "weight": summaries.histogram("weight", [0, 0.5], [0.5, 2], [3, 10**9]),
    "custom_scalars__config__": summaries.custom_scalars(
        [
            (
                "gdtrain",
                False,
                [("loss", ["step/loss$", "epoch_"]), ("norm", ["n"])],
            ),
            ("more", True, [("rest", ["r"])]),
        ]
    ),
    "_hparams_/session_start_info": summaries.hparams({"rate": 0.5}),
    "_hparams_/session_end_info": summaries.hparams_end(),
}
PLUGINS = ["text", "images", "histograms", "custom_scalars", "hparams"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder that has all kinds of summaries and a scalar."""
    path = tmp_path_factory.mktemp("run")
    writer = TensorBoardWriter(path)
    for summary in ALL.values():
        writer.add(3, summary)
    writer.write([3], ["loss"], [[0.5]])
    writer.close()
    return path


@pytest.fixture(scope="module")
def events(folder):
    return event_accumulator.EventAccumulator(str(folder)).Reload()


def array(events, tag):
    """The tensor of a tag, and the name of the plugin that shows it."""
    (event,) = events.Tensors(tag)
    assert event.step == 3
    plugin = events.SummaryMetadata(tag).plugin_data.plugin_name
    return tensor_util.make_ndarray(event.tensor_proto), plugin


def test_text_is_a_string(events):
    text, plugin = array(events, "note")
    assert text.item().decode() == "a *line* é" and plugin == "text"


def test_images_have_their_size_before_them(events):
    strings, plugin = array(events, "plots")
    assert strings.tolist() == [b"640", b"480", b"png1", b"png2"]
    assert plugin == "images"


def test_histogram_is_a_row_a_bin(events):
    bins, plugin = array(events, "weight")
    assert bins.tolist() == [[0, 0.5, 3], [0.5, 2, 10**9]]
    assert bins.dtype == np.float64 and plugin == "histograms"


def test_layout_has_its_charts(events):
    data, plugin = array(events, "custom_scalars__config__")
    category, more = layout_pb2.Layout.FromString(data.item()).category
    charts = [(c.title, list(c.multiline.tag)) for c in category.chart]
    assert category.title == "gdtrain" and plugin == "custom_scalars"
    assert charts == [("loss", ["step/loss$", "epoch_"]), ("norm", ["n"])]
    assert (category.closed, more.closed, more.title) == (False, True, "more")


def test_hyperparameters_are_numbers_bools_and_strings():
    values = {
        "rate": np.float32(0.5),
        "size": 32,
        "xla": np.True_,
        "name": "sgd",
        "shape": (1, 2),
        "none": None,
        "nan": float("nan"),
    }
    (value,) = summaries.hparams(values).value
    start = hparams_metadata.parse_session_start_info_plugin_data(
        value.metadata.plugin_data.content
    )
    kinds = {name: v.WhichOneof("kind") for name, v in start.hparams.items()}
    read = {name: getattr(start.hparams[name], k) for name, k in kinds.items()}
    assert read == {
        "rate": 0.5,
        "size": 32.0,
        "xla": True,
        "name": "sgd",
        "shape": "(1, 2)",
        "none": "None",
        "nan": "nan",
    }
    assert kinds["xla"] == "bool_value"  # As True == 1.0
    assert start.start_time_secs > 1e9 and not start.group_name


def sessions(folder):
    """What the tab HParams lists: `{session: (hparams, metrics)}`."""
    runs = plugin_event_multiplexer.EventMultiplexer()
    runs.AddRunsFromDirectory(str(folder)).Reload()
    data = data_provider.MultiplexerDataProvider(runs, str(folder))
    handler = list_session_groups.Handler(
        context.RequestContext(),
        backend_context.Context(base_plugin.TBContext(data_provider=data)),
        "",
        api_pb2.ListSessionGroupsRequest(
            allowed_statuses=api_pb2.Status.values(), slice_size=9
        ),
    )
    return {
        group.name: (
            {name: v.number_value for name, v in group.hparams.items()},
            {(v.name.group, v.name.tag): v.value for v in group.metric_values},
        )
        for group in handler.run().session_groups
    }


def test_runs_are_compared_by_their_last_scalars(tmp_path):
    rates = {"first": 0.5, "second": 0.25, "again": 0.25}
    for session, rate in rates.items():
        writer = TensorBoardWriter(tmp_path / session)
        writer.add(0, summaries.hparams({"learning_rate": rate}))
        writer.close()
        for run, factor in (("train", 2), ("validation", 4)):
            writer = TensorBoardWriter(tmp_path / session / run, first_step=0)
            writer.write([0, 1], ["epoch_loss"], [[9], [factor * rate]])
            writer.close()
    assert sessions(tmp_path) == {
        session: (
            {"learning_rate": rate},
            {
                ("train", "epoch_loss"): 2 * rate,
                ("validation", "epoch_loss"): 4 * rate,
            },
        )
        for session, rate in rates.items()
    }


def test_end_of_a_session_is_a_success():
    (value,) = summaries.hparams_end().value
    end = hparams_metadata.parse_session_end_info_plugin_data(
        value.metadata.plugin_data.content
    )
    assert end.status == api_pb2.STATUS_SUCCESS and end.end_time_secs > 1e9


WITHOUT_TENSORFLOW = """
import json, sys
sys.modules["tensorflow"] = None
from tensorboard.backend.event_processing import plugin_event_accumulator
from tensorboard.compat import tf
assert tf.__version__ == "stub"
run = plugin_event_accumulator.EventAccumulator(sys.argv[1]).Reload()
print(json.dumps({
    plugin: sorted(run.PluginTagToContent(plugin)) for plugin in sys.argv[2:]
}))
for tag in run.Tags()["tensors"]:
    assert [event.step for event in run.Tensors(tag)] == [3], tag
"""


def test_all_is_read_where_tensorflow_is_not_installed(folder):
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TENSORFLOW, folder, "scalars", *PLUGINS],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "scalars": ["loss"],
        "text": ["note"],
        "images": ["plots"],
        "histograms": ["weight"],
        "custom_scalars": ["custom_scalars__config__"],
        "hparams": [
            "_hparams_/session_end_info",
            "_hparams_/session_start_info",
        ],
    }

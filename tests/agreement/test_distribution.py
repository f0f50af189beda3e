"""One device, two replicas and two processes train to the same numbers."""

import json

import numpy as np
import pytest
import tensorflow as tf

from tests import workers
from tests.agreement import distributed_fit, reproducible_fit


def run_two_workers(folder, *arguments):
    """Runs `distributed_fit` in two processes: `(return code, stderr)`s."""
    found = workers.run(
        workers.environments(2),
        "tests.agreement.distributed_fit",
        lambda index: folder / str(index),
        *arguments,
    )
    return [(code, errors) for code, _, errors in found]


@pytest.fixture(scope="module")
def two_processes(request, tmp_path_factory):
    """What each of two workers found, of the feeds whose tests are run."""
    feeds = {
        item.callspec.params["feed"]
        for item in request.session.items
        if item.path == request.path and "feed" in item.fixturenames
    }
    folder = tmp_path_factory.mktemp("workers")
    for code, error in run_two_workers(folder, *sorted(feeds)):
        assert code == 0, error
    return [json.loads((folder / str(i)).read_text()) for i in range(2)]


@pytest.mark.long
def test_stock_keras_cannot_train_in_two_processes(tmp_path):
    """Read in Keras 3.15.1. Once it can, the README is to say so."""
    for code, error in run_two_workers(tmp_path, "keras"):
        assert code == 1 and "unsupported type" in error


def assert_same(ours, expected, names=None):
    for name in names or expected:
        if name == "telemetry":
            assert_same_telemetry(ours[name], expected[name])
            continue
        for one, other in zip(
            tf.nest.flatten(ours[name]),
            tf.nest.flatten(expected[name]),
            strict=True,
        ):
            np.testing.assert_allclose(
                one, other, rtol=1e-6, atol=1e-6, err_msg=name
            )


def assert_same_telemetry(ours, expected):
    """A metric of a batch is a difference of sums over the epoch so far.

    The last batch has 1 of 45 examples: 45 times the error of float32.
    """
    # Layers may have other numbers in their names.
    for (name, values), own in zip(
        expected.items(), ours.values(), strict=True
    ):
        rtol = 5e-6 if name == "mae" else 1e-6
        np.testing.assert_allclose(
            own, values, rtol=rtol, atol=1e-6, err_msg=name
        )


@pytest.fixture(scope="module", params=distributed_fit.FEEDS)
def feed(request):
    return request.param


@pytest.fixture(scope="module")
def one_device(feed):
    return distributed_fit.results(tf.distribute.get_strategy(), feed)


@pytest.mark.mostly_long("arrays")
def test_two_replicas_train_as_one(feed, one_device, two_replicas):
    assert_same(distributed_fit.results(two_replicas, feed), one_device)


@pytest.mark.mostly_long("arrays", "own parts")
def test_two_processes_train_as_one(feed, one_device, two_processes):
    chief, other = (results[feed] for results in two_processes)
    assert_same(chief, one_device)
    assert_same(other, chief, ["weights", "history", "evaluate", "predict"])


def test_two_processes_train_to_the_bits_of_one(two_processes):
    kind = "perceptron, momentum"
    expected = reproducible_fit.results(tf.distribute.get_strategy(), kind)
    for results in two_processes:
        assert results["bits"] == expected


@pytest.mark.mostly_long("arrays", "own parts")
def test_telemetry_is_the_chief_s(feed, two_processes):
    chief, other = (results[feed] for results in two_processes)
    assert chief["steps"] == list(range(1, 10))
    assert (other["steps"], other["telemetry"]) == ([], {})

"""Eager, graph and XLA; any number of steps per execution: same numbers."""

import numpy as np
import pytest

import gdtrain
from tests import models

WAYS = {
    "eager": {"run_eagerly": True},
    "xla": {"jit_compile": True},
    "graph, 3 steps an execution": {"steps_per_execution": 3},
    "graph, more steps than batches": {"steps_per_execution": 50},
    "eager, 3 steps an execution": {
        "run_eagerly": True,
        "steps_per_execution": 3,
    },
    "xla, 3 steps an execution": {
        "jit_compile": True,
        "steps_per_execution": 3,
    },
}


def train(**compile_arguments):
    model = models.network()
    model.compile("adam", "mse", metrics=["mae"], **compile_arguments)
    x, y = models.regression_data()
    telemetry = gdtrain.callbacks.Telemetry()
    history = model.fit(
        x,
        y,
        batch_size=8,
        epochs=2,
        shuffle=False,
        validation_split=0.2,
        callbacks=[telemetry],
        verbose=0,
    )
    return model.get_weights(), history.history, telemetry


@pytest.fixture(scope="module")
def as_graph():
    return train(jit_compile=False)


@pytest.mark.mostly_long("xla", "eager, 3 steps an execution")
@pytest.mark.parametrize("way", WAYS)
def test_way_of_running_changes_nothing_but_rounding(way, as_graph):
    weights, history, telemetry = train(**WAYS[way])
    # XLA and eager kernels add up in another order.
    assert models.distance(weights, as_graph[0]) < 1e-5
    for key, values in as_graph[1].items():
        np.testing.assert_allclose(history[key], values, rtol=1e-5)
    assert telemetry.names == as_graph[2].names
    np.testing.assert_array_equal(telemetry.steps, np.arange(1, 11))
    for name in telemetry.names:
        np.testing.assert_allclose(
            telemetry[name], as_graph[2][name], rtol=1e-4, err_msg=name
        )

"""Training under Ray, on processes of this machine."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import types
from unittest import mock

import numpy as np
import pytest

from gdtrain.distributed.ray_session import RaySession
from tests.distributed.ray_runs import EPOCHS


def run(name, folder, module="ray_runs", seconds=1200):
    """What a function of a module returns; none of its processes is left."""
    module = f"tests.distributed.{module}"
    process = subprocess.Popen(
        [sys.executable, "-m", module, name, str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        printed, errors = process.communicate(timeout=seconds)
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, printed + errors
    return json.loads(printed.splitlines()[-1])


def session(storage, rank):
    """That of a worker of a run that is named "run"."""
    context = mock.Mock()
    context.get_experiment_name.return_value = "run"
    context.get_world_rank.return_value = rank
    context.get_storage().experiment_fs_path = f"{storage}/run"
    module = types.SimpleNamespace(
        __name__="ray.train", get_context=lambda: context
    )
    return RaySession(module)


def test_runs_of_one_name_in_two_storages_can_share_a_machine():
    """What a session calls itself is the name of its local folder."""
    keys = {session(*one).key for one in [("/a", 0), ("/a", 1), ("/b", 0)]}
    assert len(keys) == 3
    assert session("/a", 0).key in keys  # Also after a restart


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ray")
    return folder, run("killed", folder)


def test_a_killed_worker_changes_no_bit(killed):
    folder, found = killed
    assert (folder / "killed-1-5").exists()
    assert found["weights"] == found["undisturbed"]["weights"]
    assert found["history"] == found["undisturbed"]["history"]


def test_the_result_has_the_metrics_of_the_last_epoch(killed):
    _, found = killed
    last = {name: values[-1] for name, values in found["history"].items()}
    assert found["metrics"] == last | {"epoch": EPOCHS, "steps": 6 * EPOCHS}


def test_the_checkpoint_has_the_states_of_all_workers(killed):
    _, found = killed
    finished = pathlib.Path(found["checkpoint"])
    for worker in ("worker-0-of-2", "worker-1-of-2"):
        assert (finished / worker / f"step-{6 * EPOCHS:012}-finished").is_dir()
    assert found["kept"] == 2  # As many as Ray was asked to keep


@pytest.mark.long
@pytest.mark.parametrize("name", ["chief_killed", "killed_often"])
def test_kills_change_no_bit(name, tmp_path):
    found = run(name, tmp_path)
    kills = len(list(tmp_path.glob("killed-*")))
    assert kills == {"chief_killed": 1, "killed_often": 3}[name]
    assert found["weights"] == found["undisturbed"]["weights"]
    assert found["history"] == found["undisturbed"]["history"]


def test_workers_of_tests_reach_each_other_by_the_loopback_interface(killed):
    _, found = killed
    hosts = [address.rpartition(":")[0] for address in found["addresses"]]
    assert hosts == ["127.0.0.1"] * 2


@pytest.mark.long
def test_an_elastic_run_loses_a_node_and_grows_when_one_comes(tmp_path):
    found = run("elastic", tmp_path, "ray_elastic")
    counts, epochs = zip(*found["groups"], strict=True)
    assert counts == (2, 1, 2)
    assert 0 == epochs[0] < epochs[1] < epochs[2]  # By checkpoints
    assert found["weights"] == found["undisturbed"]["weights"]
    assert found["history"] == found["undisturbed"]["history"]


@pytest.mark.long
def test_ray_data_feed_each_worker_its_part(tmp_path):
    found = run("ray_data", tmp_path)
    assert found["examples"] == 48
    for one, other in zip(found["parts"], found["arrays"], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.long
def test_a_crash_that_repeats_ends_the_run_with_its_traceback(tmp_path):
    found = run("repeated_crash", tmp_path)
    assert found["starts"] == 4
    assert "3 crashes in a row after step" in found["message"]
    assert 'ZeroDivisionError("of the test")' in found["message"]
    assert "on worker 1" in found["message"]


@pytest.mark.long
def test_a_trial_of_ray_tune_that_diverges_is_stopped(tmp_path):
    found = run("tune", tmp_path)
    assert found["0.03"]["trouble"] == 0
    assert found["0.03"]["epoch"] == EPOCHS
    assert found["30.0"]["trouble"] == 1
    assert found["30.0"]["epoch"] < EPOCHS

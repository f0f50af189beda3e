"""What the environment says of the processes that train together."""

import json

import pytest

from gdtrain.distributed import cluster, slurm

CLUSTER = {"worker": ["a:1", "b:2"], "chief": ["c:3"]}
STEP = {
    "SLURM_JOB_ID": "17",
    "SLURM_STEP_ID": "1",
    "SLURM_PROCID": "3",
    "SLURM_NTASKS": "5",
    "SLURM_LOCALID": "1",
    "SLURM_STEP_NODELIST": "node[08-09],gpu2",
    "SLURM_STEP_TASKS_PER_NODE": "2(x2),1",
}


def tf_config(**changes):
    config = {"cluster": CLUSTER, "task": {"type": "worker", "index": 1}}
    return {"TF_CONFIG": json.dumps(config | changes)}


def test_tf_config_describes_a_cluster():
    found = cluster.find(tf_config(), None)
    assert found.tasks == CLUSTER
    assert (found.kind, found.index, found.count) == ("worker", 1, 3)
    assert found.address == "b:2"
    assert found.first == ("chief", "0")


def test_tf_config_comes_before_slurm():
    assert cluster.find(STEP | tf_config(), None).count == 3


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"TF_CONFIG": ""},
        {"TF_CONFIG": "{}"},
        tf_config(
            cluster={"worker": ["a:1"]}, task={"type": "worker", "index": 0}
        ),
        STEP | {"SLURM_STEP_NUM_TASKS": "1"},
        # A shell of `sbatch`
        {k: v for k, v in STEP.items() if "STEP" not in k}
        | {"SLURM_JOB_NODELIST": "node[08-10]", "SLURM_TASKS_PER_NODE": "2"},
    ],
)
def test_process_is_alone(environment):
    assert cluster.find(environment, None) is None


@pytest.mark.parametrize(
    "environment, message",
    [
        ({"TF_CONFIG": "{'cluster'"}, "JSON's error: Expecting property name"),
        ({"TF_CONFIG": "[1]"}, "be an object of JSON"),
        (tf_config(cluster={}), "have addresses"),
        (tf_config(cluster={"worker": []}), "have addresses"),
        (tf_config(cluster={"worker": ["a"]}), "have addresses"),
        (tf_config(cluster={"ps": ["a:1"]}), "no tasks but"),
        (tf_config(cluster={"chief": ["a:1", "b:1"]}), "at most one chief"),
        (tf_config(task={}), "which task of the cluster"),
        (tf_config(task={"type": "ps", "index": 0}), "which task of the"),
        (tf_config(task={"type": "worker"}), "a number as index"),
        (tf_config(task={"type": "worker", "index": 2}), "from 0 to 1, as the"),
    ],
)
def test_bad_tf_config_is_explained(environment, message):
    with pytest.raises(ValueError, match=message) as caught:
        cluster.find(environment, None)
    assert "Received: TF_CONFIG=" in str(caught.value)


def test_step_of_slurm_is_a_cluster():
    found = cluster.find(STEP, port=100)
    assert found.tasks == {
        "worker": [
            "node08:100",
            "node08:101",
            "node09:100",
            "node09:101",
            "gpu2:100",
        ]
    }
    assert (found.kind, found.index, found.local) == ("worker", 3, (1, 2))


def test_variables_of_the_job_serve_where_those_of_the_step_are_missing():
    job = {k: v for k, v in STEP.items() if not k.startswith("SLURM_STEP_")}
    job |= {
        "SLURM_STEP_ID": "0",
        "SLURM_JOB_NODELIST": "node[08-09],gpu2",
        "SLURM_TASKS_PER_NODE": "2(x2),1",
    }
    assert cluster.find(job, 100) == cluster.find(STEP, 100)


def ports(**changes):
    tasks = cluster.find(STEP | changes, None).tasks["worker"]
    return {int(address.rpartition(":")[2]) for address in tasks}


def test_jobs_and_steps_have_ports_of_their_own():
    used = [
        ports(SLURM_JOB_ID=str(job), SLURM_STEP_ID=str(step))
        for job in range(90, 100)
        for step in range(10)
    ]
    assert len(set.union(*used)) == sum(map(len, used))
    assert 10_000 <= min(set.union(*used)) < max(set.union(*used)) < 32_768


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"SLURM_PROCID": "x"}, "SLURM_PROCID must be a number.*'x'"),
        ({"SLURM_NTASKS": ""}, "SLURM_NTASKS. Received: none"),
        ({"SLURM_STEP_NODELIST": "a[1-"}, "list of nodes.*'a\\[1-'"),
        ({"SLURM_STEP_NODELIST": "a[3-1]"}, "Numbers of nodes.*'3-1'"),
        ({"SLURM_STEP_TASKS_PER_NODE": "2x"}, "tasks a node.*'2x'"),
        ({"SLURM_STEP_TASKS_PER_NODE": "2(x3)"}, "the same processes.*2\\(x3"),
        ({"SLURM_NTASKS": "6"}, "the same processes.*'6'"),
        ({"SLURM_PROCID": "5"}, "the same processes.*'5'"),
        ({"SLURM_LOCALID": "0"}, "--distribution=block"),
        ({"SLURM_JOB_ID": ""}, "SLURM_JOB_ID must be a number"),
    ],
)
def test_bad_variables_of_slurm_are_explained(changes, message):
    with pytest.raises(ValueError, match=message):
        cluster.find(STEP | changes, None)


@pytest.mark.parametrize(
    "environment, tasks, is_own",
    [
        ({}, 2, False),
        ({"CUDA_VISIBLE_DEVICES": "0,1"}, 2, False),
        ({"CUDA_VISIBLE_DEVICES": "0"}, 2, True),
        ({"CUDA_VISIBLE_DEVICES": "0,1", "SLURM_STEP_GPUS": "4,5"}, 2, False),
        ({"CUDA_VISIBLE_DEVICES": "0,1", "SLURM_STEP_GPUS": "0,1,2"}, 2, True),
    ],
)
def test_gpus_of_a_task_are_recognized(environment, tasks, is_own):
    assert slurm.has_own_gpus(environment, tasks) == is_own


def test_gpus_are_shared_out():
    shares = [slurm.gpus_of((index, 2), 4) for index in range(2)]
    assert shares == [[0, 1], [2, 3]]
    assert slurm.gpus_of((1, 2), 0) == []
    with pytest.raises(ValueError, match="3 processes and 2 GPUs"):
        slurm.gpus_of((0, 3), 2)

"""Processes on this machine that train one model together."""

import json
import os
import random
import socket

from gdtrain.distributed import slurm

# Below those that a system gives to whoever asks for any
_PORTS = range(10_000, 30_000)


def is_free(port):
    """Whether nobody listens on a port."""
    with socket.socket() as one:
        return one.connect_ex(("localhost", port)) != 0


def free_ports(count):
    """Ports that nobody listens on, nor is given by chance meanwhile."""
    found = []
    for port in random.SystemRandom().sample(_PORTS, len(_PORTS)):
        if is_free(port):
            found.append(port)
        if len(found) == count:
            return found
    raise RuntimeError("There are no free ports.")


def environments(count):
    """The environment of each of some workers, a list of dicts."""
    workers = [f"localhost:{port}" for port in free_ports(count)]
    return [
        os.environ
        | {
            "TF_CONFIG": json.dumps(
                {
                    "cluster": {"worker": workers},
                    "task": {"type": "worker", "index": index},
                }
            )
        }
        for index in range(count)
    ]


def slurm_environments(count):
    """The environment of each of some tasks of one node, as `srun` sets it.

    The job is one whose ports are free.
    """
    variables = {
        "SLURM_STEP_ID": "0",
        "SLURM_PROCID": "0",
        "SLURM_NTASKS": str(count),
        "SLURM_STEP_NUM_TASKS": str(count),
        "SLURM_STEP_NODELIST": "localhost",
        "SLURM_STEP_TASKS_PER_NODE": str(count),
    }
    ports = []
    while not ports or not all(map(is_free, ports)):
        variables["SLURM_JOB_ID"] = str(random.SystemRandom().randrange(10**6))
        place = slurm.place(variables, port=None)
        ports = [int(one.rpartition(":")[2]) for one in place.addresses]
    return [
        os.environ
        | variables
        | {"SLURM_PROCID": str(index), "SLURM_LOCALID": str(index)}
        for index in range(count)
    ]

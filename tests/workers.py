"""Processes on this machine that train one model together."""

import contextlib
import json
import os
import random
import socket
import subprocess
import sys

from gdtrain.distributed import slurm
from tests import waiting

# Above those of Ray's workers, and below those that a system gives to whoever
# asks for any; each process of pytest has its own
_PORTS = range(20_000, 32_000)
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))


def is_free(port):
    """Whether nobody listens on a port."""
    with socket.socket() as one:
        return one.connect_ex(("localhost", port)) != 0


def free_ports(count):
    """Ports that nobody listens on, nor is given by chance meanwhile."""
    found = []
    own = _PORTS[_WORKER % 16 :: 16]
    for port in random.SystemRandom().sample(own, len(own)):
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


@contextlib.contextmanager
def started(environments, module, *arguments):
    """Processes that run a module, one in each environment; killed at the end.

    Args:
        environments: A list of dicts.
        module: Its name.
        *arguments: Of all; of one that is callable, what it returns for the
            number of the process.
    """
    processes = [
        subprocess.Popen(
            [
                sys.executable,
                "-m",
                module,
                *(str(a(i) if callable(a) else a) for a in arguments),
            ],
            env={"TF_CPP_MIN_LOG_LEVEL": "3"} | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for i, environment in enumerate(environments)
    ]
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def run(environments, module, *arguments):
    """Runs what `started` starts to its end: `(exit code, output, errors)`s."""
    with started(environments, module, *arguments) as processes:
        found = [p.communicate(timeout=waiting.SECONDS) for p in processes]
    return [
        (p.returncode, *texts)
        for p, texts in zip(processes, found, strict=True)
    ]

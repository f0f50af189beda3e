"""Processes on this machine that train one model together."""

import json
import os
import random
import socket

# Below those that a system gives to whoever asks for any
_PORTS = range(10_000, 30_000)


def free_ports(count):
    """Ports that nobody listens on, nor is given by chance meanwhile."""
    found = []
    for port in random.SystemRandom().sample(_PORTS, len(_PORTS)):
        with socket.socket() as one:
            if not one.connect_ex(("localhost", port)):
                continue
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

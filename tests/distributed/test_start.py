"""What processes say that cannot start together."""

import re
import socket

import pytest

from gdtrain.distributed import strategies
from gdtrain.distributed.cluster import Cluster
from tests import workers

CLUSTER = Cluster({"worker": ["a:1", "b:2"]}, "worker", 0)
TAKEN = (
    r"RuntimeError: Each process must have a port of its own\. Received: \S+, "
    r"which is taken.* End that one; or choose other ports"
)


def absent(who, seconds, address):
    return (
        rf"RuntimeError: All 2 processes must start within {seconds} seconds\. "
        rf"Received: nothing from worker-{who} \({address}\)\. See the log of "
        r"that process; check that its address can be reached from here; or "
        r"wait longer, by `strategy\(start_timeout=\.\.\.\)`"
    )


@pytest.mark.parametrize(
    "said, message",
    [
        ("Could not start gRPC server", TAKEN),
        (
            "Barrier timed out. ... timed out task names:\n"
            "/job:worker/replica:0/task:1\nError reported from: x",
            absent(1, 600, "b:2"),
        ),
        ("Deadline Exceeded", absent(0, 600, "a:1")),
        ("Other.\nMore", r"able to connect\. Received: Other\.\. Start all"),
    ],
)
def test_errors_of_tensorflow_say_what_to_do(said, message):
    error = strategies._not_started(CLUSTER, {"start_timeout": 600}, said)
    assert re.search(message, f"RuntimeError: {error}")


def end_of(environment):
    """The code of a process that waits for another, and its last line."""
    ((code, _, errors),) = workers.run(
        [environment], "tests.distributed.member", "does not come", "1"
    )
    return code, errors.strip().splitlines()[-1], errors


@pytest.mark.long
def test_port_that_is_taken_is_named():
    (port,) = workers.free_ports(1)
    environment = workers.environments(2)[0]
    config = environment["TF_CONFIG"]
    first = re.search(r"localhost:\d+", config)[0]
    environment["TF_CONFIG"] = config.replace(first, f"localhost:{port}")
    with socket.socket() as taken:
        taken.bind(("", port))
        taken.listen()
        code, last, errors = end_of(environment)
    assert code == 1 and re.match(TAKEN, last), errors
    assert f"Received: localhost:{port}, " in last


@pytest.mark.long
@pytest.mark.parametrize("who", [0, 1])
def test_worker_that_does_not_come_is_named(who):
    environment = workers.environments(2)[1 - who]
    code, last, errors = end_of(environment)
    assert code == 1, errors
    assert re.match(absent(who, 4, r"localhost:\d+"), last), errors

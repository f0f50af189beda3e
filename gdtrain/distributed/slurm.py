"""The processes that `srun` of Slurm starts, from its variables."""

import dataclasses
import itertools
import re
from collections.abc import Mapping

from gdtrain.common.explained import more

_FIRST_PORT = 10_000
_MOST_TASKS = 64  # Ports that are kept for the processes of a machine
_SLOTS = 300  # Below the ports that a system gives to whoever asks for any


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a process is among those of a job's step.

    Args:
        addresses: Of all processes, `host:port`, in their order.
        index: Which of them it is.
        local: Which of the processes of its machine it is, and how many those
            are.
    """

    addresses: list[str]
    index: int
    local: tuple[int, int]


def place(environment: Mapping[str, str], port: int | None) -> Place | None:
    """The place of this process; `None` if `srun` has not started it.

    `salloc` and `sbatch` set variables as well, in a shell that is one
    process; those of a step only `srun` sets.

    Args:
        environment: As `os.environ`.
        port: Of the first process of a machine; `None` for one that depends on
            the job and its step.

    Raises:
        ValueError: if variables are missing or contradict each other.

    Example:

    >>> variables = {
    ...     "SLURM_JOB_ID": "7",
    ...     "SLURM_STEP_ID": "0",
    ...     "SLURM_PROCID": "2",
    ...     "SLURM_NTASKS": "3",
    ...     "SLURM_LOCALID": "0",
    ...     "SLURM_STEP_NODELIST": "node[1-2]",
    ...     "SLURM_STEP_TASKS_PER_NODE": "2,1",
    ... }
    >>> place(variables, port=5000).addresses
    ['node1:5000', 'node1:5001', 'node2:5000']
    """
    if not (
        environment.get("SLURM_PROCID")
        and (
            environment.get("SLURM_STEP_NODELIST")
            or environment.get("SLURM_STEP_ID")
        )
    ):
        return None
    index = _number(environment, "SLURM_PROCID")
    name = _first(environment, "SLURM_STEP_NUM_TASKS", "SLURM_NTASKS")
    count = _number(environment, name)
    if count == 1:
        return None
    nodes_name = _first(
        environment, "SLURM_STEP_NODELIST", "SLURM_JOB_NODELIST"
    )
    nodes = nodes_of(environment[nodes_name])
    tasks_name = _first(
        environment, "SLURM_STEP_TASKS_PER_NODE", "SLURM_TASKS_PER_NODE"
    )
    per_node = tasks_of(environment[tasks_name])
    if len(per_node) != len(nodes) or sum(per_node) != count:
        raise _contradiction(environment, name, nodes_name, tasks_name)
    if port is None:
        port = _port(environment)
    addresses = [
        (f"{node}:{port + local}", local, tasks)
        for node, tasks in zip(nodes, per_node, strict=True)
        for local in range(tasks)
    ]
    local = environment.get("SLURM_LOCALID")
    if index >= count or (local and int(local) != addresses[index][1]):
        raise _contradiction(
            environment, "SLURM_PROCID", "SLURM_LOCALID", name, tasks_name
        )
    return Place(
        [address for address, _, _ in addresses], index, addresses[index][1:]
    )


def nodes_of(text: str) -> list[str]:
    """The names in a list of nodes as Slurm writes it.

    Raises:
        ValueError: if it cannot be understood.

    Example:

    >>> nodes_of("node[01-03,7],gpu2")
    ['node01', 'node02', 'node03', 'node7', 'gpu2']
    >>> nodes_of("rack[1-2]n[3-4]-ib")
    ['rack1n3-ib', 'rack1n4-ib', 'rack2n3-ib', 'rack2n4-ib']
    """
    names = re.findall(r"(?:[^\[\],]|\[[\d,-]+\])+", text)
    if not names or ",".join(names) != text:
        raise _unreadable("A list of nodes", "node[01-03,7],gpu2", text)
    return [
        "".join(parts)
        for name in names
        for parts in itertools.product(
            *(
                _numbers(part[1:-1]) if part.startswith("[") else [part]
                for part in re.findall(r"\[.*?\]|[^\[\]]+", name)
            )
        )
    ]


def _numbers(text: str) -> list[str]:
    """The numbers of a list such as `01-03,7`, with their zeros."""
    found = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        last = last or first
        if not first.isdigit() or not last.isdigit() or int(last) < int(first):
            raise _unreadable("Numbers of nodes", "01-03,7", text)
        found += [
            str(number).zfill(len(first))
            for number in range(int(first), int(last) + 1)
        ]
    return found


def tasks_of(text: str) -> list[int]:
    """How many processes each node has, as Slurm writes it.

    Raises:
        ValueError: if it cannot be understood.

    Example:

    >>> tasks_of("2(x3),1")
    [2, 2, 2, 1]
    """
    found = []
    for part in text.split(","):
        match = re.fullmatch(r"(\d+)(?:\(x(\d+)\))?", part)
        if match is None:
            raise _unreadable("A number of tasks a node", "2(x3),1", text)
        found += [int(match[1])] * int(match[2] or 1)
    return found


def gpus_of(local: tuple[int, int], count: int) -> list[int]:
    """Which GPUs of a machine are those of one of its processes.

    Args:
        local: Which of the processes of its machine it is, and how many those
            are.
        count: How many GPUs the machine has.

    Raises:
        ValueError: if there are fewer GPUs than processes.

    Example:

    >>> gpus_of((1, 2), 4)
    [2, 3]
    """
    index, tasks = local
    each = count // tasks
    if count and not each:
        raise ValueError(
            "Each process of a machine must have a GPU of its own. Received: "
            f"{tasks} processes and {count} GPUs. Start fewer processes, as "
            f"by `srun --ntasks-per-node={count}`; or hide the GPUs, by "
            "CUDA_VISIBLE_DEVICES=-1." + more("cluster-start")
        )
    return list(range(index * each, (index + 1) * each))


def has_own_gpus(environment: Mapping[str, str], tasks: int) -> bool:
    """Whether Slurm, or the user, says which GPUs are one process's own.

    Args:
        environment: As `os.environ`.
        tasks: How many processes the machine has.

    Example:

    >>> has_own_gpus({"CUDA_VISIBLE_DEVICES": "1", "SLURM_STEP_GPUS": "0,1"}, 2)
    True
    >>> both = {"CUDA_VISIBLE_DEVICES": "0,1", "SLURM_STEP_GPUS": "4,5"}
    >>> has_own_gpus(both, 2)
    False
    """
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return False
    # Numbers may differ, as those that are visible are counted from 0.
    of_step = environment.get("SLURM_STEP_GPUS", visible)
    count = len(visible.split(","))
    return count < tasks or count < len(of_step.split(","))


def _port(environment: Mapping[str, str]) -> int:
    """A port that steps which are on a machine together do not share."""
    job = _number(environment, "SLURM_JOB_ID")
    step = _number({"SLURM_STEP_ID": "0", **environment}, "SLURM_STEP_ID")
    # Neighbours of a job are other jobs and its own steps.
    return _FIRST_PORT + _MOST_TASKS * ((17 * job + step) % _SLOTS)


def _number(environment: Mapping[str, str], name: str) -> int:
    value = environment.get(name, "")
    if not value.isdigit():
        raise ValueError(
            f"{name} must be a number, as Slurm sets it. Received: "
            f"{name}={value!r}. Start the processes by `srun`."
            + more("cluster-start")
        )
    return int(value)


def _first(environment: Mapping[str, str], *names: str) -> str:
    """The first of some variables that is set."""
    for name in names:
        if environment.get(name):
            return name
    raise ValueError(
        "A process that `srun` starts must have one of the variables "
        f"{' and '.join(names)}. Received: none of them. Start the processes "
        "by `srun`, without changing its environment." + more("cluster-start")
    )


def _contradiction(environment: Mapping[str, str], *names: str) -> ValueError:
    received = ", ".join(f"{name}={environment.get(name)!r}" for name in names)
    return ValueError(
        "The variables of Slurm must describe the same processes, in the "
        f"order of their nodes. Received: {received}. Start them by `srun "
        "--distribution=block`, without changing its environment."
    )


def _unreadable(what: str, example: str, text: str) -> ValueError:
    return ValueError(
        f"{what} must be written as Slurm does, for example {example!r}. "
        f"Received: {text!r}. Start the processes by `srun`, without changing "
        "its environment."
    )

"""The cluster that this process is a part of, from its environment."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from gdtrain.common.explained import more
from gdtrain.distributed import slurm


@dataclasses.dataclass(frozen=True)
class Cluster:
    """Processes that train one model together.

    Args:
        tasks: Their addresses, `host:port`, by type of task: `"chief"` and
            `"worker"`.
        kind: The type of task of this process.
        index: Which of them this process is.
        local: Which of the processes of its machine it is, and how many those
            are, if that is known.
    """

    tasks: dict[str, list[str]]
    kind: str
    index: int
    local: tuple[int, int] | None = None

    @property
    def count(self) -> int:
        """How many processes there are."""
        return sum(map(len, self.tasks.values()))

    @property
    def address(self) -> str:
        """The address of this process."""
        return self.tasks[self.kind][self.index]

    @property
    def first(self) -> tuple[str, str]:
        """Type and index of the task that the others report to."""
        return ("chief" if "chief" in self.tasks else "worker"), "0"


def find(environment: Mapping[str, str], port: int | None) -> Cluster | None:
    """The cluster of this process; `None` if it is alone.

    `TF_CONFIG` counts before the variables of Slurm.

    Args:
        environment: As `os.environ`.
        port: Of the first process of a machine under Slurm; `None` for one
            that depends on the job.

    Raises:
        ValueError: if variables cannot be understood.

    Example:

    >>> tasks = '{"worker": ["a:1", "b:1"]}'
    >>> task = '{"type": "worker", "index": 1}'
    >>> config = f'{{"cluster": {tasks}, "task": {task}}}'
    >>> find({"TF_CONFIG": config}, None).index
    1
    >>> find({}, None) is None
    True
    """
    if environment.get("TF_CONFIG", "").strip():
        found = of_tf_config(environment["TF_CONFIG"])
    else:
        place = slurm.place(environment, port)
        if place is None:
            return None
        found = Cluster(
            {"worker": place.addresses}, "worker", place.index, place.local
        )
    return found if found.count > 1 else None


def of_tf_config(text: str) -> Cluster:
    """Reads `TF_CONFIG`.

    Raises:
        ValueError: if it does not describe a cluster and a task of it.
    """
    try:
        config = json.loads(text)
    except ValueError as error:
        raise _bad(f"be JSON. JSON's error: {error}", text) from None
    if not isinstance(config, dict):
        raise _bad("be an object of JSON", text)
    tasks = config.get("cluster") or {}
    if not tasks and not config.get("task"):  # As `{}`, of one process
        return Cluster({"worker": [""]}, "worker", 0)
    if (
        not isinstance(tasks, dict)
        or not tasks
        or not all(_is_addresses(addresses) for addresses in tasks.values())
    ):
        raise _bad('have addresses, "host:port", of each worker', text)
    if not tasks.keys() <= {"chief", "worker"}:
        raise _bad('have no tasks but "chief" and "worker"', text)
    if len(tasks.get("chief", ())) > 1:
        raise _bad("have at most one chief", text)
    task = config.get("task")
    if not isinstance(task, dict) or task.get("type") not in tasks:
        raise _bad("say which task of the cluster this process is", text)
    kind = task["type"]
    try:
        index = int(task.get("index", ""))
    except (TypeError, ValueError):
        raise _bad("have a number as index of the task", text) from None
    if not 0 <= index < len(tasks[kind]):
        most = len(tasks[kind]) - 1
        raise _bad(
            f"have an index of the task from 0 to {most}, as the cluster has "
            f'{most + 1} of type "{kind}"',
            text,
        )
    return Cluster({k: list(tasks[k]) for k in sorted(tasks)}, kind, index)


def _is_addresses(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) > 0
        and all(
            isinstance(address, str) and address.rpartition(":")[2].isdigit()
            for address in value
        )
    )


def _bad(must: str, text: str) -> ValueError:
    return ValueError(
        f"`TF_CONFIG` must {must}. Received: "
        f"TF_CONFIG={text!r}. Write one for each process, as "
        '{"cluster": {"worker": ["host1:12345", "host2:12345"]}, "task": '
        '{"type": "worker", "index": 0}}; or unset it to train alone.'
        + more("cluster-start")
    )

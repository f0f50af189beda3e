"""The strategy that fits where a program runs."""

import contextlib
import os
import re
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

from gdtrain.common import checks
from gdtrain.common.explained import more
from gdtrain.distributed import cluster as clusters
from gdtrain.distributed import membership, slurm
from gdtrain.distributed.cluster import Cluster
from gdtrain.keras_bridge import coordination

_COMMUNICATION = {
    "auto": tf.distribute.experimental.CommunicationImplementation.AUTO,
    "nccl": tf.distribute.experimental.CommunicationImplementation.NCCL,
    "ring": tf.distribute.experimental.CommunicationImplementation.RING,
}


class WatchedStrategy(tf.distribute.MultiWorkerMirroredStrategy):
    """A strategy that is watched while its variables are made.

    Each of them waits for its initial value, which the first worker sends.
    """

    @contextlib.contextmanager
    def scope(self) -> Iterator[None]:
        """As that of any `tf.distribute.Strategy`."""
        # Called by the creator of the strategy, for one replica at a time
        with tf.variable_creator_scope(_create_watched), super().scope():
            yield


def _create_watched(
    next_creator: Callable[..., tf.Variable], **kwargs: Any
) -> tf.Variable:
    with membership.waiting():
        return next_creator(**kwargs)


#: The strategy of this process, and the options that it was made with
_made: list[tuple[tf.distribute.Strategy, dict[str, Any]]] = []


def strategy(
    *,
    threads: int | None = None,
    heartbeat: float = 8,
    timeout: float = 1800,
    start_timeout: float = 600,
    communication: str = "auto",
    port: int | None = None,
) -> tf.distribute.Strategy:
    """The `tf.distribute.Strategy` that fits where a program runs.

    | where | what is returned |
    |---|---|
    | alone, with one GPU or none | the default strategy: no change |
    | alone, with several GPUs | `tf.distribute.MirroredStrategy` |
    | `TF_CONFIG` with several workers, as Kubernetes, Ray Train and others \
    set it | `tf.distribute.MultiWorkerMirroredStrategy` |
    | several processes started by `srun` of Slurm, with or without GPUs | \
    `tf.distribute.MultiWorkerMirroredStrategy` |

    Call it before anything else of TensorFlow, and make and compile the model
    within its `scope()`. A script in a shell of `salloc` or `sbatch` is alone.
    Several processes of Slurm on one machine share its GPUs out, unless
    CUDA_VISIBLE_DEVICES says which are a process's own. A second call returns
    the same strategy.

    With several processes, a worker that is lost ends the others with a
    `WorkerLost`; SIGTERM ends a process; and a program that comes to its end
    waits for the others, as they would fail if it left.

    Args:
        threads: How many threads an operation may use; for several processes
            on one machine. Defaults to `None`, as many as there are cores.
        heartbeat: Seconds after which a process that sends no heartbeat is
            lost. Defaults to 8, so that all notice in less than 12.
        timeout: Seconds that workers wait for one that sends heartbeats but
            takes no part, as it hangs; then they end. Defaults to 1800: longer
            than a chief alone takes to save or evaluate, and than a block of
            steps takes to compile.
        start_timeout: Seconds in which all processes must have started.
            Defaults to 600.
        communication: `"auto"`, `"ring"` or `"nccl"`: what gradients are
            summed by. Defaults to `"auto"`.
        port: Under Slurm, the port of the first process of each machine.
            Defaults to `None`, one that depends on the job.

    Returns:
        A `tf.distribute.Strategy`.

    Raises:
        TypeError, ValueError: if an argument or a variable of the environment
            cannot be used, or a second call has other arguments.
        RuntimeError: if there are several processes and TensorFlow has been
            used before, a port is taken, or some process does not come.

    Example:

    >>> import gdtrain, keras, numpy as np
    >>> strategy = gdtrain.distributed.strategy()
    >>> with strategy.scope():
    ...     model = gdtrain.Sequential([keras.layers.Dense(1)])
    ...     model.compile("sgd", loss="mse")
    >>> history = model.fit(np.ones([8, 1]), np.ones([8, 1]), verbose=0)
    >>> strategy.num_replicas_in_sync
    1
    """
    options = {
        "threads": threads,
        "heartbeat": heartbeat,
        "timeout": timeout,
        "start_timeout": start_timeout,
        "communication": communication,
        "port": port,
    }
    if _made:
        made, before = _made[0]
        if options != before:
            raise ValueError(
                "A process has one strategy, so each call must have the same "
                f"arguments. Received: {options}, and before {before}."
                + more("cluster-start")
            )
        return made
    _check(options)
    cluster = clusters.find(os.environ, port)
    if cluster is None:
        made = _alone(threads)
    else:
        made = _of_cluster(cluster, options)
    _made.append((made, options))
    return made


def _check(options: dict[str, Any]) -> None:
    """Refuses arguments that cannot be used."""
    checks.one_of(
        "communication", options["communication"], tuple(_COMMUNICATION)
    )
    for name in ("threads", "port"):
        if options[name] is not None:
            checks.positive_integer(name, options[name])
    for name in ("heartbeat", "timeout", "start_timeout"):
        checks.positive_number(name, options[name], "Write seconds.")


def _set_threads(threads: int | None) -> None:
    if threads is None:
        return
    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        # One that waits for another process must not hold up the rest.
        tf.config.threading.set_inter_op_parallelism_threads(max(2, threads))
    except RuntimeError as error:
        raise _too_late("`threads` is set") from error


def _alone(threads: int | None) -> tf.distribute.Strategy:
    _set_threads(threads)
    if len(tf.config.get_visible_devices("GPU")) > 1:
        return tf.distribute.MirroredStrategy()
    return tf.distribute.get_strategy()


def _of_cluster(
    cluster: Cluster, options: dict[str, Any]
) -> tf.distribute.Strategy:
    """The strategy of several processes."""
    if coordination.is_initialized():
        raise _too_late("processes are connected")
    _set_threads(options["threads"])
    _share_gpus(cluster)
    coordination.configure(
        cluster.tasks,
        "/job:{}/replica:0/task:{}".format(*cluster.first),
        options["heartbeat"],
        options["start_timeout"],
    )
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec(cluster.tasks),
        task_type=cluster.kind,
        task_id=cluster.index,
        num_accelerators={"GPU": len(tf.config.get_visible_devices("GPU"))},
        rpc_layer="grpc",
    )
    try:
        made = WatchedStrategy(
            resolver,
            # Its own `timeout_seconds` would leave a thread for each sum.
            tf.distribute.experimental.CommunicationOptions(
                implementation=_COMMUNICATION[options["communication"]]
            ),
        )
    except tf.errors.OpError as error:
        raise _not_started(cluster, options, error.message) from error
    membership.begin(cluster, options["timeout"])
    return made


def _not_started(
    cluster: Cluster, options: dict[str, Any], message: str
) -> RuntimeError:
    """Why processes were not connected."""
    if "Could not start gRPC server" in message:
        return RuntimeError(
            "Each process must have a port of its own. Received: "
            f"{cluster.address}, which is taken, as by a process of an "
            "earlier start. End that one; or choose other ports, in "
            "`TF_CONFIG`, or under Slurm by `strategy(port=...)`."
            + more("cluster-start")
        )
    missing = re.findall(
        r"/job:(\w+)/replica:0/task:(\d+)",
        message.partition("timed out task names:")[2].partition("rror ")[0],
    )
    if "Deadline Exceeded" in message and not missing:
        missing = [cluster.first]  # Whom the others report to
    if not missing:
        return RuntimeError(
            "All processes of a cluster must be able to connect. Received: "
            f"{message.splitlines()[0]}. Start all of them again, each with "
            "the same addresses and a number of its own."
            + more("cluster-start")
        )
    names = " and ".join(
        f"{kind}-{index} ({cluster.tasks[kind][int(index)]})"
        for kind, index in dict.fromkeys(missing)
    )
    return RuntimeError(
        f"All {cluster.count} processes must start within "
        f"{options['start_timeout']:g} seconds. Received: nothing from "
        f"{names}. See the log of that process; check that its address can "
        "be reached from here; or wait longer, by "
        "`strategy(start_timeout=...)`." + more("cluster-start")
    )


def _share_gpus(cluster: Cluster) -> None:
    """Hides the GPUs of the other processes of this machine under Slurm."""
    if cluster.local is None or cluster.local[1] == 1:
        return
    gpus = tf.config.get_visible_devices("GPU")
    if gpus and not slurm.has_own_gpus(os.environ, cluster.local[1]):
        chosen = slurm.gpus_of(cluster.local, len(gpus))
        tf.config.set_visible_devices([gpus[i] for i in chosen], "GPU")


def _too_late(what: str) -> RuntimeError:
    return RuntimeError(
        "`gdtrain.distributed.strategy()` must be called before anything else "
        f"of TensorFlow, as {what} before TensorFlow has its devices. "
        "Received: a call after an operation, a model or a list of devices. "
        "Move it up, to right after the imports." + more("cluster-start")
    )

"""TensorFlow's coordination service, which watches the processes of a cluster.

Its process is that of the first task. All the others send it heartbeats, and
learn from it when one is lost.
"""

import contextlib
from collections.abc import Mapping, Sequence

import tensorflow as tf
from tensorflow.compiler.xla.tsl.protobuf import coordination_config_pb2
from tensorflow.python.eager import context


def is_initialized() -> bool:
    """Whether TensorFlow has its devices, so that no cluster can be set up.

    Needs `_context_handle`; without it, a strategy that is asked for too late
    fails with TensorFlow's own message.
    """
    return getattr(context.context(), "_context_handle", None) is not None


def configure(
    tasks: Mapping[str, Sequence[str]],
    leader: str,
    heartbeat: float,
    start_timeout: float,
) -> None:
    """Sets how lost processes are noticed, before a strategy is made.

    Needs `configure_coordination_service`, which
    `tf.distribute.MultiWorkerMirroredStrategy` calls itself if nobody has;
    without it, times are TensorFlow's, and a process that never comes is
    waited for without end.

    Args:
        tasks: The addresses of the cluster, by type of task.
        leader: The device name of the first task.
        heartbeat: Seconds without a heartbeat after which a process is lost.
        start_timeout: Seconds in which all processes must have come.
    """
    context.context().configure_coordination_service(
        "standalone",
        service_leader=leader,
        cluster_register_timeout_in_ms=round(1000 * start_timeout),
        heartbeat_timeout_in_ms=round(1000 * heartbeat),
        coordinated_jobs=[
            coordination_config_pb2.CoordinatedJob(
                name=kind, num_tasks=len(addresses)
            )
            for kind, addresses in tasks.items()
        ],
    )
    # All come before any goes on, so that it is said who is missing.
    config = context.context().coordination_service
    config.cluster_register_with_barrier = True


def publish(key: str) -> bool:
    """Sets a key that all processes see; returns whether nobody had.

    Needs `set_config_key_value`; without it, no process learns that another
    has ended or waits.

    Raises:
        tf.errors.OpError: if the first process is lost.
    """
    try:
        context.context().set_config_key_value(key, "1")
    except tf.errors.AlreadyExistsError:
        return False
    return True


def withdraw(key: str) -> None:
    """Removes a key.

    Needs `delete_config_key_value`; without it, a worker that was slow once
    cannot be told from one that hangs later.

    Raises:
        tf.errors.OpError: if the first process is lost.
    """
    context.context().delete_config_key_value(key)


def is_published(key: str, seconds: float = 0.001) -> bool:
    """Whether a key is set, at the latest after some seconds.

    Needs `get_config_key_value`, as `publish`.

    Raises:
        tf.errors.OpError: if the first process is lost.
    """
    try:
        context.context().get_config_key_value(key, round(1000 * seconds))
    except (tf.errors.DeadlineExceededError, tf.errors.NotFoundError):
        return False
    return True


def is_lost(kind: str, index: int) -> bool:
    """Whether a process has failed, as far as the first one knows.

    Needs `get_task_states`; without it, one that ends waits for those that
    are lost.

    Raises:
        tf.errors.OpError: if the first process is lost.
    """
    # Numbers of tasks by type of task; states of all of those are returned.
    states = context.context().get_task_states([(kind, index + 1)])
    return states[index] is not None


def report(message: str) -> None:
    """Has what waits for other processes fail in all of them.

    Needs `report_error_to_cluster` and `abort_collective_ops`; without them,
    others notice that a process has failed when it has ended.
    """
    with contextlib.suppress(tf.errors.OpError, ValueError):
        context.context().report_error_to_cluster(
            tf.errors.UNAVAILABLE, message
        )
    with contextlib.suppress(tf.errors.OpError, ValueError):
        context.context().abort_collective_ops(tf.errors.UNAVAILABLE, message)

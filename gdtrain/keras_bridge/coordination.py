"""TensorFlow's coordination service, which watches the processes of a cluster.

Its process is that of the first task. All the others send it heartbeats, and
learn from it when one is lost.
"""

from collections.abc import Mapping, Sequence

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

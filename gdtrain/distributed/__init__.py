"""Training on several processes and machines."""

from gdtrain.distributed.ray_session import stop_repeated_crash
from gdtrain.distributed.strategies import strategy
from gdtrain.distributed.worker_lost import WorkerLost

__all__ = ["WorkerLost", "stop_repeated_crash", "strategy"]

"""Training on several processes and machines."""

from gdtrain.distributed.ray_session import stop_repeated_crash
from gdtrain.distributed.strategies import strategy

__all__ = ["stop_repeated_crash", "strategy"]

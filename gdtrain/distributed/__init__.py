"""Training on several processes and machines."""

from gdtrain.distributed.strategies import strategy

__all__ = ["strategy"]

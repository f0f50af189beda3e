"""Where batches come from, and in which order. See `protocols`.

Public is what `fit`, `evaluate` and `predict` take beside what Keras's take.
"""

from gdtrain.data.worker_data import WorkerData

__all__ = ["WorkerData"]

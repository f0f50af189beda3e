"""Where batches come from, and in which order. See `protocols`.

Public is what `fit`, `evaluate` and `predict` take beside what Keras's take.
"""

from gdtrain.data.sharded import ShardedDataset
from gdtrain.data.shards import ArrayShard, Shard, ShardError, TFRecordShards
from gdtrain.data.worker_data import WorkerData

__all__ = [
    "ArrayShard",
    "Shard",
    "ShardError",
    "ShardedDataset",
    "TFRecordShards",
    "WorkerData",
]

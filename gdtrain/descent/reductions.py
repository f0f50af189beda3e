"""Losses that are a sum, which a mean over parts of a batch would shrink."""

import keras


def check_means(loss, microbatches, strategy):
    """Refuses a loss that is a sum where a batch is trained on in parts.

    Args:
        loss: What `compile` received: a loss, its name, or a structure.
        microbatches: Into how many parts a batch is split.
        strategy: The `tf.distribute.Strategy` of the model.

    Raises:
        ValueError: if a loss has `reduction="sum"` and there are several
            micro-batches or replicas.
    """
    parts = microbatches * strategy.num_replicas_in_sync
    if parts == 1:
        return
    for one in keras.tree.flatten(loss):
        if getattr(one, "reduction", None) == "sum":
            raise ValueError(
                "With several micro-batches or replicas, each loss must be a "
                f"mean over examples. Received: {type(one).__name__}("
                f"reduction='sum') with microbatches={microbatches} and "
                f"{strategy.num_replicas_in_sync} replicas. Write "
                "reduction='sum_over_batch_size', and a learning rate larger "
                "by the batch size."
            )

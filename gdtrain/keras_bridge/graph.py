"""The graph of a functional model: which operation makes which tensor."""

import keras


def producer(
    tensor: keras.KerasTensor,
) -> tuple[keras.Operation, list[keras.KerasTensor]]:
    """The operation that makes a symbolic tensor, and the tensors it takes.

    Needs `_keras_history` and `_inbound_nodes`, as the public `input` of a
    layer is that of its first call; without them no classification head is
    found in a model that is given as a backbone.
    """
    history = tensor._keras_history
    node = history.operation._inbound_nodes[history.node_index]
    return history.operation, list(node.input_tensors)

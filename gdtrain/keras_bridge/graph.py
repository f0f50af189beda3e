"""Graphs: of a functional model, and of a program that is traced."""

from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf
from tensorflow.python.framework import auto_control_deps_utils


def is_graph(model: keras.Model) -> bool:
    """Whether a model is a graph of layers: functional, or a built Sequential.

    The layers of a subclass that has its own `call` cannot be followed.
    """
    # Keras's class of functional models has no public name.
    return bool(getattr(model, "inputs", None))


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


def written_by(operation: tf.Operation) -> list[tf.Tensor]:
    """Handles of the variables that an operation may write.

    Needs TensorFlow's `get_read_write_resource_inputs`, which knows of loops
    and branches what is in them; without it, it is not noticed that a step
    with virtual workers sets a variable of its own.
    """
    _, written = auto_control_deps_utils.get_read_write_resource_inputs(
        operation
    )
    return list(written)


def names_before(tensor: keras.KerasTensor) -> Iterator[str]:
    """The names of the operations that lead to a tensor, as far as one does."""
    operation, inputs = producer(tensor)
    yield operation.name
    if inputs:
        yield from names_before(inputs[0])


def copy_flat(
    model: keras.Model, inputs: keras.KerasTensor
) -> tuple[keras.KerasTensor, list[tuple[keras.Layer, keras.Layer]]]:
    """Calls copies of all layers of a model, those of models in it too.

    `keras.models.clone_model` keeps models within models, so that their
    layers cannot be joined with those of the outer one. `training` that was
    fixed in the call of a model within is not kept.

    Needs `_run_through_graph`; without it no model can be a backbone.

    Args:
        model: A graph of layers with one input and one output.
        inputs: What the copies are called with.

    Returns:
        `(outputs, pairs)`: the output, and the layers with their copies,
        which have other weights.

    Example:

    >>> inner = keras.Sequential([keras.Input([2]), keras.layers.Dense(3)])
    >>> model = keras.Sequential([keras.Input([2]), inner])
    >>> inputs = keras.Input([2])
    >>> outputs, pairs = copy_flat(model, inputs)
    >>> [type(layer).__name__ for layer in keras.Model(inputs, outputs).layers]
    ['InputLayer', 'Dense']
    """
    copies: dict[int, keras.Operation] = {}
    names = set(names_before(inputs))
    pairs: list[tuple[keras.Layer, keras.Layer]] = []

    def copy(operation: keras.Operation) -> keras.Operation:
        """The copy of an operation; a model that is a graph stays as it is."""
        if isinstance(operation, keras.Model) and is_graph(operation):
            return operation
        if id(operation) not in copies:
            config, name = operation.get_config(), operation.name
            while name in names:  # As layers of two models within have it
                name += ".copy"
            names.add(name)
            if name != operation.name:
                config["name"] = name
            copies[id(operation)] = type(operation).from_config(config)
            if isinstance(operation, keras.Layer):
                pairs.append((operation, copies[id(operation)]))
        return copies[id(operation)]

    def call(operation: keras.Operation, *args: Any, **kwargs: Any) -> Any:
        if isinstance(operation, keras.Model) and is_graph(operation):
            return run(operation, args[0])
        return operation(*args, **kwargs)

    def run(part: keras.Model, tensors: Any) -> Any:
        functional = keras.Model(part.inputs, part.outputs)
        return functional._run_through_graph(
            tensors, operation_fn=copy, call_fn=call
        )

    return run(model, inputs)[0], pairs

"""Layers and their variables: finding them, observing their calls."""

import contextlib
import copy
import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import keras
import tensorflow as tf
from keras.src import tree
from keras.src.backend.common import global_state
from keras.src.models import functional as keras_functional

# Layers that are observed even without weights, or with layers within
_ACTIVATIONS = (
    keras.layers.Activation,
    keras.layers.ELU,
    keras.layers.LeakyReLU,
    keras.layers.PReLU,
    keras.layers.ReLU,
    keras.layers.RNN,
    keras.layers.Softmax,
)


def all_layers(layer: keras.Layer) -> list[keras.Layer]:
    """A layer and all layers within it.

    Needs `_flatten_layers`; without it, fits cannot be compared by names.
    """
    return list(layer._flatten_layers())


def child_layers(layer: keras.Layer) -> list[keras.Layer]:
    """The layers directly within a layer.

    Needs `_flatten_layers`; without it a changed architecture is not noticed
    when training is resumed.
    """
    return list(layer._flatten_layers(include_self=False, recursive=False))


def tensorflow_variable(variable: keras.Variable) -> tf.Variable:
    """The TensorFlow variable behind a `keras.Variable`.

    Needs `_value`, as `value` may be cast; without it, variables that two
    objects hold are saved twice.
    """
    return variable._value


def moving_statistics(model: keras.Model) -> list[keras.Variable]:
    """Float variables that layers update themselves, as moving averages.

    Those that a layer made as not trainable, without weights that were frozen
    later. Needs `_flatten_layers` and `_non_trainable_variables`; without
    them the moving averages of batch normalization differ between replicas.
    """
    return [
        variable
        for layer in model._flatten_layers()
        for variable in layer._non_trainable_variables
        if "float" in variable.dtype
    ]


def frozen_parts(
    model: keras.Model,
) -> list[keras.Layer | keras.Variable]:
    """The layers and weights on which `trainable = False` was set.

    Without variables that a layer made as not trainable. Needs
    `_flatten_layers` and `_trainable_variables`; without them it depends on
    the program that runs whether a layer that is frozen after training has
    begun is trained.
    """
    found = []
    for layer in model._flatten_layers():
        if not layer.trainable:
            found.append(layer)
        for variable in layer._trainable_variables:
            if not variable.trainable:
                found.append(variable)
    return found


@contextlib.contextmanager
def compute_in_float32(model: keras.Model) -> Iterator[None]:
    """While open, layers of half precision compute in float32.

    The dtypes of weights stay. Needs `_flatten_layers`, and that
    `compute_dtype` follows `_dtype_policy`; the setter of `dtype_policy` may
    quantize. Without them curvature is measured in half precision, which has
    three digits.
    """
    layers = [
        layer
        for layer in model._flatten_layers()
        if layer.compute_dtype in ("float16", "bfloat16")
    ]
    before = [layer._dtype_policy for layer in layers]
    float32 = keras.DTypePolicy("float32")
    for layer in layers:
        layer._dtype_policy = float32
    try:
        yield
    finally:
        for layer, policy in zip(layers, before, strict=True):
            layer._dtype_policy = policy


def observe_outputs(
    model: keras.Model, observe: Callable[[keras.Layer, Any], None]
) -> contextlib.AbstractContextManager[None]:
    """While open, `observe(layer, output)` follows each call of a layer.

    Of layers that have weights of their own and no layers within, of
    recurrent ones, and of activations. Needs `_flatten_layers`, and that a
    layer's `__call__` looks up `self.call`; without them nothing is observed.
    """

    def after(layer: keras.Layer, _: tuple, output: Any) -> None:
        # The first call may have made weights, or layers within.
        is_activation = isinstance(layer, _ACTIVATIONS)
        if is_activation or (layer.trainable_weights and _is_leaf(layer)):
            observe(layer, output)

    layers = model._flatten_layers()
    return _observed(
        (x for x in layers if isinstance(x, _ACTIVATIONS) or _is_leaf(x)),
        after,
    )


def observe_calls(
    model: keras.Model, observe: Callable[[Any, list, Any], None]
) -> contextlib.AbstractContextManager[None]:
    """While open, `observe(operation, inputs, output)` follows every call.

    Of the model and all layers in it, and of the plain operations of
    functional models, such as `keras.ops.log(x)`; of the layers within a
    layer before the layer itself. Needs `Functional`, `_flatten_layers`, and
    that an operation's `__call__` looks up `self.call`; without them nothing
    is observed.
    """
    operations: dict[int, Any] = {}
    for layer in model._flatten_layers():
        operations[id(layer)] = layer
        if isinstance(layer, keras_functional.Functional):
            operations |= {id(part): part for part in layer.operations}

    def after(operation: Any, arguments: tuple, output: Any) -> None:
        observe(operation, tree.flatten(arguments), output)

    return _observed(operations.values(), after)


@contextlib.contextmanager
def _observed(
    operations: Iterable[Any], after: Callable[[Any, tuple, Any], None]
) -> Iterator[None]:
    """While open, `after(operation, (args, kwargs), output)` follows calls."""
    observed = list(operations)
    for operation in observed:
        # In the instance alone; Keras's own `__setattr__` would track it.
        vars(operation)["call"] = _followed(operation, after)
    try:
        yield
    finally:
        for operation in observed:
            del vars(operation)["call"]


def _followed(
    operation: Any, after: Callable[[Any, tuple, Any], None]
) -> Callable:
    """The operation's `call`, followed by `after`."""
    call = operation.call

    @functools.wraps(call)
    def followed(*args: Any, **kwargs: Any) -> Any:
        output = call(*args, **kwargs)
        after(operation, (args, kwargs), output)
        return output

    return followed


def _is_leaf(layer: keras.Layer) -> bool:
    """Whether a layer has no layers within."""
    return not any(layer._flatten_layers(include_self=False))


def own_variables(layer: keras.Layer) -> list[keras.Variable]:
    """The variables that a layer made itself, without those of layers within.

    Needs `_trainable_variables` and `_non_trainable_variables`; without them
    a trial of advice cannot start from new weights.
    """
    return [*layer._trainable_variables, *layer._non_trainable_variables]


@contextlib.contextmanager
def names_kept() -> Iterator[None]:
    """While open, objects that are made use up no automatic names.

    Needs the global attribute of `keras.src.utils.naming`; without it, a
    layer that is made after a trial may be named `dense_3` in place of
    `dense_2`.
    """
    name = "object_name_uids"
    before = copy.copy(global_state.get_global_attribute(name))
    try:
        yield
    finally:
        global_state.set_global_attribute(name, before)

"""New first values for the weights and the optimizer of a model."""

import random
from typing import Any

import keras

from gdtrain.keras_bridge import layers
from gdtrain.state.variables import keep_random_state

#: A variable, and a new first value of it
Pair = tuple[keras.Variable, Any]


def first_values(model: keras.Model, seed: int = 0) -> list[Pair]:
    """Weights and a state of the optimizer as a new training begins with.

    What initializers give, for the weights that are trained and moving
    averages of batch normalization. Weights that are frozen stay, and so does
    what other layers keep, such as the statistics of a `Normalization`.
    The model is not changed, nor are random generators.

    Args:
        model: A built model with a built optimizer.
        seed: Of initializers without a seed of their own. Defaults to 0.

    Returns:
        Pairs of a variable and its value.

    Raises:
        ValueError: if a layer cannot be made again from its config.

    Example:

    >>> model = keras.Sequential([keras.Input([2]), keras.layers.Dense(1)])
    >>> model.compile("sgd")
    >>> model.optimizer.build(model.trainable_variables)
    >>> values = first_values(model)
    >>> [list(value.shape) for _, value in values[:2]], len(values)
    ([[2, 1], [1]], 4)
    """
    trained = {id(variable) for variable in model.trainable_variables}
    found: dict[int, Pair] = {}
    with keep_random_state(), layers.names_kept():
        random.seed(seed)  # Where initializers draw their seeds
        for layer in layers.all_layers(model):
            own = layers.own_variables(layer)
            moves = isinstance(layer, keras.layers.BatchNormalization)
            moves &= layer.trainable
            if not moves and not any(id(v) in trained for v in own):
                continue
            for variable, value in zip(own, _made_again(layer), strict=True):
                if moves or id(variable) in trained:
                    found[id(variable)] = variable, value
        missing = trained - found.keys()
        if missing:
            raise ValueError(f"{len(missing)} weights belong to no layer")
        return [*found.values(), *_of_optimizer(model)]


def _made_again(layer: keras.Layer) -> list[Any]:
    """New values of the variables that a layer made itself.

    Raises:
        ValueError: if it cannot be made again.
    """
    own = layers.own_variables(layer)
    # Whatever a layer of the user's own raises, it cannot be made again.
    try:
        made = type(layer).from_config(layer.get_config())
        if len(layers.own_variables(made)) != len(own):
            made.build_from_config(layer.get_build_config())
    except Exception as error:
        raise ValueError(
            f"the layer {layer.name!r} cannot be made again from its config "
            f"({error})"
        ) from error
    new = layers.own_variables(made)
    if [v.shape for v in new] != [v.shape for v in own]:
        raise ValueError(
            f"the layer {layer.name!r} has other weights when it is made "
            "again from its config"
        )
    return [variable.numpy() for variable in new]


def _of_optimizer(model: keras.Model) -> list[Pair]:
    """New values of the optimizer's variables."""
    optimizer = model.optimizer
    made = type(optimizer).from_config(optimizer.get_config())
    made.build(model.trainable_variables)
    pairs = zip(optimizer.variables, made.variables, strict=True)
    return [(variable, new.numpy()) for variable, new in pairs]

"""The same model with other options of its layers, as a user would type them.

An edit takes a layer's config and whether the layer is the last one, and
returns the config to build it from.
"""

from collections.abc import Callable
from typing import Any

import keras

Config = dict[str, Any]
Edit = Callable[[Config, bool], Config]


def edited(model: keras.Model, edit: Edit) -> tuple[Any, Any]:
    """Inputs and outputs of a copy with new weights and edited layers."""
    last = model.layers[-1]

    def copy(layer: keras.Layer) -> keras.Layer:
        return type(layer).from_config(edit(layer.get_config(), layer is last))

    clone = keras.models.clone_model(model, clone_function=copy)
    return clone.input, clone.output


def last_activation(name: str | None) -> Edit:
    """Another activation of the last layer."""
    return lambda config, is_last: (
        config | {"activation": name} if is_last else config
    )


def one_unit(name: str) -> Edit:
    """A last layer of one unit with this activation."""
    return lambda config, is_last: (
        config | {"activation": name, "units": 1} if is_last else config
    )


def regularized(strength: float) -> Edit:
    """L2 of all kernels."""

    def edit(config: Config, is_last: bool) -> Config:
        if "kernel_regularizer" not in config:
            return config
        return config | {"kernel_regularizer": keras.regularizers.L2(strength)}

    return edit


def frozen(config: Config, is_last: bool) -> Config:
    """Nothing is trained."""
    return config | {"trainable": False}


def hidden_activation(name: str) -> Edit:
    """Another activation of all layers that have one, but the last."""

    def edit(config: Config, is_last: bool) -> Config:
        if is_last or "activation" not in config:
            return config
        return config | {"activation": name}

    return edit

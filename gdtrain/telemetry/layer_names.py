"""Names of layers, as in `gradient_norm/<layer>`."""

import keras
import tensorflow as tf


def layer_of(weight: keras.Variable | tf.Variable, model_name: str) -> str:
    """The name of the layer that a weight belongs to.

    It is the weight's path, without the weight's own name at its end and the
    model's name in front.

    Args:
        weight: The weight.
        model_name: The name of the model.

    Returns:
        For example `"dense"`, or `"encoder/dense"` in a nested model; the
        model's name for a weight of the model itself.

    Example:

    >>> model = keras.Sequential([keras.layers.Dense(1)], name="line")
    >>> model.build((None, 1))
    >>> layer_of(model.weights[0], "line")
    'dense...'
    """
    if isinstance(weight, keras.Variable):
        layer, _, _ = weight.path.rpartition("/")
        return path_within(layer or model_name, model_name)
    return weight.name.split(":")[0]


def path_within(path: str, model_name: str) -> str:
    """The path of a layer without the name of the model in front."""
    return path.removeprefix(f"{model_name}/")

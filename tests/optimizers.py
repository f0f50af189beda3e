"""All optimizers of Keras, found in its namespace."""

import inspect

import keras

import gdtrain


def wrapped(outer):
    def make(**arguments):
        inner = keras.optimizers.Adam(**arguments)
        if outer is keras.optimizers.LossScaleOptimizer:
            return outer(inner)
        return outer(keras.optimizers.OptimizerMap(inner))

    return make


def found():
    """Functions that make each optimizer of Keras, by name."""
    wrappers = (
        keras.optimizers.LossScaleOptimizer,
        keras.optimizers.MultiOptimizer,
    )
    classes = {"GradientDescent": gdtrain.GradientDescent}
    for name, one in vars(keras.optimizers).items():
        if inspect.isclass(one) and issubclass(one, keras.Optimizer):
            classes[name] = wrapped(one) if one in wrappers else one
    del classes["Optimizer"]
    return classes


OPTIMIZERS = found()

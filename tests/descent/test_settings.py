"""The settings of a step are all that `compile` takes beyond Keras."""

import inspect

import keras

import gdtrain
from gdtrain.descent.settings import Settings


def parameters(model_class):
    return set(inspect.signature(model_class.compile).parameters)


def test_own_settings_are_the_arguments_that_keras_does_not_have():
    added = parameters(gdtrain.Model) - parameters(keras.Model)
    assert set(Settings().own) == added


def test_changed_settings_are_those_that_are_not_the_default():
    assert Settings(jit_compile=True).changed == {}
    assert Settings(microbatches=2).changed == {"microbatches": 2}

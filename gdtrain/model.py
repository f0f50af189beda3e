"""Keras's models, with `DescentTrainer` in front of them."""

from typing import Any, TypeVar

import keras

from gdtrain.descent import settings, update
from gdtrain.keras_bridge import models
from gdtrain.mistakes import labels
from gdtrain.trainer import DescentTrainer

_Model = TypeVar("_Model", bound=keras.Model)


@keras.saving.register_keras_serializable(package="gdtrain")
class Model(DescentTrainer, keras.Model):
    """A `keras.Model` that descends: subclassed, or from inputs and outputs.

    Example:

    >>> import keras, gdtrain
    >>> inputs = keras.Input([1])
    >>> model = gdtrain.Model(inputs, keras.layers.Dense(1)(inputs))
    >>> model.compile(gdtrain.GradientDescent(0.1), loss="mse")
    >>> isinstance(model, keras.Model), model.count_params()
    (True, 2)
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if models.is_functional_call(args, kwargs):
            # Before Keras would rewrite the bases of this class for good.
            self.__class__ = models.functional_subclass(type(self))
        super().__init__(*args, **kwargs)


@keras.saving.register_keras_serializable(package="gdtrain")
class Sequential(Model, keras.Sequential):
    """A `keras.Sequential` that descends, and a `gdtrain.Model`.

    Example:

    >>> import keras, gdtrain
    >>> model = gdtrain.Sequential([keras.Input([1]), keras.layers.Dense(1)])
    >>> model.compile(gdtrain.GradientDescent(0.1), loss="mse")
    >>> model.output_shape
    (None, 1)
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # Not that of `Model`, which takes two arguments for inputs and outputs
        keras.Sequential.__init__(self, *args, **kwargs)


def from_keras(model: _Model) -> _Model:
    """Turns a Keras model into one that descends, in place.

    The object stays the same, with its weights, its optimizer and the
    arguments of `compile`; only its class becomes a subclass of what it was
    and of `gdtrain.Model`. What a class of your own defines stays: its `fit`,
    `train_step` or `compile` is called, and `super()` in it leads to those of
    `gdtrain.Model`. Loading from a file returns the original class; call
    `from_keras` again then.

    Args:
        model: A `keras.Model`: sequential, functional or subclassed.

    Returns:
        `model`.

    Raises:
        TypeError: if `model` is not a Keras model.
        ValueError: if it was compiled with an optimizer or loss that
            `compile` refuses.

    Example:

    >>> import keras, gdtrain
    >>> model = keras.Sequential([keras.Input([1]), keras.layers.Dense(1)])
    >>> gdtrain.from_keras(model) is model
    True
    >>> isinstance(model, gdtrain.Sequential)
    True
    """
    if not isinstance(model, keras.Model):
        raise TypeError(
            "`model` must be a keras.Model. "
            f"Received: {model!r} of type {type(model).__name__}."
        )
    if isinstance(model, DescentTrainer):
        return model
    if model.compiled:
        update.check_optimizer(model.optimizer)
        settings.check_means(model.loss, 1, model.distribute_strategy)
    model.__class__ = _class_for(type(model))
    labels.watch_losses(model)
    # Made by Keras's own trainer; ours are made when they are needed.
    model.train_function = model.test_function = None
    model.predict_function = None
    if not model.jit_compile:
        # Keras does not say whether the user has set it.
        model._descent_settings = settings.Settings(
            resolved_jit_compile=model.jit_compile
        )
    return model


def _class_for(model_class: type) -> type:
    """The class that a model of a Keras class gets."""
    if model_class is keras.Sequential:
        return Sequential
    if models.is_plain_functional(model_class):
        return models.functional_subclass(Model)
    is_sequential = issubclass(model_class, keras.Sequential)
    return models.subclass_of_same_name(
        model_class, (model_class, Sequential if is_sequential else Model)
    )

"""Models: functional classes, what was compiled, building."""

from typing import Any

import keras
from keras.src.models import functional as keras_functional

from gdtrain.keras_bridge import saving


def functional_subclass(model_class: type) -> type:
    """A subclass of `model_class` that is a functional model too.

    Keras turns a subclass of `keras.Model` that is built with
    `(inputs, outputs)` into a functional one by rewriting the `__bases__` of
    that class and of all its parents. From then on, no other subclass can be
    built without inputs and outputs. A class of its own avoids that.

    Needs `Functional`; without it `gdtrain.Model(inputs, outputs)` breaks.
    """
    if issubclass(model_class, keras_functional.Functional):
        return model_class
    return saving.subclass_of_same_name(
        model_class, (model_class, keras_functional.Functional)
    )


def is_plain_functional(model_class: type) -> bool:
    """Whether it is the class of `keras.Model(inputs, outputs)` itself.

    Needs `Functional`; without it `gdtrain.from_keras` breaks.
    """
    return model_class is keras_functional.Functional


def is_functional_call(args: tuple, kwargs: dict[str, Any]) -> bool:
    """Whether a model constructor's arguments are inputs and outputs.

    Restates Keras's rule, `functional_init_arguments`.
    """
    return (
        len(args) == 2
        or (len(args) == 1 and "outputs" in kwargs)
        or ("inputs" in kwargs and "outputs" in kwargs)
    )


def compile_arguments(model: keras.Model) -> dict[str, Any]:
    """The arguments of `compile` by name; empty if it was not called.

    `get_compile_config` raises where an object cannot be serialized, and
    warns about every lambda. Needs `_compile_config`; without it TensorBoard
    does not show how a model was compiled, and a changed loss or metric is
    not noticed when training is resumed.
    """
    config = getattr(model, "_compile_config", None)
    return dict(config.config) if config is not None else {}


def assert_compiled(model: keras.Model, method: str) -> None:
    """Raises a `ValueError` if a model is not compiled.

    Needs `_assert_compile_called`; without it the error comes later.
    """
    model._assert_compile_called(method)


def build(model: keras.Model, batch_spec: Any) -> bool:
    """Makes the variables of a model, its optimizer and its metrics.

    Variables that only a user's own step makes come with that step.

    Args:
        model: The model, compiled.
        batch_spec: A structure of `tf.TensorSpec`, of a batch.

    Returns:
        Whether that was possible.

    Needs `_symbolic_build`; without it a resumed training is checked later.
    """
    try:
        with model.distribute_strategy.scope():
            model._symbolic_build(data_batch=batch_spec)
    except Exception:  # Whatever code of the user's raises
        return False
    return True


def build_under_strategy(model: keras.Model, batch_spec: Any) -> None:
    """Builds a model made under a strategy, with its loss and metrics.

    A step that runs on several replicas cannot make variables. As in Keras,
    a model that was made under no strategy is built by its first step.

    Args:
        model: The model.
        batch_spec: A structure of `tf.TensorSpec`, of a batch.

    Needs `_distribute_strategy` and `_symbolic_build`; without them, models
    that are built by their first batch cannot be trained on several replicas.
    """
    if model._distribute_strategy is not None:
        with model.distribute_strategy.scope():
            model._symbolic_build(data_batch=batch_spec)


def initial_epoch(model: keras.Model) -> int | None:
    """The epoch to begin with that a callback has set, or `None`.

    Needs `_initial_epoch`, which `keras.callbacks.BackupAndRestore` sets;
    without it a resumed training begins with the first epoch.
    """
    return model._initial_epoch

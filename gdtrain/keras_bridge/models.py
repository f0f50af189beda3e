"""Models: their classes, how they are compiled, built, saved and loaded."""

import contextlib
import functools
import json
from collections.abc import Callable, Iterator
from typing import Any

import keras
from keras.src import backend
from keras.src.backend.common import global_state
from keras.src.models import functional as keras_functional
from keras.src.saving import object_registration
from keras.src.utils import module_utils

# Keras's class for ours, where weights are saved under the same names
_KERASS = {
    "gdtrain>PhotoClassifier": keras_functional.Functional,
    "gdtrain>Sequential": keras.Sequential,
}


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
    return subclass_of_same_name(
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
            _build_loss_and_metrics(model, batch_spec)
            model._symbolic_build(data_batch=batch_spec)
    except Exception:  # Whatever code of the user's raises
        return False
    return True


def _build_loss_and_metrics(model: keras.Model, batch_spec: Any) -> None:
    """What `_symbolic_build` does with them, without a forward pass.

    Where the outputs of a model are known, which takes 0.5 s for 16
    convolutions. Needs `Functional`, `_compile_metrics`, `_compile_loss`,
    `_compute_loss` and `compute_output_spec`; without them the pass is made.
    """
    batch = keras.tree.map_structure(_symbolic, batch_spec)
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)
    if not _outputs_are_known(model, x):
        return
    y_pred = model.compute_output_spec(x)
    for part, compute in (
        (model._compile_metrics, model.compute_metrics),
        (
            model._compile_loss,
            functools.partial(model._compute_loss, training=False),
        ),
    ):
        if part is not None and not part.built:
            backend.compute_output_spec(
                compute, x, y, y_pred, sample_weight=sample_weight
            )


def _outputs_are_known(model: keras.Model, x: Any) -> bool:
    """Whether a model's outputs for `x` are those it was built with."""
    kinds = keras_functional.Functional, keras.Sequential
    return (
        isinstance(model, kinds)
        and model.built
        and type(model).call in [kind.call for kind in kinds]
        and [one.shape for one in keras.tree.flatten(x)]
        == [one.shape for one in model.inputs]
    )


def _symbolic(spec: Any) -> keras.KerasTensor | None:
    """What stands for a tensor, of a batch of any size; `None` stays."""
    if spec is None:
        return None
    shape = None, *spec.shape[1:]
    return keras.KerasTensor(shape, backend.standardize_dtype(spec.dtype))


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


def subclass_of_same_name(model_class: type, bases: tuple[type, ...]) -> type:
    """The class with these bases that is saved and printed as `model_class`.

    Made once for each class. Needs `GLOBAL_CUSTOM_NAMES`; without it a
    class registered with `register_keras_serializable` cannot be loaded.
    """
    if "_subclass_of_same_name" not in vars(model_class):
        subclass = type(
            model_class.__name__,
            bases,
            {
                "__module__": model_class.__module__,
                "__qualname__": model_class.__qualname__,
                "__doc__": model_class.__doc__,
                "_made_of": (model_class, bases),
            },
        )
        names = object_registration.GLOBAL_CUSTOM_NAMES
        if model_class in names:
            names[subclass] = names[model_class]
        model_class._subclass_of_same_name = subclass  # type: ignore
    return model_class._subclass_of_same_name  # type: ignore


def reduce_model(
    model: keras.Model, arguments: tuple
) -> tuple[Callable[..., keras.Model], tuple]:
    """What `__reduce__` of a model returns, so that its class is restored.

    Keras pickles a class by its name. That fails for classes that
    `subclass_of_same_name` made and for those that are not registered.

    Args:
        model: The model.
        arguments: Those that Keras's own `__reduce__` gives.
    """
    made_of = getattr(type(model), "_made_of", (type(model), None))
    return _unpickled, (*made_of, arguments)


def _unpickled(
    model_class: type, bases: tuple[type, ...] | None, arguments: tuple
) -> keras.Model:
    """The model that `reduce_model` described.

    Needs `_unpickle_model`; without it models cannot be pickled or copied.
    """
    if bases is not None:
        model_class = subclass_of_same_name(model_class, bases)
    name = keras.saving.get_registered_name(model_class)
    with keras.utils.custom_object_scope({name: model_class}):
        return model_class._unpickle_model(*arguments)  # type: ignore


def fix_hdf5_config(model_class: type, path: str) -> None:
    """Corrects the config in an HDF5 file of a model.

    Keras writes the bare name of a class, `Sequential`, and reads it as its
    own class; and it writes losses as `"mse"`, which it cannot read (seen in
    3.15.1). Needs the attributes `model_config` and `training_config` of the
    file; without them gdtrain's models are loaded as Keras's.
    """
    with module_utils.h5py.File(path, "r+") as file:
        with _json_of(file, "model_config") as config:
            name = keras.saving.get_registered_name(model_class)
            if name.startswith("gdtrain>"):
                config["class_name"] = name
        with _json_of(file, "training_config") as config:
            if "loss" in config:
                config["loss"] = _full_names(config["loss"])


@contextlib.contextmanager
def _json_of(file: Any, name: str) -> Iterator[dict]:
    """An attribute of an HDF5 file; if present, written back at the end."""
    config = json.loads(file.attrs.get(name, "{}"))
    yield config
    if config:
        file.attrs[name] = json.dumps(config).encode()


def _full_names(losses: Any) -> Any:
    """Names of losses, one or a structure, without abbreviations."""
    if isinstance(losses, list):
        return [_full_names(loss) for loss in losses]
    if isinstance(losses, dict) and "class_name" not in losses:
        return {name: _full_names(loss) for name, loss in losses.items()}
    if isinstance(losses, str):
        with contextlib.suppress(ValueError):  # A function of the user's
            return getattr(keras.losses.get(losses), "__name__", losses)
    return losses


def readable_without_gdtrain(config: Any) -> Any:
    """The config of a saved model, under names that plain Keras can find.

    Keras looks for `registered_name` first and for `class_name` in `module`
    after that. So the same file is loaded as gdtrain's class where that is
    imported, and as Keras's own class elsewhere. Needs that order, and the
    modules below, as Keras refuses a `registered_name` with the public names
    of its classes; without them only gdtrain can load these files.

    Args:
        config: What is in the `config.json` of a `.keras` file.
    """
    if isinstance(config, list):
        return [readable_without_gdtrain(item) for item in config]
    if not isinstance(config, dict):
        return config
    config = {k: readable_without_gdtrain(v) for k, v in config.items()}
    kerass = _KERASS.get(str(config.get("registered_name")))
    if kerass is not None:
        config["module"] = kerass.__module__
        config["class_name"] = kerass.__name__
    return config


def is_saving() -> bool:
    """Whether a model is being saved as a whole, not cloned or described.

    Needs the global attribute that `ObjectSharingScope` sets; without it the
    dropout masks of a loaded model differ.
    """
    name = "shared_objects/id_to_config_map"
    return global_state.get_global_attribute(name) is not None

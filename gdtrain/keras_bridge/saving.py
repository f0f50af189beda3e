"""How models are saved and loaded: their classes, pickles and HDF5 files."""

import contextlib
import json
from collections.abc import Callable, Iterator
from typing import Any

import keras
from keras.src.backend.common import global_state
from keras.src.saving import object_registration
from keras.src.utils import module_utils


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


def is_saving() -> bool:
    """Whether a model is being saved as a whole, not cloned or described.

    Needs the global attribute that `ObjectSharingScope` sets; without it the
    dropout masks of a loaded model differ.
    """
    name = "shared_objects/id_to_config_map"
    return global_state.get_global_attribute(name) is not None

"""Members of a class that its page shows: those a user of the class calls.

Keras's members are in Keras's documentation, the hooks of callbacks on the
page of `gdtrain.callbacks.Callback`.
"""

import functools
import inspect
from collections.abc import Iterator
from typing import Any

import keras

import gdtrain
from docs.extensions.public_names import public_names

_OPERATORS = ("__getitem__", "__call__", "__len__")
_CALLED_BY_KERAS = {
    "compile_from_config",
    "get_build_config",
    "get_compile_config",
    "get_config",
    "from_config",
    "make_predict_function",
    "make_test_function",
    "make_train_function",
}


def members_of_classes() -> dict[str, str]:
    """The members to show, joined by commas, by the public name of the class.

    A template of autosummary has only strings.
    """
    return {
        name: ", ".join(members(value))
        for name, value in public_names().items()
        if inspect.isclass(value)
    }


def members(owner: type) -> list[str]:
    """Names of the methods and properties to show, base classes last.

    Args:
        owner: A public class.
    """
    return list(dict.fromkeys(_members(owner)))


def _members(owner: type) -> Iterator[str]:
    """All that is gdtrain's, public, documented, and no hook."""
    for base in inspect.getmro(owner):
        if base.__module__.partition(".")[0] != "gdtrain":
            continue
        for name, member in vars(base).items():
            is_public = not name.startswith("_") or name in _OPERATORS
            is_called = name in _CALLED_BY_KERAS or _is_hook(owner, name)
            if is_public and _is_documented(member) and not is_called:
                yield name


def _is_documented(member: Any) -> bool:
    """Whether it is a method or property with a docstring of its own."""
    is_method = isinstance(
        member,
        (property, functools.cached_property, staticmethod, classmethod),
    ) or inspect.isfunction(member)
    return is_method and bool(getattr(member, "__doc__", None))


def _is_hook(owner: type, name: str) -> bool:
    """Whether `fit` calls it, of a callback that is not its base class."""
    hooks = gdtrain.callbacks.Callback
    is_one = issubclass(owner, keras.callbacks.Callback) and owner is not hooks
    return is_one and hasattr(hooks, name)

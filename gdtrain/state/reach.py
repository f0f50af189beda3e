"""What a model's own code can reach: optimizers, variables, metrics, layers.

Keras tracks what is an attribute of a model, or in a list or dict there. A
step may as well use what is in a dict of dicts, a namespace, a dataclass, a
helper object, a closure or a global variable: these are looked through here,
from the model on. Objects of libraries are not looked into.
"""

import functools
import types
from collections.abc import Iterable, Iterator
from typing import Any

import keras
import tensorflow as tf

from gdtrain.keras_bridge import layers
from gdtrain.state import own_code

VARIABLES = (keras.Variable, tf.Variable, tf.distribute.DistributedValues)
GENERATORS = (keras.random.SeedGenerator, tf.random.Generator)
#: Names and objects that were reached
Reached = list[tuple[str, Any]]

_FOUND = (
    keras.optimizers.Optimizer,
    keras.layers.Layer,
    keras.metrics.Metric,
    tf.Module,
    *VARIABLES,
    *GENERATORS,
)


def reached_from(model: keras.Model) -> Reached:
    """Names and objects that are reached, each once, in a fixed order.

    Args:
        model: A `keras.Model`.

    Example:

    >>> model = keras.Sequential()
    >>> sgd = keras.optimizers.SGD(name="sgd")
    >>> model.own = types.SimpleNamespace(first={"second": sgd})
    >>> [(name, one.name) for name, one in of(model)]
    [('own.first.second', 'sgd')]
    """
    search = _Search(model)
    search.into_object("", model)
    return search.found


class _Search:
    """Collects what is found on the way."""

    def __init__(self, model: keras.Model) -> None:
        self._model = model
        self.found: Reached = []
        self._seen: dict[int, Any] = {}  # Kept alive, by their addresses

    def into(self, path: str, value: Any) -> None:
        """Looks at a value, and through it."""
        kind: Any = type(value)
        if not _is_of_interest(kind) or id(value) in self._seen:
            return
        self._seen[id(value)] = value
        if isinstance(value, _FOUND):
            self.found.append((path, value))
        function = own_code.plain(value)
        if isinstance(value, dict):
            self._into_each(path, value.items())
        elif isinstance(value, (list, tuple, set, frozenset)):
            self._into_each(path, enumerate(own_code.in_order(value)))
        elif isinstance(value, functools.partial):
            self.into(path, [value.func, value.args, value.keywords])
        elif function is not None:
            if own_code.is_own(function):
                self._into_each("", own_code.refers_to(function))
            self.into(path, getattr(value, "__self__", None))  # Of a method
        elif isinstance(value, type):
            if own_code.is_own(value):
                self._into_class(path, value)
        elif isinstance(value, keras.layers.Layer) or _is_own(value):
            self.into_object(path, value)

    def into_object(self, path: str, value: Any) -> None:
        """Looks through attributes and the code of the class."""
        self._seen[id(value)] = value
        own = _is_own(value)
        if not own:
            within = layers.child_layers(value)
            self._into_each(path, [(layer.name, layer) for layer in within])
        # What a library's object has, its variables say, but for the user's
        # own code in it.
        is_whole = own or value is self._model
        for name, item in _attributes(value):
            kind: Any = type(item)
            if is_whole or _is_code(kind):
                self.into(_below(path, name), item)
        for base in type(value).__mro__:
            if own_code.is_own(base):
                self.into(base.__name__, base)

    def _into_class(self, path: str, kind: type) -> None:
        for name, item in vars(kind).items():
            if not name.startswith("__") or own_code.plain(item):
                self.into(_below(path, name), item)

    def _into_each(self, path: str, items: Iterable[tuple[Any, Any]]) -> None:
        for key, item in items:
            self.into(_below(path, key), item)


@functools.lru_cache(maxsize=4096)
def _is_of_interest(kind: type) -> bool:
    """Whether something may be found in, or through, values of a type."""
    looked_through = (
        *_FOUND,
        *(dict, list, tuple, set, frozenset, type),
        *(types.FunctionType, types.MethodType, functools.partial, property),
        *(classmethod, staticmethod, types.SimpleNamespace),
    )
    return (
        issubclass(kind, looked_through)
        or own_code.is_own(kind)
        or hasattr(kind, "python_function")  # Of a `tf.function`
    )


@functools.lru_cache(maxsize=4096)
def _is_code(kind: type) -> bool:
    """Whether values of a type may be code of the user's own."""
    functions = types.FunctionType, types.MethodType, functools.partial
    return issubclass(kind, functions) or own_code.is_own(kind)


def _attributes(value: Any) -> Iterator[tuple[str, Any]]:
    """Names and values of an object's attributes, also those in slots."""
    yield from list(getattr(value, "__dict__", {}).items())
    for base in type(value).__mro__:
        slots = vars(base).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if hasattr(value, name) and not name.startswith("__"):
                yield name, getattr(value, name)


def _is_own(value: Any) -> bool:
    own = isinstance(value, types.SimpleNamespace)
    return own or own_code.is_own(type(value))


def _below(path: str, key: Any) -> str:
    return f"{path}.{key}" if path else str(key)

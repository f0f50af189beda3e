"""Code that is the user's own, and what it can reach."""

import dis
import functools
import inspect
import pathlib
import sys
import sysconfig
import types
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import keras
import tensorflow as tf

from gdtrain.data import data_fingerprint
from gdtrain.keras_bridge import layers

_LIBRARIES = (
    *map(sysconfig.get_path, ("stdlib", "platstdlib", "purelib", "platlib")),
    str(pathlib.Path(__file__).parents[1]),
    "<frozen",
)
_INSTALLED = ("site-packages", "dist-packages")


def is_own(value: Any) -> bool:
    """Whether a function or class is neither of a library nor of Python."""
    if isinstance(value, type):
        return _is_own_class(value)
    code = getattr(value, "__code__", None)
    return code is not None and not _is_library(code.co_filename)


@functools.lru_cache(maxsize=4096)
def _is_own_class(kind: type) -> bool:
    module = sys.modules.get(kind.__module__)
    file = getattr(module, "__file__", None) or ""
    return kind.__module__ != "builtins" and not _is_library(file)


@functools.lru_cache(maxsize=4096)
def _is_library(file: str) -> bool:
    parts = pathlib.PurePath(file).parts
    return file.startswith(_LIBRARIES) or any(p in parts for p in _INSTALLED)


def of(function: Callable) -> str:
    """The leaf of a function's code; see `gdtrain.data.data_fingerprint`.

    It depends on what is executed alone, not on files, lines, or docstring.

    Example:

    >>> of(lambda x: x + 1) == of(lambda x: x + 1)
    True
    >>> of(lambda x: x + 1) == of(lambda x: x + 2)
    False
    """
    text = repr(_parts(function.__code__, function.__doc__))
    name = getattr(function, "__name__", "a function")
    return data_fingerprint.digest("code", name, text.encode())


def _parts(code: types.CodeType, docstring: str | None = None) -> tuple:
    """What a code object executes, as nested tuples that print alike."""
    constants = list(code.co_consts)
    if docstring is not None and constants and constants[0] == docstring:
        constants[0] = None
    return (
        code.co_code,  # As compiled: without what the interpreter adapts
        code.co_names,
        code.co_varnames,
        code.co_freevars,
        [_constant(one) for one in constants],
    )


def _constant(value: Any) -> Any:
    if isinstance(value, types.CodeType):
        return _parts(value)
    if isinstance(value, frozenset):  # Its order differs from run to run
        return sorted(map(repr, value))
    return value


def refers_to(function: Callable) -> Iterator[tuple[str, Any]]:
    """Names and values that a function takes from elsewhere.

    Those of its closure, its defaults, and the globals that it reads, also
    in functions within it; each if it is set.
    """
    code = function.__code__
    cells = function.__closure__ or ()
    for name, cell in zip(code.co_freevars, cells, strict=True):
        try:
            yield name, cell.cell_contents
        except ValueError:
            pass  # Not set yet
    arguments = code.co_varnames[: code.co_argcount]
    defaults = function.__defaults__ or ()
    yield from zip(arguments[-len(defaults) :] if defaults else (), defaults)
    yield from (function.__kwdefaults__ or {}).items()
    for name in _globals_read(code):
        if name in function.__globals__:
            yield name, function.__globals__[name]


def in_order(items: Iterable[Any]) -> list[Any]:
    """Items as they come; those of a set by type and name."""
    if not isinstance(items, (set, frozenset)):
        return list(items)
    return sorted(
        items,
        key=lambda item: (
            type(item).__name__,
            str(getattr(item, "name", getattr(item, "__name__", ""))),
        ),
    )


def functions_of(kind: type) -> Iterator[tuple[str, Callable]]:
    """Names and functions that a class defines: methods and properties."""
    for name, value in vars(kind).items():
        function = plain(value)
        if function is not None and is_own(function):
            yield name, function


def plain(value: Any) -> Callable | None:
    """The Python function that a value wraps or is; `None` if none."""
    for attribute in ("__func__", "fget", "python_function", "__wrapped__"):
        inner = getattr(value, attribute, None)
        if inner is not None and not isinstance(value, types.FunctionType):
            return plain(inner)
    return value if isinstance(value, types.FunctionType) else None


@functools.lru_cache(maxsize=256)
def attributes_set_by(kind: type) -> frozenset[str]:
    """Names of the attributes that the methods of a class set on anything."""
    found: set[str] = set()
    for value in vars(kind).values():
        function = plain(value)
        if function is not None:
            code = inspect.unwrap(function).__code__
            found |= _arguments(code, "STORE_ATTR")
    return frozenset(found)


@functools.lru_cache(maxsize=4096)
def _globals_read(code: types.CodeType) -> list[str]:
    """Names of the globals that a code object, or one within it, reads."""
    return sorted(_arguments(code, "LOAD_GLOBAL", "LOAD_NAME"))


def _arguments(code: types.CodeType, *operations: str) -> set[str]:
    """What some operations of a code object, or one within it, are given."""
    found = {
        instruction.argval
        for instruction in dis.get_instructions(code)
        if instruction.opname in operations
    }
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            found |= _arguments(constant, *operations)
    return found


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
    >>> [(name, one.name) for name, one in reached_from(model)]
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
        function = plain(value)
        if isinstance(value, dict):
            self._into_each(path, value.items())
        elif isinstance(value, (list, tuple, set, frozenset)):
            self._into_each(path, enumerate(in_order(value)))
        elif isinstance(value, functools.partial):
            self.into(path, [value.func, value.args, value.keywords])
        elif function is not None:
            if is_own(function):
                self._into_each("", refers_to(function))
            self.into(path, getattr(value, "__self__", None))  # Of a method
        elif isinstance(value, type):
            if is_own(value):
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
            if is_own(base):
                self.into(base.__name__, base)

    def _into_class(self, path: str, kind: type) -> None:
        for name, item in vars(kind).items():
            if not name.startswith("__") or plain(item):
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
        or is_own(kind)
        or hasattr(kind, "python_function")  # Of a `tf.function`
    )


@functools.lru_cache(maxsize=4096)
def _is_code(kind: type) -> bool:
    """Whether values of a type may be code of the user's own."""
    functions = types.FunctionType, types.MethodType, functools.partial
    return issubclass(kind, functions) or is_own(kind)


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
    return own or is_own(type(value))


def _below(path: str, key: Any) -> str:
    return f"{path}.{key}" if path else str(key)

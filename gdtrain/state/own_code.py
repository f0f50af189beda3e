"""Code that is the user's own, and what it can reach."""

import contextlib
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

    It depends on the instructions alone, not on files, lines, or docstring.

    Example:

    >>> of(lambda x: x + 1) == of(lambda x: x + 1)
    True
    >>> of(lambda x: x + 1) == of(lambda x: x + 2)
    False
    """
    text = repr(_parts(function.__code__, function.__doc__))
    return data_fingerprint.digest("code", function.__name__, text.encode())


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
        [
            _parts(one)
            if isinstance(one, types.CodeType)
            # The order of a set differs from run to run.
            else sorted(map(repr, one))
            if isinstance(one, frozenset)
            else one
            for one in constants
        ],
    )


def refers_to(function: Callable) -> Iterator[tuple[str, Any]]:
    """Names and values that a function takes from elsewhere.

    Those of its closure, its defaults, and the globals that it reads, also
    in functions within it; each if it is set.
    """
    code = function.__code__
    cells = function.__closure__ or ()
    for name, cell in zip(code.co_freevars, cells, strict=True):
        with contextlib.suppress(ValueError):  # If it is not set yet
            yield name, cell.cell_contents
    arguments = code.co_varnames[: code.co_argcount]
    defaults = function.__defaults__ or ()
    yield from zip(arguments[-len(defaults) :] if defaults else (), defaults)
    yield from (function.__kwdefaults__ or {}).items()
    for name in sorted(_arguments(code, "LOAD_GLOBAL", "LOAD_NAME")):
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
    functions = filter(None, map(plain, vars(kind).values()))
    codes = [inspect.unwrap(function).__code__ for function in functions]
    return frozenset().union(*(_arguments(c, "STORE_ATTR") for c in codes))


@functools.lru_cache(maxsize=4096)
def _arguments(code: types.CodeType, *operations: str) -> frozenset[str]:
    """What some operations of a code object, or one within it, are given."""
    within = [c for c in code.co_consts if isinstance(c, types.CodeType)]
    return frozenset(
        instruction.argval
        for instruction in dis.get_instructions(code)
        if instruction.opname in operations
    ).union(*(_arguments(one, *operations) for one in within))


VARIABLES = (keras.Variable, tf.Variable, tf.distribute.DistributedValues)
GENERATORS = (keras.random.SeedGenerator, tf.random.Generator)
#: Names and objects that were reached
Reached = list[tuple[str, Any]]

_CODE = (types.FunctionType, types.MethodType, functools.partial)
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
    found: Reached = []
    seen: dict[int, Any] = {}  # Kept alive, by their addresses
    stack: Reached = [("", model)]
    while stack:
        path, value = stack.pop()
        kind: Any = type(value)
        if _is_of_interest(kind) and id(value) not in seen:
            seen[id(value)] = value
            if isinstance(value, _FOUND) and value is not model:
                found.append((path, value))
            beyond = _reached_through(path, value, value is model)
            stack += reversed(list(beyond))
    return found


def _reached_through(path: str, value: Any, is_model: bool) -> Iterator:
    """Names and objects that are reached from one directly."""
    items: Iterable[tuple[Any, Any]] = ()
    bases: list[type] = []
    own = isinstance(value, types.SimpleNamespace) or is_own(type(value))
    function = plain(value)
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, (list, tuple, set, frozenset)):
        items = enumerate(in_order(value))
    elif isinstance(value, functools.partial):
        items = enumerate([value.func, value.args, value.keywords])
    elif function is not None:
        if is_own(function):
            yield from refers_to(function)
        yield path, getattr(value, "__self__", None)  # Of a method
    elif isinstance(value, type):
        if is_own(value):
            items = [
                (name, item)
                for name, item in vars(value).items()
                if not name.startswith("__") or plain(item)
            ]
    elif own or isinstance(value, keras.layers.Layer):
        within = [] if own else layers.child_layers(value)
        # What a library's object has, its variables say, but for the user's
        # own code in it.
        items = found = [(layer.name, layer) for layer in within]
        for name, item in _attributes(value):
            kind: Any = type(item)
            if own or is_model or _is_code(kind):
                found.append((name, item))
        bases = [base for base in type(value).__mro__ if is_own(base)]
    for key, item in items:
        yield f"{path}.{key}" if path else str(key), item
    for base in bases:
        yield base.__name__, base


@functools.lru_cache(maxsize=4096)
def _is_of_interest(kind: type) -> bool:
    """Whether something may be found in, or through, values of a type."""
    looked_through = (
        *_FOUND,
        *(dict, list, tuple, set, frozenset, type),
        *_CODE,
        *(property, classmethod, staticmethod, types.SimpleNamespace),
    )
    return (
        issubclass(kind, looked_through)
        or is_own(kind)
        or hasattr(kind, "python_function")  # Of a `tf.function`
    )


@functools.lru_cache(maxsize=4096)  # There are many attributes, of few types.
def _is_code(kind: type) -> bool:
    """Whether values of a type may be code of the user's own."""
    return issubclass(kind, _CODE) or is_own(kind)


def _attributes(value: Any) -> Iterator[tuple[str, Any]]:
    """Names and values of an object's attributes, also those in slots."""
    yield from list(getattr(value, "__dict__", {}).items())
    for base in type(value).__mro__:
        slots = vars(base).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if hasattr(value, name) and not name.startswith("__"):
                yield name, getattr(value, name)

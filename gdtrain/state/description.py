"""What an object was made to be, in words and numbers.

The same program has the same description in each process: no addresses, no
names that Keras counts, no seeds that are drawn, nothing that training moves.
"""

import enum
import functools
import math
import pathlib
import random
import re
import types
from collections.abc import Callable, Collection, Iterable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from gdtrain.data import data_fingerprint, pipeline
from gdtrain.keras_bridge import layers
from gdtrain.state import own_code

_LISTED = 16  # Items of a plain list that a user is shown
_DEEPEST = 12
_GENERATORS = (
    *(np.random.Generator, np.random.RandomState, random.Random),
    *own_code.GENERATORS,
)
_NAMES = (enum.Enum, tf.DType, np.dtype, tf.TensorShape, pathlib.Path)
# Of a config: what Keras counts or draws, and what only a built layer has
_NOT_ASKED = frozenset(
    ["name", "seed", "shared_object_id", "build_config", "registered_name"]
    + ["module", "layers", "input_layers", "output_layers"]
    + ["build_input_shape"]
)


class Description:
    """Leaves by name, collected from objects.

    See `gdtrain.data.data_fingerprint`.

    Args:
        skipped: Objects that are described elsewhere.

    Example:

    >>> description = Description()
    >>> description.add("optimizer", keras.optimizers.SGD(0.5, momentum=0.9))
    >>> description.leaves["optimizer.momentum"]
    0.9
    """

    def __init__(self, skipped: Iterable[Any] = ()) -> None:
        self.leaves: dict[str, Any] = {}
        # Kept alive, so that no other object gets the address of one.
        self._seen = {id(one): one for one in skipped}
        self._names: dict[str, str] = {}  # Of layers, which Keras counts
        self._depth = 0

    def add(self, path: str, value: Any) -> None:
        """Describes a value, under a name."""
        leaf = _leaf(value)
        if leaf is not None or value is None:
            self._set(path, leaf)
            return
        if id(value) in self._seen or isinstance(value, types.ModuleType):
            return
        if self._depth >= _DEEPEST:
            self._set(path, "#unknown what lies too deep")
            return
        self._seen[id(value)] = value
        self._depth += 1
        self._add_parts(path, value)
        self._depth -= 1

    def add_model(self, model: keras.Model) -> None:
        """Describes a model by its layers and its class."""
        self._names |= {
            layer.name: f"#{number}"
            for number, layer in enumerate(layers.all_layers(model))
        }
        self.add("model", model)

    def _set(self, path: str, leaf: Any) -> None:
        if isinstance(leaf, str):
            leaf = self._names.get(leaf, leaf)
        self.leaves.setdefault(path, leaf)

    def _add_parts(self, path: str, value: Any) -> None:
        """Describes what consists of others."""
        kind, function = type(value), own_code.plain(value)
        if function is not None:
            self._add_function(path, function)
            if isinstance(value, types.MethodType):
                self._add_attribute(path, value.__self__)
        elif isinstance(value, (types.BuiltinFunctionType, np.ufunc)):
            self._set(path, value.__name__)
        elif isinstance(value, functools.partial):
            self.add(path, value.func)
            self._add_items(path, {"args": value.args, **value.keywords})
        elif isinstance(value, type):
            self._set(path, value.__name__)
            self._add_class(value)
        elif isinstance(value, dict):
            self._add_dict(path, value)
        elif isinstance(value, (list, tuple, set, frozenset)):
            self._add_list(path, value)
        elif isinstance(value, tf.data.Dataset):
            for name, leaf in pipeline.of(value).items():
                self._set(f"{path}: {name}", leaf)
        elif hasattr(value, "get_config"):  # As any class of Keras may have
            self._add_configured(path, value)
        elif own_code.is_own(kind):
            self._set(path, kind.__name__)
            self._add_class(kind)
            self._add_attributes(path, value)
        elif isinstance(value, types.SimpleNamespace):
            self._add_items(path, vars(value))
        elif kind.__module__.partition(".")[0] not in ("keras", "gdtrain"):
            self._set(path, f"#unknown {kind.__module__}.{kind.__qualname__}")

    def _add_items(self, path: str, items: dict[str, Any]) -> None:
        for key, item in items.items():
            self.add(f"{path}.{key}", item)

    def _add_dict(self, path: str, items: dict[Any, Any]) -> None:
        """A dict; one that stands for a Keras object, under its class."""
        kind, config = items.get("class_name"), items.get("config")
        if not isinstance(kind, str) or "config" not in items:
            for key, item in items.items():
                if key not in _NOT_ASKED:
                    place = f".{key}" if isinstance(key, str) else f"[{key!r}]"
                    self.add(path + place, item)
        elif kind == "function":
            self._set(path, config)
        elif kind.endswith("DTypePolicy"):
            self._set(path, items["config"]["name"])
        # The code of a lambda is described where the object that has it is.
        elif kind not in ("__lambda__", "__keras_tensor__"):
            self._set(path, kind)
            if isinstance(config, dict):
                self._add_dict(path, config)

    def _add_list(self, path: str, items: Collection[Any]) -> None:
        leaves = [_leaf(item) for item in items]
        if all(
            (leaf is not None or item is None)
            and not data_fingerprint.parsed(leaf)
            for leaf, item in zip(leaves, items, strict=True)
        ):
            if isinstance(items, (set, frozenset)):
                leaves.sort(key=repr)
            if len(leaves) > _LISTED:
                text, label = repr(leaves), f"list of {len(leaves)}"
                leaf = data_fingerprint.digest("data", label, text.encode())
                self._set(path, leaf)
            else:
                self._set(path, leaves)
        else:
            for index, item in enumerate(own_code.in_order(items)):
                self.add(f"{path}[{index}]", item)

    def _add_function(self, path: str, function: Callable) -> None:
        if not own_code.is_own(function):
            self._set(path, function.__name__)
            return
        self._set(path, own_code.of(function))
        for name, value in own_code.refers_to(function):
            inner = own_code.plain(value)
            if _leaf(value) is not None or isinstance(
                value, (dict, list, tuple, functools.partial)
            ):
                self.add(f"{path}.{name}", value)
            elif inner is None and not isinstance(value, type):
                self._add_attribute(f"{path}.{name}", value)
            elif own_code.is_own(inner or value):
                self.add(name, value)

    def _add_class(self, kind: type) -> None:
        """The code of the user's own classes that one is made of."""
        for base in kind.__mro__:
            if own_code.is_own(base) and id(base) not in self._seen:
                self._seen[id(base)] = base
                for name, value in vars(base).items():
                    function = own_code.plain(value)
                    is_constant = _leaf(
                        value
                    ) is not None and not name.startswith("__")
                    if is_constant or own_code.is_own(function):
                        self.add(f"{base.__name__}.{name}", function or value)

    def _add_configured(self, path: str, value: Any) -> None:
        """An object by its class, its config and the user's attributes."""
        self._set(path, type(value).__name__)
        self._add_class(type(value))
        config: dict[str, Any] | None = {}
        try:
            # A Sequential's config says what its layers do.
            if not isinstance(value, keras.Sequential):
                config = value.get_config()
        except Exception:  # Whatever code of the user's raises
            config = None  # Its attributes say what they can.
        if isinstance(value, keras.Model) and "input_layers" in (config or {}):
            self._add_connections(path, config)
        elif config:
            self._add_dict(path, config)
        if isinstance(value, keras.layers.Layer):
            start = "" if path == "model" else f"{path}."
            within = layers.child_layers(value)
            kind = keras.layers.InputLayer
            described = [one for one in within if not isinstance(one, kind)]
            for index, one in enumerate(described):
                self.add(f"{start}layers[{index}]", one)
        self._add_attributes(path, value)
        if config is None and not isinstance(value, keras.layers.Layer):
            for name, item in vars(value).items():
                if not name.startswith("_") and _leaf(item) is not None:
                    self._set(f"{path}.{name}", _leaf(item))

    def _add_connections(self, path: str, config: Any) -> None:
        """Which layer of a functional model gets the output of which."""
        parts = config["layers"]
        names = {
            layer["name"]: f"#{number}"
            for number, layer in enumerate(parts)
            if "name" in layer
        }
        nodes = [layer.get("inbound_nodes") for layer in parts]
        text = re.sub(
            r"'([^']*)'",
            lambda match: names.get(match[1], match[0]),
            repr([nodes, config["input_layers"], config["output_layers"]]),
        )
        self._set(
            "connections of layers" if path == "model" else f"{path}.layers",
            data_fingerprint.digest("structure", "connections", text.encode()),
        )

    def _add_attributes(self, path: str, value: Any) -> None:
        """Attributes of the user's own: those that no library sets.

        Of an object of a library, only the user's own code.
        """
        library = [b for b in type(value).__mro__ if not own_code.is_own(b)]
        by_library = set().union(*map(own_code.attributes_set_by, library))
        whole = own_code.is_own(type(value))
        if isinstance(value, keras.utils.PyDataset):
            # What it says of itself is restored, and may differ.
            by_library |= set(getattr(value, "get_state", dict)())
        for name, item in getattr(value, "__dict__", {}).items():
            is_own = own_code.is_own(own_code.plain(item) or type(item))
            chosen = whole and name not in by_library
            if is_own or (chosen and not name.startswith("_self_")):
                self._add_attribute(f"{path}.{name.lstrip('_')}", item)

    def _add_attribute(self, path: str, value: Any) -> None:
        """What may be a part of an object's meaning."""
        if isinstance(value, (keras.layers.Layer, keras.optimizers.Optimizer)):
            return  # Described elsewhere
        function = own_code.plain(value)
        if function is None or own_code.is_own(function):
            self.add(path, value)


def _leaf(value: Any) -> Any:
    """The leaf of a value that consists of no others; `None` if it does."""
    if isinstance(value, _NAMES):
        return str(value)
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, (str, bool, int, float, complex)):
        for kind in (str, bool, int):  # The plain ones, of subclasses too
            if isinstance(value, kind):
                return kind(value)
        if isinstance(value, float) and math.isfinite(value):
            return float(value)
        return repr(value)  # JSON cannot hold it
    if isinstance(value, bytes):
        return data_fingerprint.digest("data", f"bytes[{len(value)}]", value)
    if isinstance(value, own_code.VARIABLES):
        kind = tf.as_dtype(value.dtype).name
        return f"a variable {kind}{list(map(str, value.shape))}"
    if isinstance(value, tf.Tensor):
        is_symbolic = tf.is_symbolic_tensor(value)
        return "a tensor" if is_symbolic else data_fingerprint.content(value)
    if isinstance(value, (tf.RaggedTensor, tf.SparseTensor)):
        parts = tf.nest.flatten(value, expand_composites=True)
        return repr(data_fingerprint.contents("", parts))
    if isinstance(value, re.Pattern):
        return value.pattern
    if isinstance(value, keras.DTypePolicy):
        return value.name
    if isinstance(value, _GENERATORS):
        return type(value).__name__
    if isinstance(value, types.GeneratorType):
        return "#unknown a generator"
    # Arrays of NumPy and of other libraries
    if hasattr(value, "__array__") and hasattr(value, "shape"):
        return data_fingerprint.content(np.asarray(value))
    return None

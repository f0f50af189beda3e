"""Data that cannot be used as arrays of examples, explained."""

import contextlib
import math
import numbers
import re
import types
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from gdtrain.mistakes.wording import place, sizes

_NUMBERS = "iufbcSUTV"  # Kinds of dtypes that Keras takes, numbers and text


@contextlib.contextmanager
def explained(
    model: Any, x: Any, y: Any = None, sample_weight: Any = None
) -> Iterator[None]:
    """Says what is wrong with data that could not be prepared.

    Only once that has failed: what Keras takes is never refused.

    Args:
        model: The model, whose inputs have the shape of an example.
        x, y, sample_weight: As in `keras.Model.fit`.

    Raises:
        ValueError: instead of Keras's error, if the reason is known.
    """
    try:
        yield
    except (ValueError, TypeError, IndexError, KeyError) as error:
        named = _named(x, y, sample_weight)
        reason = (
            _missing(named)
            or _first(_not_an_array(*item) for item in named.items())
            or _first(_not_examples(*item) for item in named.items())
            or _of_different_lengths(model, named)
            or _by_message(str(error))
        )
        if reason is None:
            raise
        raise ValueError(reason) from error


def check_class_weight(class_weight: Any) -> None:
    """Refuses class weights that are not a dict, such as scikit-learn's.

    Raises:
        TypeError: if they are not.

    Example:

    >>> check_class_weight({0: 1.0, 1: 5.0})
    """
    if class_weight is None or hasattr(class_weight, "get"):
        return
    raise TypeError(
        "`class_weight` must be a dict of a weight by class number. Received: "
        f"{class_weight!r} of type {type(class_weight).__name__}. Pass "
        "`dict(enumerate(class_weight))` for weights of classes 0, 1, ..."
    )


def _named(x: Any, y: Any, sample_weight: Any) -> dict[str, Any]:
    """The parts of the data, or of the first batch of a `PyDataset`."""
    parts = (x, y, sample_weight)
    if isinstance(x, keras.utils.PyDataset) and y is None:
        try:
            batch = x[0]
        except Exception:  # Of the user's own code
            batch = x
        parts = batch if isinstance(batch, tuple) else (batch,)
    names = ("x", "y", "sample_weight")
    return {k: v for k, v in zip(names, parts, strict=False) if v is not None}


def _by_message(message: str) -> str | None:
    """What Keras's message says about batches that are gone."""
    found = re.search(r"Invalid dtype: (\S+)", message)
    if found:
        return (
            "Batches must be arrays of numbers. Received: one of dtype "
            f"{found[1]}. Convert it before it is passed: "
            '`.astype("float32")`, or number classes by `numpy.unique(y, '
            "return_inverse=True)[1]`."
        )
    if "arrays must be at least rank 1" in message:
        return (
            "Batches must be arrays with a first axis, of examples. Received: "
            "a number within one. Make arrays of lists: `numpy.array(x)`. "
            f"({message})"
        )
    return None


def _first(reasons: Iterator[str | None]) -> str | None:
    return next((reason for reason in reasons if reason), None)


def _missing(named: dict[str, Any]) -> str | None:
    if "x" in named:
        return None
    return (
        "`x` must be data to compute with. Received: x=None. Pass arrays, a "
        "tf.data.Dataset, a keras.utils.PyDataset or a generator."
    )


def _not_an_array(name: str, value: Any) -> str | None:
    """Says what was passed instead of an array."""
    if isinstance(value, (str, bytes)) or hasattr(value, "__fspath__"):
        return (
            f"`{name}` must be an array or a dataset. Received: "
            f"{name}={value!r} of type {type(value).__name__}. Read the file "
            "first, for example with `numpy.load` or `pandas.read_csv`."
        )
    if isinstance(value, types.FunctionType):
        return (
            f"`{name}` must be an array, a dataset or a generator. Received: "
            f"the function {value.__name__!r}. If it is one that yields "
            f"batches, call it: `{value.__name__}()`."
        )
    if isinstance(value, (list, tuple, range)):
        return _list(name, value)
    if isinstance(value, dict):
        return _first(
            _not_an_array(place(name, [key]), part)
            for key, part in value.items()
        )
    return None


def _list(name: str, value: Any) -> str | None:
    """Says that a list must be an array, unless it has arrays for inputs."""
    kind = type(value).__name__
    if not len(value):
        return (
            f"`{name}` must have at least one example. Received: an empty "
            f"{kind}."
        )
    first = value[0]
    while isinstance(first, (list, tuple)) and first:
        first = first[0]
    if not isinstance(first, (numbers.Number, str, np.generic)):
        return _first(
            _not_an_array(place(name, [i]), part)
            for i, part in enumerate(value)
            if isinstance(part, (list, tuple, dict))
        ) or _examples_apart(name, value)
    try:
        shape = np.shape(value)
    except ValueError:
        return (
            f"`{name}` must be an array. Received: a {kind} of {len(value)} "
            "lists of different lengths, which make no array. Bring them to "
            f"one length: `keras.utils.pad_sequences({name})`."
        )
    return (
        f"`{name}` must be an array; a list would be one array for each of "
        f"several inputs. Received: a {kind} of {len(value)} "
        f"{'numbers' if len(shape) == 1 else 'lists'}, which would make an "
        f"array of shape {shape}. Pass `numpy.array({name})`."
    )


def _examples_apart(name: str, value: Any) -> str | None:
    """Says that examples must be stacked, if a list has many of one shape."""
    shapes = {_shape(part) for part in value}
    if len(value) < 8 or len(shapes) > 1 or None in shapes:
        return None
    return (
        f"`{name}` must be one array. Received: a {type(value).__name__} of "
        f"{len(value)} arrays of shape {shapes.pop()}, which would be as many "
        "inputs. If each of them is an example, pass "
        f"`numpy.stack({name})`."
    )


def _not_examples(name: str, value: Any) -> str | None:
    """Says what is wrong with the dtype or shape of an array."""
    if hasattr(value, "columns") and hasattr(value, "dtypes"):  # Of pandas
        return _table(name, value)
    for path, leaf in keras.tree.flatten_with_path(value):
        where = place(name, path)
        if _shape(leaf) == ():
            return (
                f"`{where}` must have a first axis, of examples. Received: "
                f"{leaf!r}, a single number. Pass one value for each example."
            )
        dtype = getattr(leaf, "dtype", None)
        if dtype is not None and hasattr(leaf, "to_numpy"):
            if not isinstance(dtype, np.dtype) or dtype.kind == "O":
                return _series(where, leaf)
        if isinstance(dtype, np.dtype) and dtype.kind not in _NUMBERS:
            return _not_numbers(where, np.asarray(leaf))
    return None


def _table(name: str, table: Any) -> str | None:
    """Says which columns of a table are not numbers."""
    kinds = {str(dtype) for dtype in table.dtypes}
    wrong = [
        f"{column!r} ({dtype})"
        for column, dtype in zip(table.columns, table.dtypes, strict=True)
        if not isinstance(dtype, np.dtype) or dtype.kind not in "iufb"
    ]
    received = f"Received: a {type(table).__name__}"
    if wrong:
        return (
            f"`{name}` must be a table of numbers. {received} with "
            f"{len(wrong)} other column(s): {', '.join(wrong[:10])}. Omit "
            "them, or convert them, for example by `pandas.get_dummies`."
        )
    if "bool" in kinds and len(kinds) > 1:
        return (
            f"`{name}` must be a table of numbers of one kind. {received} of "
            f'{", ".join(sorted(kinds))}. Pass `{name}.astype("float32")`.'
        )
    return None


def _series(name: str, series: Any) -> str:
    """Says that a column of pandas, or the like, has no numbers."""
    received = (
        f"`{name}` must be an array of numbers. Received: a "
        f"{type(series).__name__} of dtype {series.dtype}, such as "
        f"{series.to_numpy()[:1].tolist()}"
    )
    missing = int(series.isna().sum()) if hasattr(series, "isna") else 0
    if missing:
        return f"{received}; {missing:,} values are missing. {_fill(name)}"
    return (
        f"{received}. Number classes by `pandas.factorize({name})[0]`; "
        f'convert numbers that were read as text by `{name}.astype("'
        'float32")`.'
    )


def _fill(name: str) -> str:
    return (
        "Fill them in or omit these examples, then pass "
        f'`{name}.astype("float32")`.'
    )


def _not_numbers(name: str, array: np.ndarray) -> str:
    """Says what an array has that is not a number."""
    received = (
        f"`{name}` must be an array of numbers. Received: dtype "
        f"{array.dtype}, shape {array.shape}"
    )
    if array.dtype.kind in "mM":
        return (
            f"{received}, which are times. Convert them, for example by "
            f"`({name} - {name}.min()) / numpy.timedelta64(1, 'D')`, in days."
        )
    values = array.ravel()
    missing = [i for i, v in enumerate(values) if _is_missing(v)]
    if missing:
        return (
            f"{received}; {len(missing):,} values are missing, the first of "
            f"which is {_element(name, array, missing[0])}. {_fill(name)}"
        )
    lengths = {len(v) for v in values if isinstance(v, (list, np.ndarray))}
    if len(lengths) > 1:
        return (
            f"{received}; its elements have from {min(lengths)} to "
            f"{max(lengths)} values. Bring them to one length: "
            f"`keras.utils.pad_sequences({name})`."
        )
    if lengths:
        return (
            f"{received}; its elements are arrays. Pass `numpy.stack({name})`."
        )
    for index, value in enumerate(values):
        if not isinstance(value, (numbers.Real, np.generic)):
            return (
                f"{received}; {_element(name, array, index)} is no number. "
                "Number the classes by `numpy.unique("
                f"{name}.astype(str), return_inverse=True)[1]`, or convert it."
            )
    return f'{received}. Pass `{name}.astype("float32")`.'


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _element(name: str, array: np.ndarray, index: int) -> str:
    """An element and its value, by its index in the flat array."""
    places = [int(i) for i in np.unravel_index(index, array.shape)]
    return f"{place(name, places)} = {array.ravel()[index]!r}"


def _of_different_lengths(model: Any, named: dict[str, Any]) -> str | None:
    """Says that arrays have different numbers of examples, if they have."""
    shapes = {
        place(name, path): _shape(leaf)
        for name, value in named.items()
        for path, leaf in keras.tree.flatten_with_path(value)
        if leaf is not None
    }
    if None in shapes.values():
        return None
    lengths = {shape[0] for shape in shapes.values() if shape}
    if len(lengths) < 2:
        return None
    listed = ", ".join(f"{k} of shape {v}" for k, v in shapes.items())
    advice = "Omit what has no counterpart."
    inputs = getattr(model, "inputs", None)
    example = shapes.get("x")
    if inputs and example and example == tuple(inputs[0].shape[1:]):
        advice = (
            f"`x` has the shape of a single example. Pass `x[None]`, of shape "
            f"{(1, *example)}, with a first axis for examples."
        )
    return (
        "All arrays must have as many examples, the length of the first "
        f"axis. Received: {listed}. {advice}"
    )


def _shape(leaf: Any) -> tuple[int, ...] | None:
    """The shape of an array; of a number, `()`; `None` of anything else."""
    if isinstance(leaf, numbers.Number):
        return ()
    shape = sizes(leaf)
    if shape is None or None in shape:
        return None
    return tuple(size for size in shape if size is not None)

"""Data that cannot be used as arrays of examples, explained."""

import contextlib
import math
import numbers
import os
import re
import types
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from gdtrain.common.explained import more
from gdtrain.mistakes.errors import explained_by
from gdtrain.mistakes.wording import place, sizes

_NUMBERS = "iufbcSUTV"  # Kinds of dtypes that Keras takes, numbers and text


def explained(
    model: Any, x: Any, y: Any = None, sample_weight: Any = None
) -> contextlib.AbstractContextManager[None]:
    """Explains why data could not be prepared.

    Only once that has failed: what Keras takes is never refused.

    Args:
        model: The model, whose inputs have the shape of an example.
        x, y, sample_weight: As in `keras.Model.fit`.

    Raises:
        ValueError: instead of Keras's error, if the reason is known.
    """

    def reason(error: Exception) -> str | None:
        named = _named(x, y, sample_weight)
        found = next(_reasons(model, named, str(error)), None)
        return found and found + more("unusable-data")

    return explained_by(reason, ValueError, TypeError, IndexError, KeyError)


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


def _reasons(model: Any, named: dict[str, Any], message: str) -> Iterator[str]:
    """What is wrong, the most certain first; only the first one is used.

    Args:
        model: The model.
        named: The parts of the data, by name.
        message: What Keras says, which counts where batches are gone.
    """
    if "x" not in named:
        yield (
            "`x` must be data to compute with. Received: x=None. Pass arrays, "
            "a tf.data.Dataset, a keras.utils.PyDataset or a generator."
        )
    for name, value in named.items():
        yield from _no_array(name, value)
    for name, value in named.items():
        yield from _no_examples(name, value)
    yield from _different_lengths(model, named)
    found = re.search(r"Invalid dtype: (\S+)", message)
    if found:
        yield (
            "Batches must be arrays of numbers. Received: one of dtype "
            f"{found[1]}. Convert it before it is passed: "
            '`.astype("float32")`, or number classes by `numpy.unique(y, '
            "return_inverse=True)[1]`."
        )
    if "arrays must be at least rank 1" in message:
        yield (
            "Batches must be arrays with a first axis, of examples. Received: "
            "a number within one. Make arrays of lists: `numpy.array(x)`. "
            f"({message})"
        )


def _no_array(name: str, value: Any) -> Iterator[str]:
    """Says what was passed instead of an array."""
    kind = type(value).__name__
    if isinstance(value, (str, bytes, os.PathLike)):
        yield (
            f"`{name}` must be an array or a dataset. Received: "
            f"{name}={value!r} of type {kind}. Read the file first, for "
            "example with `numpy.load` or `pandas.read_csv`."
        )
    if isinstance(value, types.FunctionType):
        yield (
            f"`{name}` must be an array, a dataset or a generator. Received: "
            f"the function {value.__name__!r}. If it is one that yields "
            f"batches, call it: `{value.__name__}()`."
        )
    if isinstance(value, dict):
        for key, part in value.items():
            yield from _no_array(place(name, [key]), part)
    if not isinstance(value, (list, tuple, range)):
        return
    if not len(value):
        yield (
            f"`{name}` must have at least one example. Received: an empty "
            f"{kind}."
        )
    first: Any = value
    while isinstance(first, (list, tuple, range)) and first:
        first = first[0]
    if isinstance(first, (numbers.Number, str, np.generic)):
        yield _list_of_numbers(name, value)
    for i, part in enumerate(value):  # Arrays for several inputs
        if isinstance(part, (list, tuple, dict)):
            yield from _no_array(place(name, [i]), part)
    shapes = {_shape(part) for part in value}
    if len(value) >= 8 and len(shapes) == 1 and None not in shapes:
        yield (
            f"`{name}` must be one array. Received: a {kind} of {len(value)} "
            f"arrays of shape {shapes.pop()}, which would be as many inputs. "
            f"If each of them is an example, pass `numpy.stack({name})`."
        )


def _list_of_numbers(name: str, value: Any) -> str:
    kind = type(value).__name__
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


def _no_examples(name: str, value: Any) -> Iterator[str]:
    """Explains a wrong dtype or shape of an array."""
    if hasattr(value, "columns") and hasattr(value, "dtypes"):  # Of pandas
        yield from _table(name, value)
        return
    for path, leaf in keras.tree.flatten_with_path(value):
        where = place(name, path)
        if _shape(leaf) == ():
            yield (
                f"`{where}` must have a first axis, of examples. Received: "
                f"{leaf!r}, a single number. Pass one value for each example."
            )
        dtype: Any = getattr(leaf, "dtype", None)
        of_numpy = isinstance(dtype, np.dtype)
        if dtype is not None and hasattr(leaf, "to_numpy"):
            if not of_numpy or dtype.kind == "O":
                yield _series(where, leaf)
        if of_numpy and dtype.kind not in _NUMBERS:
            yield _no_numbers(where, np.asarray(leaf))


def _table(name: str, table: Any) -> Iterator[str]:
    """Says which columns of a table are not numbers."""
    kinds = {str(dtype) for dtype in table.dtypes}
    wrong = [
        f"{column!r} ({dtype})"
        for column, dtype in zip(table.columns, table.dtypes, strict=True)
        if not isinstance(dtype, np.dtype) or dtype.kind not in "iufb"
    ]
    received = f"Received: a {type(table).__name__}"
    if wrong:
        yield (
            f"`{name}` must be a table of numbers. {received} with "
            f"{len(wrong)} other column(s): {', '.join(wrong[:10])}. Omit "
            "them, or convert them, for example by `pandas.get_dummies`."
        )
    if "bool" in kinds and len(kinds) > 1:
        yield (
            f"`{name}` must be a table of numbers of one kind. {received} of "
            f'{", ".join(sorted(kinds))}. Pass `{name}.astype("float32")`.'
        )


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


def _no_numbers(name: str, array: np.ndarray) -> str:
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
    where = map(int, np.unravel_index(index, array.shape))
    return f"{place(name, where)} = {array.flat[index]!r}"


def _different_lengths(model: Any, named: dict[str, Any]) -> Iterator[str]:
    """Says that arrays have different numbers of examples, if they have."""
    shapes = {
        place(name, path): _shape(leaf)
        for name, value in named.items()
        for path, leaf in keras.tree.flatten_with_path(value)
        if leaf is not None
    }
    lengths = {shape and shape[0] for shape in shapes.values()} - {()}
    if None in lengths or len(lengths) < 2:
        return
    listed = ", ".join(f"{k} of shape {v}" for k, v in shapes.items())
    advice = "Omit what has no counterpart."
    inputs = getattr(model, "inputs", None)
    example = shapes.get("x")
    if inputs and example and example == tuple(inputs[0].shape[1:]):
        advice = (
            f"`x` has the shape of a single example. Pass `x[None]`, of shape "
            f"{(1, *example)}, with a first axis for examples."
        )
    yield (
        "All arrays must have as many examples, the length of the first "
        f"axis. Received: {listed}. {advice}"
    )


def _shape(leaf: Any) -> tuple[int, ...] | None:
    """The shape of an array; of a number, `()`; `None` of anything else."""
    if isinstance(leaf, numbers.Number):
        return ()
    shape = sizes(leaf)
    return None if shape is None or None in shape else tuple(shape)

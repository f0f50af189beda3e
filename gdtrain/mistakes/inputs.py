"""Data of a shape that the inputs of a model do not take, explained."""

import contextlib
from typing import Any

import keras
import tensorflow as tf

from gdtrain.common.explained import more
from gdtrain.mistakes.errors import explained_by
from gdtrain.mistakes.wording import may_be_equal, sizes, written


def explained(model: Any, data: Any) -> contextlib.AbstractContextManager[None]:
    """Says which input gets data of a wrong shape, if a step fails by that.

    Args:
        model: The model; only a functional one or a `Sequential` has known
            inputs.
        data: The batch.

    Raises:
        ValueError: instead of Keras's error, if the reason is known.
    """

    def reason(error: Exception) -> str | None:
        found = _reason(model, data) or _unpacked(data, str(error))
        return found and found + more("data-shapes")

    return explained_by(reason, ValueError, TypeError, tf.errors.OpError)


def _unpacked(data: Any, message: str) -> str | None:
    """Says that a step unpacks x, if the data have no y."""
    texts = "Iterating over a symbolic", "values to unpack"
    is_structure = isinstance(data, (tuple, list, dict))
    if is_structure or not any(text in message for text in texts):
        return None
    return (
        "A step gets what a batch of the data is: `x`, `(x, y)` or `(x, y, "
        f"sample_weight)`. Received: x alone, of shape {written(data.shape)}, "
        "which the step takes apart as if it were more. Pass y, or take the "
        "batch as it comes: `x, y, sample_weight = "
        "keras.utils.unpack_x_y_sample_weight(data)`."
    )


def _reason(model: Any, data: Any) -> str | None:
    inputs = getattr(model, "inputs", None)
    if not inputs:
        return None
    x, _, _ = keras.utils.unpack_x_y_sample_weight(data)
    leaves = [leaf for leaf in keras.tree.flatten(x) if leaf is not None]
    if any(not hasattr(leaf, "shape") for leaf in leaves):
        return None
    if not leaves:
        return (
            "The model must get an array as `x` for each of its inputs. "
            "Received: x without any. Pass `numpy.array(x)`."
        )
    if len(leaves) != len(inputs):
        return (
            f"The model must get {len(inputs)} array(s) as `x`, one for each "
            f"input. Received: {len(leaves)}. Batches of a dataset must be "
            "`(x, y)`, a tuple."
        )
    if isinstance(x, dict):
        names = [i.name for i in inputs]
        if set(names) != set(x):
            return None  # Keras says which names it expects.
        leaves = [x[name] for name in names]
    for wanted, leaf in zip(inputs, leaves, strict=True):
        if not _takes(wanted.shape, leaf.shape):
            which = "The model"
            if len(inputs) > 1:
                which = f"Input {wanted.name!r} of the model"
            return _wrong_shape(which, wanted.shape, leaf)
    return None


def _takes(wanted: Any, shape: Any) -> bool:
    """Whether an input takes a shape, with or without a last axis of 1."""
    got = tf.TensorShape(shape)
    if got.rank is None:
        return True
    own = got.as_list()
    candidates = [own, [*own, 1]] + ([own[:-1]] if own[-1:] == [1] else [])
    return any(may_be_equal(candidate, wanted) for candidate in candidates)


def _wrong_shape(which: str, wanted: Any, leaf: Any) -> str:
    advice = "Change the shape of x, or `keras.Input`."
    if len(sizes(leaf) or ()) == len(wanted) - 1:
        advice = (
            "If a batch is missing, pass `x[None]` for a single example, or "
            "have the dataset make batches: `dataset.batch(32)`. " + advice
        )
    return (
        f"{which} must get batches of shape {written(wanted)}. Received: x of "
        f"shape {written(leaf.shape)} and dtype "
        f"{tf.as_dtype(leaf.dtype).name}. {advice}"
    )

"""Why a loss cannot be computed from labels: their kind, shape, structure."""

from typing import Any

import keras
import tensorflow as tf

from gdtrain.mistakes.losses import KnownLoss


def refuse_text(loss: KnownLoss, y_true: Any) -> None:
    """Refuses labels of text, of which Keras's losses would make numbers.

    Raises:
        ValueError: if labels are text.
    """
    if getattr(y_true, "dtype", None) != tf.string:
        return
    raise ValueError(
        f"The labels of {loss.output} must be numbers. Received: text (dtype "
        f"string) of shape {_written(y_true)}. Number the classes, `names, y "
        "= numpy.unique(y, return_inverse=True)`, or use `keras.layers."
        "StringLookup`. Numbers that were read as text become numbers by "
        '`y.astype("float32")`.'
    )


def reason(loss: KnownLoss, y_true: Any, y_pred: Any) -> str | None:
    """Why a loss failed; `None` if that is not known."""
    name = f"The loss {loss.name} of {loss.output}"
    if y_true is None:
        return (
            f"{name} needs labels. Received: none; y is None, or the data "
            "bring x alone. Pass `fit(x, y)`, or batches `(x, y)`."
        )
    labels, outputs = _sizes(y_true), _sizes(y_pred)
    if not labels or not outputs:
        return None
    received = (
        f"Received: labels of shape {_written(y_true)} and dtype "
        f"{tf.as_dtype(y_true.dtype).name}, and an output of shape "
        f"{_written(y_pred)}."
    )
    if loss.takes_class_numbers:
        return _of_class_numbers(name, labels, outputs, received)
    if _fit(labels, outputs):
        return None
    if loss.takes_one_hot and (
        len(labels) < len(outputs) or labels[-1] == 1
    ):
        return (
            f"{name} needs one-hot labels, of the shape of the output. "
            f"{received} If the labels are class numbers, compile with "
            'loss="sparse_categorical_crossentropy", or pass '
            f"`keras.utils.to_categorical(y, {outputs[-1]})`."
        )
    if loss.takes_probabilities and len(labels) < len(outputs) == 2:
        return (
            f"{name} needs a label, 0 or 1, for each value of the output. "
            f"{received} For two classes, end with a layer of 1 unit; for "
            "more, with a unit for each, softmax and "
            'loss="sparse_categorical_crossentropy".'
        )
    units = labels[-1] if len(labels) == len(outputs) else 1
    return (
        f"{name} needs labels of the shape of the output. {received} Give the "
        f"last layer {units} unit{'' if units == 1 else 's'}, or change the "
        "labels. For class numbers, use "
        'loss="sparse_categorical_crossentropy".'
    )


def _of_class_numbers(
    name: str, labels: list, outputs: list, received: str
) -> str | None:
    classes = outputs[-1]
    if len(labels) == len(outputs) and labels[-1] != 1:
        return (
            f"{name} needs class numbers, one for each {classes} values of "
            f"the output. {received} If the labels are one-hot, compile with "
            'loss="categorical_crossentropy", or pass `y.argmax(-1)`.'
        )
    if _fit(labels, outputs[:-1]) or _fit(labels[:-1], outputs[:-1]):
        return None
    return (
        f"{name} needs class numbers of the shape of the output without its "
        f"last axis. {received} Give each of the {classes} values a label, or "
        f"have the network end with {classes} values for each example."
    )


def mismatch(y_true: Any, y_pred: Any, names: Any) -> str | None:
    """Why labels do not go with outputs; `None` if they may.

    Args:
        y_true, y_pred: Structures of labels and of outputs.
        names: Of the outputs, as far as they are known.
    """
    known = list(y_pred) if isinstance(y_pred, dict) else names
    if isinstance(y_true, dict):
        if not known or None in known or set(y_true) == set(known):
            return None
        return (
            f"Labels in a dict must have the names of the outputs, "
            f"{', '.join(map(repr, known))}. Received: labels named "
            f"{', '.join(map(repr, y_true))}. Rename them, or the layers."
        )
    labels, outputs = keras.tree.flatten(y_true), keras.tree.flatten(y_pred)
    if len(labels) == len(outputs):
        return None
    which = f", {', '.join(map(repr, known))}" if known else ""
    return (
        f"The model has {len(outputs)} output(s){which}, and needs labels for "
        f"each. Received: {len(labels)} array(s) of labels. Pass a list or "
        "a dict of arrays as y, one for each output; for outputs without a "
        "loss, compile with None as their loss."
    )


def _fit(labels: list, outputs: list) -> bool:
    """Whether shapes may be the same, as far as they are known."""
    return len(labels) == len(outputs) and all(
        a is None or b is None or a == b
        for a, b in zip(labels[1:], outputs[1:], strict=True)
    )


def _sizes(tensor: Any) -> list | None:
    """The sizes of the axes of a tensor; `None` if they are not known."""
    if not hasattr(tensor, "shape"):
        return None
    shape = tf.TensorShape(tensor.shape)
    return None if shape.rank is None else shape.as_list()


def _written(tensor: Any) -> str:
    sizes = ["batch" if s is None else str(s) for s in _sizes(tensor) or ()]
    return f"({', '.join(sizes)}{',' if len(sizes) == 1 else ''})"

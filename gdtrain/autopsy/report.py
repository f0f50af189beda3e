"""What was found of a step that was not finite, and how it is said."""

import dataclasses

import keras
import numpy as np
import tensorflow as tf

_LISTED = 8  # Examples, at most
_LARGE = 1e4  # A weight that no healthy training of a small model has


@dataclasses.dataclass(frozen=True)
class Cause:
    """The first part of a step that was not as it should be.

    Args:
        where: `"data"`, `"weights"` (before the step), `"growth"` (of the
            weights, by the learning rate), `"output"`, `"loss"`,
            `"gradient"`, `"learning rate"` (which is no number), `"update"`
            or `"nowhere"`.
        name: What of it: `"x['image']"`, the path of a weight, the name of a
            layer, an operation or a loss. Of a gradient, the layer with
            respect to whose output it is, or the path of a weight. Of growth,
            the learning rate.
        kind: `"NaN"`, `"infinity"` or `"NaN and infinity"`; other words where
            something else is wrong; `""` for nowhere.
        examples: Positions in the batch of the examples that have it; empty
            if it cannot be told.
        indices: Their indices in the data; `None` if these are not known.
        batch_size: How many examples the batch has.
        largest: `{"path": ..., "value": ...}` of the largest finite weight
            before the step, by absolute value; `None` if there is none.
        dtype: What it was computed in, as `"float16"`.
        evidence: A sentence: what the step is without it.
        advice: What to do; empty for what is said by `where`.
        reason: Why nothing was found, a sentence.
    """

    where: str
    name: str = ""
    kind: str = ""
    examples: tuple[int, ...] = ()
    batch_size: int = 1
    largest: dict | None = None
    dtype: str = ""
    indices: tuple[int, ...] | None = None
    evidence: str = ""
    advice: str = ""
    reason: str = ""


def kind_of(tensor):
    """`"NaN"`, `"infinity"`, `"NaN and infinity"`, or `""` if it is finite.

    What holds no floats is finite, and so is what is no tensor.
    """
    values = _values(tensor)
    if values is None or bool(tf.reduce_all(tf.math.is_finite(values))):
        return ""
    kinds = {"NaN": tf.math.is_nan, "infinity": tf.math.is_inf}
    return " and ".join(
        word
        for word, is_kind in kinds.items()
        if bool(tf.reduce_any(is_kind(values)))
    )


def rows_of(tensor, batch_size):
    """Positions of the rows that are not finite, a tuple of ints.

    Empty if the tensor has no row for each example of the batch.
    """
    if isinstance(tensor, tf.SparseTensor):
        finite = tf.math.is_finite(tensor.values).numpy()
        return tuple(np.unique(tensor.indices.numpy()[~finite, 0]).tolist())
    if isinstance(tensor, tf.RaggedTensor):
        tensor = tensor.to_tensor()
    if isinstance(tensor, tf.IndexedSlices) or not tensor.shape.rank:
        return ()
    if tensor.shape[0] != batch_size:
        return ()
    finite = tf.math.is_finite(tensor).numpy().reshape([batch_size, -1])
    return tuple(np.flatnonzero(~finite.all(axis=1)).tolist())


def _values(tensor):
    """The float entries of a tensor of any make, or `None`."""
    if isinstance(tensor, tf.RaggedTensor):
        tensor = tensor.flat_values
    elif isinstance(tensor, (tf.SparseTensor, tf.IndexedSlices)):
        tensor = tensor.values
    elif not tf.is_tensor(tensor):
        return None
    tensor = tf.convert_to_tensor(tensor)
    return tensor if tensor.dtype.is_floating else None


def describe(cause, step, indices=None):
    """Says in a few sentences why a step was not finite.

    Args:
        cause: The `Cause`.
        step: The number of the step.
        indices: Of each example of the batch, its index in the data;
            `None` if that is not known.

    Returns:
        A string, for a warning.

    Example:

    >>> cause = Cause("output", "log", "NaN", (3, 7), batch_size=32)
    >>> print(describe(cause, 41))
    Step 41 was not finite: the output of 'log' has NaN for 2 of 32 examples:
    number 3 and 7 of the batch. Look at these examples, and at what 'log'
    computes.
    """
    said = f"Step {step} was not finite"
    if cause.where == "nowhere":
        return f"{said}. {cause.reason}"
    said += f": {_what(cause)}{_examples(cause, indices)}."
    advice = cause.advice or _advice(cause)
    return " ".join(filter(None, [said, cause.evidence, advice]))


def _what(cause):
    name, kind = cause.name, cause.kind
    return {
        "data": f"{name} has {kind}",
        "growth": f"the learning rate {name} is {kind}",
        "learning rate": f"the learning rate {name} is {kind}".replace(
            "  ", " "
        ),
        "weights": f"variable '{name}' had {kind} before it",
        "output": f"the output of '{name}' has {kind}",
        "loss": f"the loss '{name}' is {kind}",
        "gradient": f"the gradient at '{name}' has {kind}",
        "update": f"the update gives '{name}' {kind}",
    }[cause.where]


def _examples(cause, indices):
    """Which examples, as the end of a sentence; empty if not known."""
    count = len(cause.examples)
    if not count:
        return ""
    if count == cause.batch_size > 1:
        return f" for all {count} examples"
    listed = cause.examples[:_LISTED]
    if indices is not None:
        listed = [indices[position] for position in listed]
    words = [str(int(number)) for number in listed]
    if count > _LISTED:
        words.append(f"{count - _LISTED} more")
    listing = " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))
    return f" for {count} of {cause.batch_size} examples: " + (
        f"number {listing} of the batch"
        if indices is None
        else f"{listing} in the data"
    )


def _advice(cause):
    """What to do about it, a sentence or two."""
    name, largest = cause.name, cause.largest
    if cause.where == "data":
        of_classes = ", or at `class_weight`" if "weight" in name else ""
        return f"Look at where {name} comes from{of_classes}."
    if cause.where == "growth":
        return (
            "A learning rate that is too large does this. Try a smaller one, "
            "or `global_clipnorm`."
        )
    if cause.where == "learning rate":
        return "Look at the schedule or the callback that sets it."
    if cause.where == "weights":
        return "Look at the steps before, or at where it was loaded from."
    if cause.dtype == "float16" and "infinity" in cause.kind:
        return "float16 ends at 65504; 'mixed_bfloat16' does not."
    suspect = f"what '{name}' computes"
    if cause.where == "gradient":
        suspect = f"what is computed from '{name}'"
    if 0 < len(cause.examples) < cause.batch_size:
        return f"Look at these examples, and at {suspect}."
    if cause.where == "update" or (largest and largest["value"] > _LARGE):
        return _advice_on_learning_rate(largest)
    example = "a root" if cause.where == "gradient" else "a logarithm"
    return (
        f"Look at {suspect}, such as {example} of 0; or try a smaller "
        "learning rate, or `global_clipnorm`."
    )


def _advice_on_learning_rate(largest):
    known = largest and (
        f": the largest weight is {largest['value']:.2g} in '{largest['path']}'"
    )
    return (
        f"A learning rate that is too large does this{known or ''}. Try a "
        "smaller one, or `global_clipnorm`."
    )


def leaves_of(data):
    """The tensors of a batch, by the names that a user knows.

    Args:
        data: `(x, y, sample_weight)`.

    Returns:
        A list of `(name, tensor)`, as `("x['image']", ...)`.
    """
    found = []
    for word, part in zip(("x", "y", "sample_weight"), data):
        for path, leaf in keras.tree.flatten_with_path(part):
            keys = "".join(f"[{key!r}]" for key in path)
            if leaf is not None:
                found.append((word + keys, leaf))
    return found


def cleaned(data, but=None):
    """A batch with 0 in the place of what is not finite.

    Args:
        data: A structure of tensors.
        but: A tensor to leave as it is, or `None`.
    """
    return keras.tree.map_structure(
        lambda leaf: leaf if leaf is but or not kind_of(leaf) else _clean(leaf),
        data,
    )


def _clean(leaf):
    if isinstance(leaf, tf.RaggedTensor):
        return leaf.with_flat_values(_clean(leaf.flat_values))
    if isinstance(leaf, tf.SparseTensor):
        return tf.SparseTensor(
            leaf.indices, _clean(leaf.values), leaf.dense_shape
        )
    return tf.where(tf.math.is_finite(leaf), leaf, tf.zeros_like(leaf))


def batch_without(data, examples, batch_size):
    """A batch of dense tensors without some of its examples.

    Args:
        data: A structure of tensors.
        examples: Positions of the examples to leave out.
        batch_size: How many examples there are.
    """
    kept = np.setdiff1d(np.arange(batch_size), examples)
    return keras.tree.map_structure(
        lambda leaf: leaf if leaf is None else tf.gather(leaf, kept), data
    )


def labels_outside(y, y_pred):
    """Where integer labels are none of the classes.

    Args:
        y: Labels, a tensor of integers `[examples, ...]`.
        y_pred: Outputs, `[examples, ..., classes]`.

    Returns:
        A bool array `[examples]`; `None` if `y` is nothing of that kind.
    """
    if not tf.is_tensor(y) or not tf.is_tensor(y_pred) or not y.shape.rank:
        return None
    labels = np.asarray(y).reshape([y.shape[0], -1])
    if labels.dtype.kind not in "iuf":
        return None
    return ((labels < 0) | (labels >= y_pred.shape[-1])).any(axis=1)

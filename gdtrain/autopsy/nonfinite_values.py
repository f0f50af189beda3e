"""Which tensors, rows and variables hold values that are not finite."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from gdtrain.state import variables
from gdtrain.step import guard


def kind_of(tensor: Any) -> str:
    """`"NaN"`, `"infinity"`, `"NaN and infinity"`, or `""` if it is finite.

    Also `""` for a tensor without floats, and for any other object.
    """
    values = _floats(tensor)
    return "" if values is None else _words(*_counts(values))


def rows_of(tensor: Any, batch_size: int) -> tuple[int, ...]:
    """Positions of the rows that are not finite.

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


def zeroed(data: Any, but: Any = None) -> Any:
    """A batch with 0 in place of values that are not finite.

    Args:
        data: A structure of tensors.
        but: A tensor to leave as it is, or `None`.
    """
    return keras.tree.map_structure(
        lambda leaf: (
            leaf if leaf is but or not kind_of(leaf) else _zeroed(leaf)
        ),
        data,
    )


def _zeroed(leaf: Any) -> Any:
    if isinstance(leaf, tf.RaggedTensor):
        return leaf.with_flat_values(_zeroed(leaf.flat_values))
    if isinstance(leaf, tf.SparseTensor):
        return tf.SparseTensor(
            leaf.indices, _zeroed(leaf.values), leaf.dense_shape
        )
    return tf.where(tf.math.is_finite(leaf), leaf, tf.zeros_like(leaf))


def _floats(tensor: Any) -> tf.Tensor | None:
    """The float entries of any kind of tensor, or `None`."""
    if isinstance(tensor, tf.RaggedTensor):
        tensor = tensor.flat_values
    elif isinstance(tensor, (tf.SparseTensor, tf.IndexedSlices)):
        tensor = tensor.values
    elif not tf.is_tensor(tensor):
        return None
    tensor = tf.convert_to_tensor(tensor)
    return tensor if tensor.dtype.is_floating else None


def _counts(values: tf.Tensor) -> tuple[int, int]:
    """How many values are NaN, and how many are infinite."""
    nans = tf.math.count_nonzero(tf.math.is_nan(values))
    return int(nans), int(tf.math.count_nonzero(tf.math.is_inf(values)))


def _words(nans: int, infinities: int) -> str:
    kinds = {"NaN": nans, "infinity": infinities}
    return " and ".join(word for word, count in kinds.items() if count)


class NonfiniteVariable(NamedTuple):
    """A variable with values that are not finite.

    Args:
        name: Its path.
        role: "weight", which is trained; "optimizer"; or "other".
        nans, infinities: How many of its values are NaN or infinite.
        size: How many values it has.
    """

    name: str
    role: str
    nans: int
    infinities: int
    size: int

    @property
    def kind(self) -> str:
        """As `kind_of`."""
        return _words(self.nans, self.infinities)

    def __str__(self) -> str:
        counts = {"NaN": self.nans, "infinite": self.infinities}
        shares = [f"{count} {word}" for word, count in counts.items() if count]
        values = "value" if self.size == 1 else "values"
        return f"{self.name!r} ({' and '.join(shares)} of {self.size} {values})"


def nonfinite_variables(model: keras.Model) -> list[NonfiniteVariable]:
    """All of them, as the model is now.

    Args:
        model: A `DescentTrainer`, compiled.
    """
    strict, others = guard.checked(model)
    trained = {id(variable) for variable in model.trainable_variables}
    found = []
    for place, variable in enumerate([*strict, *others]):
        role = "weight" if id(variable) in trained else "optimizer"
        if place >= len(strict):
            role = "other"
        parts = variables.parts(variable, model.distribute_strategy)
        # On the worst replica
        counts = max((_counts(tf.convert_to_tensor(p)) for p in parts), key=sum)
        if any(counts):
            size = int(tf.size(parts[0]))
            name = variables.name_of(variable)
            found.append(NonfiniteVariable(name, role, *counts, size))
    return found


def listed(found: Sequence[NonfiniteVariable]) -> str:
    """Some of them by name, and how many more there are."""
    some = ", ".join(map(str, found[:3]))
    return some + (f" and {len(found) - 3} more" if len(found) > 3 else "")


def any_nonfinite(tensors: Iterable[Any]) -> bool:
    """Whether any of some tensors is not finite."""
    return any(map(kind_of, tensors))

"""What the gradient tapes of a step were asked for."""

from typing import Any, NamedTuple

import keras
import tensorflow as tf


class GradientCall(NamedTuple):
    """One call of `tape.gradient`.

    Args:
        target: What was differentiated.
        sources: With respect to what, a flat list.
        found: The gradients, a flat list.
        values: Values of the sources at the time; `None` if they were not
            asked for, or if some are no variables.
    """

    target: Any
    sources: list[Any]
    found: list[Any]
    values: list[Any] | None


class TapeRecord:
    """What the tapes and loss scales of one step were asked for."""

    def __init__(self) -> None:
        self.calls: list[GradientCall] = []
        self._unscaled: list[tuple[Any, Any]] = []  # (scaled loss, loss)

    def add_call(
        self, target: Any, sources: Any, found: Any, keep_values: bool
    ) -> None:
        """Remembers a call of `tape.gradient`."""
        sources = keras.tree.flatten(sources)
        values = None
        if keep_values and all(map(_is_variable, sources)):
            values = [tf.identity(source) for source in sources]
        call = GradientCall(target, sources, _flat_gradients(found), values)
        self.calls.append(call)

    def add_scaled_loss(self, loss: Any, scaled: Any) -> None:
        """Remembers a loss that was scaled against underflow of float16."""
        self._unscaled.append((scaled, loss))

    def loss_of(self, gradient: list[Any], weights: list[Any]) -> Any:
        """The loss that gradients belong to, a scalar; `None` if unknown.

        That of the call which returned them; if they were changed since, that
        of the last call for the same weights.
        """
        given = {id(g) for g in gradient if g is not None}
        moved = {id(weight) for weight in weights}
        calls = self.calls[::-1]
        same = [c for c in calls if given & {id(g) for g in c.found}]
        alike = [c for c in calls if moved <= {id(s) for s in c.sources}]
        return self.loss(next(iter(same or alike), None))

    def loss(self, call: GradientCall | None) -> Any:
        """The loss of a call of `tape.gradient`, without any loss scale."""
        if call is None:
            return None
        target = call.target
        for scaled, loss in self._unscaled:
            if scaled is target:
                target = loss
        parts = [tf.convert_to_tensor(t) for t in keras.tree.flatten(target)]
        if not parts or not all(t.dtype.is_floating for t in parts):
            return None
        return tf.add_n([tf.reduce_mean(tf.cast(t, tf.float32)) for t in parts])


def _is_variable(source: Any) -> bool:
    kinds = keras.Variable, tf.Variable, tf.distribute.DistributedValues
    return isinstance(source, kinds)


def _flat_gradients(found: Any) -> list[Any]:
    """Gradients as a flat list; indexed slices are not taken apart."""
    if isinstance(found, dict):
        found = list(found.values())
    if isinstance(found, (list, tuple)):
        return [each for one in found for each in _flat_gradients(one)]
    return [found]

"""Variables that quantities keep from step to step."""

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

#: The values of variables, by `repr` of their key.
State = Mapping[str, Iterable[np.ndarray]]


class StepVariables:
    """Variables of the quantities of one model, made when first used.

    They are no part of the model: weights and saved files do not have them;
    a checkpoint does.

    Example:

    >>> variables = StepVariables()
    >>> (count,) = variables.keep("count", lambda: [0])
    >>> _ = count.assign_add(5)
    >>> (again,) = variables.keep("count", lambda: [0])
    >>> int(again)
    5
    """

    def __init__(self) -> None:
        self._kept: dict[Hashable, list[tf.Variable]] = {}
        self._restored: State = {}  # For variables that are not made yet

    def keep(
        self, key: Hashable, initial: Callable[[], Iterable[Any]]
    ) -> list[tf.Variable]:
        """Variables that hold values from one step to the next.

        Args:
            key: Whose they are, for example a tuple of strings.
            initial: Returns their first values, when they are made.

        Returns:
            The variables made before under the same key, if they have the
            same shapes; else new ones.
        """
        with tf.init_scope():  # Out of the graph that is being traced
            values = [tf.convert_to_tensor(value) for value in initial()]
            restored = self._restored.get(repr(key))
            if restored and _shapes(restored) == _shapes(values):
                values = [tf.convert_to_tensor(value) for value in restored]
            kept = self._kept.get(key)
            if kept is None or _shapes(kept) != _shapes(values):
                kept = [tf.Variable(v, trainable=False) for v in values]
                self._kept[key] = kept
        return kept

    def get_state(self) -> dict[str, list[np.ndarray]]:
        """The values of all variables."""
        return {
            repr(key): [variable.numpy() for variable in kept]
            for key, kept in self._kept.items()
        }

    def set_state(self, state: State) -> None:
        """Sets values, also of variables that are yet to be made.

        Args:
            state: What `get_state` returned.
        """
        self._restored = state
        for key, kept in self._kept.items():
            values = state.get(repr(key), kept)
            for variable, value in zip(kept, values, strict=True):
                variable.assign(value)

    @property
    def variables(self) -> dict[Hashable, list[tf.Variable]]:
        """All of them by key."""
        return dict(self._kept)


def _shapes(values: Iterable[Any]) -> list[Any]:
    return [value.shape for value in values]

"""Refuses a step whose parts leave what cannot be joined.

With virtual workers a step runs once for each part of a batch, and how many
parts a replica runs depends on the number of replicas. `gdtrain.step
.part_states` joins what is known. Here, as a step is traced, it is seen whether
it changes anything else.
"""

from collections.abc import Iterable
from typing import Any

import keras
import tensorflow as tf

from gdtrain.common.explained import more
from gdtrain.keras_bridge import graph as keras_graph
from gdtrain.keras_bridge import layers, randomness
from gdtrain.state import variables

# Beside the model's, by the name that a user knows them by
_KERAS, _TENSORFLOW = "keras.random without a seed", "tf.random's generator"


class SideEffects:
    """What one call of a `train_step` adds to the graph that is traced.

    Args:
        model: A `DescentTrainer`, compiled.
        argument: The argument of `compile` that splits a batch.
    """

    def __init__(self, model: keras.Model, argument: str) -> None:
        self._model, self._argument = model, argument
        self._graph = tf.compat.v1.get_default_graph()
        self._seen = len(self._graph.get_operations())

    def check(self, updates: bool) -> None:
        """Refuses what was added if the parts of a batch cannot join it.

        Args:
            updates: Whether it was the last part, which moves the weights.

        Raises:
            ValueError: if it was.
        """
        added = self._graph.get_operations()[self._seen :]
        # Operations of `tf.random` count their calls in these seeds.
        random = {op.type for op in added if "seed2" in op.node_def.attr}
        if random:
            raise ValueError(
                f"With {self._argument}, random numbers must come from a "
                f"generator of a layer. Received: operations {sorted(random)} "
                "of `tf.random` in `train_step`. Use `keras.random` with "
                "`seed=keras.random.SeedGenerator()` of the layer."
                + more("parts-of-a-batch")
            )
        handles = {
            handle.op.name: handle
            for operation in added
            for handle in keras_graph.written_by(operation)
        }
        written = {id(_outermost(handle)) for handle in handles.values()}
        names = [
            name
            for name, variable in self._foreign(updates)
            if any(id(part.handle) in written for part in self._parts(variable))
        ]
        if names:
            raise ValueError(
                f"With {self._argument}, a `train_step` must not set variables "
                "beside `descend`, metrics and moving averages of layers: it "
                "would do so once for each part of a batch. Received: one that "
                f"sets {names}. Set them in a callback, or leave out that "
                "argument." + more("parts-of-a-batch")
            )

    def _foreign(self, updates: bool) -> Iterable[tuple[str, Any]]:
        """`(name, variable)` of all that a part may not set."""
        model = self._model
        kinds = variables.of(model)
        known = [
            *kinds["metric"],
            *layers.moving_statistics(model),
            *randomness.random_states(model),
        ]
        if updates:
            known += [*model.trainable_variables, *kinds["optimizer"]]
        allowed = {id(one) for one in known}
        for some in kinds.values():
            for one in some:
                if id(one) not in allowed:
                    yield variables.name_of(one), one
        of_keras = randomness.global_random_generator()
        if of_keras is not None:
            yield _KERAS, of_keras.state
        yield _TENSORFLOW, tf.random.get_global_generator().state

    def _parts(self, variable: Any) -> tuple[tf.Variable, ...]:
        return variables.parts(variable, self._model.distribute_strategy)


def _outermost(tensor: Any) -> Any:
    """What a graph captured as `tensor`, outside of all graphs."""
    while not hasattr(tensor, "numpy"):  # A tensor of a graph has no value.
        captured = [
            outer
            for outer, inner in tensor.graph.captures
            if inner.op.name == tensor.op.name
        ]
        if not captured:
            return tensor
        tensor = captured[0]
    return tensor

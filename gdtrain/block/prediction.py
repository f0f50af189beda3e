"""Blocks of predictions, and the function that runs them."""

import time
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from gdtrain.block.plan_cache import PlanCache, settings_key
from gdtrain.block.xla_choice import Speed
from gdtrain.data.protocols import BatchPlan, DataSource, Inputs
from gdtrain.descent import settings
from gdtrain.distributed import membership
from gdtrain.distributed.workers import Workers
from gdtrain.mistakes import inputs


class PredictStep:
    """`predict_step` on all replicas, compiled unless it runs eagerly.

    Args:
        model: A `DescentTrainer`.
        take: Makes a replica's part of the batch of what a data source fetched.
    """

    def __init__(
        self,
        model: keras.Model,
        take: Callable[[Any], Any] = lambda batch: batch,
    ) -> None:
        self._model = model
        self._take = take
        self.run: Callable[[Any], Any] = self._on_all_replicas
        if not model.run_eagerly:
            self.run = tf.function(
                self._on_all_replicas,
                autograph=False,
                reduce_retracing=True,
                jit_compile=settings.uses_xla(model) or None,
            )

    def _on_all_replicas(self, fetched: Any) -> Any:
        strategy = self._model.distribute_strategy
        outputs = strategy.run(self._on_replica, args=(fetched,))
        if strategy.num_replicas_in_sync == 1:
            return outputs
        return keras.tree.map_structure(
            lambda leaf: strategy.gather(leaf, axis=0), outputs
        )

    def _on_replica(self, fetched: Any) -> Any:
        batch = keras.tree.map_structure(
            lambda leaf: (
                None if isinstance(leaf, tf.experimental.Optional) else leaf
            ),
            self._take(fetched),
        )
        with inputs.explained(self._model, batch):
            return self._model.predict_step(batch)


class PredictBlock:
    """Predicts many batches as one program.

    Args:
        model: A `DescentTrainer`.
        plan: The plan of the data source.
    """

    def __init__(self, model: keras.Model, plan: BatchPlan) -> None:
        self._plan = plan
        self._workers = Workers(model.distribute_strategy)
        self._step = PredictStep(model, plan.take)
        self._program: Any = None
        self._outputs: Any = None  # Of a batch, as traced
        # Whether a call predicts one batch, whatever it is asked for: eagerly,
        # or if outputs are no dense tensors of one shape
        self._has_one_batch = model.run_eagerly
        self.speed = Speed()

    def run(
        self, data_source: DataSource, step: int, steps: float, exactly: bool
    ) -> tuple[Any, int]:
        """Predicts batches.

        Args:
            data_source: The data.
            step: Where to begin.
            steps: How many; fewer if there are no more batches.
            exactly: Whether it must be so many; else one call is enough.

        Returns:
            `(outputs, steps)`: of all examples, and how many steps those are;
            `(None, 0)` if there is no batch.
        """
        start = time.perf_counter()
        outputs: list[Any] = []
        count = 0
        while count < steps:
            most = int(steps - count)
            block_inputs = data_source.block_inputs(0, step + count, most)
            with membership.waiting():
                some, more = self._call(block_inputs, most)
            if more:
                outputs.append(some)
            count += more
            if not (more and exactly and self._has_one_batch):
                break
        seconds = time.perf_counter() - start
        if not exactly:  # Then all workers choose the next block alike.
            seconds = self._workers.longest(seconds)
        self.speed.add(count, seconds)
        return _concatenated(outputs), count

    def _call(self, block_inputs: Inputs, steps: int) -> tuple[Any, int]:
        """One call of the program: as `run`."""
        if self._program is None and not self._has_one_batch:
            self._trace(block_inputs)
        if self._has_one_batch:
            opened = self._plan.open(block_inputs, False)
            cursor = self._plan.first(opened)
            if not self._plan.has_batch(opened, cursor):
                return None, 0
            return self._step.run(self._plan.fetch(opened, cursor)), 1
        outputs, done = self._program(block_inputs, tf.constant(steps))
        return (outputs, int(done)) if done else (None, 0)

    def _trace(self, block_inputs: Inputs) -> None:
        """Makes the program, if outputs can be concatenated."""

        def first(block_inputs: Inputs) -> Any:
            opened = self._plan.open(block_inputs, False)
            cursor = self._plan.first(opened)
            return self._step.run(self._plan.fetch(opened, cursor))

        signature = self._plan.signature(block_inputs, False)
        self._outputs = (
            tf.function(first, autograph=False)
            .get_concrete_function(signature)
            .structured_outputs
        )
        self._has_one_batch = not all(
            isinstance(leaf, tf.Tensor)
            and leaf.shape.rank
            and leaf.shape[1:].is_fully_defined()
            for leaf in keras.tree.flatten(self._outputs)
        )
        if not self._has_one_batch:
            self._program = tf.function(
                self._loop, autograph=False
            ).get_concrete_function(signature, tf.TensorSpec([], tf.int32))

    def _loop(
        self, block_inputs: Inputs, steps: tf.Tensor
    ) -> tuple[Any, tf.Tensor]:
        """All batches in turn: `(outputs, steps)`. Traced."""
        plan = self._plan
        opened = plan.open(block_inputs, False)
        arrays = [
            tf.TensorArray(
                leaf.dtype,
                size=0,
                dynamic_size=True,
                infer_shape=False,
                element_shape=[None, *leaf.shape[1:]],
            )
            for leaf in keras.tree.flatten(self._outputs)
        ]

        def more(i: Any, cursor: Any, arrays: Any) -> tf.Tensor:
            return tf.less(i, steps) & plan.has_batch(opened, cursor)

        def one(i: Any, cursor: Any, arrays: Any) -> tuple[Any, Any, Any]:
            outputs = self._step.run(plan.fetch(opened, cursor))
            arrays = [
                array.write(i, leaf)
                for array, leaf in zip(
                    arrays, keras.tree.flatten(outputs), strict=True
                )
            ]
            return i + 1, plan.advance(opened, cursor, i + 1 < steps), arrays

        done, _, arrays = tf.while_loop(
            more, one, (0, plan.first(opened), arrays)
        )
        outputs = keras.tree.pack_sequence_as(
            self._outputs, [array.concat() for array in arrays]
        )
        return outputs, done


class PredictFunction:
    """Predicts by blocks; one is compiled for each kind of data source.

    Args:
        model: A `DescentTrainer`.
    """

    def __init__(self, model: keras.Model) -> None:
        self._model = model
        self._blocks: PlanCache[PredictBlock] = PlanCache()
        self._on_batches: dict[tuple, PredictStep] = {}  # By settings

    def compiled_for(self, data_source: DataSource) -> PredictBlock:
        """What predicts a data source."""
        plan, model = data_source.plan, self._model
        return self._blocks.get(
            plan, settings_key(model), lambda: PredictBlock(model, plan)
        )

    def __call__(self, data: list[Any]) -> Any:
        """Predicts batches that are at hand, as Keras calls it.

        Args:
            data: A list of batches.
        """
        key = settings_key(self._model)
        if key not in self._on_batches:
            self._on_batches[key] = PredictStep(self._model)
        step = self._on_batches[key]
        return _concatenated([step.run(batch) for batch in data])


def _concatenated(outputs: list[Any]) -> Any:
    """Outputs of batches, concatenated; `None` if there are none."""
    if len(outputs) < 2:
        return outputs[0] if outputs else None
    return keras.tree.map_structure(
        lambda *leaves: tf.concat(leaves, 0), *outputs
    )

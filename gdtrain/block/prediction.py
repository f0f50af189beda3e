"""A block of predictions, and the function that makes such blocks."""

import time
from typing import Any

import keras
import tensorflow as tf

from gdtrain.block.plan_cache import PlanCache, settings_key
from gdtrain.block.xla_choice import Speed
from gdtrain.data.protocols import DataSource
from gdtrain.mistakes import inputs


class PredictBlock:
    """Predicts, on all replicas.

    Args:
        model: A `DescentTrainer`.
        plan: The plan of the data source; `None` if only `step` is called,
            with batches.
    """

    def __init__(self, model: keras.Model, plan: Any = None) -> None:
        self._model = model
        self._plan = plan
        self._take = plan.take if plan else lambda batch: batch
        self._program: Any = None
        self._can_concatenate = True
        self.step = self._on_all_replicas
        if not model.run_eagerly:
            self.step = tf.function(
                self._on_all_replicas,
                autograph=False,
                reduce_retracing=True,
                jit_compile=model.jit_compile or None,
            )

    @property
    def has_one_batch(self) -> bool:
        """Whether each call predicts one batch, whatever it is asked for."""
        return self._model.run_eagerly or not self._can_concatenate

    def __call__(self, block_inputs: Any, steps: int) -> tuple[Any, int]:
        """Predicts batches.

        Args:
            block_inputs: What the data source gives for these steps.
            steps: How many; one if their outputs are no dense tensors of one
                shape, and fewer if there are no more batches.

        Returns:
            `(outputs, steps)`: of all examples, and how many steps those are;
            `(None, 0)` if there is no batch.
        """
        if self._program is None and not self._model.run_eagerly:
            self._trace(block_inputs)
        if self.has_one_batch:
            return self._one(block_inputs)
        outputs, done = self._program(block_inputs, tf.constant(steps))
        return (outputs, int(done)) if done else (None, 0)

    def _one(self, block_inputs: Any) -> tuple[Any, int]:
        """The next batch."""
        opened = self._plan.open(block_inputs, False)
        cursor = self._plan.first(opened)
        if not self._plan.has_batch(opened, cursor):
            return None, 0
        return self.step(self._plan.fetch(opened, cursor)), 1

    def _trace(self, block_inputs: Any) -> None:
        """Makes the program, if outputs can be put one after another."""

        def first(block_inputs: Any) -> Any:
            opened = self._plan.open(block_inputs, False)
            cursor = self._plan.first(opened)
            return self.step(self._plan.fetch(opened, cursor))

        signature = self._plan.signature(block_inputs, False)
        outputs = (
            tf.function(first, autograph=False)
            .get_concrete_function(signature)
            .structured_outputs
        )
        self._outputs = outputs
        self._can_concatenate = all(
            isinstance(leaf, tf.Tensor)
            and leaf.shape.rank
            and leaf.shape[1:].is_fully_defined()
            for leaf in keras.tree.flatten(outputs)
        )
        if not self._can_concatenate:
            self._program = self.step
            return
        self._program = tf.function(
            self._loop, autograph=False
        ).get_concrete_function(signature, tf.TensorSpec([], tf.int32))

    def _loop(
        self, block_inputs: Any, steps: tf.Tensor
    ) -> tuple[Any, tf.Tensor]:
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
            outputs = self.step(plan.fetch(opened, cursor))
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


class PredictFunction:
    """Predicts by blocks; a program is made for each kind of data source.

    Args:
        model: A `DescentTrainer`.
    """

    def __init__(self, model: keras.Model) -> None:
        self._model = model
        self._blocks: PlanCache[tuple[PredictBlock, Speed]] = PlanCache()
        self._on_batches: dict[tuple, PredictBlock] = {}  # By settings

    def run(
        self, data_source: DataSource, step: int, pace: Any, left: float | None
    ) -> tuple[Any, int]:
        """Runs a block.

        Args:
            data_source: The data.
            step: Where it begins.
            pace: The `Pace`.
            left: How many steps are left; `None` if unknown.

        Returns:
            `(outputs, steps)`.
        """
        block, speed = self._blocks.get(
            data_source.plan,
            settings_key(self._model),
            lambda: (PredictBlock(self._model, data_source.plan), Speed()),
        )
        start = time.perf_counter()
        steps = min(pace.steps(speed, left, left), data_source.most_steps)
        outputs, count = [], 0
        while count < steps:
            most = steps - count
            some, more = block(
                data_source.block_inputs(0, step + count, most), most
            )
            if more:
                outputs.append(some)
            count += more
            if not more or not block.has_one_batch or pace.fixed_steps is None:
                break
        speed.add(count, time.perf_counter() - start)
        return _joined(outputs), count

    def __call__(self, data: list[Any]) -> Any:
        """Predicts batches that are at hand, as Keras calls it.

        Args:
            data: A list of batches.
        """
        key = settings_key(self._model)
        if key not in self._on_batches:
            self._on_batches[key] = PredictBlock(self._model)
        return _joined([self._on_batches[key].step(batch) for batch in data])


def _joined(outputs: list[Any]) -> Any:
    """Outputs of batches, one after another; `None` if there are none."""
    if len(outputs) < 2:
        return outputs[0] if outputs else None
    return keras.tree.map_structure(
        lambda *leaves: tf.concat(leaves, 0), *outputs
    )

"""The trainings of a sweep all at once: models stacked along a new axis."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from gdtrain.data.protocols import DataSource
from gdtrain.descent import settings
from gdtrain.keras_bridge import models
from gdtrain.trainer import DescentTrainer
from gdtrain.tuning import stacked_model
from gdtrain.tuning.stacked_model import StackedModel
from gdtrain.tuning.sweep_runs import Progress, SweepJob, SweepRun

_BLOCK = 0.2  # Seconds a block should take, so that progress is shown


class StackedLoop:
    """Trains a stacked model over data whose epochs are in one program.

    Args:
        model: The stacked model.
        data: The training data.
        validation: The data to validate on after each epoch, or `None`.
    """

    def __init__(
        self,
        model: StackedModel,
        data: DataSource,
        validation: DataSource | None = None,
    ) -> None:
        self._model = model
        self._data = data
        self._validation = validation
        block_inputs_of_all = (
            [data] if validation is None else [data, validation]
        )
        self._program = tf.function(
            self._block,
            autograph=False,
            input_signature=[
                [
                    s.plan.signature(s.block_inputs(0, 0, 0), False)
                    for s in block_inputs_of_all
                ],
                tf.TensorSpec([], tf.int32),
            ],
        )

    def trace(self) -> set[str]:
        """Makes the program.

        Returns:
            Names of the operations in it.

        Raises:
            Exception: of any kind, if the model cannot be stacked.
        """
        graph = self._program.get_concrete_function().graph
        library = graph.as_graph_def().library
        return {node.op for f in library.function for node in f.node_def}

    def run(
        self, epochs: int, progress: Callable[[int, np.ndarray], None]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Trains.

        Args:
            epochs: How many.
            progress: Called after each block, with its number of epochs and
                their results.

        Returns:
            `(losses, results)`: float32 `[steps, runs]`, of each step, and
            `[epochs, metrics, runs]`, those of validation after the others.
        """
        done, count, parts = 0, 1, []
        most = self._data.most_steps // _steps_per_epoch(self._data)
        while done < epochs:
            count = int(max(1, min(count, epochs - done, most)))
            start = time.perf_counter()
            found = self._program(self._sources(done, count), count)
            parts.append([tensor.numpy() for tensor in found])
            done += count
            progress(count, parts[-1][1])
            if time.perf_counter() - start < _BLOCK / 2:
                count *= 2
        losses, results = zip(*parts, strict=True)
        return np.concatenate(losses), np.concatenate(results)

    def _sources(self, epoch: int, count: int) -> list[Any]:
        """The data that the program takes for a block of epochs."""
        steps = count * _steps_per_epoch(self._data)
        block_inputs_of_all = [self._data.block_inputs(epoch, 0, steps)]
        if self._validation is not None:
            steps = _steps_per_epoch(self._validation)
            block_inputs_of_all.append(
                self._validation.block_inputs(0, 0, steps)
            )
        return block_inputs_of_all

    def _block(
        self, block_inputs_of_all: list[Any], epochs: tf.Tensor
    ) -> tuple:
        """Some epochs; traced."""
        plan: Any = self._data.plan  # Its epochs can follow.
        steps = _steps_per_epoch(self._data)
        opened = plan.open(block_inputs_of_all[0], False)

        def epoch(
            number: tf.Tensor,
            cursor: Any,
            losses: tf.TensorArray,
            results: tf.TensorArray,
        ) -> tuple:
            def step(
                place: int | tf.Tensor, batch: Any, losses: tf.TensorArray
            ) -> tf.TensorArray:
                found = self._model.train_step(batch)
                return losses.write(number * steps + place, found)

            self._model.reset_metrics()
            cursor, losses = _each_batch(
                self._data, opened, cursor, step, losses
            )
            found = [self._model.results()]
            if self._validation is not None:
                found.append(self._validated(block_inputs_of_all[1]))
            results = results.write(number, tf.concat(found, 0))
            return number + 1, plan.next_epoch(opened, cursor), losses, results

        _, _, losses, results = tf.while_loop(
            lambda number, *_: number < epochs,
            epoch,
            (
                0,
                plan.first(opened),
                tf.TensorArray(
                    tf.float32, epochs * steps, element_shape=[self._model.runs]
                ),
                tf.TensorArray(tf.float32, epochs),
            ),
        )
        return losses.stack(), results.stack()

    def _validated(self, block_inputs: Any) -> tf.Tensor:
        """The metrics over the data to validate on."""
        data = self._validation
        assert data is not None

        def step(place: int | tf.Tensor, batch: Any, state: tuple) -> tuple:
            self._model.test_step(batch)
            return state

        self._model.reset_metrics()
        opened = data.plan.open(block_inputs, False)
        _each_batch(data, opened, data.plan.first(opened), step, ())
        return self._model.results()


def _steps_per_epoch(data: DataSource) -> int:
    steps = data.steps_per_epoch
    assert steps is not None  # Of data whose epochs can follow
    return steps


def _each_batch(
    data: DataSource,
    opened: Any,
    cursor: Any,
    step: Callable[[int | tf.Tensor, Any, Any], Any],
    state: Any,
) -> tuple[Any, Any]:
    """Runs a step for each batch of an epoch; traced.

    Args:
        data, opened, cursor: Where the batches are.
        step: Takes its place in the epoch, a batch and the state; returns
            the next state.
        state: The first state.

    Returns:
        `(cursor, state)` after the last batch.
    """
    plan, steps = data.plan, _steps_per_epoch(data)

    def one(place: int | tf.Tensor, cursor: Any, state: Any) -> tuple:
        state = step(place, plan.take(plan.fetch(opened, cursor)), state)
        cursor = plan.advance(opened, cursor, place + 1 < steps)
        return place + 1, cursor, state

    if steps == 1:
        return one(0, cursor, state)[1:]
    return tf.while_loop(
        lambda place, *_: place < steps, one, (0, cursor, state)
    )[1:]


#: Weights of all runs together. Larger models keep a CPU busy one by one, so
#: that stacking would only cost memory.
MAX_WEIGHTS = 2**22

# Operations that draw from a state that is not the model's
_RANDOM = (
    "Multinomial",
    "ParameterizedTruncatedNormal",
    "Random",
    "Rng",
    "TruncatedNormal",
)


class NotStackable(Exception):
    """Why a model cannot be trained at several rates at once."""


def train(job: SweepJob, progress: Progress) -> list[SweepRun]:
    """Trains at all learning rates of a job in one program.

    Returns:
        One for each learning rate.

    Raises:
        NotStackable: if that is not possible; nothing has been trained.
    """
    model = job.model()
    if not model.built:
        raise NotStackable("it cannot be built before its first step")
    data, validation = job.data_source(), job.validation_source()
    reason = _why_not(model, [data, validation], len(job.learning_rates))
    if reason:
        raise NotStackable(reason)
    if not models.build(model, data.batch_spec):  # With its metrics
        raise NotStackable("its step cannot be traced")
    stacked = StackedModel(model, job.learning_rates)
    loop = StackedLoop(stacked, data, validation)
    _trace(loop)
    names = list(model.get_metrics_result())
    loss = names.index("loss")
    losses, results = loop.run(
        job.epochs,
        lambda count, found: progress(count * stacked.runs, found[-1, loss]),
    )
    parts = [("", 0), ("val_", len(names))][: 1 + (validation is not None)]
    places = {
        prefix + name: first + names.index(name)
        for prefix, first in parts
        for name in sorted(names)  # As `fit` has them
    }
    return [
        SweepRun(
            losses[:, run].copy(),
            {name: results[:, p, run].tolist() for name, p in places.items()},
            stacked.weights(run),
        )
        for run in range(stacked.runs)
    ]


def _trace(loop: StackedLoop) -> None:
    """Makes the program, or raises why that cannot be done."""
    try:
        operations = loop.trace()
    except Exception as error:  # As many kinds as there are operations
        first_line = str(error).partition("\n")[0]
        raise NotStackable(f"{type(error).__name__}: {first_line}") from error
    for name in sorted(operations):
        if name.startswith(_RANDOM):
            raise NotStackable(
                f"the random numbers of {name} would differ between runs"
            )


def _why_not(
    model: DescentTrainer, data: Sequence[DataSource | None], runs: int
) -> str | None:
    """Why a model cannot be stacked; `None` if it can, as far as is known."""
    if not all(part is None or part.plan.epochs_can_follow for part in data):
        return "the data are not arrays that are kept on the device"
    if (
        type(model).train_step is not DescentTrainer.train_step
        or type(model).test_step is not keras.Model.test_step
    ):
        return "it has a step of its own"
    if any(v.constraint is not None for v in model.trainable_variables):
        return "a weight has a constraint"
    if settings.of(model).microbatches > 1:
        return "it has micro-batches"
    if model.run_eagerly or settings.of(model).jit_compile is True:
        return "it was compiled to run eagerly or by XLA"
    if model.distribute_strategy.num_replicas_in_sync > 1:
        return "it has several replicas"
    weights = runs * model.count_params()
    if weights > MAX_WEIGHTS:
        return (
            f"its weights would be {weights:,} numbers, and at most "
            f"{MAX_WEIGHTS:,} are stacked"
        )
    return stacked_model.why_not_stacked(model.optimizer)

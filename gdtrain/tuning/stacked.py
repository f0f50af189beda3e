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

# Takes a place in the epoch, a batch and a state; returns the next state
_Step = Callable[[Any, Any, Any], Any]


class _Batches:
    """The batches of some data, an epoch of which is a loop in a program.

    Args:
        data: Data whose epochs can follow one another in a program.
    """

    def __init__(self, data: DataSource) -> None:
        self.data = data
        self.plan: Any = data.plan
        self.steps = data.steps_per_epoch or 0

    def inputs(self, epoch: int = 0, epochs: int = 1) -> Any:
        """What the program takes for some epochs."""
        return self.data.block_inputs(epoch, 0, epochs * self.steps)

    def each(self, opened: Any, cursor: Any, step: _Step, state: Any) -> tuple:
        """`(cursor, state)` after a step for each batch of an epoch; traced."""

        def one(place: Any, cursor: Any, state: Any) -> tuple:
            batch = self.plan.take(self.plan.fetch(opened, cursor))
            state = step(place, batch, state)
            cursor = self.plan.advance(opened, cursor, place + 1 < self.steps)
            return place + 1, cursor, state

        if self.steps == 1:
            return one(0, cursor, state)[1:]
        start = 0, cursor, state
        return tf.while_loop(lambda n, *_: n < self.steps, one, start)[1:]


class StackedLoop:
    """Trains a stacked model over data whose epochs are in one program.

    Args:
        model: The stacked model.
        data: The training data, and those to validate on if there are any.
    """

    def __init__(self, model: StackedModel, data: Sequence[DataSource]) -> None:
        self._model = model
        self._train, *self._validation = map(_Batches, data)
        inputs = [
            d.plan.signature(d.block_inputs(0, 0, 0), False) for d in data
        ]
        self._program = tf.function(
            self._block,
            autograph=False,
            input_signature=[inputs, tf.TensorSpec([], tf.int32)],
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
        most = self._train.data.most_steps // self._train.steps
        while done < epochs:
            count = int(max(1, min(count, epochs - done, most)))
            start = time.perf_counter()
            inputs = [self._train.inputs(done, count)]
            inputs += [batches.inputs() for batches in self._validation]
            found = self._program(inputs, count)
            parts.append([tensor.numpy() for tensor in found])
            done += count
            progress(count, parts[-1][1])
            if time.perf_counter() - start < _BLOCK / 2:
                count *= 2
        losses, results = zip(*parts, strict=True)
        return np.concatenate(losses), np.concatenate(results)

    def _block(self, inputs: list[Any], epochs: tf.Tensor) -> tuple:
        """Some epochs; traced."""
        model, train = self._model, self._train
        opened = train.plan.open(inputs[0], False)

        def epoch(number: Any, cursor: Any, losses: Any, results: Any) -> tuple:
            def step(place: Any, batch: Any, losses: Any) -> tf.TensorArray:
                found = model.train_step(batch)
                return losses.write(number * train.steps + place, found)

            model.reset_metrics()
            cursor, losses = train.each(opened, cursor, step, losses)
            found = [model.results()]
            for batches, data in zip(self._validation, inputs[1:], strict=True):
                found.append(self._validated(batches, data))
            results = results.write(number, tf.concat(found, 0))
            cursor = train.plan.next_epoch(opened, cursor)
            return number + 1, cursor, losses, results

        count, shape = epochs * train.steps, [model.runs]
        losses = tf.TensorArray(tf.float32, count, element_shape=shape)
        results = tf.TensorArray(tf.float32, epochs)
        *_, losses, results = tf.while_loop(
            lambda number, *_: number < epochs,
            epoch,
            (0, train.plan.first(opened), losses, results),
        )
        return losses.stack(), results.stack()

    def _validated(self, batches: _Batches, inputs: Any) -> tf.Tensor:
        """The metrics over the data to validate on."""

        def step(place: Any, batch: Any, state: tuple) -> tuple:
            self._model.test_step(batch)
            return state

        self._model.reset_metrics()
        opened = batches.plan.open(inputs, False)
        batches.each(opened, batches.plan.first(opened), step, ())
        return self._model.results()


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
    sources = [data] if validation is None else [data, validation]
    reason = _why_not(model, sources, len(job.learning_rates))
    if reason:
        raise NotStackable(reason)
    if not models.build(model, data.batch_spec):  # With its metrics
        raise NotStackable("its step cannot be traced")
    stacked = StackedModel(model, job.learning_rates)
    loop = StackedLoop(stacked, sources)
    _trace(loop)
    names = list(model.get_metrics_result())
    loss = names.index("loss")
    losses, results = loop.run(
        job.epochs,
        lambda count, found: progress(count * stacked.runs, found[-1, loss]),
    )
    parts = [("", 0), ("val_", len(names))][: len(sources)]
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
    model: DescentTrainer, data: Sequence[DataSource], runs: int
) -> str | None:
    """Why a model cannot be stacked; `None` if it can, as far as is known."""
    if not all(part.plan.epochs_can_follow for part in data):
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

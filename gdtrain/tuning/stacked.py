"""The trainings of a sweep all at once: models stacked along a new axis."""

import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from gdtrain.data.protocols import Cursor, DataSource, Opened
from gdtrain.descent import settings
from gdtrain.keras_bridge import models
from gdtrain.trainer import DescentTrainer
from gdtrain.tuning import stacked_model
from gdtrain.tuning.stacked_model import StackedModel
from gdtrain.tuning.sweep_result import SweepJob, SweepRun

#: Is called with a number of epochs, of all runs together, and the losses of
#: the last of them.
Progress = Callable[[int, Any], None]

_BLOCK = 0.2  # Seconds a block should take, so that progress is shown

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
    data = list(job.data_sources())
    reason = _why_not(model, data, len(job.learning_rates))
    if reason:
        raise NotStackable(reason)
    if not models.build(model, data[0].batch_spec):  # With its metrics
        raise NotStackable("its step cannot be traced")
    stacked = StackedModel(model, job.learning_rates)
    program = _program(stacked, data)
    names = list(model.get_metrics_result())
    loss = names.index("loss")
    losses, results = _run(
        program,
        data,
        job.epochs,
        lambda count, found: progress(count * stacked.runs, found[-1, loss]),
    )
    places = {
        prefix + name: first + names.index(name)
        for prefix, first in [("", 0), ("val_", len(names))][: len(data)]
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


def _why_not(
    model: DescentTrainer, data: list[DataSource], runs: int
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
    if settings.of(model).reproducible_workers is not None:
        return "it has reproducible workers"
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


def _program(model: StackedModel, data: list[DataSource]) -> Callable:
    """A program of some epochs.

    It takes what the sources give for a block, a list, and the number of
    epochs, and returns the losses of the steps, float32 `[steps, runs]`, and
    the results of the epochs, `[epochs, metrics, runs]`.

    Args:
        model: The stacked model.
        data: The training data, and those to validate on if there are any.

    Raises:
        NotStackable: if the model cannot be stacked.
    """
    inputs = [d.plan.signature(d.block_inputs(0, 0, 0), False) for d in data]
    program = tf.function(
        lambda inputs, epochs: _epochs(model, data, inputs, epochs),
        autograph=False,
        input_signature=[inputs, tf.TensorSpec([], tf.int32)],
    )
    try:
        graph = program.get_concrete_function().graph.as_graph_def()
    except Exception as error:  # As many kinds as there are operations
        first_line = str(error).partition("\n")[0]
        raise NotStackable(f"{type(error).__name__}: {first_line}") from error
    for name in sorted(
        {node.op for f in graph.library.function for node in f.node_def}
    ):
        if name.startswith(_RANDOM):
            raise NotStackable(
                f"the random numbers of {name} would differ between runs"
            )
    return program


def _run(
    program: Callable,
    data: list[DataSource],
    epochs: int,
    progress: Callable[[int, np.ndarray], None],
) -> tuple[np.ndarray, np.ndarray]:
    """Losses and results of all epochs, as the program returns them.

    Args:
        program: What `_program` made.
        data: As there.
        epochs: How many.
        progress: Called after each block, with its number of epochs and
            their results.
    """
    steps = _steps(data[0])
    done, count, parts = 0, 1, []
    while done < epochs:
        most = data[0].most_steps // steps
        count = int(max(1, min(count, epochs - done, most)))
        start = time.perf_counter()
        inputs = [data[0].block_inputs(done, 0, count * steps)]
        inputs += [d.block_inputs(0, 0, _steps(d)) for d in data[1:]]
        parts.append([found.numpy() for found in program(inputs, count)])
        done += count
        progress(count, parts[-1][1])
        if time.perf_counter() - start < _BLOCK / 2:
            count *= 2
    losses, results = map(np.concatenate, zip(*parts, strict=True))
    return losses, results


def _steps(data: DataSource) -> int:
    """Steps of an epoch of data whose epochs can follow one another."""
    return data.steps_per_epoch or 0


def _epochs(
    model: StackedModel, data: list[DataSource], inputs: list, epochs: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Some epochs; traced. As `_program` describes."""
    plan: Any = data[0].plan
    steps = _steps(data[0])
    opened = plan.open(inputs[0], False)

    def epoch(number: Any, cursor: Cursor, losses: Any, results: Any) -> tuple:
        def step(place: Any, batch: Any, losses: Any) -> tf.TensorArray:
            return losses.write(number * steps + place, model.train_step(batch))

        def test_step(place: Any, batch: Any, state: tuple) -> tuple:
            model.test_step(batch)
            return state

        model.reset_metrics()
        cursor, losses = _each(data[0], opened, cursor, step, losses)
        found = [model.results()]
        for source, given in zip(data[1:], inputs[1:], strict=True):
            model.reset_metrics()
            other = source.plan.open(given, False)
            _each(source, other, source.plan.first(other), test_step, ())
            found.append(model.results())
        results = results.write(number, tf.concat(found, 0))
        return number + 1, plan.next_epoch(opened, cursor), losses, results

    losses = tf.TensorArray(
        tf.float32, epochs * steps, element_shape=[model.runs]
    )
    results = tf.TensorArray(tf.float32, epochs)
    *_, losses, results = tf.while_loop(
        lambda number, *_: number < epochs,
        epoch,
        (0, plan.first(opened), losses, results),
    )
    return losses.stack(), results.stack()


def _each(
    data: DataSource, opened: Opened, cursor: Cursor, step: Callable, state: Any
) -> tuple:
    """`(cursor, state)` after a step for each batch of an epoch; traced."""
    plan, steps = data.plan, _steps(data)

    def one(place: Any, cursor: Cursor, state: Any) -> tuple:
        state = step(place, plan.take(plan.fetch(opened, cursor)), state)
        cursor = plan.advance(opened, cursor, place + 1 < steps)
        return place + 1, cursor, state

    if steps == 1:
        return one(0, cursor, state)[1:]
    start = 0, cursor, state
    return tf.while_loop(lambda n, *_: n < steps, one, start)[1:]

"""The trainings of a sweep all at once: models stacked along a new axis."""

import time

import keras
import numpy as np
import tensorflow as tf

from gdtrain.keras_bridge import models
from gdtrain.trainer import DescentTrainer
from gdtrain.tuning import stacked_model
from gdtrain.tuning.stacked_model import StackedModel
from gdtrain.tuning.sweep_result import Run

_BLOCK = 0.2  # Seconds that a block is to take, so that progress is seen


class StackedLoop:
    """Trains a stacked model over a feed whose epochs can follow.

    Args:
        model: A `StackedModel`.
        feed: The training data.
        validation_feed: The data to validate on after each epoch, or `None`.
    """

    def __init__(self, model, feed, validation_feed=None):
        self._model = model
        self._feed = feed
        self._validation = validation_feed
        feeds = [feed] + [validation_feed] * (validation_feed is not None)
        self._program = tf.function(
            self._block,
            autograph=False,
            input_signature=[
                [f.plan.signature(f.source(0, 0, 0), False) for f in feeds],
                tf.TensorSpec([], tf.int32),
            ],
        )

    def trace(self):
        """Makes the program.

        Returns:
            Names of the operations in it, a set.

        Raises:
            Exception: of any kind, if the model cannot be stacked.
        """
        graph = self._program.get_concrete_function().graph
        library = graph.as_graph_def().library
        return {node.op for f in library.function for node in f.node_def}

    def run(self, epochs, progress):
        """Trains.

        Args:
            epochs: How many.
            progress: A function of the number of epochs of a block and their
                results, called after each.

        Returns:
            `(losses, results)`: float32 `[steps, runs]`, of each step, and
            `[epochs, metrics, runs]`, those of validation after the others.
        """
        done, count, parts = 0, 1, []
        most = self._feed.most_steps // self._feed.steps_per_epoch
        while done < epochs:
            count = int(max(1, min(count, epochs - done, most)))
            start = time.perf_counter()
            found = self._program(*self._inputs(done, count))
            parts.append([tensor.numpy() for tensor in found])
            done += count
            progress(count, parts[-1][1])
            if time.perf_counter() - start < _BLOCK / 2:
                count *= 2
        losses, results = zip(*parts, strict=True)
        return np.concatenate(losses), np.concatenate(results)

    def _inputs(self, epoch, count):
        """What the program takes for a block of epochs."""
        steps = count * self._feed.steps_per_epoch
        sources = [self._feed.source(epoch, 0, steps)]
        if self._validation is not None:
            steps = self._validation.steps_per_epoch
            sources.append(self._validation.source(0, 0, steps))
        return sources, tf.constant(count)

    def _block(self, sources, epochs):
        """Some epochs; traced."""
        plan, steps = self._feed.plan, self._feed.steps_per_epoch
        opened = plan.open(sources[0], False)

        def epoch(number, cursor, losses, results):
            self._model.reset_metrics()
            cursor, losses = self._steps(opened, cursor, number, losses)
            found = [self._model.results()]
            if len(sources) > 1:
                found.append(self._validated(sources[1]))
            results = results.write(number, tf.concat(found, 0))
            cursor = plan.next_epoch(opened, cursor)
            return number + 1, cursor, losses, results

        runs = [self._model.runs]
        _, _, losses, results = tf.while_loop(
            lambda number, *_: number < epochs,
            epoch,
            (
                0,
                plan.first(opened),
                tf.TensorArray(tf.float32, epochs * steps, element_shape=runs),
                tf.TensorArray(tf.float32, epochs),
            ),
        )
        return losses.stack(), results.stack()

    def _steps(self, opened, cursor, epoch, losses):
        """The steps of one epoch."""
        plan, steps = self._feed.plan, self._feed.steps_per_epoch

        def one(step, cursor, losses):
            batch = plan.take(plan.fetch(opened, cursor))
            place = epoch * steps + step
            losses = losses.write(place, self._model.train_step(batch))
            cursor = plan.advance(opened, cursor, step + 1 < steps)
            return step + 1, cursor, losses

        if steps == 1:
            return one(0, cursor, losses)[1:]
        return tf.while_loop(
            lambda step, *_: step < steps, one, (0, cursor, losses)
        )[1:]

    def _validated(self, source):
        """The metrics over the data to validate on."""
        plan, steps = self._validation.plan, self._validation.steps_per_epoch
        opened = plan.open(source, False)
        self._model.reset_metrics()

        def one(step, cursor):
            self._model.test_step(plan.take(plan.fetch(opened, cursor)))
            return step + 1, plan.advance(opened, cursor, step + 1 < steps)

        tf.while_loop(
            lambda step, *_: step < steps, one, (0, plan.first(opened))
        )
        return self._model.results()


#: Weights of all runs together, at most. Larger ones keep a CPU busy one by
#: one, so that nothing would be gained for the memory.
MOST_WEIGHTS = 2**22

# Operations that draw from a state that is not the model's
_RANDOM = (
    "Multinomial",
    "ParameterizedTruncatedNormal",
    "Random",
    "Rng",
    "TruncatedNormal",
)


class NotStackable(Exception):
    """Says why a model cannot be trained at several rates at once."""


def train(job, progress):
    """Trains at all learning rates of a job in one program.

    Args:
        job: A `Job`.
        progress: Called with a number of epochs, of all runs together, and
            the losses of the last of them.

    Returns:
        A list of `Run`, one a learning rate.

    Raises:
        NotStackable: if that is not possible; nothing has been trained.
    """
    model = job.model()
    if not model.built:
        raise NotStackable("it cannot be built before its first step")
    feed, validation = job.feed(), job.validation_feed()
    reason = _why_not(model, [feed, validation], len(job.learning_rates))
    if reason:
        raise NotStackable(reason)
    if not models.build(model, feed.batch_spec):  # With its metrics
        raise NotStackable("its step cannot be traced")
    stacked = StackedModel(model, job.learning_rates)
    loop = StackedLoop(stacked, feed, validation)
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
        Run(
            losses[:, run].copy(),
            {name: results[:, p, run].tolist() for name, p in places.items()},
            _weights(stacked, run),
        )
        for run in range(stacked.runs)
    ]


def _trace(loop):
    """Makes the program, or says why that cannot be done."""
    try:
        operations = loop.trace()
    except Exception as error:  # As many kinds as there are operations
        raise NotStackable(_first_line(error)) from error
    for name in sorted(operations):
        if name.startswith(_RANDOM):
            raise NotStackable(
                f"the random numbers of {name} would differ between runs"
            )


def _weights(stacked, run):
    """The trained weights of a run."""
    stacked.put(run)
    return stacked.model.get_weights()


def _why_not(model, feeds, runs):
    """Why a model cannot be stacked; `None` if nothing speaks against it."""
    if not all(feed is None or feed.plan.epochs_can_follow for feed in feeds):
        return "the data are not arrays that are kept on the device"
    if (
        type(model).train_step is not DescentTrainer.train_step
        or type(model).test_step is not keras.Model.test_step
    ):
        return "it has a step of its own"
    if any(v.constraint is not None for v in model.trainable_variables):
        return "a weight has a constraint"
    if model.microbatches > 1:
        return "it has micro-batches"
    if model.run_eagerly or model.jit_compile_setting is True:
        return "it was compiled to run eagerly or by XLA"
    if model.distribute_strategy.num_replicas_in_sync > 1:
        return "it has several replicas"
    weights = runs * model.count_params()
    if weights > MOST_WEIGHTS:
        return (
            f"its weights would be {weights:,} numbers, and at most "
            f"{MOST_WEIGHTS:,} are stacked"
        )
    return stacked_model.why_not_stacked(model.optimizer)


def _first_line(error):
    """An error in few words."""
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"

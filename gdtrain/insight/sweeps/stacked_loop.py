"""Epochs of several runs at once: blocks of them, each one program."""

import time

import numpy as np
import tensorflow as tf

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

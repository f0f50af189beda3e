"""A block: steps that run as one compiled program and bring back their rows.

A row holds the number of examples of the step, the scalars that the step
returned, and the quantities that were measured.
"""

import itertools

import keras
import tensorflow as tf

from gdtrain.descent import replicas
from gdtrain.engine import epoch_logs, step
from gdtrain.telemetry.table import Column

_TENSORFLOW_ITERATORS = (tf.data.Iterator, tf.distribute.DistributedIterator)


class Block:
    """Up to `model.steps_per_execution` steps, on all replicas.

    Args:
        model: A `DescentTrainer`, compiled.
        step_function: Its `train_step` or `test_step`.
        quantities: The quantities to measure, a tuple.
        microbatches: Into how many micro-batches to split a batch.
    """

    def __init__(self, model, step_function, quantities=(), microbatches=1):
        # Both are set while the step is traced.
        self.returned: tuple[str, ...] = ()  # Names of scalars it returned
        self.columns: tuple[Column, ...] | None = None  # Worth observing
        self._model = model
        self._step_function = step_function
        self._quantities = quantities
        self._microbatches = microbatches
        self._steps = model.steps_per_execution
        self._run_eagerly = model.run_eagerly
        self._step = self._on_all_replicas
        if not self._run_eagerly:
            self._step = tf.function(
                self._on_all_replicas,
                autograph=False,
                reduce_retracing=True,
                jit_compile=model.jit_compile,
            )
            self._compiled = tf.function(
                self._in_graph, autograph=False, reduce_retracing=True
            )

    def __call__(self, iterator):
        """Runs the steps.

        Args:
            iterator: Yields batches.

        Returns:
            `(logs, rows)`: what the last step returned, and float32 of shape
            `[steps, numbers]`.

        Raises:
            StopIteration, tf.errors.OutOfRangeError: if there is no batch.
        """
        with replicas.undivided_losses(self._model.distribute_strategy):
            if self._run_eagerly or not isinstance(
                iterator, _TENSORFLOW_ITERATORS
            ):
                return self._in_python(iterator)
            return self._compiled(iterator)

    def _in_python(self, iterator):
        """The loop over steps, when Python drives it."""
        rows = []
        for data in itertools.islice(iterator, self._steps):
            logs, row = self._step(data)
            rows.append(row)
        if not rows:
            raise StopIteration
        return logs, tf.stack(rows)

    def _in_graph(self, iterator):
        """The loop over steps, as a graph.

        The first step stands before the loop: what it returns gives the loop
        the structure of what it carries.
        """
        logs, row = self._step(iterator.get_next())
        if self._steps == 1:
            return logs, row[tf.newaxis]
        rows = tf.TensorArray(tf.float32, self._steps, element_shape=row.shape)

        def more(i, data, logs, rows):
            return (i < self._steps) & data.has_value()

        def one(i, data, logs, rows):
            logs, row = self._step(data.get_value())
            # The last turn must not take a batch that it will not use.
            data = tf.cond(
                i + 1 < self._steps,
                iterator.get_next_as_optional,
                lambda: data,
            )
            return i + 1, data, logs, rows.write(i, row)

        done, _, logs, rows = tf.while_loop(
            more,
            one,
            (1, iterator.get_next_as_optional(), logs, rows.write(0, row)),
        )
        return logs, rows.gather(tf.range(done))

    def _on_all_replicas(self, data):
        """One step: a batch to `(logs, row)`."""
        strategy = self._model.distribute_strategy
        logs, local, measured = strategy.run(self._on_replica, args=(data,))
        if strategy.num_replicas_in_sync > 1:
            logs = keras.tree.map_structure(
                lambda value: tf.reduce_mean(
                    strategy.experimental_local_results(value), axis=0
                ),
                logs,
            )
            local = strategy.reduce("SUM", local, axis=None)
            local = tf.concat(
                [local[:1], tf.math.divide_no_nan(local[1:], local[0])], 0
            )
            measured = strategy.experimental_local_results(measured)[0]
        return logs, tf.concat([local, measured], 0)

    def _on_replica(self, data):
        """One step on one replica.

        Returns:
            `(logs, local, measured)`: its logs; the number of its examples
            and the scalars that it returned, which on several replicas are
            multiplied by that number; and what it measured, equal on all.
        """
        result = step.run(
            self._step_function, data, self._microbatches, self._quantities
        )
        if self.columns is None:
            self._name_columns(result)
        examples = tf.cast(result.examples, tf.float32)
        returned = _vector(result.returned.values())
        if replicas.count() > 1:
            returned = tf.math.multiply_no_nan(returned, examples)
        measured = _vector(scalar for scalar, _ in result.measured.values())
        return (
            result.logs,
            tf.concat([examples[tf.newaxis], returned], 0),
            measured,
        )

    def _name_columns(self, result):
        """Says which number of a row is what. Called while tracing."""
        self.returned = tuple(result.returned)
        first = 1 + len(self.returned)
        columns = [
            Column(name, quantity, first + i)
            for i, (name, (_, quantity)) in enumerate(result.measured.items())
        ]
        hidden = set(result.measured)
        if result.measured:
            # What `descend` measured says more than a running mean does.
            hidden.update(epoch_logs.names_of_metrics(self._model))
        columns += [
            Column(name, None, 1 + i)
            for i, name in enumerate(self.returned)
            if name not in hidden
        ]
        self.columns = tuple(columns)


def _vector(scalars):
    """Scalars as a float32 vector; of length 0 if there are none."""
    scalars = [tf.cast(scalar, tf.float32) for scalar in scalars]
    return tf.stack(scalars) if scalars else tf.zeros([0])

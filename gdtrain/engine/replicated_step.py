"""One step on all replicas: a batch to its logs and its row of numbers.

A row holds the number of examples of the step, the scalars that the step
returned, and the quantities that were measured.
"""

import keras
import tensorflow as tf

from gdtrain.descent import replicas
from gdtrain.engine import epoch_logs, step
from gdtrain.telemetry.table import Column


class ReplicatedStep:
    """A step, compiled unless the model runs eagerly.

    Args:
        model: A `DescentTrainer`, compiled.
        step_function: Its `train_step` or `test_step`.
        take: Makes a replica's part of the batch of what a feed fetched.
        quantities: The quantities to measure, a tuple.
        microbatches: Into how many micro-batches to split a batch.
        xla: Whether XLA compiles the step by itself.
    """

    def __init__(
        self, model, step_function, take, quantities, microbatches, xla
    ):
        # These are set while the step is traced.
        self.returned: tuple[str, ...] = ()  # Names of scalars it returned
        self.columns: tuple[Column, ...] | None = None  # Worth observing
        self.returns_scalars = False  # And nothing else
        self._model = model
        self._step_function = step_function
        self._take = take
        self._quantities = quantities
        self._microbatches = microbatches
        self.run = self._on_all_replicas
        if not model.run_eagerly:
            self.run = tf.function(
                self._on_all_replicas,
                autograph=False,
                reduce_retracing=True,
                jit_compile=xla or None,
            )

    def logs_of(self, row):
        """The scalars that a step returned, by name.

        Args:
            row: Its row, an array.
        """
        values = row[1 : 1 + len(self.returned)].tolist()
        return dict(zip(self.returned, values, strict=True))

    def _on_all_replicas(self, fetched):
        """One step: `(logs, row)`."""
        strategy = self._model.distribute_strategy
        logs, local, measured = strategy.run(
            self._on_replica, args=(fetched,)
        )
        if strategy.num_replicas_in_sync > 1:
            logs = keras.tree.map_structure(
                lambda value: value
                if value is None
                else strategy.reduce("MEAN", value, axis=None),
                logs,
            )
            local = strategy.reduce("SUM", local, axis=None)
            local = tf.concat(
                [local[:1], tf.math.divide_no_nan(local[1:], local[0])], 0
            )
            measured = strategy.experimental_local_results(measured)[0]
        return logs, tf.concat([local, measured], 0)

    def _on_replica(self, fetched):
        """One step on one replica.

        Returns:
            `(logs, local, measured)`: its logs; the number of its examples
            and the scalars that it returned, which on several replicas are
            multiplied by that number; and what it measured, equal on all.
        """
        result = step.run(
            self._step_function,
            self._take(fetched),
            self._microbatches,
            self._quantities,
        )
        if self.columns is None:
            self._name_columns(result)
        examples = tf.cast(result.examples, tf.float32)
        returned = _vector(result.returned.values())
        if replicas.count() > 1:
            returned = tf.math.multiply_no_nan(returned, examples)
        measured = _vector(scalar for scalar, _ in result.measured.values())
        return (
            None if self.returns_scalars else result.logs,
            tf.concat([examples[tf.newaxis], returned], 0),
            measured,
        )

    def _name_columns(self, result):
        """Says which number of a row is what. Called while tracing."""
        self.returned = tuple(result.returned)
        self.returns_scalars = isinstance(result.logs, dict) and (
            len(result.logs) == len(result.returned)
        )
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

"""One step on all replicas: a batch to its logs and its row of numbers.

`RowLayout` says what is in a row; it is known once the step was traced.
"""

import keras
import tensorflow as tf

from gdtrain.common import compilation
from gdtrain.descent import replicas
from gdtrain.step import layer_outputs, one_step, own_updates, provenance
from gdtrain.step.measuring import Measuring
from gdtrain.telemetry import skipped
from gdtrain.telemetry.loss import Loss
from gdtrain.telemetry.measurement import joined, stacked
from gdtrain.telemetry.row_layout import RowLayout


class ReplicatedStep:
    """A step, compiled unless the model runs eagerly.

    Args:
        model: A `DescentTrainer`, compiled.
        step_function: Its `train_step` or `test_step`.
        take: Makes a replica's part of the batch of what a feed fetched.
        groups: The `Group`s of quantities to measure, a tuple.
        microbatches: Into how many micro-batches to split a batch.
        xla: Whether XLA compiles the step by itself.
        guard: `Guard`, by which it is left out if it is not finite, or
            `Watch`; its row then has a verdict. `None` for neither.
        before: What to do with the model ahead of it, a tuple of functions.
    """

    def __init__(
        self,
        model,
        step_function,
        take,
        groups,
        microbatches,
        xla,
        guard=None,
        before=(),
    ):
        self._model = model
        self._step_function = step_function
        self._take = take
        self.groups = groups
        self._microbatches = microbatches
        self._xla = xla
        self.guard = guard
        self._before = before
        self.begin()

    def begin(self):
        """Begins anew, as if it had never been traced."""
        # These are set while the step is traced.
        self.layout = RowLayout()  # Of its rows
        self._is_traced = False
        self.returns_scalars = False  # And nothing else
        self.origins = provenance.Origins({}, ())  # Of those scalars
        self._of_batch: tuple[str, ...] = ()  # Names of metrics' batch results
        self.is_incomplete = False  # Whether another trace would show more
        self.run = self._on_all_replicas
        if not self._model.run_eagerly:
            self.run = tf.function(
                self._on_all_replicas,
                autograph=False,
                reduce_retracing=True,
                jit_compile=self._xla or None,
            )

    def _on_all_replicas(self, fetched, clock, xla=False):
        """One step, of a batch at a time: `(logs, row)`.

        Args:
            fetched: What a feed fetched.
            clock: The `Clock`.
            xla: Whether XLA compiles the block that the step is part of.
        """
        strategy = self._model.distribute_strategy
        for change in self._before:
            change(self._model)
        with (
            layer_outputs.noted(self._model, self.groups),
            own_updates.found(),
        ):
            logs, local, measured, left_out = strategy.run(
                self._on_replica, args=(fetched, clock, xla or self._xla)
            )
        if strategy.num_replicas_in_sync > 1:
            logs = keras.tree.map_structure(
                lambda value: (
                    value
                    if value is None
                    else strategy.reduce("MEAN", value, axis=None)
                ),
                logs,
            )
            examples, sums = tf.split(
                strategy.reduce("SUM", local, axis=None),
                [1, len(self.layout.returned)],
            )
            local = tf.concat(
                [examples, tf.math.divide_no_nan(sums, examples)], 0
            )
            measured, left_out = (
                strategy.experimental_local_results(one)[0]
                for one in (measured, left_out)
            )
        row = [local, measured]
        if self.guard:
            memory = self._model._step_hooks.memory
            verdict = self.guard.verdict(left_out, clock.step, memory)
            row.append(verdict[tf.newaxis])
        return logs, tf.concat(row, 0)

    def _on_replica(self, fetched, clock, xla):
        """One step on one replica.

        Returns:
            `(logs, local, measured, left_out)`: its logs; the number of its
            examples and the scalars that it returned, which on several
            replicas are multiplied by that number; what it measured, and what
            the guard found, equal on all.
        """
        telemetry = Measuring(
            self.groups,
            clock,
            self._model._step_hooks.memory,
            self._model.repeated_loss,
        )
        guarding = self.guard(self._model) if self.guard else None
        with compilation.tracing(xla and not self._model.run_eagerly):
            counted = (
                provenance.BatchMetrics(self._model) if self.groups else None
            )
            result = one_step.run(
                self._model,
                self._step_function,
                self._take(fetched),
                self._microbatches,
                telemetry,
                guarding,
            )
            vectors = self._vectors(result, counted)
            left_out = tf.zeros(())
            if guarding:  # What the step counted is known by now.
                left_out = guarding.leave_out(result.returned)
        examples = tf.cast(result.examples, tf.float32)
        returned = stacked(result.returned.values())
        if replicas.count() > 1:
            returned = tf.math.multiply_no_nan(returned, examples)
        return (
            None if self.returns_scalars else result.logs,
            tf.concat([examples[tf.newaxis], returned], 0),
            joined(vectors),
            left_out,
        )

    def _vectors(self, result, counted):
        """What is measured in a step, a list of vectors.

        Args:
            result: The `Result` of the step; scalars in it that are states of
                metrics become what they are after the last micro-batch.
            counted: The `BatchMetrics` of the step, or `None`.
        """
        is_first = not self._is_traced
        if is_first:
            self.origins = provenance.of(result.logs, self._model)
        for name in (*self.origins.results, *self.origins.states):
            if name in result.returned:  # A result may be a vector.
                result.returned[name] = one_step.scalar(result.logs[name])
        vectors = [vector for _, vector in result.measured]
        of_batch = {}
        if counted:
            of_batch = counted.of(self._to_count(result), replicas.sums)
            if not is_first:  # The layout of a row stays.
                of_batch = {name: of_batch[name] for name in self._of_batch}
            vectors.append(stacked(of_batch.values()))
            self.is_incomplete |= counted.is_incomplete
        if result.has_moved is not None:
            vectors.append(stacked([result.has_moved]))
        if is_first:
            self._name_columns(result, tuple(of_batch))
        return vectors

    def _to_count(self, result):
        """The results of metrics of which the batch's own are shown."""
        shown = set(result.returned) - _names(result)
        return {
            name: found
            for name, found in self.origins.results.items()
            if name in shown
        }

    def _name_columns(self, result, of_batch):
        """Says which number of a row is what. Called while tracing.

        Args:
            result: The `Result` of the step.
            of_batch: Names of the results of metrics of the batch alone.
        """
        self._is_traced = True
        self._of_batch = of_batch
        if self.groups and not result.measured:
            names = [
                quantity.name
                for group in self.groups
                for quantity in group.quantities
                if quantity.name not in result.returned
            ]
            skipped.say_no_update(self._model.name, tuple(names))
        self.returns_scalars = isinstance(result.logs, dict) and (
            len(result.logs) == len(result.returned)
        )
        self.layout = RowLayout.of(
            result.returned,
            [columns for columns, _ in result.measured],
            of_batch,
            # A state of a metric is a number of the epoch, not of the step.
            _names(result).union(self.origins.results, self.origins.states),
            result.has_moved is not None,
            self.guard is not None,
        )


def _names(result):
    """Names of what updates measured, and of the loss that they could have.

    That comes before what the step returned under the same name: the loss of
    a step is a quantity, there for those who ask for it.
    """
    names = {
        column.name for columns, _ in result.measured for column in columns
    }
    return names | {Loss.name} if result.measured else names

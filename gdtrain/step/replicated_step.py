"""One step on all replicas: a batch to its logs and its row of numbers.

A row holds the number of examples of the step, the scalars that the step
returned, and the quantities that were measured.
"""

import keras
import tensorflow as tf

from gdtrain.common import compilation
from gdtrain.descent import replicas
from gdtrain.step import layer_outputs, one_step, own_updates, provenance
from gdtrain.step.guard import COLUMN
from gdtrain.step.measuring import Measuring
from gdtrain.telemetry import skipped
from gdtrain.telemetry.loss import Loss
from gdtrain.telemetry.measurement import joined, stacked
from gdtrain.telemetry.step_table import Column


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
            `Watch`; the last number of its row is then its `verdict`. `None`
            for neither.
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
        self.returned: tuple[str, ...] = ()  # Names of scalars it returned
        # Which number of a row says whether a weight has moved; `None` if
        # steps make an update that is known
        self.moved: int | None = None
        self.columns: tuple[Column, ...] | None = None  # Worth observing
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

    def logs_of(self, row):
        """The scalars that a step returned, by name.

        Args:
            row: Its row, an array.
        """
        values = row[1 : 1 + len(self.returned)].tolist()
        return dict(zip(self.returned, values, strict=True))

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
            logs, local, measured = strategy.run(
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
            local = strategy.reduce("SUM", local, axis=None)
            local = tf.concat(
                [local[:1], tf.math.divide_no_nan(local[1:], local[0])], 0
            )
            measured = strategy.experimental_local_results(measured)[0]
        if self.guard:
            memory = self._model.step_observers.memory
            last = self.guard.verdict(measured[-1], clock.step, memory)
            measured = tf.concat([measured[:-1], last[tf.newaxis]], 0)
        return logs, tf.concat([local, measured], 0)

    def _on_replica(self, fetched, clock, xla):
        """One step on one replica.

        Returns:
            `(logs, local, measured)`: its logs; the number of its examples
            and the scalars that it returned, which on several replicas are
            multiplied by that number; and what it measured, equal on all.
        """
        telemetry = Measuring(
            self.groups,
            clock,
            self._model.step_observers.memory,
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
            if guarding:  # What the step counted is known by now.
                left_out = guarding.leave_out(result.returned)
                vectors.append(left_out[tf.newaxis])
        examples = tf.cast(result.examples, tf.float32)
        returned = stacked(result.returned.values())
        if replicas.count() > 1:
            returned = tf.math.multiply_no_nan(returned, examples)
        return (
            None if self.returns_scalars else result.logs,
            tf.concat([examples[tf.newaxis], returned], 0),
            joined(vectors),
        )

    def _vectors(self, result, counted):
        """What is measured in a step, a list of vectors.

        Args:
            result: The `Result` of the step; scalars in it that are states of
                metrics become what they are after the last micro-batch.
            counted: The `BatchMetrics` of the step, or `None`.
        """
        is_first = self.columns is None
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
        self._of_batch = of_batch
        if self.groups and not result.measured:
            names = [
                quantity.name
                for group in self.groups
                for quantity in group.quantities
                if quantity.name not in self.returned
            ]
            skipped.say_no_update(self._model.name, tuple(names))
        self.returned = tuple(result.returned)
        self.returns_scalars = isinstance(result.logs, dict) and (
            len(result.logs) == len(result.returned)
        )
        first = 1 + len(self.returned)
        columns = []
        for labels, _ in result.measured:
            columns += [
                Column(name, quantity, first + place, width)
                for name, quantity, place, width in labels
            ]
            first += sum(label.width for label in labels)
        columns += [
            Column(name, None, first + i) for i, name in enumerate(of_batch)
        ]
        # A state of a metric tells of an epoch, not of the step.
        hidden = _names(result).union(self.origins.results, self.origins.states)
        columns += [
            Column(name, None, 1 + i)
            for i, name in enumerate(self.returned)
            if name not in hidden
        ]
        first += len(of_batch)
        if result.has_moved is not None:
            self.moved = first
            first += 1
        if self.guard:
            columns.append(Column(COLUMN, None, first))
        self.columns = tuple(columns)


def _names(result):
    """Names of what updates measured, and of the loss that they could have.

    That comes before what the step returned under the same name: the loss of
    a step is a quantity, there for those who ask for it.
    """
    names = {label.name for labels, _ in result.measured for label in labels}
    return names | {Loss.name} if result.measured else names

"""One step on all replicas: a batch to its logs and its row of numbers.

| method of `ReplicatedStep` | what it does |
|---|---|
| `_on_all_replicas` | gives each replica its part, and joins their results |
| `_on_replica` | splits the part into micro-batches; measures and checks |
| `_on_microbatches` | calls `train_step` with each, which calls `descend` |

The loop of the lecture itself, from forward pass to update, is in
`gdtrain/trainer.py`: `train_step` and `descend`.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import keras
import tensorflow as tf

from gdtrain.common import compilation
from gdtrain.descent import gradients, replicas, virtual_workers
from gdtrain.distributed import reports
from gdtrain.distributed.workers import Workers
from gdtrain.keras_bridge import layers
from gdtrain.mistakes import inputs, labels
from gdtrain.step import (
    own_updates,
    part_states,
    provenance,
    side_effects,
    step_context,
)
from gdtrain.step.guard import StepCheck
from gdtrain.step.measurer import Measurer
from gdtrain.telemetry.loss import Loss
from gdtrain.telemetry.measurement import joined, stacked
from gdtrain.telemetry.quantity import log_no_update_once
from gdtrain.telemetry.requests import RequestGroup, StepClock
from gdtrain.telemetry.row_layout import RowLayout, path_within


class ReplicatedStep:
    """A step, compiled unless the model runs eagerly.

    Args:
        model: A `DescentTrainer`, compiled.
        method: `"train_step"` or `"test_step"`.
        take: Makes a replica's part of the batch of what a data source fetched.
        groups: The `RequestGroup`s of quantities to measure, a tuple.
        microbatches: Into how many micro-batches to split a batch.
        xla: Whether XLA compiles the step by itself.
        check: The class of its `StepCheck`; `None` for none.
        before: What to do with the model ahead of it, a tuple of functions.
    """

    def __init__(
        self,
        model: keras.Model,
        method: str,
        take: Callable[[Any], Any],
        groups: tuple[RequestGroup, ...],
        microbatches: int,
        xla: bool,
        check: type[StepCheck] | None = None,
        before: tuple[Callable[[keras.Model], None], ...] = (),
    ) -> None:
        self._model = model
        self._method = method
        self._take = take
        self.groups = groups
        self._microbatches = microbatches
        self._xla = xla
        self._has_workers = virtual_workers.are_used(model)
        self.check = check
        self._before = before
        self._workers = Workers(model.distribute_strategy).count
        if method == "train_step":
            _build_optimizer(model)
        self.forget_traces()

    @property
    def reports_to_others(self) -> bool:
        """Whether rows have what the workers of a block report."""
        return self._workers > 1

    @property
    def times_batches(self) -> bool:
        """Whether it is to know how long a batch was waited for."""
        return self.reports_to_others or _any_needs("input_wait", self.groups)

    @property
    def rows_have_results(self) -> bool:
        """Whether rows have metrics' results as they are after the step.

        Not if a step is reverted after it has returned them, or if each
        replica returns its own.
        """
        model = self._model
        return (
            self._method == "train_step"
            and model._uses_default_step
            and model.distribute_strategy.num_replicas_in_sync == 1
            and not (self.check and self.check.reverts_steps)
        )

    def forget_traces(self) -> None:
        """Resets the step to what it was before it was traced."""
        # These are set while the step is traced.
        self._is_traced = False
        self.layout = RowLayout()  # Of its rows
        self.returns_scalars = False  # And nothing else
        self.origins = provenance.Origins({}, ())  # Of those scalars
        self._of_batch: tuple[str, ...] = ()  # Names of metrics' batch results
        self.is_incomplete = False  # Whether a second trace would show more
        self.run: Callable[..., Any] = self._on_all_replicas
        if not self._model.run_eagerly:
            self.run = tf.function(
                self._on_all_replicas,
                autograph=False,
                reduce_retracing=True,
                jit_compile=self._xla or None,
            )

    def _on_all_replicas(
        self, fetched: Any, clock: StepClock, xla: bool = False
    ) -> tuple[Any, tf.Tensor]:
        """One step, of a batch at a time: `(logs, row)`.

        Args:
            fetched: What a data source fetched.
            clock: The `StepClock`.
            xla: Whether XLA compiles the block that the step is part of.
        """
        strategy = self._model.distribute_strategy
        for change in self._before:
            change(self._model)
        slots: list[tf.Tensor] = []
        with _outputs_tapped(self._model, self.groups), own_updates.found():
            logs, local, measured, checked = strategy.run(
                self._on_replica, args=(fetched, clock, xla or self._xla)
            )
        if strategy.num_replicas_in_sync > 1:
            logs = keras.tree.map_structure(
                lambda value: (
                    value
                    if value is None
                    else strategy.reduce(
                        "SUM" if self._has_workers else "MEAN", value, axis=None
                    )
                ),
                logs,
            )
            sizes = [1, len(self.layout.returned)]
            if clock.report is not None:
                sizes.append(self.layout.workers * reports.WIDTH)
            examples, sums, *slots = tf.split(
                strategy.reduce("SUM", local, axis=None), sizes
            )
            if not self._has_workers:
                sums = tf.math.divide_no_nan(sums, examples)
            local = tf.concat([examples, sums], 0)
            measured, checked = (
                strategy.experimental_local_results(one)[0]
                for one in (measured, checked)
            )
        row = [local, measured]
        if self.check:
            kept = self._model._step_hooks.step_variables
            verdict = self.check.verdict(checked, clock.step, kept)
            row.append(verdict[tf.newaxis])
        return logs, tf.concat([*row, *slots], 0)

    def _on_replica(
        self, fetched: Any, clock: StepClock, xla: bool
    ) -> tuple[Any, tf.Tensor, tf.Tensor, tf.Tensor]:
        """One step on one replica.

        Returns:
            `(logs, local, measured, checked)`: its logs; the number of its
            examples and the scalars that it returned, which on several
            replicas are multiplied by that number (with virtual workers they
            are 0 on all but the first), and slots of workers; what it measured,
            and what its check found, equal on all.
        """
        model = self._model
        check = self.check(model) if self.check else None
        with compilation.tracing(xla and not model.run_eagerly):
            counted = provenance.BatchMetrics(model) if self.groups else None
            batch = keras.tree.map_structure(
                _without_optional, self._take(fetched)
            )
            workers = virtual_workers.of(model, batch)
            parts = (
                workers.parts
                if workers
                else gradients.split(batch, self._microbatches)
            )
            examples = gradients.examples_in(batch)
            kept = model._step_hooks.step_variables
            context = step_context.StepContext(
                Measurer(self.groups, clock, kept, model, parts, examples),
                len(parts),
                check,
                workers,
            )
            with step_context.entered(context):
                logs, returned = self._on_microbatches(parts, context)
                own_updates.measure_by_hand(context)
            vectors = self._vectors(context, logs, returned, counted)
            checked = tf.zeros(())
            if check:  # What the step counted is known by now.
                checked = check.check(returned)
        examples = tf.cast(examples, tf.float32)
        scalars = stacked(returned.values())
        if workers:
            scalars = replicas.of_first(scalars)
            logs = keras.tree.map_structure(_of_first, logs)
        elif replicas.count() > 1:
            scalars = tf.math.multiply_no_nan(scalars, examples)
        local = [examples[tf.newaxis], scalars]
        if clock.report is not None:
            local.append(
                clock.report.slots(
                    self.layout.workers, examples, context.waited
                )
            )
        return (
            None if self.returns_scalars else logs,
            tf.concat(local, 0),
            joined(vectors),
            checked,
        )

    def _on_microbatches(
        self,
        parts: Sequence[tuple[Any, Any]],
        context: step_context.StepContext,
    ) -> tuple[Any, dict[str, tf.Tensor]]:
        """Calls the model's step with each micro-batch.

        Returns:
            `(logs, returned)`: what it returned for the last one; and the
            scalars in it, float32 by name: means over micro-batches.
        """
        step = getattr(self._model, self._method)
        returned: dict[str, tf.Tensor] = {}
        states = None
        if context.workers:
            states = part_states.PartStates(self._model, context.workers)
        for part, share in parts:
            seen = None
            if states and not (self._is_traced or tf.executing_eagerly()):
                seen = side_effects.SideEffects(self._model, context.split)
            with (
                states.part() if states else contextlib.nullcontext(),
                context.microbatch(share),
                self._training(context),
                inputs.explained(self._model, part),
                labels.in_step(part),
            ):
                logs = provenance.check_returned(step(part), self._method)
            if seen:
                seen.check(context.updates_now)
            if states:
                states.add(provenance.add_scalars({}, logs, share, 1))
            else:
                returned = provenance.add_scalars(
                    returned, logs, share, len(parts)
                )
        # Of several replicas, the first is traced for all.
        if not self._is_traced:
            self.origins = provenance.of(logs, self._model)
        if states:
            returned = states.finish()
            logs = self.origins.now(logs)
        return logs, returned

    @contextlib.contextmanager
    def _training(self, step: step_context.StepContext) -> Iterator[None]:
        """Surrounds a `train_step`: what must hold after it is seen to."""
        if self._method != "train_step":
            yield
            return
        model = self._model
        statistics = layers.moving_statistics(model)
        before = [tf.convert_to_tensor(v) for v in statistics]
        trained = [
            (weight, tf.convert_to_tensor(weight))
            for weight in model.trainable_variables
            if not model._uses_default_step
        ]
        yield
        step.check_descended()
        if not step.descents:
            # Of weights that the step has made it is not known if it moved
            # them. Each trace has this number, as it is part of the row.
            may_have = len(model.trainable_variables) > len(trained)
            moved = [
                tf.reduce_any(tf.not_equal(tf.convert_to_tensor(w), value))
                for w, value in trained
            ]
            step.has_moved = tf.reduce_any([may_have, *moved])
        # A layer that is built in its first step has new ones.
        if step.workers is None:
            replicas.equalize(layers.moving_statistics(model), step.examples)
        step.seal(statistics, before)

    def _vectors(
        self,
        context: step_context.StepContext,
        logs: Any,
        returned: dict[str, Any],
        counted: provenance.BatchMetrics | None,
    ) -> list[tf.Tensor]:
        """What was measured in a step, a list of vectors.

        The first time, while the step is traced, it also sets the layout.

        Args:
            context: The step's.
            logs: What it returned, for its last micro-batch.
            returned: The scalars in it, by name. Those that are states of
                metrics become what they are after the last micro-batch.
            counted: The `BatchMetrics` of the step, or `None`.
        """
        is_first, clock = not self._is_traced, context.measurer.clock
        of_metrics = *self.origins.results, *self.origins.states
        for name in of_metrics:
            if name in returned:  # A result may be a vector.
                returned[name] = provenance.scalar(logs[name])
        measured = context.measured()
        # These come before scalars that the step returned of the same name.
        names = {c.name for columns, _ in measured for c in columns}
        names |= {Loss.name} if measured else set()
        of_batch = {}
        if counted:
            of_batch = counted.of(
                {
                    name: found
                    for name, found in self.origins.results.items()
                    if name in returned and name not in names
                }
            )
            self.is_incomplete |= counted.is_incomplete
        if is_first:
            self._is_traced = True
            self._of_batch = tuple(of_batch)
            self.returns_scalars = isinstance(logs, dict) and (
                len(logs) == len(returned)
            )
            self.layout = RowLayout.of(
                returned,
                [columns for columns, _ in measured],
                self._of_batch,
                # A state of a metric is a number of the epoch, not the step.
                names.union(of_metrics),
                context.has_moved is not None,
                self.check is not None,
                self._workers if clock and clock.report else 0,
            )
            if self.groups and not measured:
                self._log_no_update(returned)
        vectors = [vector for _, vector in measured]
        # In a later trace there may be more, but the layout of a row stays.
        vectors.append(stacked(of_batch[name] for name in self._of_batch))
        if context.has_moved is not None:
            vectors.append(stacked([context.has_moved]))
        return vectors

    def _log_no_update(self, returned: Iterable[str]) -> None:
        """Logs which quantities are not measured."""
        quantities = [q.name for g in self.groups for q in g.quantities]
        names = tuple(name for name in quantities if name not in returned)
        log_no_update_once(self._model.name, names)


def _build_optimizer(model: keras.Model) -> None:
    """Makes the optimizer's variables ahead of the first step.

    A step that makes variables is traced twice, and one that runs eagerly
    could not revert them. A user's own step may need them for other weights,
    so that it makes them itself.
    """
    optimizer, weights = model.optimizer, model.trainable_variables
    if (
        model._uses_default_step
        and isinstance(optimizer, keras.optimizers.Optimizer)
        and not optimizer.built
        and weights
        and all(layer.built for layer in layers.all_layers(model))
    ):
        with model.distribute_strategy.scope():
            optimizer.build(weights)


def _any_needs(field: str, groups: Iterable[RequestGroup]) -> bool:
    """Whether a quantity needs a field of the record."""
    return any(field in q.needs for g in groups for q in g.quantities)


def _outputs_tapped(
    model: keras.Model, groups: Iterable[RequestGroup]
) -> contextlib.AbstractContextManager:
    """A context in which outputs of layers are noted, if that is needed.

    Of layers with weights of their own, and of activations.

    Args:
        model: The model.
        groups: The `RequestGroup`s of quantities to measure.
    """
    if not _any_needs("activations", groups):
        return contextlib.nullcontext()

    def note(layer: keras.layers.Layer, output: Any) -> None:
        step_context.current().measurer.add_output(
            path_within(layer.path or layer.name, model.name), output
        )

    return layers.observe_outputs(model, note)


def _of_first(value: Any) -> Any:
    """A number that is 0 on all replicas but the first; `None` stays."""
    if value is None or replicas.count() == 1:
        return value
    return replicas.of_first(tf.convert_to_tensor(value))


def _without_optional(leaf: Any) -> Any:
    """`None` for what `tf.data` passes in the place of a missing array."""
    return None if isinstance(leaf, tf.experimental.Optional) else leaf

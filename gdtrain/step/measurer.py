"""Measures the updates of one step on one replica."""

import contextlib
import dataclasses
import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from gdtrain.descent.optimizers import learning_rates
from gdtrain.step.batch_tap import (
    BatchTap,
    Parts,
    current_graph,
    or_zeros,
)
from gdtrain.telemetry import measurement
from gdtrain.telemetry.record import Record, StepVariables
from gdtrain.telemetry.requests import RequestGroup, StepClock
from gdtrain.telemetry.row_layout import Column, layer_of


class Update(NamedTuple):
    """An update of some weights.

    Args:
        name: Its name; `None` where a step has but one.
        model: The model.
        loss: Its loss, a scalar; `None` if it is not known.
        gradients: A tensor for each weight, before clipping; `None` where the
            loss does not depend on it.
        weights: The weights.
        optimizer: The Keras optimizer; `None` if there is none.
    """

    name: str | None
    model: keras.Model
    loss: tf.Tensor | None
    gradients: list[Any]
    weights: list[Any]
    optimizer: keras.optimizers.Optimizer | None


class Measurer:
    """Measures the updates of one step, while it is traced or runs eagerly.

    Args:
        groups: The `RequestGroup`s of quantities to measure, a tuple.
        clock: The `StepClock` of the step.
        step_variables: The `StepVariables` of the model's quantities.
        model: The model; `None` outside of `fit`.
        parts: The batch in micro-batches, a list of `(part, share)`.
        examples: How many examples this replica has.
    """

    def __init__(
        self,
        groups: tuple[RequestGroup, ...] = (),
        clock: StepClock | None = None,
        step_variables: StepVariables | None = None,
        model: keras.Model | None = None,
        parts: Parts = (),
        examples: Any = 1,
    ) -> None:
        #: By update and group: (columns, vector)
        self.measured: dict[tuple, tuple[list[Column], tf.Tensor]] = {}
        self.clock = clock
        self._groups = groups
        self._step_variables = step_variables
        self.tap = BatchTap(groups, clock, model, parts, examples)

    @contextlib.contextmanager
    def around(self, made: Update) -> Iterator[None]:
        """Surrounds the optimizer's step of an update, and measures it.

        An update later in the step under the same name takes its place.
        """
        if not self.can_measure:
            if self._groups:
                warnings.warn(
                    f"The update {made.name or ''} is made within tf.cond, a "
                    "loop or a tf.function of its own, from which its "
                    "telemetry cannot leave. The update itself is made. To "
                    "see it, make it in the `train_step` itself, at every "
                    "step.",
                    stacklevel=3,
                )
            yield
            return
        rates = learning_rates(made.optimizer)
        before = [tf.identity(weight) for weight in made.weights]
        yield
        self.measure(made, before, rates)

    @property
    def can_measure(self) -> bool:
        """Whether anything is to be measured, and can leave the step here."""
        return bool(self._groups) and current_graph() is self.tap.graph

    def measure(
        self,
        made: Update,
        before: list[tf.Tensor],
        rates: dict[str, tf.Tensor],
    ) -> None:
        """Measures an update that has been made.

        Args:
            made: The update.
            before: What the weights were before it.
            rates: Its learning rates by name; none if there is no optimizer.
        """
        name, model, loss, gradients, weights, _ = made
        layers = [layer_of(weight, model.name) for weight in weights]
        # Other weights, as after a layer was frozen, have other variables.
        kept_by = (name, *layers)
        assert self.clock is not None and self._step_variables is not None
        keep = self._step_variables.keep
        record = Record(
            loss=loss,
            learning_rates=rates,
            gradients=[
                tf.zeros_like(old) if g is None else tf.convert_to_tensor(g)
                for g, old in zip(gradients, before, strict=True)
            ],
            weights_before=before,
            weights_after=[tf.convert_to_tensor(w) for w in weights],
            layers=layers,
            weights=before if self.tap.graph is None else weights,
            step=self.clock.step,
            keep=lambda key, initial: keep((key, kept_by), initial),
            gradient_parts=self.tap.gradient_parts(),
            activations=self.tap.activations(),
            loss_after=self.tap.loss_after(),
        )
        for index, group in enumerate(self._groups):
            due = self.clock.is_due(index, group)
            self.measured[name, index] = _measure_group(due, group, record)


def _measure_group(
    due: Any, group: RequestGroup, record: Record
) -> tuple[list[Column], tf.Tensor]:
    """Measures a group, if it is due: `(columns, vector)`."""
    # What a record works out within tf.cond is for that branch alone.
    record = dataclasses.replace(record)
    columns: list[Column] = []

    def numbers() -> tf.Tensor:
        found, vector = measurement.measure(group.quantities, record)
        columns[:] = found
        return vector

    vector = or_zeros(due, numbers)
    return columns, vector

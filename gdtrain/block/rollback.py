"""Rolls back a block of steps that was not finite, to run it again guarded.

Checking a block at its end costs next to nothing, where guarding each step
costs each step some time: values from before must be kept, and nothing may
continue until it is known what the step made. So a block whose steps can be
run again is checked at its end. If it was not finite, its variables are
restored, and the same steps run again, each with a `StepGuard`. What remains
is the same, to the bit.

Checking after the block suffices for weights and slots: with the optimizers
below each becomes a sum with its own value, so that NaN and infinity persist.
Other variables, which a step may overwrite, are checked in each step.
"""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from gdtrain.keras_bridge import layers
from gdtrain.keras_bridge.optimizers import unwrapped
from gdtrain.optimizers import GradientDescent
from gdtrain.state import variables
from gdtrain.step import guard
from gdtrain.step.guard import StepCheck
from gdtrain.telemetry.record import StepVariables

# Read in Keras 3.15.1, by exact type: each weight and each slot becomes a sum
# with, or a multiple of, its own value, whatever the arguments: NaN stays NaN,
# and infinity stays infinite or becomes NaN. (Where a maximum is taken or a
# weight is recomputed, a different slot of the same weight keeps it.)
_KEEPING = (
    GradientDescent,
    keras.optimizers.SGD,
    keras.optimizers.Adadelta,
    keras.optimizers.Adafactor,
    keras.optimizers.Adagrad,
    keras.optimizers.Adam,
    keras.optimizers.Adamax,
    keras.optimizers.AdamW,
    keras.optimizers.Ftrl,
    keras.optimizers.Lamb,
    keras.optimizers.Lion,
    keras.optimizers.Muon,
    keras.optimizers.Nadam,
    keras.optimizers.RMSprop,
    keras.optimizers.ScheduleFreeAdamW,
)


class OverwritableCheck(StepCheck):
    """Finds whether what a later step may overwrite was not finite."""

    reverts_steps = False

    def check(self, returned: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """0 if all of it is finite, else NaN.

        It is also NaN where a square overflows, or for an infinity that was
        there before: then the `StepGuard` decides.
        """
        total = guard.sum_of_squares(
            _overwritable(self._model), self.losses(returned)
        )
        return total - total

    @staticmethod
    def verdict(
        checked: tf.Tensor, step: tf.Tensor, kept: StepVariables
    ) -> tf.Tensor:
        """The same number."""
        return checked


class BlockRollback:
    """Checks blocks whose steps have an `OverwritableCheck`; reverts them.

    Args:
        model: A `DescentTrainer`, compiled, whose step was traced.
    """

    def __init__(self, model: keras.Model) -> None:
        kept = model._step_hooks.step_variables.variables
        self._moved = [
            _local(variable, model)
            for some in variables.of(model).values()
            for variable in some
        ] + [variable for some in kept.values() for variable in some]
        self._before: list[tf.Tensor] = []
        # Read one by one, they would take three times as long.
        self._read = tf.function(self._values, autograph=False)
        self._strict, self._others = (
            [_local(variable, model) for variable in some]
            for some in guard.checked(model)
        )

    def begin(self) -> None:
        """Keeps the values before the block, until its end.

        In Python, as a block that fails returns nothing, and as the program
        would need some ten operations more for each variable. A copy is made
        when what was kept moves, not before.
        """
        self._before = self._read()

    def _values(self) -> list[tf.Tensor]:
        return [variable.value() for variable in self._moved]

    def is_surely_finite(self, verdicts: tf.Tensor) -> tf.Tensor:
        """Whether the block was finite, a bool scalar. Traced.

        It is also false where a square overflows, or for an infinity that was
        there before: then `end` looks closely.

        Args:
            verdicts: Those of the `OverwritableCheck`, `[steps]`.
        """
        total = guard.sum_of_squares(
            [*self._strict, *self._others], [tf.reduce_sum(verdicts)]
        )
        return tf.math.is_finite(total)

    def end(self, verdicts: np.ndarray | None, is_surely_finite: Any) -> bool:
        """Reverts the block if it was not finite; returns whether it was.

        Args:
            verdicts: Those of the `OverwritableCheck`, `[steps]`; `None` if
                the block failed.
            is_surely_finite: What `is_surely_finite` returned.
        """
        is_finite = bool(is_surely_finite) or (
            verdicts is not None and self._looks_finite(verdicts)
        )
        if not is_finite:
            self.revert()
        self._before = []
        return is_finite

    def revert(self) -> None:
        """Restores all values from before the block."""
        for variable, value in zip(self._moved, self._before, strict=True):
            variable.assign(value)

    def _looks_finite(self, verdicts: np.ndarray) -> bool:
        """Whether all numbers are finite that were so before the block."""
        known = dict(zip(map(id, self._moved), self._before, strict=True))
        before = [known[id(variable)] for variable in self._others]
        return bool(
            np.isfinite(verdicts).all()
            and not guard.any_nonfinite(self._strict)
            and not guard.any_nonfinite(self._others, before)
        )


def can_roll_back(model: keras.Model) -> bool:
    """Whether blocks of a model can be rolled back, if they can run again."""
    return (
        model.built
        and not model.run_eagerly
        and model.distribute_strategy.num_replicas_in_sync == 1
        and model._uses_default_step  # Its steps are `descend` alone.
    )


def _overwritable(model: keras.Model) -> list[Any]:
    """Float variables in which a later step may overwrite NaN or infinity.

    What layers and losses keep; and weights and slots, if the optimizer is
    not known or a constraint sets them.
    """
    strict, _ = guard.checked(model)
    kept = variables.of(model)["other"]
    found = [*layers.moving_statistics(model), *kept]
    if not _keeps(model):
        found += strict
    return [v for v in found if tf.as_dtype(v.dtype).is_floating]


def _keeps(model: keras.Model) -> bool:
    """Whether a weight or slot that is not finite stays so."""
    inner = unwrapped(model.optimizer)
    several = getattr(inner, "optimizers", [inner])
    return all(type(one) in _KEEPING for one in several) and not any(
        weight.constraint or weight.overwrite_with_gradient
        for weight in model.trainable_variables
    )


def _local(variable: Any, model: keras.Model) -> tf.Variable:
    return variables.parts(variable, model.distribute_strategy)[0]

"""Runs a block of steps without guarding each, and rolls it back if needed.

Checking a block at its end costs next to nothing, where leaving out a single
step costs each step some time: values from before must be kept, and nothing
may go on until it is known what the step made. So a block whose steps can be
run again is checked at its end; if it was not finite, its variables are put
back, and the same steps run again, each with a `Guard`. What remains is the
same, to the bit.

The end tells of every step before it: in a weight or a slot of the optimizers
below, what is not finite stays so, as each becomes a sum with what it was.
Other variables, which a step may overwrite, are checked in each step.
"""

import keras
import tensorflow as tf

from gdtrain.keras_bridge import layers
from gdtrain.optimizers import GradientDescent
from gdtrain.state import variables
from gdtrain.step import guard

# Read in Keras 3.15.1, by exact type: each weight and each slot becomes a sum
# with, or a multiple of, its own value, whatever the arguments: NaN stays NaN,
# and infinity stays infinite or becomes NaN. (Where a maximum is taken or a
# weight is computed anew, another slot of the same weight keeps it.)
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


class Watch:
    """In the place of a `Guard`, notes whether what passes is finite.

    Args:
        model: A `DescentTrainer`, compiled.
    """

    def __init__(self, model):
        self._model = model
        self._losses = guard.Losses()

    def look(self, loss, gradients, optimizer):
        """Notes the loss of an update that is about to be made."""
        self._losses.note(loss)

    def leave_out(self, returned):
        """0 if all that passes is finite, else NaN.

        It is also NaN where a square overflows, or for an infinity that was
        there before: then the `Guard` decides.
        """
        total = guard.sum_of_squares(
            _passing(self._model), self._losses.of(returned)
        )
        return total - total

    @staticmethod
    def verdict(left_out, step, memory):
        """What a row says of the step, as that of a `Guard`."""
        return left_out


class BlockWatch:
    """Checks blocks whose steps have a `Watch`, and rolls them back.

    Args:
        model: A `DescentTrainer`, compiled, whose step was traced.
    """

    def __init__(self, model):
        memory = model._step_hooks.memory.variables
        self._moved = [
            _local(variable, model)
            for some in variables.of(model).values()
            for variable in some
        ] + [variable for kept in memory.values() for variable in kept]
        with tf.init_scope():
            # An output of the program would be lost if an operation fails.
            # A copy is made when what was copied moves, not before.
            self._before = [
                tf.Variable(variable, trainable=False)
                for variable in self._moved
            ]
        self._strict, self._others = (
            [_local(variable, model) for variable in some]
            for some in guard.checked(model)
        )

    def begin(self):
        """Keeps what is before the block. Traced."""
        for kept, variable in zip(self._before, self._moved, strict=True):
            kept.assign(variable)

    def end(self, verdicts):
        """Whether the block was finite, a bool scalar. Traced.

        Args:
            verdicts: Those of a `Watch` on its steps, `[steps]`.
        """
        kept = dict(zip(map(id, self._moved), self._before, strict=True))
        is_finite = ~(
            guard.any_nonfinite([verdicts, *self._strict])
            | guard.any_turned_nonfinite(
                self._others, [kept[id(variable)] for variable in self._others]
            )
        )
        # What is kept is what is there: no memory until the next block.
        tf.cond(is_finite, lambda: (self.begin(), 0)[1], lambda: 0)
        return is_finite

    def put_back(self):
        """Makes all as it was before the block."""
        for variable, kept in zip(self._moved, self._before, strict=True):
            variable.assign(kept)


def serves(model) -> bool:
    """Whether blocks of a model can be watched, if they can be run again."""
    return (
        model.built
        and not model.run_eagerly
        and model.distribute_strategy.num_replicas_in_sync == 1
        and model.repeated_loss is not None  # Its steps are `descend` alone.
    )


def _passing(model) -> list:
    """Float variables in which what is not finite may be overwritten.

    What layers and losses keep; and weights and slots, if the optimizer is
    not known or a constraint sets them.
    """
    strict, _ = guard.checked(model)
    kept = variables.of(model)["other"]
    found = [*layers.moving_statistics(model), *kept]
    if not _keeps(model):
        found += strict
    return [v for v in found if tf.as_dtype(v.dtype).is_floating]


def _keeps(model) -> bool:
    """Whether a weight or slot that is not finite stays so."""
    inner = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    several = getattr(inner, "optimizers", [inner])
    return all(type(one) in _KEEPING for one in several) and not any(
        weight.constraint or weight.overwrite_with_gradient
        for weight in model.trainable_variables
    )


def _local(variable, model):
    return variables.parts(variable, model.distribute_strategy)[0]

"""Reverts a step that is not finite, in the graph: nothing of it stays.

    variables <- variables before the step, if one of them is not finite after

Checked is what the step has written: the weights, the optimizer's variables,
moving averages and whatever else layers keep, and the loss. Reverted are all
variables, with metrics and the states of random generators. Both happen in
that very step, equally on all replicas.

Used where a block cannot be rolled back (see `gdtrain.block.rollback`), and
after a rollback. It costs a copy of each variable that the step moves. The
check is one sum of squares for each variable; only where such a sum is not
finite, as that of a finite 1e20 is not, are all values tested.
"""

import abc
import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import keras
import tensorflow as tf

from gdtrain.descent import replicas
from gdtrain.state import variables
from gdtrain.step.measurer import current_graph
from gdtrain.telemetry.record import StepVariables

FINITE, SKIPPED, HALTED = 0, 1, 2


class StepCheck(abc.ABC):
    """Checks one step on one replica, while it is traced or runs eagerly.

    Args:
        model: A `DescentTrainer`, compiled, as it is before the step.
    """

    #: Whether a step that is not finite is reverted, or only found, so that
    #: the block that it is part of must be rolled back.
    reverts_steps: ClassVar[bool]

    def __init__(self, model: keras.Model) -> None:
        self._model = model
        self._graph = current_graph()
        self._losses: list[tf.Tensor] = []

    def note_loss(self, loss: tf.Tensor | None) -> None:
        """Notes the loss of an update; `None` if it is unknown.

        That of an update within `tf.cond` cannot leave it; what such an
        update writes is checked all the same.
        """
        if loss is not None and current_graph() is self._graph:
            loss = tf.cast(loss, tf.float32)
            # A gradient may be taken of a loss that is no scalar.
            self._losses.append(
                tf.reduce_sum(loss) if loss.shape.rank else loss
            )

    def losses(self, returned: Mapping[str, tf.Tensor]) -> list[tf.Tensor]:
        """The losses noted, or else the one among what the step returned."""
        if not self._losses and "loss" in returned:
            return [returned["loss"]]
        return self._losses

    @abc.abstractmethod
    def check(self, returned: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Checks the step at its end.

        Args:
            returned: The scalars that the step returned, by name.

        Returns:
            0 if all was finite: a float32 scalar, equal on all replicas.
        """

    @staticmethod
    @abc.abstractmethod
    def verdict(
        checked: tf.Tensor, step: tf.Tensor, kept: StepVariables
    ) -> tf.Tensor:
        """What the row of the step says: a float32 scalar.

        Args:
            checked: What `check` returned.
            step: The step's number, an int32 scalar.
            kept: The `StepVariables` of the model.
        """


class StepGuard(StepCheck):
    """Reverts its step if it was not finite."""

    reverts_steps = True

    def __init__(self, model: keras.Model) -> None:
        kinds = variables.of(model)
        # Such a step makes no variables: they need not be found again.
        is_fixed = model.built and model._uses_default_step
        self._kinds = kinds if is_fixed else None
        self._variables = [
            _local(v) for kind in variables.KINDS for v in kinds[kind]
        ]
        self._before = [tf.convert_to_tensor(v) for v in self._variables]
        super().__init__(model)

    def check(self, returned: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Reverts the step if it was not finite; returns 1 if so, else 0."""
        losses = self.losses(returned)
        # A step of the user's own may have made more.
        strict, others = (
            [_local(v) for v in some]
            for some in checked(self._model, self._kinds)
        )
        known = dict(zip(map(id, self._variables), self._before))

        def look_closely() -> tf.Tensor:
            before = [known.get(id(variable)) for variable in others]
            return tf.cast(
                any_nonfinite([*losses, *strict])
                | any_nonfinite(others, before),
                tf.float32,
            )

        total = sum_of_squares([*strict, *others], losses)
        is_sure, none = tf.math.is_finite(total), lambda: tf.zeros(())
        if replicas.count() == 1:
            return tf.cond(
                is_sure, none, lambda: self._revert_if(look_closely())
            )
        # Replicas exchange numbers only outside of `tf.cond`.
        bad = tf.cond(is_sure, none, look_closely)
        return self._revert_if(tf.minimum(replicas.total(bad), 1.0))

    def _revert_if(self, bad: tf.Tensor) -> tf.Tensor:
        """Reverts the step if `bad` is not 0; returns it."""

        def revert() -> int:
            for variable, value in zip(
                self._variables, self._before, strict=True
            ):
                variable.assign(value)
            return 0  # A branch must return something.

        tf.cond(bad > 0, revert, lambda: 0)
        return bad

    @staticmethod
    def verdict(
        checked: tf.Tensor, step: tf.Tensor, kept: StepVariables
    ) -> tf.Tensor:
        """`HALTED` if more steps were skipped in a row than `allow` said.

        Else `SKIPPED` or `FINITE`.
        """

        def count() -> tf.Tensor:
            in_a_row, last, most = _counts(kept)
            in_a_row.assign(tf.where(last + 1 == step, in_a_row + 1, 1))
            last.assign(step)
            return tf.where(in_a_row > most, float(HALTED), float(SKIPPED))

        halts = tf.cond(checked > 0, count, lambda: float(FINITE))
        return tf.convert_to_tensor(halts)


def allow(most: int, kept: StepVariables) -> None:
    """Sets how many steps may be skipped in a row."""
    _counts(kept)[2].assign(most)


def _counts(kept: StepVariables) -> list[tf.Variable]:
    """Steps skipped in a row, the last of them, and how many may be."""
    return kept.keep(("guard",), lambda: [tf.constant(0)] * 3)


def checked(
    model: keras.Model, kinds: dict[str, list[Any]] | None = None
) -> tuple[list[Any], list[Any]]:
    """The float variables that must stay finite.

    Args:
        model: A `DescentTrainer`, compiled.
        kinds: What `variables.of` gave, if it was asked just now.

    Returns:
        `(strict, others)`: weights that are trained and variables of
        optimizers, which must be finite; and other variables, whose entries
        must be finite if they were so before, as a running maximum begins
        with minus infinity. Metrics are in neither.
    """
    kinds = variables.of(model) if kinds is None else kinds
    trained = {id(variable) for variable in model.trainable_variables}
    weights = [v for v in kinds["weight"] if id(v) in trained]
    rest = [v for v in kinds["weight"] if id(v) not in trained]
    strict = [*weights, *kinds["optimizer"]]
    return _floats(strict), _floats([*rest, *kinds["other"]])


def _floats(some: Iterable[Any]) -> list[Any]:
    return [v for v in some if tf.as_dtype(v.dtype).is_floating]


def sum_of_squares(
    tensors: Sequence[Any], scalars: Iterable[Any] = ()
) -> tf.Tensor:
    """A float32 scalar that is finite only if all numbers are.

    Half the sum of the squares of `tensors`, plus the sum of `scalars`. One
    operation a tensor, as a small network spends more time on the number of
    operations than on numbers.
    """
    return tf.add_n(
        [
            tf.zeros(()),
            *(tf.cast(scalar, tf.float32) for scalar in scalars),
            *(tf.nn.l2_loss(tf.cast(t, tf.float32)) for t in tensors),
        ]
    )


def any_nonfinite(
    tensors: Iterable[Any], before: Iterable[Any] = ()
) -> tf.Tensor:
    """Whether any number is NaN or infinite, a bool scalar.

    Args:
        tensors: Float tensors.
        before: Of each tensor its value before, whose entries that were not
            finite do not count; `None` where all entries count.
    """
    flags = [tf.constant(False)]
    for now, then in itertools.zip_longest(tensors, before):
        bad = ~tf.math.is_finite(now)
        if then is not None:
            bad &= tf.math.is_finite(then)
        flags.append(tf.reduce_any(bad))
    return tf.reduce_any(tf.stack(flags))


def _local(variable: Any) -> tf.Variable:
    """The TensorFlow variable on this replica, which it may set by itself."""
    parts = variables.parts(variable, tf.distribute.get_strategy())
    context = tf.distribute.get_replica_context()
    number = tf.get_static_value(context.replica_id_in_sync_group)
    return parts[number % len(parts)]

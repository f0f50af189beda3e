"""What quantities keep from step to step, beside the weights."""

import abc
import copy
from typing import Any, NamedTuple

import tensorflow as tf

from gdtrain.common import checks


class Memory:
    """Variables of the quantities of one model, made when first asked for.

    They are no part of the model: weights and saved files know nothing of
    them.
    """

    def __init__(self):
        self._kept = {}
        self._found: dict = {}  # Values for variables that are not made yet

    def keep(self, key, initial):
        """Variables that hold values from one step to the next.

        Args:
            key: Whose they are, a tuple of strings.
            initial: A function that gives their first values, a list of
                arrays; called when they are made.

        Returns:
            A list of `tf.Variable`: those made before under the same key, if
            they have the same shapes.
        """
        with tf.init_scope():  # Out of the graph that is being traced
            values = [tf.convert_to_tensor(value) for value in initial()]
            found = self._found.get(repr(key))
            if found and [v.shape for v in found] == [v.shape for v in values]:
                values = [tf.convert_to_tensor(value) for value in found]
            kept = self._kept.get(key)
            if kept is None or [v.shape for v in kept] != [
                v.shape for v in values
            ]:
                kept = [tf.Variable(v, trainable=False) for v in values]
                self._kept[key] = kept
        return kept

    def get_state(self):
        """Values of all of them, lists of arrays by name."""
        return {
            repr(key): [variable.numpy() for variable in kept]
            for key, kept in self._kept.items()
        }

    def set_state(self, state):
        """Sets them to what `get_state` gave; those to be made, when made."""
        self._found = state
        for key, kept in self._kept.items():
            found = state.get(repr(key), kept)
            for variable, value in zip(kept, found, strict=True):
                variable.assign(value)

    @property
    def variables(self):
        """All of them by key."""
        return dict(self._kept)


class Quantity(abc.ABC):
    """What a quantity is: a name, and how to measure it from a record.

    A subclass gives both:

    ```python
    class LossSquared(gdtrain.telemetry.Quantity):
        name = "loss_squared"

        def measure(self, record):
            return {"loss_squared": record.loss**2}
    ```

    `measure` runs while the step is traced. It returns a dict of scalar
    tensors: the quantity under its name, and parts of it under
    `name/part`. Its keys must be the same in every trace.
    """

    #: The quantity's word: in logs, TensorBoard tags (`step/<name>`), columns.
    name: str

    #: It is measured at those steps that are multiples of this; see `every`.
    every_steps = 1

    #: What it needs of the record beyond an update: some of `"activations"`,
    #: `"parts"`, `"loss_after"`, which are not there unless asked for.
    needs: frozenset[str] = frozenset()

    #: Whether it is made of `norms.squared_norms`, and keeps nothing from step
    #: to step: then it is right also where squares leave float32. Each tensor
    #: that it reads costs a step a little, so weights' norms do without.
    sums_squares = False

    #: Whether it compares with the step before, for which it must be measured
    #: there as well.
    looks_back = False

    @abc.abstractmethod
    def measure(self, record):
        """Scalars of one update.

        Args:
            record: A `gdtrain.telemetry.Record`.

        Returns:
            A dict from name to scalar tensor, cast to float32 afterwards; or
            to `Parts`, many scalars at once; or to `Bins`.
        """

    def every(self, steps):
        """This quantity, but measured at the multiples of `steps` only.

        Args:
            steps: A positive integer, in steps.

        Returns:
            A copy.

        Raises:
            TypeError, ValueError: if `steps` is no positive integer.
        """
        other = copy.copy(self)
        other.every_steps = checks.positive_integer("steps", steps)
        return other

    @property
    def settings(self):
        """What tells it from others of its class, but for its cadence."""
        return {k: v for k, v in vars(self).items() if k != "every_steps"}

    def is_like(self, other):
        """Whether it measures the same, at whichever steps."""
        return type(self) is type(other) and self.settings == other.settings

    def __eq__(self, other):
        return self.is_like(other) and self.every_steps == other.every_steps

    def __hash__(self):
        return hash((type(self), self.every_steps))

    def __repr__(self):
        settings = ", ".join(f"{k}={v!r}" for k, v in self.settings.items())
        made = f"{type(self).__name__}({settings})"
        if self.every_steps == 1:
            return made
        return f"{made}.every({self.every_steps})"


class BlockQuantity(Quantity):
    """What is known of a block of steps as a whole, after it has run."""

    def measure(self, record):
        """Nothing of a single step."""
        return {}

    @abc.abstractmethod
    def measure_block(self, examples, seconds):
        """Numbers of a block; they belong to its last step.

        Args:
            examples: How many examples its steps had.
            seconds: How long it took.

        Returns:
            A dict from name to number.
        """


class Parts(NamedTuple):
    """Scalars `<name>/<part>` of one quantity, as one vector.

    Args:
        parts: Their names, for example of layers; `""` for the whole, which
            is called `<name>`.
        values: A float vector of as many.
    """

    parts: list[str]
    values: Any


class Bins(NamedTuple):
    """A histogram of one quantity; see `gdtrain.telemetry.histograms`.

    Args:
        values: A float32 vector: the left edge of the first bin, the right
            edge of the last, and how many numbers are in each.
    """

    values: Any

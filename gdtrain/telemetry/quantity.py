"""What a quantity is, and what it may return."""

import abc
import copy
import functools
import logging
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple, Self

import tensorflow as tf

from gdtrain.common import checks
from gdtrain.common.explained import more
from gdtrain.distributed.reports import Times
from gdtrain.telemetry.record import Record

_log = logging.getLogger("gdtrain")


class Scalars(NamedTuple):
    """Many scalars of one quantity, as one vector.

    Args:
        names: A name for each, as of layers: the scalar is called
            `<quantity>/<name>`, and `<quantity>` for the name `""`.
        values: A float tensor `[names]`.

    Example:

    >>> Scalars(["a", "b"], tf.constant([4.0, 9.0])).map(tf.sqrt).values
    <tf.Tensor: shape=(2,), dtype=float32, numpy=array([2., 3.], dtype=float32)>
    """

    names: list[str]
    values: tf.Tensor

    def map(self, function: Callable[[tf.Tensor], tf.Tensor]) -> "Scalars":
        """The same names with a function of the values."""
        return Scalars(self.names, function(self.values))


class Histogram(NamedTuple):
    """A histogram of one quantity, in bins of equal width.

    Args:
        values: A float32 vector: the left edge of the first bin, the right
            edge of the last, and how many numbers are in each.

    Example:

    >>> low, high, *counts = Histogram(tf.constant([0.0, 2.0, 5.0, 7.0])).values
    >>> float(low), float(high), [int(count) for count in counts]
    (0.0, 2.0, [5, 7])
    """

    values: tf.Tensor


#: What `measure_block` returns.
Numbers = Mapping[str, float]

#: What `measure` returns: by name, a scalar, `Scalars` or a `Histogram`.
Measured = Mapping[str, tf.Tensor | Scalars | Histogram]


class Quantity(abc.ABC):
    """A number measured in each step: a name, and how to measure it.

    A subclass gives both. One of gdtrain's own also says `preset`, and is
    listed in `gdtrain.telemetry`.

    Example:

    >>> import tensorflow as tf, gdtrain
    >>> from gdtrain.telemetry.measurement import evaluate
    >>> class LossSquared(gdtrain.telemetry.Quantity):
    ...     name = "loss_squared"
    ...     def measure(self, record):
    ...         return {self.name: record.loss**2}
    >>> evaluate(LossSquared(), loss=tf.constant(3.0))
    {'loss_squared': 9.0}
    """

    #: The name in logs, TensorBoard tags (`step/<name>`) and columns.
    name: str

    #: It is measured at the steps that are multiples of this; see `every`.
    every_steps: int = 1

    #: The smallest preset that has it, and at which steps.
    preset: Literal["minimal", "standard", "full"] = "full"
    preset_every_steps: int = 1

    #: Fields of the record that are only there on request: some of
    #: `"activations"`, `"gradient_parts"`, `"input_wait"`, `"loss_after"`.
    needs: frozenset[str] = frozenset()

    #: Whether it is made of `norms.squared_norms`, and keeps nothing from step
    #: to step: then it is right even where squares overflow or underflow
    #: float32. That costs a little for each tensor, so norms of weights do
    #: without.
    sums_squares: bool = False

    #: Whether it compares with the step before, so that it must be measured
    #: there as well.
    looks_back: bool = False

    @abc.abstractmethod
    def measure(self, record: Record) -> Measured:
        """The numbers of one update. Called while the step is traced.

        Args:
            record: The update.

        Returns:
            By name, a scalar tensor, `Scalars` or a `Histogram`: the quantity
            under its name, and parts of it under `<name>/<part>`. The names
            must be the same in every trace. All becomes float32.
        """

    def skip(self, reason: str) -> Measured:
        """Measures nothing, and says so once in the log ("gdtrain").

        Args:
            reason: The missing part, to follow "as".
        """
        log_skipped_once(self.name, reason)
        return {}

    def every(self, steps: int) -> Self:
        """A copy that is measured at the multiples of `steps` only.

        Args:
            steps: A positive integer.

        Raises:
            TypeError, ValueError: if `steps` is no positive integer.
        """
        other = copy.copy(self)
        other.every_steps = checks.positive_integer("steps", steps)
        return other

    @property
    def settings(self) -> dict[str, Any]:
        """Its arguments, without `every_steps`."""
        return {k: v for k, v in vars(self).items() if k != "every_steps"}

    def is_like(self, other: "Quantity") -> bool:
        """Whether it measures the same, at whichever steps."""
        return type(self) is type(other) and self.settings == other.settings

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Quantity)
            and self.is_like(other)
            and self.every_steps == other.every_steps
        )

    def __hash__(self) -> int:
        return hash((type(self), self.every_steps))

    def __repr__(self) -> str:
        settings = ", ".join(f"{k}={v!r}" for k, v in self.settings.items())
        made = f"{type(self).__name__}({settings})"
        if self.every_steps == 1:
            return made
        return f"{made}.every({self.every_steps})"


class BlockQuantity(Quantity):
    """A number of a block of steps as a whole, known after it has run.

    Example:

    >>> import gdtrain
    >>> class SecondsOfBlock(gdtrain.telemetry.BlockQuantity):
    ...     name = "seconds_of_block"
    ...     def measure_block(self, examples, seconds):
    ...         return {self.name: seconds}
    >>> SecondsOfBlock().measure_block(examples=640, seconds=0.2)
    {'seconds_of_block': 0.2}
    """

    def measure(self, record: Record) -> Measured:
        """Nothing of a single step."""
        return {}

    @abc.abstractmethod
    def measure_block(self, examples: float, seconds: float) -> Numbers:
        """Numbers of a block, by name; they belong to its last step.

        Args:
            examples: How many examples its steps had.
            seconds: How long it took.
        """

    def measure_workers(self, times: Times) -> Numbers:
        """Numbers of a block on several workers, which replace the others.

        Args:
            times: What the workers did in the block.
        """
        return {}


@functools.cache  # A step is traced several times.
def log_skipped_once(name: str, reason: str) -> None:
    """Logs that a quantity is not measured, and why."""
    _log.warning(
        "The quantity %s is skipped, as %s." + more("quantity-skipped"),
        name,
        reason,
    )


@functools.cache
def log_no_update_once(model_name: str, names: tuple[str, ...]) -> None:
    """Logs that nothing is measured, as a step makes no update.

    Args:
        model_name: The name of the model.
        names: The quantities that were requested.
    """
    _log.warning(
        "The quantities %s of %s are skipped, as its `train_step` makes no "
        "update that can be measured. Call `self.descend(tape, loss)` in it, "
        "or the `apply` of a Keras optimizer." + more("no-update"),
        ", ".join(names),
        model_name,
    )

"""The range test: a step at each of many learning rates, one after another."""

import math

import keras
import numpy as np
import tensorflow as tf

from gdtrain.descent.gradient_descent import GradientDescent
from gdtrain.keras_bridge import optimizers
from gdtrain.loop.callback import Callback
from gdtrain.telemetry.loss import LearningRate, Loss
from gdtrain.tuning import suggestions
from gdtrain.tuning.rate_ramp import Ramp, optimizer_of

# Their velocity is made of steps as long as they were at their own rates;
# that of Adam and others is made of gradients alone. The very classes: a
# subclass may do something else.
_OF_STEPS = (
    keras.optimizers.SGD,
    keras.optimizers.RMSprop,
    GradientDescent,
)


def constant_share(optimizer, growth):
    """The constant rate that moves as far as a rising one, as a share of it.

    Momentum adds up the steps before. If the rate rises by the factor
    `growth` from each to the next, these were smaller than they are once the
    rate stays, so that a range test sees a rate do less than it will:

        (1 - momentum) / (1 - momentum / growth)

    With Nesterov's momentum, of which the last step counts once more:

        (1 - momentum) * (1 + momentum / (1 - momentum / growth))

    Args:
        optimizer: A Keras optimizer.
        growth: The factor, 1 or more.

    Returns:
        A `float`; 1 for optimizers that add up no steps, and for a momentum
        of 1, of which no constant rate does as much.

    Example:

    >>> import keras
    >>> round(constant_share(keras.optimizers.SGD(momentum=0.9), 1.5), 3)
    0.25
    >>> constant_share(keras.optimizers.Adam(), 1.5)
    1.0
    """
    if type(optimizer) not in _OF_STEPS or optimizer.momentum in (0, 1):
        return 1.0
    momentum = optimizer.momentum
    kept = 1 / (1 - momentum / growth)
    if getattr(optimizer, "nesterov", False):
        kept = 1 + momentum * kept
    return (1 - momentum) * kept


_EPOCHS = 1.8  # In the time of two: a step takes longer that is looked at
_MOST = 200  # Steps: 25 a decade
_FEWEST = 36  # Steps: 4 a decade. Where there are fewer:
_OF_FEW_BATCHES = 100
_LEFT_OUT = 30  # Steps: a scale of the loss goes from 2**15 to 2**-15


def steps_of(epoch_length):
    """How many steps a test has, unless it is said.

    What takes the time of two epochs, 1.8 of them, but no more than 200 steps;
    100 where that would be fewer than 36, or the length is not known.

    Args:
        epoch_length: Steps of an epoch, or `None`.

    Example:

    >>> [steps_of(length) for length in (1, 19, 20, 23, 1000, None)]
    [100, 100, 36, 41, 200, 100]
    """
    steps = int(_EPOCHS * (epoch_length or 0))
    return min(steps, _MOST) if steps >= _FEWEST else _OF_FEW_BATCHES


class Recorder(Callback):
    """Raises the learning rate step by step, and keeps the losses.

    The rates are equally far apart on a logarithmic scale. It stops training
    when they are through, or when the loss blows up. A step that an optimizer
    leaves out, as one that scales the loss does where gradients overflow, is
    made again with the next batch; so often as can be of use.

    Args:
        ramp: The `Ramp` that the optimizer follows.
        from_rate, to_rate: The first rate and the last.
        steps: How many; `None` for what `steps_of` finds.

    Attributes:
        learning_rates, losses: Float64 `[n]`: of the steps that were made,
            without those left out.
        blew_up: Whether the loss did.
        steps_before: How many steps the optimizer had made before.
    """

    deterministic = True  # No choice by the clock: the same answer each time
    quantities = (Loss(), LearningRate())

    def __init__(self, ramp, from_rate, to_rate, steps=None):
        super().__init__()
        self._ramp = ramp
        self._ends = from_rate, to_rate
        self._steps = steps
        self._first = self._last = 0  # Steps: before it, and to stop after
        self._seen = np.empty([2, 0])  # Rates and losses of all steps
        self.learning_rates = np.empty(0)
        self.losses = np.empty(0)
        self.blew_up = False
        self.steps_before = 0

    def on_train_begin(self, logs=None):
        """Sets the rates, before the first step is traced."""
        self._steps = self._steps or steps_of(self.params["steps"])
        optimizer = optimizer_of(self.model)
        self._ramp.rates = np.geomspace(*self._ends, self._steps).astype("f")
        self.steps_before = int(optimizer.iterations.numpy())
        self._ramp.first = self.steps_before
        self._first = self.steps_done
        self._last = self._first + self._steps

    def next_sync(self, step):
        """The step that it stops after."""
        return self._last if step < self._last else None

    def on_block(self, table):
        """Takes the losses of a block of steps."""
        self._seen = np.append(self._seen, self._read(table), axis=1)
        rates, losses = self._seen
        made = np.append(np.diff(rates) != 0, True)  # Else it comes again
        left_out = np.count_nonzero(~made)
        self._last = self._first + self._steps + left_out
        self.learning_rates = rates[made][: self._steps]
        self.losses = losses[made][: self._steps]
        place = suggestions.blow_up(self.smoothed)
        self.blew_up = place is not None
        if self.blew_up:
            self.learning_rates = self.learning_rates[: place + 1]
            self.losses = self.losses[: place + 1]
        is_through = len(self.losses) == self._steps
        if self.blew_up or is_through or left_out > _LEFT_OUT:
            self.model.stop_training = True

    @property
    def smoothed(self):
        """The smoothed losses, float64 `[n]`."""
        return suggestions.smooth(self.losses, self.per_decade)

    @property
    def per_decade(self):
        """How many rates there are in a decade."""
        low, high = self._ends
        return (self._steps - 1) / math.log10(high / low)

    @property
    def constant_share(self):
        """See `gdtrain.tuning.range_test`."""
        growth = 10 ** (1 / self.per_decade)
        return constant_share(optimizer_of(self.model), growth)

    def _read(self, table):
        """Rates and losses of a table, `[2, steps]`."""
        chosen = table.select(self.wanted)
        if "loss" not in chosen:
            raise ValueError(
                "A step must tell its loss. Received: a `train_step` that "
                f"tells {sorted(chosen.names)}. Return {{'loss': loss}} from "
                "it, or call `self.descend(tape, loss)` without a `name`."
            )
        first = self._seen.shape[1]
        planned = self._ramp.rates[first : first + len(chosen)]
        rates = planned
        if "learning_rate" in chosen:
            rates = chosen["learning_rate"]
        if not np.isin(rates, self._ramp.rates).all():
            raise ValueError(
                "The compiled optimizer must make the updates, as its rates "
                "are to be tried. Received: a `train_step` that descends "
                f"with a learning rate of {rates[0]}. Give `compile` the "
                "optimizer that `descend` is called with."
            )
        return np.stack([rates, chosen["loss"]])


def run(model, x, y, *, from_rate, to_rate, steps, **arguments):
    """Tries the rates on a model, which it leaves as the last one made it.

    Args:
        model: A `DescentTrainer`, compiled and built.
        x, y: The data, as in `keras.Model.fit`.
        from_rate, to_rate, steps: As in `Recorder`.
        **arguments: More of `fit`: `batch_size`, `sample_weight`.

    Returns:
        The `Recorder`, done.
    """
    ramp = Ramp()
    recorder = Recorder(ramp, from_rate, to_rate, steps)
    optimizer = optimizer_of(model)
    with optimizers.replaced_learning_rate(optimizer, ramp):
        model.fit(
            x,
            y,
            # The test itself ends it; an epoch has at least a step.
            epochs=(steps or _MOST) + _LEFT_OUT,
            verbose=0,
            # Keras warns of a dataset that it is asked to shuffle.
            shuffle=not isinstance(x, tf.data.Dataset),
            callbacks=[recorder],
            **arguments,
        )
    return recorder

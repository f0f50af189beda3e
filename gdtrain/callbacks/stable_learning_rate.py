"""A learning rate held at a share of the stable limit."""

import math
from typing import Any

import tensorflow as tf

from gdtrain.callbacks.stability import Stability
from gdtrain.common import checks
from gdtrain.curvature.stable_learning_rate import limit_of
from gdtrain.descent import optimizers
from gdtrain.loop.callback import Logs


class StableLearningRate(Stability):
    """Holds the learning rate at a share of the stable limit.

    It measures as `Stability` does, under the same names, and after each
    probe sets `optimizer.learning_rate`:

        target = share * stable_learning_rate
        learning_rate <- target                              if it is above
        learning_rate <- target**rise * learning_rate**(1 - rise)      else

    so that it falls at once and rises slowly, as otherwise a single sharpness
    that is too small would make a rate that is too large. On a quadratic loss
    with plain descent it becomes share * 2 / lambda_max. The rate that
    training begins with holds for the first step only. Where the sharpness is
    not positive or not finite, the rate does not change.

    It takes care of stability alone: the loss need not become lower than with
    a schedule.

    As probes set the rate here, they are made at each multiple of
    `every_steps`, whatever they cost, so that a run can be repeated. The rate
    is a variable of the optimizer, and is saved with it; `BackupAndRestore`
    resumes exactly.

    Args:
        x: The data to measure the loss over, as in `Stability`.
        y: Targets. Defaults to `None`.
        every_steps: Probe after step 1 and after the multiples of this.
            Defaults to 100.
        share: Of the stable learning rate, a positive number. 0.5 is the
            fastest along the steepest direction: it reaches the minimum in
            one step. Defaults to 0.5.
        rise: How far it rises at a probe, as a share of the distance to the
            target (of the logarithms), above 0, at most 1. Defaults to 0.5.
        **kwargs: Those of `Stability`, except for `budget`.

    Raises:
        TypeError, ValueError: if an argument cannot be used.
        ValueError: when training begins, if the limit of the optimizer is not
            known, its learning rate is a schedule, or there are several
            workers, whose rates might differ.

    Example:

    >>> import keras, numpy as np, gdtrain
    >>> model = gdtrain.Sequential([keras.Input([1]), keras.layers.Dense(1)])
    >>> model.compile(gdtrain.GradientDescent(1e-3), loss="mse")
    >>> x = np.array([[0.0], [2.0]])  # Hessian [[4, 2], [2, 2]]
    >>> hold = gdtrain.callbacks.StableLearningRate(x, 3 * x, every_steps=5)
    >>> _ = model.fit(x, 3 * x, epochs=80, verbose=0, callbacks=[hold])
    >>> round(float(model.optimizer.learning_rate), 3)  # 0.5 * 2 / 5.236
    0.191
    """

    sets_learning_rate = True

    def __init__(
        self,
        x: Any,
        y: Any = None,
        every_steps: int = 100,
        *,
        share: float = 0.5,
        rise: float = 0.5,
        **kwargs: Any,
    ) -> None:
        if "budget" in kwargs:
            raise TypeError(
                "`StableLearningRate` takes no `budget`: when it probes must "
                "not depend on the clock. Received: "
                f"budget={kwargs['budget']!r}. Choose `every_steps`."
            )
        super().__init__(x, y, every_steps, budget=None, **kwargs)
        self.share = checks.positive_number(
            "share", share, "Write 0.5 for half of the stable limit."
        )
        self.rise = checks.positive_number(
            "rise", rise, "Write 1.0 to follow at once."
        )
        if self.rise > 1:
            raise ValueError(
                "`rise` must be at most 1. Received: "
                f"rise={rise!r}. Write 1.0 to follow at once."
            )

    def on_train_begin(self, logs: Logs = None) -> None:
        """Finds the limit of the model's optimizer.

        Raises:
            ValueError: if the rate cannot be held at it.
        """
        super().on_train_begin(logs)
        optimizer = self.model.optimizer
        strategy = self.model.distribute_strategy
        limit = limit_of(optimizer, self.minibatch_noise)
        if limit.product is None:
            raise ValueError(
                "`StableLearningRate` needs an optimizer whose limit is "
                f"known. Received: {limit.words}. Use SGD, "
                "gdtrain.GradientDescent, Adam, AdamW or RMSprop."
            )
        if optimizers.is_scheduled(optimizer):
            raise ValueError(
                "`StableLearningRate` needs a learning rate that can be set. "
                f"Received: {type(optimizer).__name__} with a schedule. "
                "Compile with a number, learning_rate=0.01."
            )
        if isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
            raise ValueError(
                "`StableLearningRate` works within one process, as rates of "
                "several might differ. Received: a model of several workers. "
                "Use `Stability`, and set the rate that it shows."
            )

    def probe(self, step: int, seconds: float) -> dict[str, float]:
        """Measures, if a probe is due, and sets the learning rate."""
        found = super().probe(step, seconds)
        stable = found.get("stable_learning_rate", math.nan)
        if math.isfinite(stable) and stable > 0:
            optimizer = self.model.optimizer
            target, rate = self.share * stable, float(optimizer.learning_rate)
            if 0 < rate < target:
                target = target**self.rise * rate ** (1 - self.rise)
            optimizer.learning_rate = target
        return found

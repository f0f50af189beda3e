"""Probes of the stability of training, and a learning rate held by them."""

import functools
import logging
import math
import time
from typing import Any

import tensorflow as tf

from gdtrain.common import checks
from gdtrain.common.cadence import next_multiple
from gdtrain.common.explained import more
from gdtrain.curvature import hessian
from gdtrain.curvature.objective import Objective
from gdtrain.curvature.stability_probe import LOSSES, Sharpness, WhatIf
from gdtrain.curvature.stable_learning_rate import Limit, limit_of
from gdtrain.descent import optimizers
from gdtrain.loop.callback import Callback, Logs, State

_log = logging.getLogger("gdtrain")


class ProbeCadence:
    """The multiples of `every_steps`, fewer of them where probes are expensive.

        seconds of probes <= budget * seconds of training

    holds before each probe. Neither the first probe counts, as it includes
    compilation, nor the first block of steps. A probe that is later than the
    next multiple is logged ("gdtrain", INFO), again when gaps have doubled.

    Args:
        every_steps: A positive integer, in steps.
        budget: The share; `None` for no limit.

    Example:

    >>> cadence = ProbeCadence(100, budget=0.05)
    >>> cadence.next(after=0)
    1
    >>> cadence.probed(1, seconds=3.0)  # Not counted
    >>> cadence.next(after=1)
    100
    >>> cadence.trained(steps=1, seconds=2.0)  # Not counted
    >>> cadence.trained(steps=100, seconds=0.1)  # 1 ms a step
    >>> cadence.probed(101, seconds=0.015)  # Worth 300 steps at 5%
    >>> cadence.next(after=101)
    400
    """

    def __init__(self, every_steps: int, budget: float | None = None) -> None:
        self._every_steps = every_steps
        self._budget = budget
        #: The first step at which the next probe may be.
        self.next_step = 1
        self._has_trained = self._has_probed = False
        self._steps, self._trained, self._probed = 0, 0.0, 0.0
        self._logged = 1.0  # The last logged multiple of `every_steps`

    def next(self, after: int) -> int:
        """The first step after `after` at which to probe."""
        return max(self.next_step, after + 1)

    def trained(self, steps: int, seconds: float) -> None:
        """Adds the time of a block of steps."""
        if self._has_trained:
            self._steps += steps
            self._trained += seconds
        self._has_trained = True

    def probed(self, step: int, seconds: float) -> None:
        """Adds the time of a probe after a step."""
        if self._has_probed:
            self._probed += seconds
        self._has_probed = True
        wait = self._steps_owed()
        self.next_step = next_multiple(step, self._every_steps)
        if step + wait > self.next_step:
            self.next_step = next_multiple(step + wait - 1, self._every_steps)
            self._log(step, seconds)

    def _steps_owed(self) -> int:
        """How many steps of training must come first, to be within budget."""
        if self._budget is None or not self._steps:
            return 0
        seconds = self._probed / self._budget - self._trained
        return math.ceil(seconds * self._steps / max(self._trained, 1e-9))

    def _log(self, step: int, seconds: float) -> None:
        """Logs that probes are fewer than asked for, if that is news."""
        every = self._every_steps
        times = (self.next_step - step) / every
        if times < 2 * self._logged:
            return
        self._logged = times
        _log.info(
            "budget=%g: a probe took %.1f ms, %d steps of training take %.1f "
            "ms; the next one is at step %d.",
            self._budget,
            1e3 * seconds,
            every,
            1e3 * self._trained / self._steps * every,
            self.next_step,
        )


# From a random vector, the second largest eigenvalue may look like the answer
# for a while: its error bound is small before the largest one is found.
_FIRST_PRODUCTS, _FIRST_TOLERANCE = 80, 1e-3
_TOLERANCE = 0.1  # The error is about its square.


class Stability(Callback):
    """Measures, beside training, how far the learning rate is from its limit.

    At each probe, numbers of these names are in the table of `Telemetry`,
    `TensorBoard` (`step/<name>`) and all other writers, at that step:

    | name | what |
    |---|---|
    | `sharpness` | largest eigenvalue of the Hessian of the compiled loss |
    | `stable_learning_rate` | the largest one that is stable at it |
    | `stability` | learning_rate / stable_learning_rate: 1 is the limit |
    | `best_multiple` | the multiple of the rate that minimizes the next loss |
    | `what_if/0.125` ... `what_if/8` | the loss after that step, if asked for |

    Above 1, steps along the steepest direction grow; training at the edge of
    stability stays near 1. For Adam, AdamW and RMSprop, `sharpness` is
    that of the preconditioned Hessian, as the limit is. The limits are those
    of `gdtrain.curvature.stable_learning_rate.limit_of`; where none is known,
    both numbers are NaN, and the log ("gdtrain") says so once.

    Weights are bit-equal with it and without it. Sharpness is updated at each
    probe by four Hessian-vector products. Its error is usually below 1%; while
    two large eigenvalues change places, it may be 10% too small for some
    probes. `gdtrain.curvature` has an error bound.

    Args:
        x: The data to measure the loss over, as in `gdtrain.curvature`.
        y: Targets. Defaults to `None`.
        every_steps: Probe at step 1 and at the multiples of this. Defaults to
            100.
        sample_weight: As in `keras.Model.fit`.
        examples: How many of the examples to use, spread evenly. Defaults
            to 256, about what mini-batch training affords; `None` for all.
            The sharpness of fewer examples is noisier, and larger on average.
        budget: The share of training time that probes may take, except for
            the first. More expensive ones are made less often, which is
            logged ("gdtrain", INFO). Several workers count the time of the
            slowest. Defaults to 0.05; `None` for no limit.
        minibatch_noise: Whether gradients are mostly noise of small batches,
            which lowers the limit of momentum. Defaults to `False`.
        what_if: `"best"`, the default, for `best_multiple`; `"losses"` for
            the seven losses too; `None` for neither. It takes seven
            times as long as the loss, and memory for a second copy of weights
            and optimizer.
        max_products: Hessian-vector products of each probe, except for the
            first. Defaults to 4.
        batch_size: How many examples are evaluated at a time. Defaults to
            256.
        training: The mode of dropout and batch normalization. Defaults to
            `False`; see `gdtrain.curvature.objective.Objective`.

    Raises:
        TypeError, ValueError: if an argument cannot be used.
        TypeError: when training begins, if the model is not one of
            gdtrain's.

    Example:

    >>> import keras, numpy as np, gdtrain
    >>> model = gdtrain.Sequential([keras.Input([1]), keras.layers.Dense(1)])
    >>> model.compile(gdtrain.GradientDescent(0.1), loss="mse")
    >>> x = np.array([[0.0], [2.0]])  # Hessian [[4, 2], [2, 2]]
    >>> telemetry = gdtrain.callbacks.Telemetry()
    >>> stability = gdtrain.callbacks.Stability(x, 3 * x, every_steps=5)
    >>> _ = model.fit(
    ...     x, 3 * x, epochs=5, verbose=0, callbacks=[stability, telemetry]
    ... )
    >>> telemetry["stability"].round(3)  # 0.1 * (3 + 5**0.5) / 2
    array([0.262,   nan,   nan,   nan, 0.262], dtype=float32)

    References:
        Cohen et al., Gradient Descent on Neural Networks Typically Occurs at
        the Edge of Stability, ICLR 2021, arXiv:2103.00065.
    """

    def __init__(
        self,
        x: Any,
        y: Any = None,
        every_steps: int = 100,
        *,
        sample_weight: Any = None,
        examples: int | None = 256,
        budget: float | None = 0.05,
        minibatch_noise: bool = False,
        what_if: str | None = "best",
        max_products: int = 4,
        batch_size: int = 256,
        training: bool = False,
    ) -> None:
        super().__init__()
        self.every_steps = checks.positive_integer("every_steps", every_steps)
        self.minibatch_noise = minibatch_noise
        self._what_if = checks.one_of(
            "what_if", what_if, ("best", "losses", None)
        )
        self.probe_names = ["sharpness", "stable_learning_rate", "stability"]
        if what_if:
            self.probe_names.append("best_multiple")
        if what_if == "losses":
            self.probe_names += LOSSES
        self._max_products = checks.positive_integer(
            "max_products", max_products
        )
        self._objective_of = functools.partial(
            Objective,
            x=x,
            y=y,
            sample_weight=sample_weight,
            examples=examples,
            batch_size=batch_size,
            training=training,
        )
        self._cadence = ProbeCadence(
            self.every_steps, checks.share_of_time(budget)
        )
        self._sharpness: Sharpness | None = None  # Made when first needed
        self._what_if_of: WhatIf | None = None
        # The model's `train_function` then: Keras makes a new one after
        # `compile`, and where `make_train_function(force=True)` is called.
        self._made_for: Any = None
        self._limit: Limit | None = None
        self._steps_before = 0

    def __getstate__(self) -> dict[str, Any]:
        made = ("_sharpness", "_what_if_of", "_made_for")
        return {**super().__getstate__(), **dict.fromkeys(made)}

    def on_train_begin(self, logs: Logs = None) -> None:
        """Finds the limit of the model's optimizer."""
        super().on_train_begin(logs)
        if self.steps_done < self._steps_before:  # Of a different model
            self._cadence.next_step = self.steps_done + 1
        self._steps_before = self.steps_done
        limit = limit_of(self.model.optimizer, self.minibatch_noise)
        if limit.product is None and limit != self._limit:
            _log.warning(
                "stability is not known (NaN): %s." + more("limit-unknown"),
                limit.words,
            )
        self._limit = limit

    def next_sync(self, step: int) -> int:
        """The step of the next probe."""
        return self._cadence.next(step)

    def probe(self, step: int, seconds: float) -> dict[str, float]:
        """Measures, if a probe is due."""
        self._cadence.trained(step - self._steps_before, seconds)
        self._steps_before = step
        if step < self._cadence.next_step:
            return {}
        start = time.perf_counter()
        found = self._measure()
        workers = self.model._step_hooks.reports.workers
        seconds = workers.longest(time.perf_counter() - start)
        self._cadence.probed(step, seconds)
        return found

    def get_state(self) -> dict[str, Any]:
        """What is needed to continue exactly, except for times."""
        return {
            "next": self._cadence.next_step,
            "vector": self._sharpness and self._sharpness.vector,
        }

    def set_state(self, state: State) -> None:
        """Continues from what `get_state` gave."""
        self._cadence.next_step = state["next"]
        self._steps_before = self.steps_done
        if state["vector"] is not None:
            self._prepared().vector = state["vector"]

    def _prepared(self) -> Sharpness:
        """The sharpness; a new one after the model was compiled again."""
        model = self.model
        if self._sharpness and self._made_for is model.train_function:
            return self._sharpness
        self._made_for = model.train_function
        objective = self._objective_of(model)
        preconditioner = functools.partial(
            hessian.preconditioner_of,
            model.optimizer,
            objective.weights,
            model.distribute_strategy,
        )
        limit = limit_of(model.optimizer, self.minibatch_noise)
        if self._what_if:
            self._what_if_of = WhatIf(model, objective)
        self._sharpness = Sharpness(
            objective, preconditioner if limit.is_preconditioned else None
        )
        return self._sharpness

    def _measure(self) -> dict[str, float]:
        """Numbers of a probe, by name."""
        sharpness, optimizer = self._prepared(), self.model.optimizer
        if sharpness.vector is None:
            sharpness.update(_FIRST_PRODUCTS, tolerance=_FIRST_TOLERANCE)
        value, _ = sharpness.update(self._max_products, tolerance=_TOLERANCE)
        stable = limit_of(optimizer, self.minibatch_noise).learning_rate(value)
        stable = math.nan if stable is None else stable
        # NaN if there are several
        rate = float(optimizers.learning_rates(optimizer).get("", math.nan))
        found = [value, stable, rate / stable]
        if self._what_if_of is not None:
            losses = self._what_if_of.losses()
            found += [WhatIf.best_multiple(losses), *losses.tolist()]
        return dict(zip(self.probe_names, found, strict=False))


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
                + more("limit-unknown")
            )
        if optimizers.is_scheduled(optimizer):
            raise ValueError(
                "`StableLearningRate` needs a learning rate that can be set. "
                f"Received: {type(optimizer).__name__} with a schedule. "
                "Compile with a number, learning_rate=0.01."
                + more("learning-rate-schedule")
            )
        if isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
            raise ValueError(
                "`StableLearningRate` works within one process, as rates of "
                "several might differ. Received: a model of several workers. "
                "Use `Stability`, and set the rate that it shows."
                + more("workers-differ")
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

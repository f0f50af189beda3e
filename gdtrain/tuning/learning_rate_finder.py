"""Finds a learning rate by trying a range of them."""

import random
from typing import Any

import keras
import numpy as np
from keras.optimizers import Optimizer

from gdtrain.common import checks
from gdtrain.common.explained import more
from gdtrain.curvature.curvature import curvature as measure_curvature
from gdtrain.descent import optimizers
from gdtrain.keras_bridge import models
from gdtrain.mistakes import errors
from gdtrain.state.preserved import preserved_data, preserved_model
from gdtrain.trainer import DescentTrainer
from gdtrain.tuning import range_test, suggestions
from gdtrain.tuning.suggestions import RangeTestResult

_FEWEST = 10  # Steps
_STABLE_SHARE = 0.5  # Of the stable limit, which may sink in training


def _check_model(model: keras.Model) -> None:
    """Refuses a model that cannot be tested.

    Raises:
        TypeError, ValueError, RuntimeError: if it cannot.
    """
    if not isinstance(model, DescentTrainer):
        raise TypeError(
            "`model` must be a gdtrain model, whose steps can be observed. "
            f"Received: model={model!r} of type {type(model).__name__}. "
            "Write `gdtrain.from_keras(model)`, or use gdtrain.Model or "
            "gdtrain.Sequential." + more("gdtrain-model")
        )
    models.assert_compiled(model, "find_learning_rate")
    range_test.optimizer_of(model)
    if not model.built:
        raise RuntimeError(
            "`model` must be built, so that its first weights can be "
            f"restored. Received: {model.name!r}, which has none yet. Give it "
            "a `keras.Input`, or call it on a batch."
        )


def _check_apply(
    apply: bool | str | None, curvature: bool, optimizer: Optimizer
) -> None:
    """Refuses what cannot be applied, before the test.

    Raises:
        ValueError: if it cannot.
    """
    if not apply:
        return
    names = [*suggestions.METHODS, *(["curvature"] if curvature else [])]
    if apply is not True and apply not in names:
        raise ValueError(
            f"`apply` must be True or the name of a method: one of {names}. "
            f"Received: apply={apply!r}."
        )
    if optimizers.is_scheduled(optimizer):
        raise ValueError(
            "`apply` needs an optimizer whose learning rate can be set. "
            f"Received: apply={apply!r}, and a {type(optimizer).__name__} "
            "that follows a schedule. Compile it with a number as its "
            "learning_rate, or make a schedule of the suggested rate."
            + more("learning-rate-schedule")
        )


def _rates(
    low: float, high: float, steps: int | None
) -> tuple[float, float, int | None]:
    """The range of learning rates, if it is one.

    Raises:
        TypeError, ValueError: if it is none.
    """
    low = checks.positive_number("min_learning_rate", low, "Write 1e-7.")
    high = checks.positive_number("max_learning_rate", high, "Write 10.0.")
    if not low < high:
        raise ValueError(
            "`min_learning_rate` must be below `max_learning_rate`. Received: "
            f"min_learning_rate={low}, max_learning_rate={high}. Write for "
            "example 1e-7 and 10."
        )
    if steps is not None:
        steps = checks.positive_integer("steps", steps)
        if steps < _FEWEST:
            raise ValueError(
                f"`steps` must be at least {_FEWEST}, to see how the loss "
                f"changes. Received: steps={steps}. Omit it."
            )
    return low, high, steps


# Of the curvature: an error of about 1% suffices, as half of it is suggested
_EXAMPLES, _TOLERANCE = 256, 0.05


@errors.readable
def find_learning_rate(
    model: keras.Model,
    x: Any,
    y: Any = None,
    *,
    min_learning_rate: float = 1e-7,
    max_learning_rate: float = 10.0,
    steps: int | None = None,
    batch_size: int | None = None,
    sample_weight: Any = None,
    curvature: bool = True,
    apply: bool | str | None = None,
    seed: int = 0,
    verbose: int = 1,
) -> RangeTestResult:
    """Finds a learning rate: one step of training at each of a range of them.

    The range test. The rate of step k, of n, is

        low * (high / low) ** (k / (n - 1))

    from `low = min_learning_rate` to `high = max_learning_rate`, until the
    smoothed loss rises above four times that at the start
    (`gdtrain.tuning.suggestions` has the formulas). Too small a rate leaves
    the loss as it is, too large a one makes it blow up; several methods
    suggest a rate between them, from the smoothed losses:

        minimum_tenth   a tenth of the rate of the lowest loss
        steepest        where the loss falls most for a factor of the rate
        valley          the middle of the longest fall
        curvature       half the stable limit of the optimizer at the start,
                        if it is known: see `gdtrain.curvature`

    With momentum, which accumulates steps, a rising rate does less than a
    constant one: the first three are corrected for that
    (`gdtrain.tuning.range_test`), by a factor of 0.2 to 0.6 at 0.9.

    The first is recommended, or the last where that is smaller. On a line and
    on a small network, with plain descent, momentum and Adam, it makes the
    loss fall by at least nine tenths of what the best rate of a grid does
    (`tests/tuning/test_useful_suggestions.py`). `steepest` may follow the
    noise of small batches, and `valley` may be far too small where a loss has
    no noise. A suggestion is where to begin.

    Afterwards model and data are as before, also if it is interrupted:
    training continues as if there had been no test (see
    `gdtrain.state.preserved`). A schedule of the optimizer is not used in
    the test. Momentum, moving averages and weights carry over from one rate
    to the next, as in training.

    Args:
        model: A gdtrain model, compiled with one optimizer, and built.
        x: The data, as in `keras.Model.fit`, which can be read again: a
            generator is refused.
        y: Targets, as in `keras.Model.fit`.
        min_learning_rate: The first rate. Defaults to 1e-7.
        max_learning_rate: The last rate. Defaults to 10.0; both suit plain
            descent and Adam.
        steps: How many rates. Defaults to `None`: as many as fit into the
            time of two epochs, but no more than 200; 100 where those are
            fewer than 36, as of a full batch. At most 30 steps more are made
            in place of those that an optimizer with loss scaling skips.
        batch_size: As in `keras.Model.fit`.
        sample_weight: As in `keras.Model.fit`.
        curvature: Whether to measure the stable limit too, of 256 examples.
            It takes a few dozen times as long as the loss of these. Defaults
            to `True`. It is most reliable for full batches and plain descent;
            small batches with momentum may need less.
        apply: The name of a method whose suggestion becomes the learning rate
            of the optimizer, or `True` for the recommended one. Defaults to
            `None`: the learning rate stays.
        seed: Of the order of arrays, an integer: the same seed, the same
            result. Defaults to 0.
        verbose: Whether to print the result, a line. Defaults to 1.

    Returns:
        A `gdtrain.RangeTestResult`: `learning_rates`, `losses`, `smoothed`,
        `suggestions`, `suggestion`, `stable_learning_rate`.
        `gdtrain.plots.learning_rate_range` draws it.

    Raises:
        TypeError, ValueError: if an argument or the data cannot be used, the
            loss is not finite at the start, a custom step returns no loss or
            descends with a different optimizer, or `apply` is not the name of a
            method, or the optimizer has a schedule.
        RuntimeError: if the model is not built, has a loop of its own, or
            there is no suggestion for `apply`.

    Example:

    >>> import gdtrain, keras, numpy as np
    >>> model = gdtrain.Sequential([keras.Input([1]), keras.layers.Dense(1)])
    >>> model.compile(gdtrain.GradientDescent(), loss="mse")
    >>> x = np.linspace(-1, 1, 50)[:, np.newaxis]
    >>> found = gdtrain.find_learning_rate(model, x, 3 * x, apply=True)
    Try learning_rate=... (...), of ... Stable limit: 1.
    >>> bool(found.suggestion < found.stable_learning_rate)
    True

    References:
        Smith, Cyclical Learning Rates for Training Neural Networks, 2017,
        section 3.3, arXiv:1506.01186.
    """
    _check_model(model)
    _check_apply(apply, curvature, model.optimizer)
    if seed != 0 or isinstance(seed, bool):
        checks.positive_integer("seed", seed)
    low, high, steps = _rates(min_learning_rate, max_learning_rate, steps)
    with preserved_model(model), preserved_data(x) as data:
        stable, limit = None, "curvature was not measured"
        if curvature:
            stable, limit = _stable_limit(model, data, y, sample_weight)
        random.seed(seed)
        np.random.seed(seed % 2**32)
        test = range_test.run(
            model,
            data,
            y,
            low=low,
            high=high,
            steps=steps,
            batch_size=batch_size,
            sample_weight=sample_weight,
        )
    found = conclude(test, stable, limit)
    if verbose:
        print(found)
    if apply:
        name = found.method if apply is True else apply
        if name not in found.suggestions:
            raise RuntimeError(
                "There must be a suggestion to apply. Received: "
                f"apply={name!r}, of {found.suggestions}. {found} Set the "
                "learning rate by hand." + more("no-suggestion")
            )
        model.optimizer.learning_rate = found.suggestions[str(name)]
    return found


def conclude(
    test: range_test.Recorder, stable_learning_rate: float | None, limit: str
) -> RangeTestResult:
    """The result of a range test.

    Args:
        test: The `Recorder` of the test.
        stable_learning_rate, limit: As in `RangeTestResult`.
    """
    finite = np.isfinite(test.smoothed)
    rates, smoothed = test.learning_rates[finite], test.smoothed[finite]
    suggested = {}
    if suggestions.falls(test.losses[finite], test.per_decade):
        for name, find in suggestions.METHODS.items():
            rate = float(rates[find(rates, smoothed)])
            suggested[name] = test.constant_share * rate
    method = "minimum_tenth" if suggested else None
    if stable_learning_rate is not None and np.isfinite(stable_learning_rate):
        suggested["curvature"] = _STABLE_SHARE * stable_learning_rate
        if method and suggested["curvature"] < suggested[method]:
            method = "curvature"
    return RangeTestResult(
        test.learning_rates,
        test.losses,
        test.smoothed,
        test.blew_up,
        suggested,
        method,
        stable_learning_rate,
        limit,
        test.steps_before,
    )


def _stable_limit(
    model: keras.Model, x: Any, y: Any, sample_weight: Any
) -> tuple[float | None, str]:
    """The stable limit or `None`, and how it was computed or why it was not."""
    try:
        measured = measure_curvature(
            model,
            x,
            y,
            sample_weight=sample_weight,
            examples=_EXAMPLES,
            tolerance=_TOLERANCE,
            training=True,  # As the steps of the test are
        )
    except (TypeError, ValueError, FloatingPointError) as error:
        # Not every loss and not all data that can be trained on
        return None, str(error)
    return measured.stable_learning_rate, measured.limit

"""Finds a learning rate by trying a range of them."""

import random

import numpy as np

from gdtrain.common import checks, tracebacks
from gdtrain.curvature.curvature import curvature as measure_curvature
from gdtrain.keras_bridge import models
from gdtrain.mistakes import operations
from gdtrain.telemetry.record import is_scheduled
from gdtrain.trainer import DescentTrainer
from gdtrain.tuning import range_test, rate_ramp, suggestions
from gdtrain.tuning.preserved import unread, untouched
from gdtrain.tuning.range_test_result import conclude

_FEWEST = 10  # Steps


def check_model(model):
    """Refuses a model that cannot be tested.

    Raises:
        TypeError, ValueError, RuntimeError: if it cannot.
    """
    if not isinstance(model, DescentTrainer):
        raise TypeError(
            "`model` must be a gdtrain model, whose steps can be observed. "
            f"Received: model={model!r} of type {type(model).__name__}. "
            "Write `gdtrain.from_keras(model)`, or use gdtrain.Model or "
            "gdtrain.Sequential."
        )
    models.assert_compiled(model, "find_learning_rate")
    rate_ramp.optimizer_of(model)
    if not model.built:
        raise RuntimeError(
            "`model` must be built, so that it can be set back to its first "
            f"weights. Received: {model.name!r}, which has none yet. Give it "
            "a `keras.Input`, or call it on a batch."
        )


def check_apply(apply, curvature, optimizer):
    """Refuses what cannot be applied, before it takes time.

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
    if is_scheduled(optimizer):
        raise ValueError(
            "`apply` needs an optimizer whose learning rate can be set. "
            f"Received: apply={apply!r}, and a {type(optimizer).__name__} "
            "that follows a schedule. Compile it with a number as its "
            "learning_rate, or make the schedule of what is suggested."
        )


def rates_between(from_rate, to_rate, steps):
    """The range of rates, as arguments of `rate_range.run`.

    Raises:
        TypeError, ValueError: if it is none.
    """
    low = checks.positive_number("from_rate", from_rate, "Write 1e-7.")
    high = checks.positive_number("to_rate", to_rate, "Write 10.0.")
    if not low < high:
        raise ValueError(
            "`from_rate` must be below `to_rate`. Received: "
            f"from_rate={low}, to_rate={high}. Write for example 1e-7 and 10."
        )
    if steps is not None:
        steps = checks.positive_integer("steps", steps)
        if steps < _FEWEST:
            raise ValueError(
                f"`steps` must be at least {_FEWEST}, for a course to be "
                f"seen. Received: steps={steps}. Leave it out."
            )
    return {"from_rate": low, "to_rate": high, "steps": steps}


def check_seed(seed):
    """Refuses what is no seed.

    Raises:
        TypeError, ValueError: if it is none.
    """
    if seed != 0 or isinstance(seed, bool):
        checks.positive_integer("seed", seed)


# The curvature of so many examples, to 1% or so: enough to halve it
_EXAMPLES, _TOLERANCE = 256, 0.05


@tracebacks.filtered
@operations.explained
def find_learning_rate(
    model,
    x,
    y=None,
    *,
    from_rate=1e-7,
    to_rate=10.0,
    steps=None,
    batch_size=None,
    sample_weight=None,
    curvature=True,
    apply=None,
    seed=0,
    verbose=1,
):
    """Finds a learning rate: one step of training at each of a range of them.

    The range test. The rate of step k, of n, is

        from_rate * (to_rate / from_rate) ** (k / (n - 1))

    until the smoothed loss rises above four times what it was at the start
    (`gdtrain.tuning.suggestions` has the formulas). Too small a rate leaves
    the loss as it is, too large a one makes it blow up; what lies between is
    suggested by several methods, from the smoothed losses:

        minimum_tenth   a tenth of the rate of the lowest loss
        steepest        where the loss falls most for a factor of the rate
        valley          the middle of the longest fall
        curvature       half the stable limit of the optimizer, as it is at
                        the start, if it is known: see `gdtrain.curvature`

    With momentum, which adds up the steps before, a rate that rises does less
    than one that stays: the first three are then made smaller by what that
    comes to (`gdtrain.tuning.range_test`): 0.2 to 0.6 times at 0.9.

    The first is recommended, or the last where that is smaller. On a line and
    on a small network, by plain descent, momentum and Adam, that makes nine
    tenths of the fall of the loss that the best rate of a grid makes, or more
    (`tests/insight/test_useful_suggestions.py`). `steepest` may follow the
    noise of small batches, and `valley` may be far too small where a loss has
    no noise. A suggestion is where to begin.

    Afterwards everything is as before, also if it is interrupted: training
    goes on as if there had been no test (see `gdtrain.tuning.preserved`, and
    of data that count their readings `gdtrain.tuning.preserved`). A schedule of
    the optimizer is put aside for the test. Momentum and moving averages go
    on from one rate to the next, and the weights move on, as in training.

    Args:
        model: A gdtrain model, compiled with one optimizer, and built.
        x: The data, as in `keras.Model.fit`, such that they can be read
            again: a generator is refused.
        y: Targets, as in `keras.Model.fit`.
        from_rate, to_rate: The first rate and the last. Default to 1e-7 and
            10.0, which hold for plain descent and for Adam alike.
        steps: How many rates. Defaults to `None`: as many as fit into the
            time of two epochs, but no more than 200; 100 where those are
            fewer than 36, as of a full batch. Steps that an optimizer leaves
            out, as one that scales the loss does, come on top, 30 at most.
        batch_size: As in `keras.Model.fit`.
        sample_weight: As in `keras.Model.fit`.
        curvature: Whether to measure the stable limit too, of 256 examples.
            It takes a few dozen times as long as the loss of these. Defaults
            to `True`; what limits full batches and plain descent is known
            best, and small batches with momentum may need less.
        apply: The name of a method whose suggestion becomes the learning rate
            of the optimizer, or `True` for the recommended one. Defaults to
            `None`: nothing is changed.
        seed: Of the order of arrays, an integer: the same seed, the same
            result. Defaults to 0.
        verbose: Whether to print the result, a line. Defaults to 1.

    Returns:
        A `gdtrain.tuning.range_test_result.FoundRates`: `learning_rates`,
        `losses`, `smoothed`, `suggestions`, `suggestion`,
        `stable_learning_rate`. `gdtrain.plots.learning_rate_range` draws it.

    Raises:
        TypeError, ValueError: if an argument or the data cannot be used, the
            loss is not finite at the start, a step of your own tells no loss
            or descends with another optimizer, or `apply` names a method
            that has no suggestion or the optimizer has a schedule.
        RuntimeError: if the model is not built, runs steps of its own, or
            nothing is suggested that `apply` could use.

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
    check_model(model)
    check_apply(apply, curvature, model.optimizer)
    check_seed(seed)
    rates = rates_between(from_rate, to_rate, steps)
    with untouched(model), unread(x) as data:
        limit = None, "curvature was not asked for"
        if curvature:
            limit = _stable_limit(model, data, y, sample_weight)
        random.seed(seed)
        np.random.seed(seed % 2**32)
        test = range_test.run(
            model,
            data,
            y,
            **rates,
            batch_size=batch_size,
            sample_weight=sample_weight,
        )
        _check_losses(test.losses)
    found = conclude(test, *limit)
    if verbose:
        print(found)
    if apply:
        _apply(found, apply, model.optimizer)
    return found


def _stable_limit(model, x, y, sample_weight):
    """`(rate, words)`: the stable limit or `None`, and how it is known."""
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


def _apply(found, method, optimizer):
    """Sets the learning rate to what was suggested."""
    method = found.method if method is True else method
    if method not in found.suggestions:
        raise RuntimeError(
            "There must be a suggestion to apply. Received: "
            f"apply={method!r}, of {found.suggestions}. {found} Set the "
            "learning rate by hand."
        )
    optimizer.learning_rate = found.suggestions[method]


def _check_losses(losses):
    """Refuses a test that says nothing.

    Raises:
        RuntimeError: if no step was heard of.
        ValueError: if the first loss is not finite.
    """
    if not len(losses):
        raise RuntimeError(
            "The model must run its steps by gdtrain. Received: one that "
            "told of no step; it has a `make_train_function` of its own. "
            "Leave that out, and write a `train_step`."
        )
    if not np.isfinite(losses[0]):
        raise ValueError(
            "The loss must be finite at the start, before any rate is tried. "
            f"Received: a loss of {losses[0]}. Look for NaN in the data, or "
            "begin with other weights."
        )

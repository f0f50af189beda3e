"""A verdict on a training, with its evidence and an advice."""

import dataclasses

from gdtrain.insight.diagnosis import (
    at_rest,
    decay,
    diverging,
    layers,
    nonfinite,
    oscillating,
    overfitting,
    too_small,
)
from gdtrain.insight.diagnosis.run import runs_of
from gdtrain.insight.diagnosis.trend import trend_of
from gdtrain.insight.diagnosis.verdict import (
    OVERFITTING,
    RUINED,
    Diagnosis,
    ranked,
)
from gdtrain.insight.epochs import open_epochs, steps_per_epoch
from gdtrain.insight.source import open_source


def diagnose(telemetry, *, history=None):
    """Tells what a training did, and what to try; it changes nothing.

    There is always a verdict, one of these, the most important first:

    - exploding gradients: at the first step, a layer's gradient is 300 times
      as long as its weights, or grows 30 times towards the first layer
    - learning rate too large: diverging: the loss rises, or nothing is finite
      after a step whose loss and gradient tell that it must rise
    - non-finite: a NaN or an infinity
    - dead layer: gradients that are exactly 0, or silent units
    - vanishing gradients: against the weights, they shrink 300 times from the
      last layer to the first
    - learning rate too large: oscillating: weights, loss or gradient turn
      back at each step, or the loss of a smooth descent rises again
    - not learning: the loss is never another than at first
    - learning rate too small: the loss falls steadily, at most 1% of the gain
      a step, and half is to come; or the weights hardly moved; or the rate
      decayed to nothing while the loss still fell
    - overfitting: the loss of validation rises, that of training does not
    - plateau: the loss stands still while the gradient grows
    - noise floor: the loss varies with the batches, and falls no more
    - converged: the loss is smooth, and falls no more
    - converging: the loss falls
    - nothing to report: fewer than 8 losses

    The last four are no trouble. Quantities that were not measured are no
    error: what rests on them is not found. `"standard"` ones are enough for
    all of them; `gradient_cosine`, `dead_fraction` and a measured
    `stable_learning_rate` make more of it certain. So do epochs: means over
    them tell what batches hide. A callback and a log folder know how long
    epochs are; with a file, `history` tells.

    The stable limit of the learning rate is the one measured, if there is
    one. Else, for plain descent (updates as long as learning_rate times
    gradient), it follows from the factor of the loss a step, as it grows or
    jumps from side to side:

        sharpness = (1 + sqrt(factor)) / learning_rate
        limit = 2 / sharpness

    which is exact for a quadratic loss. Of a rise of one step, and where that
    leads several layers far from their weights, the limit is told as "about",
    or "at most", from the first loss and its gradient:

        limit <= 4 * loss / gradient_norm ** 2

    A confidence of 0.5 means that a
    number is just beyond its threshold, 0.75 twice as far; it is no
    probability. `python -m gdtrain diagnose LOGDIR` prints the same.

    Args:
        telemetry: A `gdtrain.callbacks.Telemetry`, the log folder of a
            `gdtrain.callbacks.TensorBoard` (whose run `validation` is read
            too), or an `.npz` file that `Telemetry.save` wrote.
        history: What `fit` returned, or its dict, where validation is to be
            judged. Defaults to that of the log folder, if it is one.

    Returns:
        A `Diagnosis`: `.verdict` is the most important `Verdict`,
        `.verdicts` all of them; each has `name`, `confidence`, `steps`,
        `evidence` (a dict of numbers), `text` and `advice`. Printed, it
        reads as text.

    Raises:
        TypeError, ValueError, FileNotFoundError: if there is nothing to read.

    Example:

    >>> import numpy as np
    >>> from gdtrain.writers.memory import MemoryWriter
    >>> writer = MemoryWriter()
    >>> steps = np.arange(1, 31)
    >>> writer.write(steps, ["loss"], 2.25 ** steps[:, None])
    >>> found = diagnose(writer)
    >>> found.verdict.name, found.verdict.steps
    ('learning rate too large: diverging', (1, 30))
    >>> print(found.verdict.text)
    The loss grows 2.25 times a step, 1.63e+10 times in all.

    References:
        Zhang, Zhai, Ma, Shen and Tan, AutoTrainer, ICSE 2021, for the kinds
        of trouble; Cohen et al., ICLR 2021, arXiv:2103.00065, section 2, for
        the limit.
    """
    source = open_source(telemetry)
    epochs = open_epochs(telemetry, history)
    length = steps_per_epoch(telemetry, source.steps, epochs.count)
    found = [
        _named(verdict, run.name)
        for run in runs_of(source, length)
        for verdict in _judge(run, epochs)
    ]
    return Diagnosis(ranked(found))


def _judge(run, epochs):
    """All verdicts on one run; never none."""
    course = trend_of(run)
    divergence = diverging.judge(run, course)
    found = [
        *divergence,
        *nonfinite.judge(run, follows=bool(divergence)),
        *layers.judge(run),
    ]
    if not divergence and run.first_nonfinite is None:
        moving = decay.in_force(run)
        found += oscillating.judge(moving, trend_of(moving))
        if not run.name:  # Validation is of the whole model
            found += overfitting.judge(run, epochs)
        # Of these, none is mended by a larger learning rate.
        if not {verdict.name for verdict in found} & {*RUINED, OVERFITTING}:
            if moving is run:
                found += too_small.judge(run, course)
            else:
                found += decay.judge(run, moving)
    return found or at_rest.judge(run, course)


def _named(verdict, name):
    """The same, told of one update of several."""
    if not name:
        return verdict
    return dataclasses.replace(verdict, text=f"{name}: {verdict.text}")

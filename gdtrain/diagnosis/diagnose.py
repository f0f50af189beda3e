"""The verdicts on a training, in order of importance."""

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias, runtime_checkable

import keras
import numpy as np

from gdtrain.diagnosis.case import Case
from gdtrain.diagnosis.rate_trials import SHARE_OF_GAIN, RateTrials
from gdtrain.diagnosis.run import NO_EPOCHS, Epochs, runs_of
from gdtrain.diagnosis.task import Task
from gdtrain.diagnosis.trial import Trial, Trials
from gdtrain.diagnosis.verdict import Diagnosis, Verdict
from gdtrain.diagnosis.verdicts import (
    converged,
    converging,
    dead,
    decayed,
    diverging,
    exploding,
    inputs_not_scaled,
    label_noise,
    noise_floor,
    nonfinite,
    not_learning,
    not_shuffled,
    nothing_moves,
    nothing_to_report,
    oscillating,
    output_and_loss,
    overfitting,
    overshot,
    plateau,
    targets_not_scaled,
    too_small,
    vanishing,
    weight_decay,
)
from gdtrain.writers import reading
from gdtrain.writers.reading import open_source

#: What finds each verdict, the most important first: causes before effects.
#: One that depends on what else was found comes after it.
JUDGES: dict[str, Callable[[Case], list[Verdict]]] = {
    nothing_moves.NAME: nothing_moves.judge,
    output_and_loss.NAME: output_and_loss.judge,
    inputs_not_scaled.NAME: inputs_not_scaled.judge,
    targets_not_scaled.NAME: targets_not_scaled.judge,
    not_shuffled.NAME: not_shuffled.judge,
    weight_decay.NAME: weight_decay.judge,
    exploding.NAME: exploding.judge,
    diverging.NAME: diverging.judge,
    nonfinite.NAME: nonfinite.judge,
    dead.NAME: dead.judge,
    vanishing.NAME: vanishing.judge,
    oscillating.NAME: oscillating.judge,
    overshot.NAME: overshot.judge,
    decayed.NAME: decayed.judge,
    label_noise.NAME: label_noise.judge,
    overfitting.NAME: overfitting.judge,
    too_small.NAME: too_small.judge,
    not_learning.NAME: not_learning.judge,
    plateau.NAME: plateau.judge,
    converging.NAME: converging.judge,
    noise_floor.NAME: noise_floor.judge,
    converged.NAME: converged.judge,
    nothing_to_report.NAME: nothing_to_report.judge,
}
NAMES = tuple(JUDGES)
Judge: TypeAlias = Callable[[Case], Sequence[Verdict]]
_TAG = "epoch_loss"
_TRIALS = 12  # Most diagnoses need no more
_SAME = 0.05  # Of the gain: less makes no difference


@runtime_checkable
class _HasParams(Protocol):
    """A Keras callback that `fit` has called."""

    params: Mapping[str, Any] | None


def open_epochs(telemetry: object, history: Any) -> Epochs:
    """Losses of training and validation.

    Of a history with `validation_freq`, every n-th epoch is assumed to have
    been validated, with the largest n that is possible.

    Args:
        telemetry: As in `gdtrain.diagnose`; a log folder has its own epochs.
        history: What `fit` returned, or its dict of lists; `None` for that of
            the log folder, if `telemetry` is one.

    Raises:
        TypeError: if `history` is none of these.

    Example:

    >>> found = open_epochs(None, {"loss": [4, 3, 2, 1], "val_loss": [5, 6]})
    >>> found.count, found.validated.tolist(), found.loss.tolist()
    (4, [2, 4], [3.0, 1.0])
    """
    if history is not None:
        return _of_history(history)
    if isinstance(telemetry, (str, os.PathLike)) and os.path.isdir(telemetry):
        return _of_folder(os.fspath(telemetry))
    return NO_EPOCHS


def steps_per_epoch(
    telemetry: object, steps: np.ndarray, count: int
) -> int | None:
    """How many steps an epoch has, or `None` if that is not known.

    Args:
        telemetry: As in `gdtrain.diagnose`; a callback that trained knows it.
        steps: Step numbers of the whole training, int64 `[n]`.
        count: How many epochs that is; 0 if unknown.

    Example:

    >>> steps_per_epoch("run.npz", np.arange(1, 61), 12)
    5
    """
    params = telemetry.params if isinstance(telemetry, _HasParams) else None
    if params and params.get("steps"):
        return int(params["steps"])
    if not count or steps[-1] % count:
        return None
    return int(steps[-1]) // count


def _of_history(history: Any) -> Epochs:
    """Of Keras's `History`, or a dict as it has."""
    numbers = getattr(history, "history", history)  # Keras's or the user's
    if not isinstance(numbers, dict):
        raise TypeError(
            "`history` must be what `fit` returned, or its dict. "
            f"Received: history={history!r} of type {type(history).__name__}."
        )
    loss = np.asarray(numbers.get("loss", []), np.float64)
    held = np.asarray(numbers.get("val_loss", []), np.float64)[: len(loss)]
    every = max(len(loss) // max(len(held), 1), 1)
    rows = np.arange(every - 1, every * len(held), every)
    return Epochs(len(loss), rows + 1, loss[rows], held)


def _of_folder(folder: str) -> Epochs:
    """Of the runs that `gdtrain.callbacks.TensorBoard` wrote."""
    found = []
    train = reading.train(folder)
    for path in (train, os.path.join(folder, "validation")):
        scalars = reading.scalars(path) if reading.paths(path) else {}
        found.append(scalars.get(_TAG, (np.empty(0, np.int64), np.empty(0))))
    (at, loss), (held_at, held) = found
    count = int(at[-1]) + 1 if len(at) else 0
    both, rows, held_rows = np.intersect1d(at, held_at, return_indices=True)
    return Epochs(count, both + 1, loss[rows], held[held_rows])


def diagnose(
    telemetry: object,
    model: keras.Model | None = None,
    x: Any = None,
    y: Any = None,
    *,
    sample_weight: Any = None,
    shuffle: bool = True,
    history: Any = None,
    judges: Sequence[Judge] = (),
) -> Diagnosis:
    """Says what a training did, and what to try; it changes nothing.

    There is always a verdict, one of these, the most important first:

    - nothing moves: the learning rate or the gradient is 0 at all steps, or
      updates are so small that float32 rounds them away
    - output and loss do not fit: such as softmax where the loss takes logits,
      or targets that an activation cannot reach
    - inputs not scaled, targets not scaled: of a size or an offset that makes
      descent slow, and not learned yet
    - data not shuffled: the loss takes the same course within each epoch, in
      blocks
    - weight decay too strong: all layers shrink at one rate, to a third or
      less
    - exploding gradients: at the first step, a layer's gradient is 3e6 times
      as long as its weights, or grows 30 times towards the first layer
    - learning rate too large: diverging: the loss rises, or nothing is finite
      after a step from whose loss and gradient it follows that it must rise
    - non-finite: a NaN or an infinity
    - dead layer: gradients that are exactly 0, or silent units
    - vanishing gradients: against the weights, they shrink 300 times from the
      last layer to the first, early on
    - learning rate too large: oscillating: weights, loss or gradient turn
      back at each step, and that costs much of the gain
    - learning rate too large: overshot: the first updates threw the weights
      far away, and the loss did not come below its start
    - learning rate decayed too early: to nothing, while the loss still fell,
      or after few steps
    - label noise: labels that those of all similar examples contradict
    - overfitting: the loss of validation rises, that of training does not
    - learning rate too small: the loss falls steadily, at most 1% of the gain
      a step, and half is to come; or the weights hardly moved
    - not learning: the loss never falls beyond noise, or is no less than that
      of the best constant output
    - plateau: the loss stands still while the gradient grows
    - converging: the loss falls
    - noise floor: the loss varies with the batches, and falls no more
    - converged: the loss is smooth, and falls no more
    - nothing to report: fewer than 8 losses

    The last four are no trouble. Quantities that were not measured are no
    error: what depends on them is not found. `"standard"` ones are enough for
    all that need no `model`; `gradient_cosine`, `dead_fraction` and a measured
    `stable_learning_rate` make more of it certain. So do epochs: means over
    them show what the noise of batches hides. A callback and a log folder
    have the length of epochs; for a file, `history` has it.

    The stable limit of the learning rate is the one measured, if there is
    one. Else, for plain descent (updates as long as learning_rate times
    gradient), it follows from the factor of the loss a step, as it grows or
    jumps from side to side:

        sharpness = (1 + sqrt(factor)) / learning_rate
        limit = 2 / sharpness

    which is exact for a quadratic loss. Of a rise of one step, and where that
    moves several layers far from their weights, the limit is given as "about"
    or "at most", from the first loss and its gradient:

        limit <= 4 * loss / gradient_norm ** 2

    A confidence of 0.5 means that a number is just beyond its threshold, 0.75
    twice as far; it is no probability. What is concluded from the shape of a
    curve alone has at most 0.8: that nothing is wrong, for one, is as sure as
    that only with a model and its data. `python -m gdtrain diagnose LOGDIR`
    prints the same.

    Args:
        telemetry: A `gdtrain.callbacks.Telemetry`, the log folder of a
            `gdtrain.callbacks.TensorBoard` (whose run `validation` is read
            too), or an `.npz` file that `Telemetry.save` wrote.
        model: The gdtrain model that was trained, as training left it. With
            it and its data, more is found, and exactly; and advice is tried
            before it is given, on the same batches, for about as long as one
            epoch takes in all. The model stays as it is, bit for bit.
        x: The inputs that it was trained on, as `fit` takes them.
        y: The targets; `None` where `x` has them.
        sample_weight: As `fit` was given it.
        shuffle: As `fit` was given it. Defaults to `True`.
        history: What `fit` returned, or its dict, where validation is to be
            judged. Defaults to that of the log folder, if it is one.
        judges: Functions that find verdicts of your own, which come first.
            Each gets a case and returns a list of `gdtrain.Verdict`, empty if
            it finds nothing: `case.run` has `steps`, `loss_steps` and `loss`,
            and `get(name)`, the numbers of any quantity, NaN at steps where
            it was not measured; `case.found` has the names of gdtrain's
            verdicts. Called for each optimizer of a step. Defaults to none.

    Returns:
        A `gdtrain.Diagnosis`: `.verdict` is the most important `Verdict`,
        `.verdicts` all of them; each has `name`, `confidence`, `steps`,
        `evidence` (a dict of numbers), `text` and `advice`. Printed, it
        reads as text.

    Raises:
        TypeError, ValueError, FileNotFoundError: if there is nothing to
            read, `model` is no gdtrain model that is built and compiled, or
            `judges` are no functions that return verdicts.

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
    judges = checked(judges)
    source = open_source(telemetry)
    epochs = open_epochs(telemetry, history)
    length = steps_per_epoch(telemetry, source.steps, epochs.count)
    runs = runs_of(source.table, length, epochs)
    if model is None:
        found = [one for run in runs for one in verdicts_on(Case(run), judges)]
        return Diagnosis(ranked(found))
    task = Task(
        model,
        x,
        y,
        sample_weight=sample_weight,
        shuffle=shuffle,
        steps_per_epoch=length,
        learning_rates=runs[0].get("learning_rate"),
    )
    with Trials(task, expected=_TRIALS) as trials:
        found = []
        for run in runs:
            rate, rate_trials = run.learning_rate, None
            if rate and trials.reason is None:
                rate_trials = RateTrials(trials, rate, run.has_decayed)
            case = Case(run, task=task, rate_trials=rate_trials)
            found += [tried(one, trials) for one in verdicts_on(case, judges)]
    return Diagnosis(ranked(found))


def checked(judges: Sequence[Judge]) -> tuple[Judge, ...]:
    """The same, as a tuple.

    Raises:
        TypeError: if they are no functions.
    """
    if not (isinstance(judges, Sequence) and all(map(callable, judges))):
        raise TypeError(
            "`judges` must be a list of functions. "
            f"Received: judges={judges!r}. Write judges=[judge]."
        )
    return tuple(judges)


def ranked(verdicts: Sequence[Verdict]) -> tuple[Verdict, ...]:
    """The same, those of users first, then in the order of `NAMES`."""
    places = {name: place for place, name in enumerate(NAMES)}
    return tuple(sorted(verdicts, key=lambda v: places.get(v.name, -1)))


def verdicts_on(case: Case, judges: Sequence[Judge] = ()) -> list[Verdict]:
    """All verdicts on one run, in order; never none."""
    found: list[Verdict] = []
    for judge in (*JUDGES.values(), *judges):
        names = frozenset(verdict.name for verdict in found)
        more = judge(dataclasses.replace(case, found=names))
        if not isinstance(more, list | tuple):
            raise TypeError(
                "A judge must return a list of verdicts, empty if it finds "
                f"nothing. Received: {more!r} from {judge!r}."
            )
        found += more
    if not case.run.name:
        return found
    return [
        dataclasses.replace(verdict, text=f"{case.run.name}: {verdict.text}")
        for verdict in found
    ]


def tried(verdict: Verdict, trials: Trials) -> Verdict:
    """A verdict whose advice was tried, if a program can follow it.

    Advice that did not help is not given. That of a verdict by trials has
    been tried.
    """
    if not verdict.changes or SHARE_OF_GAIN in verdict.evidence:
        return verdict
    found = trials.run(verdict.changes)
    if not isinstance(found, Trial):
        advice = f"{verdict.advice} (Not tried: {found.reason}.)"
        return dataclasses.replace(verdict, advice=advice)
    evidence = verdict.evidence | {"trial": found.share}
    if found.share <= _SAME:
        did = "made it worse" if found.share < -_SAME else "was no great help"
        return dataclasses.replace(
            verdict,
            evidence=evidence,
            advice=f"The usual advice ({verdict.advice.rstrip('.')}) {did}: "
            f"{found}.",
            changes=(),
        )
    helped = f"{str(found)[0].upper()}{str(found)[1:]}."
    return dataclasses.replace(
        verdict, evidence=evidence, advice=f"{verdict.advice} {helped}"
    )

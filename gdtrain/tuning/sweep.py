"""The same model from the same start at several learning rates."""

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from gdtrain.callbacks import run_description
from gdtrain.callbacks.epoch_scalars import EpochScalars
from gdtrain.callbacks.judged_steps import JudgedSteps
from gdtrain.callbacks.telemetry import Telemetry
from gdtrain.common import checks, failures
from gdtrain.common.explained import more
from gdtrain.loop.callback import Callback, Logs
from gdtrain.mistakes import errors
from gdtrain.state import variables
from gdtrain.trainer import DescentTrainer
from gdtrain.tuning import stacked
from gdtrain.tuning.stacked import Progress
from gdtrain.tuning.sweep_result import SweepJob, SweepResult, SweepRun
from gdtrain.writers import summaries
from gdtrain.writers.tensorboard_runs import TensorBoardRuns

_log = logging.getLogger("gdtrain")


@errors.readable
def sweep(
    build: Callable[[], keras.Model],
    x: Any,
    y: Any = None,
    *,
    learning_rates: Any,
    sample_weight: Any = None,
    epochs: int = 1,
    batch_size: int | None = None,
    shuffle: bool = True,
    validation_data: Any = None,
    seed: int = 0,
    vectorize: bool | str = "auto",
    log_dir: str | os.PathLike | None = None,
    hparams: Mapping[str, Any] | None = None,
    verbose: int = 1,
) -> SweepResult:
    """Trains a model at several learning rates, to compare them.

    Every run starts from the same weights, with the same order of examples
    and the same dropout: those of `keras.utils.set_random_seed(seed)`,
    `build()`, `set_random_seed(seed)` again, and `fit`. Data that shuffle
    themselves, as `tf.data.Dataset.shuffle` does, have a new order in each
    run: give arrays where that matters.

    Small models are vectorized, which trains all runs in one compiled
    program: each weight gets a leading axis, one entry a learning rate. That
    needs arrays that are kept on the device, gdtrain's own `train_step`, an
    elementwise optimizer (`gdtrain.GradientDescent` and most of Keras's),
    random numbers from `keras.random` alone, no constraints, micro-batches,
    replicas or XLA, and at most 4,194,304 weights in all runs together. It
    saves compilations and the overhead of small operations; long runs of
    models that keep all cores busy take as long as in turn. Other
    models are trained in turn by `fit`. Which way, and why, is
    logged ("gdtrain", INFO).

    A run that diverges does not affect the others. The random generators of
    Python, NumPy, TensorFlow and Keras are restored afterwards.

    Args:
        build: A function without arguments that makes the model and compiles
            it, the same each time. The learning rate it is compiled with is
            replaced.
        x: The inputs, as in `keras.Model.fit`; not an iterator, which can be
            read only once.
        y: The targets, as in `keras.Model.fit`. Defaults to `None`: `x` has
            them.
        learning_rates: Distinct positive numbers.
        sample_weight, epochs, batch_size, shuffle, validation_data: As in
            `keras.Model.fit`, with the same defaults.
        seed: An integer. Defaults to 0: the same numbers each time.
        vectorize: `True` to vectorize or raise an error; `False` to train in
            turn; `"auto"`, the default, to vectorize if possible.
        log_dir: A folder for TensorBoard, in which each learning rate has a
            run: losses of steps and epochs, and a row in HParams. Defaults to
            `None`, nothing is written.
        hparams: A dict of further entries for HParams.
        verbose: Whether to show a progress bar, 0 or 1. Defaults to 1.

    Returns:
        A `gdtrain.SweepResult`: losses, histories, weights and the best
        learning rate; prints as a table.

    Raises:
        TypeError: if `build` makes no Keras model, or an argument is of a
            wrong type.
        ValueError: if an argument or the model cannot be used, or
            `vectorize=True` and the model cannot be vectorized.

    Example:

    >>> import keras, numpy as np, gdtrain
    >>> def build():
    ...     line = keras.layers.Dense(1)
    ...     model = gdtrain.Sequential([keras.Input([1]), line])
    ...     model.compile(gdtrain.GradientDescent(), loss="mse")
    ...     return model
    >>> x = np.linspace(-1, 1, 50)[:, np.newaxis]
    >>> found = sweep(
    ...     build, x, 3 * x, learning_rates=[0.001, 0.1, 100.0], verbose=0
    ... )
    >>> found.losses.shape, found.best, found.diverged.tolist()
    ((3, 2), 0.1, [False, False, True])
    """
    job = SweepJob(
        build=build,
        x=x,
        y=y,
        sample_weight=sample_weight,
        learning_rates=_rates(learning_rates),
        epochs=checks.positive_integer("epochs", epochs),
        batch_size=batch_size,
        shuffle=shuffle,
        validation_data=validation_data,
        seed=seed,
    )
    if vectorize not in ("auto", True, False):
        raise ValueError(
            '`vectorize` must be "auto", True or False. '
            f"Received: vectorize={vectorize!r}."
        )
    if log_dir is not None:
        log_dir = checks.absolute(log_dir)
    progress = _progress(job, verbose)
    with variables.keep_random_state():
        found = _train(job, vectorize, progress)
        if log_dir is not None:
            try:
                entries = dict(hparams or {})
                _write_logs(log_dir, found, batch_size or 32, entries)
            except OSError as error:
                failures.warn(
                    f"{log_dir!r} could not be written",
                    error,
                    "What the sweep found is returned all the same."
                    + more("writing-stopped"),
                )
    return found


def _train(
    job: SweepJob, vectorize: bool | str, progress: Progress
) -> SweepResult:
    """Trains all at once, or in turn."""
    many = f"{len(job.learning_rates)} learning rates"
    reason = "vectorize=False"
    if vectorize:
        try:
            trained = stacked.train(job, progress)
            _log.info("sweep: %s, all at once", many)
            return SweepResult(job, trained, vectorized=True)
        except stacked.NotStackable as error:
            reason = str(error)
            if vectorize != "auto":
                raise ValueError(
                    "`vectorize=True` needs a model that can be vectorized. "
                    f'Received: one that cannot, as {reason}. Write "auto".'
                    + more("stacked-sweep")
                ) from error
    _log.info("sweep: %s, one after another: %s", many, reason)
    return SweepResult(job, _train_in_turn(job, progress), vectorized=False)


class _EpochEnds(Callback):
    """Reports each epoch."""

    sync = "never"

    def __init__(self, progress: Progress) -> None:
        super().__init__()
        self._progress = progress

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Reports an epoch."""
        self._progress(1, [(logs or {}).get("loss", np.nan)])


def _train_in_turn(job: SweepJob, progress: Progress) -> Iterator[SweepRun]:
    """Trains at the learning rates of a job in turn.

    Yields:
        A `SweepRun` for each learning rate.

    Raises:
        ValueError: if `build` does not make the same model each time.
    """
    start: list[np.ndarray] = []
    for rate in job.learning_rates:
        model = job.model()
        start = start or [variable.numpy() for variable in model.variables]
        shapes = [tuple(variable.shape) for variable in model.variables]
        wanted = [value.shape for value in start]
        if shapes != wanted:
            raise ValueError(
                "`build` must make the same model each time. Received: "
                f"variables of shapes {shapes} after {wanted}."
                + more("stacked-sweep")
            )
        for variable, value in zip(model.variables, start, strict=True):
            variable.assign(value)
        model.optimizer.learning_rate = rate
        yield _fit(job, model, progress)


def _fit(job: SweepJob, model: DescentTrainer, progress: Progress) -> SweepRun:
    """Fits a model."""
    telemetry = Telemetry(["loss"])
    keras.utils.set_random_seed(job.seed)
    history = model.fit(
        job.x,
        job.y,
        sample_weight=job.sample_weight,
        batch_size=job.batch_size,
        epochs=job.epochs,
        # Keras warns of a dataset that it is asked to shuffle.
        shuffle=job.shuffle and not isinstance(job.x, tf.data.Dataset),
        validation_data=job.validation_data,
        verbose=0,
        callbacks=[telemetry, _EpochEnds(progress)],
    ).history
    floats = {name: list(map(float, some)) for name, some in history.items()}
    return SweepRun(telemetry["loss"], floats, model.get_weights())


def _rates(learning_rates: Any) -> tuple[float, ...]:
    """The learning rates as a tuple of floats."""
    rates = tuple(
        checks.positive_number("learning_rates", rate, "Write for example 0.1.")
        for rate in np.ravel(learning_rates).tolist()
    )
    if not rates or len(set(rates)) < len(rates):
        raise ValueError(
            "`learning_rates` must be distinct positive numbers. "
            f"Received: learning_rates={learning_rates!r}. Write for example "
            "np.geomspace(1e-4, 1, 9)."
        )
    return rates


def _progress(job: SweepJob, verbose: int) -> Progress:
    """A function that shows how many epochs are done, of all runs together."""
    if not verbose:
        return lambda count, losses: None
    bar = keras.utils.Progbar(
        job.epochs * len(job.learning_rates),
        unit_name="epoch",
        stateful_metrics=["lowest loss"],
    )

    def show(count: int, losses: Any) -> None:
        finite = [loss for loss in losses if np.isfinite(loss)]
        bar.add(count, [("lowest loss", min(finite))] if finite else None)

    return show


_MEASURED = ["loss", "learning_rate"]


def _write_logs(
    log_dir: str, found: SweepResult, batch_size: int, entries: dict[str, Any]
) -> None:
    """Writes each run to a folder of its own, `learning_rate=...`.

    With the tags of `gdtrain.callbacks.TensorBoard`: `step/loss`,
    `step/learning_rate`, `epoch_loss` and other metrics, for `validation`
    too, and `diagnosis`; and with a row in HParams.

    Args:
        log_dir: The folder above them.
        found: The result to write.
        batch_size: In examples.
        entries: Of the user, for HParams.
    """
    for run, label in enumerate(found.labels):
        runs = TensorBoardRuns(os.path.join(log_dir, f"learning_rate={label}"))
        runs.lock()
        try:
            _write_run(runs, found, run, batch_size, entries)
        finally:
            runs.close()


def _write_run(
    runs: TensorBoardRuns,
    found: SweepResult,
    run: int,
    batch_size: int,
    entries: dict[str, Any],
) -> None:
    """Writes one run."""
    parts = failures.FailureReporter()
    losses, history = found.losses[run], found.history[run]
    rates = np.full(len(losses), found.learning_rates[run])
    rows = np.stack([losses, rates], axis=1)
    steps = np.arange(1, 1 + len(losses)), _MEASURED, rows
    measured = [(name, name) for name in _MEASURED]
    model = found.model(run)
    runs.begin(steps_done=0, epoch=0)
    runs.describe(
        run_description.describe(model, batch_size, entries, measured, parts)
    )
    runs.steps.write(*steps)
    epochs = EpochScalars(runs, parts)
    for epoch, values in enumerate(zip(*history.values(), strict=True)):
        epochs.add_epoch(epoch, dict(zip(history, values)))
    epochs.write()
    with parts.catch("The diagnosis is skipped"):
        judged = JudgedSteps()
        judged.write(*steps)
        text = judged.verdict(history)
        if text:
            runs.judge(len(losses), summaries.text("diagnosis", text))
    runs.describe([summaries.hparams_end()])

"""The same model from the same start at several learning rates."""

import logging
import os
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from gdtrain.callbacks import run_description
from gdtrain.callbacks.judged_steps import JudgedSteps
from gdtrain.common import checks, failures
from gdtrain.mistakes import errors
from gdtrain.state import variables
from gdtrain.tuning import stacked, sweep_runs
from gdtrain.tuning.sweep_result import SweepResult
from gdtrain.tuning.sweep_runs import Progress, SweepJob
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
                _write_logs(
                    log_dir,
                    found,
                    batch_size=batch_size or 32,
                    entries=dict(hparams or {}),
                )
            except OSError as error:
                failures.warn(
                    f"{log_dir!r} could not be written",
                    error,
                    "What the sweep found is returned all the same.",
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
                    f'Received one that cannot: {reason}. Write "auto".'
                ) from error
    _log.info("sweep: %s, one after another: %s", many, reason)
    return SweepResult(job, sweep_runs.train(job, progress), vectorized=False)


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
    log_dir: str,
    found: SweepResult,
    *,
    batch_size: int,
    entries: dict[str, Any],
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
        folder = os.path.join(log_dir, f"learning_rate={label}")
        runs = TensorBoardRuns(folder)
        runs.lock()
        parts = failures.FailureReporter()
        try:
            runs.begin(steps_done=0, epoch=0)
            runs.describe(
                run_description.describe(
                    found.model(run),
                    batch_size,
                    entries,
                    [(name, name) for name in _MEASURED],
                    parts,
                )
            )
            rate, history = found.learning_rates[run], found.history[run]
            losses = found.losses[run]
            rows = np.stack([losses, np.full(len(losses), rate)], 1)
            _write_run(runs, rows, history)
            with parts.catch("The diagnosis is skipped"):
                _judge(runs, rows, history)
            runs.describe([summaries.hparams_end()])
        finally:
            runs.close()


def _write_run(
    runs: TensorBoardRuns, rows: np.ndarray, history: dict[str, list[float]]
) -> None:
    """Writes the steps and the epochs of a run."""
    runs.steps.write(np.arange(1, 1 + len(rows)), _MEASURED, rows)
    parts: dict[str, dict] = {"train": {}, "validation": {}}
    for name, values in history.items():
        part = "validation" if name.startswith("val_") else "train"
        parts[part][f"epoch_{name.removeprefix('val_')}"] = values
    for part, columns in parts.items():
        if columns:
            rows = np.stack(list(columns.values()), axis=1).astype("float32")
            runs[part].write(np.arange(len(rows)), list(columns), rows)


def _judge(
    runs: TensorBoardRuns, rows: np.ndarray, history: dict[str, list[float]]
) -> None:
    """Writes the verdicts of `gdtrain.diagnose`."""
    judged = JudgedSteps()
    judged.write(np.arange(1, 1 + len(rows)), _MEASURED, rows)
    text = judged.verdict(history)
    if text:
        runs.judge(len(rows), summaries.text("diagnosis", text))

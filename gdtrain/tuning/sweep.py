"""The same model from the same start at several learning rates."""

import logging

import keras
import numpy as np

from gdtrain.common import checks, failures, tracebacks
from gdtrain.mistakes import operations
from gdtrain.state import random_state
from gdtrain.tuning import stacked, sweep_runs
from gdtrain.tuning.sweep_result import Sweep
from gdtrain.tuning.sweep_runs import Job

_log = logging.getLogger("gdtrain")


@tracebacks.filtered
@operations.explained
def sweep(
    build,
    x,
    y=None,
    *,
    learning_rates,
    sample_weight=None,
    epochs=1,
    batch_size=None,
    shuffle=True,
    validation_data=None,
    seed=0,
    together="auto",
    log_dir=None,
    hparams=None,
    verbose=1,
):
    """Trains a model at several learning rates, to compare them.

    Every run has the same weights to start from, the same order of examples
    and the same dropout: those of `keras.utils.set_random_seed(seed)`,
    `build()`, the same again, and `fit`. Data that shuffle themselves, as
    `tf.data.Dataset.shuffle` does, are read on, in another order each time:
    give arrays where that matters.

    Small models are trained all at once: their weights get an axis more, one
    entry a learning rate, and all epochs are one compiled program. That takes
    arrays that are kept on the device, gdtrain's own `train_step`, an
    optimizer that moves each number by itself (`gdtrain.GradientDescent` and
    most of Keras's), random numbers from `keras.random` alone, no
    constraints, micro-batches, replicas or XLA, and at most 4,194,304 weights
    in all runs together. What is gained is what surrounds the arithmetic: one
    compilation in the place of many, and small operations; long runs of
    models that keep all cores busy take as long as one after another. Other
    models are trained one after another by `fit`.
    Which of them, and why, is logged ("gdtrain", INFO).

    A run that diverges leaves the others alone. The random generators of
    Python, NumPy, TensorFlow and Keras are as before, in the end.

    Args:
        build: A function without arguments that makes the model and compiles
            it, the same each time. The learning rate it is compiled with is
            replaced.
        x: The inputs, as in `keras.Model.fit`; not an iterator, which can be
            read but once.
        y: The targets, as in `keras.Model.fit`. Defaults to `None`: `x` has
            them.
        learning_rates: Positive numbers, different ones.
        sample_weight, epochs, batch_size, shuffle, validation_data: As in
            `keras.Model.fit`, with the same defaults.
        seed: An integer. Defaults to 0: the same numbers each time.
        together: `True` to train all at once or raise an error; `False` for
            one after another; `"auto"`, the default, for what is possible.
        log_dir: A folder for TensorBoard, in which each learning rate has a
            run of its own: losses of steps and epochs, and a row in HParams.
            Defaults to `None`, nothing is written.
        hparams: A dict of entries of your own for HParams.
        verbose: Whether to show a progress bar, 0 or 1. Defaults to 1.

    Returns:
        A `gdtrain.tuning.sweep_result.Sweep`: losses, histories, weights and
        the best learning rate; printed, a table.

    Raises:
        TypeError: if `build` makes no Keras model, or an argument is of the
            wrong kind.
        ValueError: if an argument or the model cannot be used, or
            `together=True` and the model cannot be trained that way.

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
    job = Job(
        build=_callable(build),
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
    if together not in ("auto", True, False):
        raise ValueError(
            '`together` must be "auto", True or False. '
            f"Received: together={together!r}."
        )
    if log_dir is not None:
        log_dir = checks.absolute(log_dir)
    progress = _progress(job, verbose)
    with random_state.kept():
        found = _train(job, together, progress)
        if log_dir is not None:
            try:
                sweep_runs.write_logs(
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


def _train(job, together, progress):
    """Trains all at once, or one after another; returns a `Sweep`."""
    many = f"{len(job.learning_rates)} learning rates"
    reason = "asked for"
    if together:
        try:
            found = Sweep(job, stacked.train(job, progress), at_once=True)
            _log.info("sweep: %s, all at once", many)
            return found
        except stacked.NotStackable as error:
            reason = str(error)
            if together != "auto":
                raise ValueError(
                    "`together=True` needs a model whose runs can be stacked. "
                    f'Received one that cannot: {reason}. Write "auto".'
                ) from error
    _log.info("sweep: %s, one after another: %s", many, reason)
    return Sweep(job, sweep_runs.train(job, progress), at_once=False)


def _rates(learning_rates):
    """The learning rates as a tuple of floats."""
    rates = tuple(
        checks.positive_number("learning_rates", rate, "Write for example 0.1.")
        for rate in np.ravel(learning_rates).tolist()
    )
    if not rates or len(set(rates)) < len(rates):
        raise ValueError(
            "`learning_rates` must be at least one number, each another. "
            f"Received: learning_rates={learning_rates!r}. Write for example "
            "np.geomspace(1e-4, 1, 9)."
        )
    return rates


def _callable(build):
    """`build`, if it is one."""
    if not callable(build) or isinstance(build, keras.Model):
        raise TypeError(
            "`build` must be a function that makes a compiled model. "
            f"Received: {build!r} of type {type(build).__name__}. Write "
            "`lambda: make_model()`."
        )
    return build


def _progress(job, verbose):
    """A function that shows how many epochs are done, of all runs together."""
    if not verbose:
        return lambda count, losses: None
    bar = keras.utils.Progbar(
        job.epochs * len(job.learning_rates),
        unit_name="epoch",
        stateful_metrics=["lowest loss"],
    )

    def show(count, losses):
        finite = [loss for loss in losses if np.isfinite(loss)]
        bar.add(count, [("lowest loss", min(finite))] if finite else None)

    return show

"""The runs of a sweep in a log folder, for TensorBoard to compare."""

import os

import numpy as np

from gdtrain.callbacks import run_description
from gdtrain.writers import failures, summaries
from gdtrain.writers.tensorboard_runs import TensorBoardRuns


def write(log_dir, sweep, *, batch_size, entries):
    """Writes each run to a folder of its own, `learning_rate=...`.

    With the tags of `gdtrain.callbacks.TensorBoard`: `step/loss`,
    `step/learning_rate`, and
    `epoch_loss` and other metrics, for `validation` too; and with a row in
    HParams.

    Args:
        log_dir: The folder above them.
        sweep: A `Sweep`.
        batch_size: In examples.
        entries: A dict of the user's own for HParams.
    """
    for run, label in enumerate(sweep.labels):
        folder = os.path.join(log_dir, f"learning_rate={label}")
        runs = TensorBoardRuns(folder)
        runs.lock()
        try:
            runs.begin(steps_done=0, epoch=0)
            # Its optimizer tells the learning rate.
            runs.describe(
                run_description.describe(
                    sweep.model(run),
                    batch_size,
                    entries,
                    [(name, name) for name in ("loss", "learning_rate")],
                    failures.Parts(),
                )
            )
            rate = sweep.learning_rates[run]
            _write_run(runs, rate, sweep.losses[run], sweep.history[run])
            runs.describe([summaries.hparams_end()])
        finally:
            runs.close()


def _write_run(runs, rate, losses, history):
    """Writes the losses of a run and what its history shows."""
    steps = np.arange(1, 1 + len(losses))
    rows = np.stack([losses, np.full(len(losses), rate)], axis=1)
    runs.steps.write(steps, ["loss", "learning_rate"], rows)
    parts: dict[str, dict] = {"train": {}, "validation": {}}
    for name, values in history.items():
        part = "validation" if name.startswith("val_") else "train"
        parts[part][f"epoch_{name.removeprefix('val_')}"] = values
    for part, columns in parts.items():
        if columns:
            values = np.stack(list(columns.values()), axis=1)
            runs[part].write(
                np.arange(len(values)), list(columns), values.astype("float32")
            )

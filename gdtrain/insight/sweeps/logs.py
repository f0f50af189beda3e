"""The runs of a sweep in a log folder, for TensorBoard to compare."""

import os

import numpy as np

from gdtrain.callbacks import run_description
from gdtrain.callbacks.judged_steps import JudgedSteps
from gdtrain.writers import failures, summaries
from gdtrain.writers.tensorboard_runs import TensorBoardRuns

_MEASURED = ["loss", "learning_rate"]


def write(log_dir, sweep, *, batch_size, entries):
    """Writes each run to a folder of its own, `learning_rate=...`.

    With the tags of `gdtrain.callbacks.TensorBoard`: `step/loss`,
    `step/learning_rate`, `epoch_loss` and other metrics, for `validation`
    too, and `diagnosis`; and with a row in HParams.

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
        parts = failures.Parts()
        try:
            runs.begin(steps_done=0, epoch=0)
            # Its optimizer tells the learning rate.
            runs.describe(
                run_description.describe(
                    sweep.model(run),
                    batch_size,
                    entries,
                    [(name, name) for name in _MEASURED],
                    parts,
                )
            )
            rate, history = sweep.learning_rates[run], sweep.history[run]
            rows = np.stack(
                [sweep.losses[run], np.full(len(sweep.losses[run]), rate)], 1
            )
            _write_run(runs, rows, history)
            with parts.alone("The diagnosis is left out"):
                _judge(runs, rows, history)
            runs.describe([summaries.hparams_end()])
        finally:
            runs.close()


def _write_run(runs, rows, history):
    """Writes the steps of a run, and what its history shows."""
    runs.steps.write(np.arange(1, 1 + len(rows)), _MEASURED, rows)
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


def _judge(runs, rows, history):
    """Writes the verdict of `gdtrain.diagnose`."""
    judged = JudgedSteps()
    judged.write(np.arange(1, 1 + len(rows)), _MEASURED, rows)
    text = judged.verdict(history)
    if text:
        runs.judge(len(rows), summaries.text("diagnosis", text))

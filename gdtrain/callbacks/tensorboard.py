"""The numbers of every step in TensorBoard, beside Keras's epochs."""

import contextlib
import os
from collections.abc import Iterable, Mapping
from typing import Any

import keras
import numpy as np

from gdtrain.callbacks import run_description
from gdtrain.callbacks.epoch_scalars import EpochScalars
from gdtrain.callbacks.judged_steps import JudgedSteps
from gdtrain.callbacks.pictures import Look, Picture, Pictures, Profile
from gdtrain.callbacks.telemetry import StepWriter
from gdtrain.common import checks, failures
from gdtrain.descent import optimizers
from gdtrain.loop.callback import Logs, Quantities, State, Sync
from gdtrain.telemetry import presets
from gdtrain.telemetry.step_table import BlockTable
from gdtrain.telemetry.system import Workers
from gdtrain.trainer import DescentTrainer
from gdtrain.writers import summaries
from gdtrain.writers.aggregating import AggregatingWriter
from gdtrain.writers.tensorboard_runs import TensorBoardRuns
from gdtrain.writers.writer import Array, Mask, Names

_BESIDE = "Write with `keras.callbacks.TensorBoard`, in a folder of its own."
# Arguments of Keras's callback: the value that means the same here, and what
# to write for the others
_INSTEAD: dict[str, tuple[Any, str]] = {
    "histogram_freq": (
        0,
        "Histograms count steps: write `quantities=[..., "
        "gdtrain.telemetry.WeightHistogram().every(100)]`.",
    ),
    "write_graph": (False, f"Text has the model's summary. {_BESIDE}"),
    "write_images": (
        False,
        "Write `pictures=[...]` with pictures of what the model does.",
    ),
    "write_steps_per_second": (
        False,
        'Write `quantities=[..., "examples_per_second"]`.',
    ),
    "update_freq": (
        "batch",
        "Write `every_steps=10` for each tenth step, and `quantities=[]` for "
        "epochs alone.",
    ),
    "embeddings_freq": (0, _BESIDE),
    "embeddings_metadata": (None, _BESIDE),
}


class TensorBoard(StepWriter):
    """Writes each step and each epoch for TensorBoard, as training goes.

    Look at it with `tensorboard --logdir LOG_DIR`, best of all at
    http://localhost:6006/#custom_scalars. TensorBoard lists the folder as a
    run, and its folder `validation`, if there is one, as a second run.

    | tag | x axis | what |
    |---|---|---|
    | `step/loss`, `step/gradient_norm/<layer>`, ... | step | each quantity |
    | `step/accuracy`, ... | step | metrics of the batch |
    | `epoch_loss`, `epoch_accuracy`, ... | epoch | what `History` shows |
    | `epoch_learning_rate` | epoch | the learning rate after the epoch |
    | `evaluation_loss_vs_iterations`, ... | step | each evaluation |
    | `step/workers/waiting/<worker>`, ... | step | of several workers: \
    `gdtrain.telemetry.Workers` |
    | `weight_histogram/<layer>`, ... | step | histograms, if asked for |
    | `<picture>` | step | pictures, if asked for |
    | `diagnosis` | step | the verdict as a fit ends, in the tab Text |

    The tab Custom Scalars has a page "Gradient descent" that puts the most
    telling curves together; HParams compares the runs below a folder by
    optimizer, batch size, model size and what else you give; Text has the
    verdict of `gdtrain.diagnose` on what was written, as each fit ends, and
    the model's summary and configuration.

    Points can be read within 2 seconds. Nothing measured is lost when
    training ends by an exception or Ctrl-C. What cannot be written, such as a
    picture that raises, is excluded alone, with a warning, and all else is
    written. On a full disk, training continues. A run that starts again in its
    folder replaces the steps and epochs that it repeats.

    Args:
        log_dir: The folder for the event files; made if it is missing. Give
            each run a folder of its own. Defaults to `"logs"`, as in Keras.
        quantities: As in `gdtrain.callbacks.Telemetry`. Defaults to
            `"standard"`.
        every_steps: Write the steps that are multiples of this. Defaults to
            1, every step.
        budget: The share of training time that quantities beyond the
            `"standard"` ones may take, for example 0.05: they are measured
            less often until they do, which is logged ("gdtrain", INFO).
            Defaults to `None`, no limit.
        aggregate: Whether to measure every step, and to write the mean of
            each `every_steps` of them, and the minimum and maximum as
            `<tag>/min` and `<tag>/max`. Defaults to `False`.
        hparams: A dict of entries of your own for the tab HParams, numbers,
            bools or strings by name.
        profile_batch: `(first, last)`, steps to profile for the tab Profile
            (which needs the package tensorboard-plugin-profile), or the
            number of one step; as in Keras. Defaults to 0, no profile.
        pictures: A list of pictures to draw at steps 1, 2, 5, 10, 20, 50, ...
            and at both ends of training: `gdtrain.plots.Predictions(images)`
            for a classifier, `gdtrain.plots.FittedLine(x, y)`, or any object
            with a `name`, `look(model)`, whose value is passed, on the
            writing thread, to `draw(seen)`, which returns a Matplotlib figure.
        **keras_arguments: Other arguments of `keras.callbacks.TensorBoard`,
            if they switch off what this callback does not write.

    Raises:
        TypeError, ValueError: if an argument cannot be used. For an argument
            of Keras, the message says what to write instead.
        RuntimeError: when training begins, if a different run is writing to
            `log_dir`.

    Example:

    >>> import tempfile, keras, numpy as np, gdtrain
    >>> model = gdtrain.Sequential([keras.Input([1]), keras.layers.Dense(1)])
    >>> model.compile(gdtrain.GradientDescent(0.1), loss="mse")
    >>> folder = tempfile.mkdtemp()
    >>> tensorboard = gdtrain.callbacks.TensorBoard(folder)
    >>> x = np.ones([8, 1])
    >>> _ = model.fit(x, x, verbose=0, callbacks=[tensorboard])
    >>> gdtrain.diagnose(folder).verdict.name
    'nothing to report'
    """

    def __init__(
        self,
        log_dir: str | os.PathLike = "logs",
        quantities: Quantities = "standard",
        every_steps: int = 1,
        *,
        budget: float | None = None,
        aggregate: bool = False,
        hparams: Mapping[str, bool | float | str] | None = None,
        profile_batch: int | tuple[int, int] = 0,
        pictures: Iterable[Picture] = (),
        **keras_arguments: Any,
    ) -> None:
        checks.keras_arguments("TensorBoard", keras_arguments, _INSTEAD)
        self.log_dir = checks.absolute(log_dir)
        self._runs = TensorBoardRuns(self.log_dir)
        writer = self._runs.steps
        if aggregate:
            writer = AggregatingWriter(writer, every_steps)
            every_steps = 1
        quantities = presets.resolve(quantities)
        if quantities and all(q.name != Workers.name for q in quantities):
            quantities = (*quantities, Workers())
        super().__init__(writer, quantities, every_steps, budget=budget)
        self.hparams = dict(hparams or {})
        self._parts = failures.FailureReporter()
        self._scalars = EpochScalars(self._runs, self._parts)
        self._pictures = Pictures(pictures)
        self._profile = Profile(profile_batch, self.log_dir)
        self._judged = JudgedSteps()
        self._probe_names: tuple[str, ...] = ()
        self._is_training = False
        self._has_begun = self._is_described = self._is_complete = True
        self._epoch = -1  # The last one that was written
        self._has_open_window = False  # In the state that it continues from
        self._known_steps = 0  # Up to which steps were written

    @property
    def sync(self) -> Sync:  # type: ignore[override]  # Of other callbacks
        """Each epoch, if the learning rate may change within it."""
        hooks = self.model._step_hooks if self._is_registered else None
        changes = hooks is not None and hooks.required.sets_learning_rate
        with self._parts.catch("Learning rates of epochs are skipped"):
            changes |= optimizers.is_scheduled(self.model.optimizer)
        return "epoch" if changes else "never"

    def on_train_begin(self, logs: Logs = None) -> None:
        """Keeps other runs from writing to the folder.

        Raises:
            RuntimeError: if a different run is writing there.
        """
        super().on_train_begin(logs)
        self._probe_names = self.model._step_hooks.required.probe_names
        if self.writes:
            self._runs.lock()
        self._is_training = True
        self._has_begun = self._is_described = self._is_complete = False

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        """Begins the curves, at the first epoch."""
        if self._has_begun:
            return
        self._has_begun = True
        if self.writes:
            self._background.do(
                self._begin, self.steps_done, epoch, self._has_open_window
            )
        self._has_open_window = False
        self._profile.at(self.steps_done)
        self._draw(self.steps_done)

    def next_sync(self, step: int) -> int | None:
        """The next step at which a picture or the profile needs the model."""
        syncs = self._profile.next_sync(step), self._pictures.next_sync(step)
        return min((step for step in syncs if step is not None), default=None)

    def on_block(self, table: BlockTable) -> None:
        """Has a block written, and pictures drawn if they are due."""
        super().on_block(table)
        self._known_steps = table.last_step
        self._profile.at(table.last_step)
        if self._pictures.is_due(table.first_step, table.last_step):
            self._draw(table.last_step)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Writes what `History` shows of the epoch, and learning rates."""
        shown = dict(logs or {})
        if "learning_rate" not in shown:
            shown |= self._scalars.rates_of(self.model, self.steps_done)
        self._epoch = epoch
        if self.writes and self._scalars.add_epoch(epoch, shown):
            self._background.do(self._scalars.write)

    def on_train_end(self, logs: Logs = None) -> None:
        """Draws the last pictures."""
        self._is_complete = True
        self._draw(self.steps_done)

    def on_test_begin(self, logs: Logs = None) -> None:
        """Keeps other runs from writing to the folder.

        Raises:
            RuntimeError: if a different run is writing there.
        """
        if not self._is_training and self.writes:
            self._runs.lock()

    def on_test_end(self, logs: Logs = None) -> None:
        """Writes the results of an evaluation at the current step."""
        # A model that cannot train counts no steps.
        if self.model.optimizer is not None and self.writes:
            with self._parts.catch("Results of evaluations are skipped"):
                step = int(self.model.optimizer.iterations.numpy())
                # A new optimizer counts from 0, and the steps continue.
                if isinstance(self.model, DescentTrainer):
                    step = max(step, self.steps_done)
                if self._scalars.add_evaluation(step, logs or {}):
                    self._background.do(self._scalars.write)
        if not self._is_training:
            self.close()

    def close(self) -> None:
        """Writes the rest and closes the files."""
        self._profile.stop()
        if self._is_training and self.writes:
            history = getattr(self.model, "history", None)  # Set by Keras
            self._background.do(self._end, history)
        self._is_training = False
        self._background.do(self._runs.close)
        self._background.close()
        # Has been done, unless writing has stopped; others may write now.
        with contextlib.suppress(OSError):
            self._runs.close()

    def set_state(self, state: State) -> None:
        """Continues from what `get_state` gave."""
        super().set_state(state)
        window = (state["writer"] or {}).get("open")
        self._has_open_window = window is not None
        # What was written since is dropped when the epoch begins again.
        if self._known_steps > self.steps_done:
            self._has_begun = False

    def add_text(self, tag: str, markdown: str, step: int) -> None:
        """Has text written for the tab Text, as part of the run.

        Args:
            tag: Its name.
            markdown: A string.
            step: The step that it belongs to.
        """
        if self.writes:
            self._background.do(self._write_text, tag, markdown, step)

    def _draw(self, step: int) -> None:
        """Has pictures drawn of the model as it is."""
        looked = self._pictures.look(self.model, step)
        if looked and self.writes:
            self._background.do(self._write_pictures, step, looked)

    # All that follows runs on the writing thread.

    def flush(self) -> None:
        """Makes what was written readable."""
        self._runs.flush()

    def write(
        self, steps: Array, names: Names, values: Array, measured: Mask = None
    ) -> None:
        """Writes steps, and keeps them for the verdict."""
        super().write(steps, names, values, measured)
        with self._parts.catch("The diagnosis is skipped"):
            self._judged.write(steps, names, values, measured)

    def write_block(self, table: BlockTable) -> None:
        """Writes a block, with the description of the run ahead of it."""
        if not self._is_described:
            self._is_described = True
            with self._parts.catch("The description of the run is skipped"):
                self._describe(table)
        with self._parts.catch("Numbers of some steps are skipped"):
            super().write_block(table)
        with self._parts.catch("Some histograms are skipped"):
            for step, name, numbers in table.histograms(self._wanted):
                low, high, *counts = numbers
                edges = np.linspace(low, high, len(counts) + 1)
                self._runs["train"].add(
                    step,
                    summaries.histogram(name, edges[:-1], edges[1:], counts),
                )

    def _begin(self, steps_done: int, epoch: int, has_window: bool) -> None:
        # An interrupted run may have written a window that continues now.
        self._runs.begin(steps_done - has_window, epoch)
        if not steps_done:
            self._judged = JudgedSteps()
        self._judged.params = self.params or {}

    def _describe(self, table: BlockTable) -> None:
        """Writes the description of the run."""
        all_of = dict(zip(table.names, table.quantities, strict=True))
        measured = {n: q for n, q in all_of.items() if q in self._wanted}
        for name in self._probe_names:  # Last, also if none was made yet
            measured.pop(name, None)
            measured[name] = None
        self._runs.describe(
            run_description.describe(
                self.model,
                int(table.examples[0]),
                self.hparams,
                measured.items(),
                self._parts,
            )
        )

    def _end(self, history: keras.callbacks.History | None) -> None:
        """Marks the end of the run."""
        self.writer.close()
        steps_done = self.steps_done
        with self._parts.catch("The diagnosis is skipped"):
            text = self._judged.verdict(history)
            if text:
                self._runs.judge(steps_done, summaries.text("diagnosis", text))
        if self._is_complete and self._is_described:
            self._runs.describe([summaries.hparams_end()])
        self._runs.end(steps_done, self._epoch)

    def _write_text(self, tag: str, markdown: str, step: int) -> None:
        with self._parts.catch("A text is skipped"):
            self._runs["train"].add(step, summaries.text(tag, markdown))

    def _write_pictures(self, step: int, looked: list[Look]) -> None:
        for summary in self._pictures.draw(looked):
            self._runs["train"].add(step, summary)

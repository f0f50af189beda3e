"""Every step's numbers in TensorBoard, with Keras's epochs beside them."""

import contextlib

import numpy as np

from gdtrain.callbacks import run_description
from gdtrain.callbacks.judged_steps import JudgedSteps
from gdtrain.callbacks.pictures import Pictures, Profile
from gdtrain.callbacks.scalar_rows import ScalarRows, number
from gdtrain.callbacks.writing import StepCallback
from gdtrain.common import checks, failures
from gdtrain.descent import optimizers
from gdtrain.trainer import DescentTrainer
from gdtrain.writers import summaries
from gdtrain.writers.aggregating import AggregatingWriter
from gdtrain.writers.tensorboard_runs import TensorBoardRuns


class TensorBoard(StepCallback):
    """Writes each step and each epoch for TensorBoard, as training goes.

    Look at it with `tensorboard --logdir LOG_DIR`, best of all at
    http://localhost:6006/#custom_scalars. TensorBoard lists the folder as a
    run, and its folder `validation` as another, if there is any.

    | tag | x axis | what |
    |---|---|---|
    | `step/loss`, `step/gradient_norm/<layer>`, ... | step | each quantity |
    | `step/accuracy`, ... | step | metrics of the batch |
    | `epoch_loss`, `epoch_accuracy`, ... | epoch | what `History` shows |
    | `epoch_learning_rate` | epoch | the learning rate after the epoch |
    | `evaluation_loss_vs_iterations`, ... | step | each evaluation |
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
    picture that raises, is left out alone; a warning says so, and all else is
    written. On a full disk, training goes on. A run that begins again in its
    folder replaces what it writes anew.

    Args:
        log_dir: The folder for the event files; made if it is not there. Give
            each run a folder of its own.
        quantities: As in `gdtrain.callbacks.Telemetry`. Defaults to
            `"standard"`.
        every_steps: Write those steps that are multiples of this. Defaults to
            1, every step.
        budget: The share of training time that quantities beyond the
            `"standard"` ones may take, for example 0.05: they are measured
            more seldom until they do, which is logged ("gdtrain", INFO).
            Defaults to `None`, no limit: every point where it was asked for.
        spread: Whether to measure every step, and write for every
            `every_steps` of them the mean, as well as the least and the
            greatest as `<tag>/min` and `<tag>/max`. Defaults to `False`.
        hparams: A dict of entries of your own for the tab HParams, numbers,
            bools or strings by name.
        profile: `(first, last)`, steps to profile for the tab Profile (which
            needs the package tensorboard-plugin-profile).
        pictures: A list of pictures to draw at steps 1, 2, 5, 10, 20, 50, ...
            and at both ends of training: `gdtrain.plots.Predictions(images)`
            for a classifier, `gdtrain.plots.FittedLine(x, y)`, or any object
            with a `name`, `look(model)`, whose value is passed, on another
            thread, to `draw(seen)`, which returns a Matplotlib figure.

    Raises:
        TypeError, ValueError: if an argument cannot be used.
        RuntimeError: when training begins, if another run is writing to
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
        log_dir,
        quantities="standard",
        every_steps=1,
        *,
        budget=None,
        spread=False,
        hparams=None,
        profile=None,
        pictures=(),
    ):
        super().__init__(quantities, 1 if spread else every_steps, budget)
        self.log_dir = checks.absolute(log_dir)
        self.hparams = dict(hparams or {})
        self._pictures = Pictures(pictures)
        self._profile = Profile(profile, self.log_dir)
        self._runs = TensorBoardRuns(self.log_dir)
        self._steps = self._runs.steps
        if spread:
            self._steps = AggregatingWriter(self._steps, every_steps)
        self._parts = failures.FailureReporter()
        self._judged = JudgedSteps()
        self._probe_names: tuple[str, ...] = ()
        self._training = False
        self._is_begun = self._is_described = self._is_complete = True
        self._epoch = -1  # The last one that was written
        self._has_open_window = False  # In the state that it goes on from
        self._known_steps = 0  # Up to which steps were written
        self._rows = ScalarRows()
        self._rates_known: tuple = None, {}  # After how many steps, and which

    @property
    def sync(self):  # type: ignore[override]  # Depends on other callbacks
        """Each epoch, if the learning rate may change within it."""
        changes = (
            self._is_registered
            and self.model._step_hooks.required.sets_learning_rate
        )
        with self._parts.catch("Learning rates of epochs are left out"):
            changes |= optimizers.is_scheduled(self.model.optimizer)
        return "epoch" if changes else "never"

    def on_train_begin(self, logs=None):
        """Begins to listen.

        Raises:
            RuntimeError: if another run is writing to the folder.
        """
        super().on_train_begin(logs)
        self._probe_names = self.model._step_hooks.required.probe_names
        if self.writes:
            self._runs.lock()
        self._training = True
        self._is_begun = self._is_described = self._is_complete = False

    def on_epoch_begin(self, epoch, logs=None):
        """Begins the curves, at the first epoch."""
        if self._is_begun:
            return
        self._is_begun = True
        steps_done = self.steps_done
        if self.writes:
            # Who broke it off may have written a window that goes on now.
            known = steps_done - self._has_open_window
            self._background.do(self._runs.begin, known, epoch)
            self._background.do(self._judged.begin, steps_done, self.params)
        self._has_open_window = False
        self._profile.at(steps_done)
        self._draw(steps_done)

    def next_sync(self, step):
        """The next step at which a picture or the profile needs the model."""
        looks = self._profile.next_sync(step), self._pictures.next_sync(step)
        return min((look for look in looks if look is not None), default=None)

    def on_block(self, table):
        """Has the steps of a block written, and draws if pictures are due."""
        super().on_block(table)
        self._known_steps = table.last_step
        self._profile.at(table.last_step)
        if self._pictures.is_due(table.first_step, table.last_step):
            self._draw(table.last_step)

    def on_epoch_end(self, epoch, logs=None):
        """Writes what `History` shows of the epoch."""
        logs = logs or {}
        train, validation = {}, {}
        for name, value in logs.items():
            key = str(name)
            if key.startswith("val_"):
                validation[key.removeprefix("val_")] = value
            else:
                train[key] = value
        if self.model.optimizer is not None and "learning_rate" not in train:
            with self._parts.catch("Learning rates of epochs are left out"):
                for name, rate in self._rates().items():
                    key = f"learning_rate_{name}" if name else "learning_rate"
                    train[key] = rate
        self._epoch = epoch
        self._write_scalars("train", epoch, train, "epoch_{}")
        self._write_scalars("validation", epoch, validation, "epoch_{}")

    def on_train_end(self, logs=None):
        """Draws the last pictures."""
        self._is_complete = True
        self._draw(self.steps_done)

    def on_test_begin(self, logs=None):
        """Keeps others from writing there.

        Raises:
            RuntimeError: if another run is writing to the folder.
        """
        if not self._training and self.writes:
            self._runs.lock()

    def on_test_end(self, logs=None):
        """Writes the result of an evaluation, at the step it was made."""
        with self._parts.catch("Results of evaluations are left out"):
            step = self._step()
            tag = "evaluation_{}_vs_iterations"
            if step is not None:
                self._write_scalars("validation", step, logs or {}, tag)
        if not self._training:
            self.close()

    def close(self):
        """Writes what is left and closes the files."""
        self._profile.stop()
        if self._training and self.writes:
            history = getattr(self.model, "history", None)
            self._background.do(self._end, history)
        self._training = False
        self._background.do(self._runs.close)
        super().close()
        # Has been done, unless writing has stopped; others may write now.
        with contextlib.suppress(OSError):
            self._runs.close()

    @property
    def target(self):
        """The writer that steps go to."""
        return self._steps

    def set_state(self, state):
        """Goes on from what `get_state` gave."""
        super().set_state(state)
        window = (state["writer"] or {}).get("open")
        self._has_open_window = window is not None
        # What was written since is dropped when the epoch begins again.
        if self._known_steps > self.steps_done:
            self._is_begun = False

    def flush(self):
        """Makes what was written readable, on the writing thread."""
        self._runs.flush()

    def write(self, steps, names, values, measured=None):
        """Takes steps, on the writing thread."""
        super().write(steps, names, values, measured)
        with self._parts.catch("The diagnosis is left out"):
            self._judged.write(steps, names, values, measured)

    def _pass_on(self, table):
        """Takes a `Table`, on the writing thread."""
        if not self._is_described:
            self._is_described = True
            with self._parts.catch("The description of the run is left out"):
                self._describe(table)
        with self._parts.catch("Numbers of some steps are left out"):
            super()._pass_on(table)
        with self._parts.catch("Some histograms are left out"):
            for step, name, numbers in table.histograms(self._wanted):
                low, high, *counts = numbers
                edges = np.linspace(low, high, len(counts) + 1)
                self._runs["train"].add(
                    step,
                    summaries.histogram(name, edges[:-1], edges[1:], counts),
                )

    def _describe(self, table):
        """Writes what is known of the run, on the writing thread."""
        measured = [
            (name, quantity)
            for name, quantity in zip(
                table.names, table.quantities, strict=True
            )
            if quantity in self._wanted and name not in self._probe_names
        ]
        measured += [(name, None) for name in self._probe_names]
        self._runs.describe(
            run_description.describe(
                self.model,
                int(table.examples[0]),
                self.hparams,
                measured,
                self._parts,
            )
        )

    def _end(self, history):
        """Marks the end of the run, on the writing thread."""
        self._steps.close()
        steps_done = self.steps_done
        with self._parts.catch("The diagnosis is left out"):
            text = self._judged.verdict(history)
            if text:
                summary = summaries.text("diagnosis", text)
                self._runs.judge(steps_done, summary)
        if self._is_complete and self._is_described:
            self._runs.describe([summaries.hparams_end()])
        self._runs.end(steps_done, self._epoch)

    def _draw(self, step):
        """Has pictures drawn of the model as it is."""
        looked = self._pictures.look(self.model, step)
        if looked and self.writes:
            self._background.do(self._write_pictures, step, looked)

    def _write_pictures(self, step, looked):
        """Writes pictures, on the writing thread."""
        for summary in self._pictures.draw(looked):
            self._runs["train"].add(step, summary)

    def _write_scalars(self, run, step, logs, tag):
        """Has numbers written that are known in Python already."""
        numbers = {}
        for name, value in logs.items():
            key = tag.replace("{}", str(name))
            with self._parts.catch(f"{key} is left out"):
                numbers[key] = number(value)
        if numbers and self.writes and self._rows.add(run, step, numbers):
            self._background.do(self._write_rows)

    def _write_rows(self):
        """Writes all such numbers so far, on the writing thread."""
        for run, names, steps, values in self._rows.take():
            self._runs[run].write(steps, names, values)

    def _step(self):
        """How many steps were done; `None` for a model that cannot train."""
        if self.model.optimizer is None:
            return None
        # A new optimizer counts from 0, and the steps go on.
        step = int(self.model.optimizer.iterations.numpy())
        if not isinstance(self.model, DescentTrainer):
            return step
        return max(step, self.steps_done)

    def _rates(self):
        """The learning rates now, by name."""
        # Epochs of one block have one and the same: who sets it sees epochs.
        # Reading it takes longer than short epochs.
        steps_done = self.steps_done
        if self._rates_known[0] != steps_done:
            rates = optimizers.learning_rates(self.model.optimizer)
            self._rates_known = (
                steps_done,
                {name: rate.numpy() for name, rate in rates.items()},
            )
        return self._rates_known[1]

"""Every step's numbers in TensorBoard, with Keras's epochs beside them."""

import os

from gdtrain.callbacks.step_callback import StepCallback
from gdtrain.telemetry import record
from gdtrain.writers.tensorboard import TensorBoardWriter


class TensorBoard(StepCallback):
    """Writes each step and each epoch for TensorBoard, as training goes.

    Look at it with `tensorboard --logdir LOG_DIR`. There are two runs, as in
    Keras: `train`, and `validation` if there is any.

    | tag | x axis | what |
    |---|---|---|
    | `step/loss`, `step/gradient_norm/<layer>`, ... | step | each quantity |
    | `epoch_loss`, `epoch_accuracy`, ... | epoch | what `History` shows |
    | `epoch_learning_rate` | epoch | the learning rate after the epoch |
    | `evaluation_loss_vs_iterations`, ... | step | each evaluation |

    Points can be read within 2 seconds. Nothing measured is lost when
    training ends by an exception or Ctrl-C. If writing fails, as on a full
    disk, a warning says so and training goes on.

    Args:
        log_dir: The folder for the event files; made if it is not there. Give
            each run a folder of its own.
        quantities: As in `gdtrain.callbacks.Telemetry`. Defaults to
            `"standard"`.
        every_steps: Write those steps that are multiples of this. Defaults to
            1, every step.

    Raises:
        TypeError, ValueError: if an argument cannot be used.

    Example:

    >>> import glob, tempfile, keras, numpy as np, gdtrain
    >>> model = gdtrain.Sequential([keras.Input([1]), keras.layers.Dense(1)])
    >>> model.compile(gdtrain.GradientDescent(0.1), loss="mse")
    >>> folder = tempfile.mkdtemp()
    >>> tensorboard = gdtrain.callbacks.TensorBoard(folder)
    >>> x = np.ones([8, 1])
    >>> _ = model.fit(x, x, verbose=0, callbacks=[tensorboard])
    >>> len(glob.glob(f"{folder}/train/events.out.tfevents.*"))
    1
    """

    def __init__(self, log_dir, quantities="standard", every_steps=1):
        super().__init__(quantities, every_steps)
        self.log_dir = os.fspath(log_dir)
        self._writers = {}
        self._training = False

    @property
    def sees(self):
        """Epochs, if the learning rate may change within them."""
        scheduled = record.is_scheduled(self.model.optimizer)
        return "epochs" if scheduled else "logs"

    def on_train_begin(self, logs=None):
        """Begins to listen."""
        super().on_train_begin(logs)
        self._training = True

    def on_epoch_end(self, epoch, logs=None):
        """Writes what `History` shows of the epoch."""
        logs = logs or {}
        train = {k: v for k, v in logs.items() if not k.startswith("val_")}
        validation = {
            k.removeprefix("val_"): v
            for k, v in logs.items()
            if k.startswith("val_")
        }
        if self.model.optimizer is not None and "learning_rate" not in train:
            rates = record.learning_rates(self.model.optimizer)
            for name, rate in rates.items():
                key = f"learning_rate_{name}" if name else "learning_rate"
                train[key] = rate.numpy()
        self._write_scalars("train", epoch, train, "epoch_{}")
        self._write_scalars("validation", epoch, validation, "epoch_{}")

    def on_test_end(self, logs=None):
        """Writes the result of an evaluation, at the step it was made."""
        if self.model.optimizer is not None:
            step = int(self.model.optimizer.iterations.numpy())
            tag = "evaluation_{}_vs_iterations"
            self._write_scalars("validation", step, logs or {}, tag)
        if not self._training:
            self.close()

    def close(self):
        """Writes what is left and closes the files."""
        self._training = False
        self._background.do(self._close_writers)
        super().close()

    def write(self, steps, names, values):
        """Takes steps, on the writing thread."""
        tags = [f"step/{name}" for name in names]
        self._writer("train").write(steps, tags, values)

    def flush(self):
        """Makes what was written readable, on the writing thread."""
        for writer in self._writers.values():
            writer.flush()

    def _write_scalars(self, run, step, logs, tag):
        """Has numbers written that are known in Python already."""
        numbers = {
            tag.format(name): value
            for name, value in logs.items()
            if isinstance(value, (int, float)) or hasattr(value, "dtype")
        }
        if numbers and self.writes:
            self._background.do(
                lambda: self._writer(run).write(
                    [step], list(numbers), [list(numbers.values())]
                )
            )

    def _writer(self, run):
        """The writer of a run, made when there is something to write."""
        if run not in self._writers:
            folder = os.path.join(self.log_dir, run)
            self._writers[run] = TensorBoardWriter(folder)
        return self._writers[run]

    def _close_writers(self):
        for writer in self._writers.values():
            writer.close()
        self._writers = {}

"""How Keras's `fit` and `evaluate` come to run the steps of a model."""

import functools
from typing import Any

import keras

from gdtrain import keras_bridge
from gdtrain.descent import replicas
from gdtrain.engine import execution, observers, step_context


class StepRunner(keras_bridge.EpochLogs):
    """Mixin: runs `train_step` and `test_step` by executions of blocks.

    Keras's `fit` stays as it is; it calls the functions made here.
    """

    microbatches = 1
    train_function: Any  # Set by Keras's trainer
    test_function: Any

    # For the signature alone: Keras documents `fit` on a parent of its own.
    @functools.wraps(keras.Model.fit, assigned=())
    def fit(self, *args, **kwargs):
        """Trains; arguments and return value are `keras.Model.fit`'s.

        However it ends, observers such as `gdtrain.callbacks.Telemetry` have
        all that was measured. `History` shows what each step returned: the
        mean over the epoch, weighted by examples, of scalars; the result of
        metrics.
        """
        with self.step_observers.closed_at_end():
            return super().fit(*args, **kwargs)

    @functools.cached_property
    def step_observers(self):
        """Who is told of every step of `fit`."""
        return observers.Observers()

    def make_train_function(self, force=False):
        """Makes `train_function`, which runs the steps of one execution."""
        if self.train_function is None or force:
            self.train_function = execution.Execution(
                self,
                self._step_on_replica,
                self.step_observers,
                self.microbatches,
            )
        self.train_function.begin()
        if self.optimizer is not None:
            self.step_observers.begin(int(self.optimizer.iterations.numpy()))

    def make_test_function(self, force=False):
        """Makes `test_function`, which runs `test_step`."""
        if self.test_function is None or force:
            self.test_function = execution.Execution(self, self.test_step)
        self.test_function.begin()

    def epoch_logs(self, logs):
        """What `History` shows of an epoch whose last step returned `logs`."""
        if not logs:
            return logs  # An epoch without a batch: no metric has a result.
        for function in (self.train_function, self.test_function):
            if isinstance(function, execution.Execution) and (
                logs is function.logs
            ):
                return function.epoch_logs()
        return super().epoch_logs(logs)

    def _step_on_replica(self, data):
        """`train_step`, and what must be equal on all replicas after it."""
        logs = self.train_step(data)
        replicas.equalize(
            keras_bridge.statistics(self), step_context.current().examples
        )
        return logs

"""Runs steps of a model, and passes on what they measured."""

import itertools

from gdtrain.descent import replicas
from gdtrain.engine.program import Program
from gdtrain.engine.replicated_step import ReplicatedStep


class Execution:
    """What `make_train_function` and `make_test_function` make.

    A program is made for each kind of feed, and for each set of quantities
    that is asked for, so that training without telemetry pays nothing for it.

    Args:
        model: A `DescentTrainer`, compiled.
        step_function: Its `train_step` or `test_step`.
        observers: The `Observers` to tell of every step, or `None`.
        microbatches: Into how many micro-batches to split a batch.
    """

    def __init__(self, model, step_function, observers=None, microbatches=1):
        self._model = model
        self._step_function = step_function
        self._observers = observers
        self._microbatches = microbatches
        self._programs = {}

    def program(self, feed):
        """The `Program` that runs a feed and measures what is asked for."""
        return self._made(feed.key, Program, feed)

    def run(self, feed, epoch, step, steps, most, left):
        """Runs steps. See `gdtrain.engine.program.Program.run`."""
        program = self.program(feed)
        done, ends_epochs = program.run(
            feed, epoch, step, steps, most, left
        )
        self._observe(program.step, done.rows)
        return done, ends_epochs

    def __call__(self, iterator):
        """Runs steps on batches that are at hand, as Keras calls it.

        Args:
            iterator: Yields batches; up to `model.steps_per_execution` are
                taken.

        Returns:
            What the last step returned.

        Raises:
            StopIteration: if there is no batch.
        """
        step = self._made("batches", self._step_on_batch)
        logs = row = None
        with replicas.undivided_losses(self._model.distribute_strategy):
            for data in itertools.islice(
                iterator, self._model.steps_per_execution
            ):
                logs, row = step.run(data)
                self._observe(step, row.numpy()[None])
        if row is None:
            raise StopIteration
        return step.logs_of(row.numpy()) if step.returns_scalars else logs

    def _step_on_batch(self, model, function, quantities, microbatches):
        return ReplicatedStep(
            model,
            function,
            lambda data: data,
            quantities,
            microbatches,
            xla=model.jit_compile,
        )

    def _made(self, key, make, *feed):
        """A program or step that measures what the observers want now."""
        quantities = self._observers.quantities if self._observers else ()
        key = key, quantities, self._model.run_eagerly
        if key not in self._programs:
            self._programs[key] = make(
                self._model,
                self._step_function,
                *feed,
                quantities,
                self._microbatches,
            )
        return self._programs[key]

    def _observe(self, step, rows):
        if self._observers and len(rows):
            self._observers.observe(step.columns, rows)

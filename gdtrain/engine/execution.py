"""Runs steps of a model, and passes on what they measured."""

import itertools

from gdtrain.descent import replicas
from gdtrain.engine.program import Program
from gdtrain.engine.programs import Programs
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
        self._programs = Programs()
        self._steps_on_batches = {}

    def program(self, feed):
        """The `Program` that runs a feed and measures what is asked for."""
        quantities = self._quantities()
        return self._programs.of(
            feed.plan,
            (quantities, self._model.run_eagerly),
            lambda: Program(
                self._model,
                self._step_function,
                feed.plan,
                quantities,
                self._microbatches,
            ),
        )

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
        step = self._step_on_batch()
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

    def _step_on_batch(self):
        """The step on a batch that is at hand."""
        key = self._quantities(), self._model.run_eagerly
        if key not in self._steps_on_batches:
            self._steps_on_batches[key] = ReplicatedStep(
                self._model,
                self._step_function,
                lambda batch: batch,
                key[0],
                self._microbatches,
                xla=self._model.jit_compile,
            )
        return self._steps_on_batches[key]

    def _quantities(self):
        """What the observers want measured now."""
        return self._observers.quantities if self._observers else ()

    def _observe(self, step, rows):
        if self._observers and len(rows):
            self._observers.observe(step.columns, rows)

"""The mixin that makes a Keras model descend: one step, readable."""

import dataclasses
import os
import warnings
from collections.abc import Sequence
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf

from gdtrain.common import checks
from gdtrain.common.explained import more
from gdtrain.descent import (
    clipping,
    gradients,
    settings,
    update,
    virtual_workers,
)
from gdtrain.keras_bridge import losses, models, randomness
from gdtrain.loop.step_runner import StepRunner
from gdtrain.mistakes import labels
from gdtrain.mistakes.errors import ReadableErrors
from gdtrain.step import step_context
from gdtrain.step.measurer import Update

# Under which key of an optimizer's config `get_compile_config` has them
_OWN_SETTINGS = "gdtrain"


class DescentTrainer(StepRunner):
    """Trains a Keras model by explicit gradient descent.

    Stands in front of a Keras class: `class Model(DescentTrainer,
    keras.Model)`. All of Keras's methods stay; see `compile` for the two
    arguments that come along.

    Example:

    >>> import keras, gdtrain
    >>> class Line(gdtrain.Model):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.w = self.add_weight(name="w", initializer="zeros")
    ...     def call(self, x):
    ...         return self.w * x
    >>> line = Line()
    >>> line.compile(gdtrain.GradientDescent(0.5), loss="mse")
    >>> x = keras.ops.ones([4, 1])
    >>> history = line.fit(x, 3 * x, batch_size=4, verbose=0)
    >>> history.history["loss"], float(line.w)
    ([9.0], 3.0)
    """

    _descent_settings = settings.Settings()
    _warned_of: frozenset[str] = frozenset()  # Weights without a gradient

    def train_step(self, data: Any) -> dict[str, Any]:
        """One step: forward, loss, gradient, update.

        Args:
            data: A batch: `x`, `(x, y)` or `(x, y, sample_weight)`.

        Returns:
            A dict of scalars: the loss and the compiled metrics.
        """
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        with tf.GradientTape() as tape:
            y_pred = self(x, training=True)
            loss = losses.compute_loss(self, x, y, y_pred, sample_weight)
        self.descend(tape, loss)
        losses.track_loss(self, loss, gradients.examples_in(x))
        return self.compute_metrics(x, y, y_pred, sample_weight=sample_weight)

    @property
    def _uses_default_step(self) -> bool:
        """Whether `train_step` is the one above, which can be repeated."""
        return type(self).train_step is DescentTrainer.train_step

    def descend(
        self,
        tape: tf.GradientTape,
        loss: tf.Tensor,
        weights: Sequence[keras.Variable] | None = None,
        optimizer: keras.optimizers.Optimizer | None = None,
        name: str | None = None,
    ) -> None:
        """Moves the weights one step against the gradient of a loss.

            gradients = tape.gradient(loss, weights)
            gradients = mean over micro-batches, then over replicas
            gradients = clip by global norm
            w <- w - learning_rate * gradient     (or the compiled optimizer)

        For a `train_step` of your own: it keeps telemetry, clipping and
        distribution. Called with micro-batches, it waits for the last one.

        Args:
            tape: The `tf.GradientTape` that recorded `loss`. Call this after
                its `with` block.
            loss: A float scalar: a mean over the examples of the batch. On
                several replicas, over the replica's own examples.
            weights: The weights to move. Defaults to `trainable_weights`.
            optimizer: The Keras optimizer that moves them. Defaults to the
                compiled one.
            name: A name for this update's telemetry, needed where a step has
                several: `"generator"` gives `generator/gradient_norm`.

        Raises:
            ValueError: if the loss depends on none of the weights or is not
                a scalar, several updates lack names, or the optimizer
                accumulates gradients by itself.
            RuntimeError: if there is no optimizer.

        Example:

        >>> import keras, gdtrain
        >>> class MeanOf(gdtrain.Model):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.mean = self.add_weight(
        ...             name="mean", initializer="zeros"
        ...         )
        ...     def train_step(self, x):
        ...         with tf.GradientTape() as tape:
        ...             loss = tf.reduce_mean((x - self.mean) ** 2)
        ...         self.descend(tape, loss)
        ...         return {"loss": loss}
        >>> model = MeanOf()
        >>> model.compile(gdtrain.GradientDescent(0.5))
        >>> _ = model.fit(tf.constant([1.0, 2.0, 6.0]), verbose=0)
        >>> float(model.mean)
        3.0
        """
        with ReadableErrors():
            step = step_context.current()
            step.begin_descent(name)
            weights = list(
                self.trainable_weights if weights is None else weights
            )
            optimizer = optimizer or getattr(self, "optimizer", None)
            update.prepare(optimizer, weights)

            gradient = gradients.compute(tape, loss, weights, optimizer)
            self._warn_of_missing(gradient, weights)
            loss, *gradient = step.mean_over_microbatches(loss, gradient)
            if not step.updates_now:
                return
            loss, *gradient = step.mean_over_replicas([loss, *gradient])
            clipnorm = settings.of(self).global_clipnorm
            exactly = step.workers is not None
            clipped = clipping.clip(gradient, clipnorm, optimizer, exactly)

            step.check_loss(loss)
            with step.measuring(
                Update(name, self, loss, gradient, weights, optimizer)
            ):
                update.apply(optimizer, clipped, weights)

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        loss_weights: Any = None,
        metrics: Any = None,
        weighted_metrics: Any = None,
        run_eagerly: bool = False,
        steps_per_execution: int | Literal["auto"] = "auto",
        jit_compile: bool | Literal["auto"] = "auto",
        auto_scale_loss: bool = True,
        *,
        global_clipnorm: float | None = None,
        microbatches: int = 1,
        reproducible_workers: int | None = None,
    ) -> None:
        """Configures the model for training.

        Args:
            optimizer, loss, loss_weights: As in `keras.Model.compile`.
            metrics, weighted_metrics: As in `keras.Model.compile`.
            run_eagerly, auto_scale_loss: As in `keras.Model.compile`.
            steps_per_execution: How many steps run as one program: a number,
                obeyed as in Keras, or `"auto"`, the default: until something
                in Python must see the model (`gdtrain.loop.pacing` says
                what), or about 0.2 seconds.
            jit_compile: Whether XLA compiles the steps: `True`, `False`, or
                `"auto"`, the default: what a short measurement finds faster,
                in runs that are long enough to pay for it. XLA rounds
                otherwise than a graph, and its dropout draws other numbers:
                two runs that are to be equal to the last bit need `True` or
                `False`. Steps over arrays are compiled a block as a whole,
                others one by one. On several replicas it is a graph, as
                TensorFlow's XLA fails there; with `True`, the log says so.
                Compiled programs are kept for the next process that trains
                the same model in a folder named in the environment before
                the first step: `os.environ["TF_XLA_FLAGS"] =
                "--tf_xla_persistent_cache_directory=FOLDER"`. Remove the
                folder to clear it: for another processor or TensorFlow, and
                if a program in it cannot be read. Graphs cannot be kept.
            global_clipnorm: Longest gradient that is descended as it is; a
                longer one is scaled down to this norm, after the mean over
                micro-batches and replicas. Defaults to `None`, no clipping.
            microbatches: Into how many parts a batch is split, run in turn
                for one update by their mean: a large batch in the memory of
                a small one (as a graph; XLA may still hold all parts at
                once). Schedules count updates. Batch normalization
                sees each part by itself. Defaults to 1.
            reproducible_workers: Into how many parts a batch is split, of
                which each replica computes as many in turn, so that 1, 2 or
                any other number of replicas that divides it trains to the
                same bits: weights, optimizer, losses and metrics of Keras
                (others to rounding). Each part is a virtual worker: batch
                normalization sees it by itself, its dropout has random
                numbers of its own, and gradients are added in the order of
                the parts. For k parts, n replicas and P weights of 4 bytes,
                a replica receives 4 P (k - k / n) bytes a step more and
                needs 4 P k bytes of memory, so it is for small and medium
                networks. Runs as a graph, never by XLA. Operations add in an
                order that depends on the processor and its number of
                threads: give them equal ones on all workers and in all runs, as
                by `gdtrain.distributed.strategy(threads=2)`.
                Refused: stateful layers, a `train_step` without `descend` or
                with several, `microbatches`. Batches of a `tf.data.Dataset`
                must divide by the number of replicas. Defaults to `None`.

        Raises:
            TypeError, ValueError: if an argument cannot be used; the model
                is then left as it was.
        """
        optimizer = keras.optimizers.get(optimizer)
        update.check_optimizer(optimizer)
        if global_clipnorm is not None:
            global_clipnorm = checks.positive_number(
                "global_clipnorm", global_clipnorm, "Or leave it out."
            )
        microbatches = checks.positive_integer("microbatches", microbatches)
        if reproducible_workers is not None:
            reproducible_workers = checks.positive_integer(
                "reproducible_workers", reproducible_workers
            )
            virtual_workers.check(
                reproducible_workers,
                microbatches,
                jit_compile,
                self.distribute_strategy,
            )
        settings.check_means(
            loss, reproducible_workers or microbatches, self.distribute_strategy
        )
        if steps_per_execution != "auto":
            steps_per_execution = checks.positive_integer(
                "steps_per_execution", steps_per_execution
            )
        super().compile(
            optimizer,
            loss,
            loss_weights=loss_weights,
            metrics=metrics,
            weighted_metrics=weighted_metrics,
            run_eagerly=run_eagerly,
            # Keras's own loops know no "auto".
            steps_per_execution=(
                1 if steps_per_execution == "auto" else steps_per_execution
            ),
            jit_compile=jit_compile,
            auto_scale_loss=auto_scale_loss,
        )
        labels.watch_losses(self)
        self._descent_settings = settings.Settings(
            global_clipnorm=global_clipnorm,
            microbatches=microbatches,
            reproducible_workers=reproducible_workers,
            steps_per_execution=steps_per_execution,
            jit_compile=jit_compile,
            resolved_jit_compile=self.jit_compile,
        )

    def get_compile_config(self) -> dict[str, Any]:
        """The arguments of `compile`, as a dict that can be saved.

        A plain Keras model can be compiled with it: what only gdtrain knows
        is beside the optimizer's class and config, where Keras ignores it.
        """
        config = super().get_compile_config()
        if config and "optimizer" not in config:
            # Keras drops it when it writes an HDF5 file.
            config["optimizer"] = keras.saving.serialize_keras_object(
                self.optimizer
            )
        if isinstance(config.get("optimizer"), dict):
            config["optimizer"][_OWN_SETTINGS] = self._own_settings()
        return config

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compiles as `get_compile_config` says; called by `load_model`."""
        if type(self).compile is not DescentTrainer.compile:
            super().compile_from_config(config)  # Says what a user must do.
            return
        config = dict(config)
        if isinstance(config.get("optimizer"), dict):
            config["optimizer"] = dict(config["optimizer"])
            config.update(config["optimizer"].pop(_OWN_SETTINGS, {}))
        states = config.pop("random_states", [])
        for variable, state in zip(randomness.random_states(self), states):
            variable.assign(state)
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.built and self.optimizer is not None:
            self.optimizer.build(self.trainable_variables)

    def __reduce__(self) -> tuple:
        """Pickles and copies as Keras does, with the class as it is."""
        return models.reduce_model(self, super().__reduce__()[1])

    def save(
        self,
        filepath: Any,
        overwrite: bool = True,
        **kwargs: Any,
    ) -> None:
        """Saves the model; as `keras.Model.save`.

        An HDF5 file comes back as a model that descends, too. As Keras reads
        only part of what such a file says of `compile`, a warning names what
        is lost.
        """
        writes = overwrite or not os.path.exists(filepath)
        super().save(filepath, overwrite=overwrite, **kwargs)
        if writes and str(filepath).endswith((".h5", ".hdf5")):
            models.fix_hdf5_config(type(self), filepath)
            lost = settings.of(self).changed
            if lost:
                warnings.warn(
                    f"An HDF5 file does not keep {' and '.join(lost)}. Save "
                    "as `.keras`, or call `compile` after loading.",
                    stacklevel=2,
                )

    def _own_settings(self) -> dict[str, Any]:
        """What `compile_from_config` needs and Keras does not keep."""
        found = dataclasses.asdict(settings.of(self))
        del found["resolved_jit_compile"]  # Keras finds it again.
        if models.is_saving():
            found["random_states"] = [
                np.asarray(state).tolist()
                for state in randomness.random_states(self)
            ]
        return found

    def _warn_of_missing(
        self, gradient: list[Any], weights: list[keras.Variable]
    ) -> None:
        """Names weights that the loss does not depend on, each once."""
        new = set(update.missing(gradient, weights)) - self._warned_of
        if new:
            self._warned_of |= new
            warnings.warn(
                "The loss does not depend on these weights, so they stay as "
                f"they are: {sorted(new)}. Use them in the forward pass, or "
                "set `trainable = False` on their layer." + more("no-gradient"),
                stacklevel=3,
            )

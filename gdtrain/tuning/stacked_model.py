"""A model whose variables are stacked: one slice for each learning rate."""

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

import keras
import numpy as np
import tensorflow as tf
from keras.optimizers import Optimizer

from gdtrain.descent import gradients, settings, update
from gdtrain.keras_bridge import losses as keras_losses
from gdtrain.keras_bridge import optimizers, randomness
from gdtrain.optimizers import GradientDescent
from gdtrain.trainer import DescentTrainer

# Pairs of a variable and its value
Given: TypeAlias = list[tuple[keras.Variable, tf.Tensor]]


class StackedVariables:
    """Variables, each as a variable `[runs, size]` whose rows begin equal.

    A row is a value made flat, so that a column of numbers, one a run,
    multiplies all shapes alike.

    Args:
        variables: A list of `keras.Variable`.
        runs: How many runs there are.
    """

    def __init__(self, variables: list[keras.Variable], runs: int) -> None:
        self.of = list(variables)
        self.stacks = [_stack(variable, runs) for variable in self.of]

    def values(self) -> list[tf.Tensor]:
        """Their values now, tensors `[runs, size]`."""
        return [tf.convert_to_tensor(stack.value) for stack in self.stacks]

    def given(self, rows: Sequence[tf.Tensor]) -> Given:
        """Pairs of a variable and its value in one run, from its row."""
        return [
            (variable, tf.reshape(row, variable.shape))
            for variable, row in zip(self.of, rows, strict=True)
        ]

    def assign(self, values: Sequence[tf.Tensor]) -> None:
        """Sets them all to tensors `[runs, size]`."""
        for stack, value in zip(self.stacks, values, strict=True):
            stack.assign(value)


def _flat(tensors: Iterable[tf.Tensor]) -> list[tf.Tensor]:
    """Tensors as vectors."""
    return [tf.reshape(tensor, [-1]) for tensor in tensors]


def _stack(variable: keras.Variable, runs: int) -> keras.Variable:
    row = variable.numpy().reshape(1, -1)
    return keras.Variable(
        np.repeat(row, runs, axis=0),
        dtype=variable.dtype,
        trainable=variable.trainable,
        name=variable.name,
    )


# Elementwise optimizers, which can update numbers of several runs together.
# Others, as Lamb, use norms of whole weights.
_KNOWN = (
    GradientDescent,
    keras.optimizers.Adadelta,
    keras.optimizers.Adagrad,
    keras.optimizers.Adam,
    keras.optimizers.Adamax,
    keras.optimizers.AdamW,
    keras.optimizers.Ftrl,
    keras.optimizers.Lion,
    keras.optimizers.Nadam,
    keras.optimizers.RMSprop,
    keras.optimizers.SGD,
)


def why_not_stacked(optimizer: Optimizer) -> str | None:
    """Why an optimizer cannot serve several runs; `None` if it can."""
    name = type(optimizer).__name__
    if type(optimizer) not in _KNOWN:
        return f"{name} is not known to be elementwise"
    if optimizer.use_ema:
        return f"{name} keeps averages of weights (use_ema)"
    if optimizers.excludes_from_weight_decay(optimizer):
        return f"{name} excludes some weights from weight decay"
    if int(optimizer.iterations.numpy()):
        return f"{name} has taken steps before"
    return None


def stacked_optimizer(
    optimizer: Optimizer, learning_rates: Sequence[float]
) -> Optimizer:
    """The same optimizer for weights `[runs, size]`, without clipping.

    Clipping is done in the step of each run.

    Args:
        optimizer: One for which `why_not_stacked` is `None`.
        learning_rates: Of the runs.
    """
    column = tf.constant([[rate] for rate in learning_rates], tf.float32)
    config = {
        **optimizer.get_config(),
        "learning_rate": lambda: column,
        "clipnorm": None,
        "clipvalue": None,
        "global_clipnorm": None,
    }
    return type(optimizer).from_config(config)


def _scope(*given: Given) -> keras.StatelessScope:
    """A scope in which variables have other values."""
    pairs = [pair for pairs in given for pair in pairs]
    return keras.StatelessScope(pairs, collect_losses=True)


class StackedModel:
    """Steps of several runs of one model at once; see `DescentTrainer`.

    `tf.vectorized_map` turns a step of one run into a step of all of them:
    each operation once, on tensors with one axis more; those that cannot be
    vectorized, as convolutions, in a loop over the runs. Random numbers are
    the same in each run. Its methods are traced.

    Args:
        model: The model, built and compiled.
        learning_rates: Of the runs.
    """

    def __init__(
        self, model: DescentTrainer, learning_rates: Sequence[float]
    ) -> None:
        runs = len(learning_rates)
        self.model = model
        self.runs = runs
        self._random = [
            *randomness.random_states(model),
            randomness.global_random_state(),
        ]
        shared = {id(variable) for variable in self._random}
        self._weights = StackedVariables(model.trainable_variables, runs)
        self._states = StackedVariables(
            [v for v in model.non_trainable_variables if id(v) not in shared],
            runs,
        )
        self._metrics = StackedVariables(model.metrics_variables, runs)
        self._optimizer = stacked_optimizer(model.optimizer, learning_rates)
        self._optimizer.build(self._weights.stacks)
        # Clips as `compile(global_clipnorm=)` does, by operations that can be
        # vectorized; those of `tf.clip_by_global_norm` cannot.
        self._clip = keras.optimizers.SGD(
            global_clipnorm=settings.of(model).global_clipnorm
        )

    def train_step(self, data: Any) -> tf.Tensor:
        """One step of each run; returns their losses, float32 `[runs]`."""
        before = [(v, tf.convert_to_tensor(v.value)) for v in self._random]
        places: list[int] = []  # Of the weights that have a gradient
        losses, found, states, metrics, random = self._map(
            functools.partial(self._descend, data, before, places)
        )
        gradient: list[Any] = [None] * len(self._weights.stacks)
        for place, rows_of_runs in zip(places, found, strict=True):
            gradient[place] = rows_of_runs
        update.apply(self._optimizer, gradient, self._weights.stacks)
        self._states.assign(states)
        self._metrics.assign(metrics)
        for variable, value in zip(self._random, random, strict=True):
            variable.assign(value[0])
        return tf.cast(losses, tf.float32)

    def test_step(self, data: Any) -> None:
        """Adds a batch to the metrics of each run."""
        self._metrics.assign(self._map(functools.partial(self._test, data)))

    def results(self) -> tf.Tensor:
        """Results of the metrics, float32 `[metrics, runs]`."""

        def one(_: Given, __: Given, metrics: Given) -> list[tf.Tensor]:
            with keras.StatelessScope(metrics):
                return list(self.model.get_metrics_result().values())

        return tf.stack([tf.cast(r, tf.float32) for r in self._map(one)])

    def reset_metrics(self) -> None:
        """Resets the metrics."""
        with keras.StatelessScope() as scope:
            self.model.reset_metrics()
        for variable, stack in zip(
            self._metrics.of, self._metrics.stacks, strict=True
        ):
            start = scope.get_current_value(variable)
            if start is not None:
                row = tf.reshape(start, [1, -1])
                stack.assign(tf.broadcast_to(row, stack.shape))

    def weights(self, run: int) -> list[np.ndarray]:
        """The weights of one run, as `get_weights` of the model gives them."""
        for kind in (self._weights, self._states):
            for variable, stack in zip(kind.of, kind.stacks, strict=True):
                variable.assign(tf.reshape(stack.value[run], variable.shape))
        return self.model.get_weights()

    def _map(self, function: Callable[[Given, Given, Given], Any]) -> Any:
        """`function(weights, states, metrics)` of all runs."""
        kinds = self._weights, self._states, self._metrics
        return tf.vectorized_map(
            lambda rows: function(
                *(kind.given(row) for kind, row in zip(kinds, rows))
            ),
            [kind.values() for kind in kinds],
            fallback_to_while_loop=True,
            warn=False,
        )

    def _descend(
        self, data: Any, random: Given, places: list[int], *given: Given
    ) -> tuple:
        """`train_step` of one run, except for the update."""
        weights = [value for _, value in given[0]]
        optimizer = self.model.optimizer
        with tf.GradientTape() as tape:
            tape.watch(weights)
            scope = _scope(*given, random)
            with scope:
                loss = self._loss(data, training=True)
        found = gradients.compute(tape, loss, weights, optimizer)
        places[:] = [i for i, g in enumerate(found) if g is not None]
        dense = [gradients.dense(found[place]) for place in places]
        for clip in (self._clip, optimizer):
            dense = optimizers.clip_gradients(clip, dense)
        return (
            loss,
            _flat(dense),
            *(
                _flat(scope.get_current_value(v) for v in kind)
                for kind in (self._states.of, self._metrics.of, self._random)
            ),
        )

    def _test(self, data: Any, *given: Given) -> list[tf.Tensor]:
        """`test_step` of one run."""
        with _scope(*given) as scope:
            self._loss(data, training=False)
        return _flat(scope.get_current_value(v) for v in self._metrics.of)

    def _loss(self, data: Any, training: bool) -> tf.Tensor:
        """Forward, loss and metrics, as in `train_step` and `test_step`."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        model = self.model
        y_pred = model(x, training=training)
        loss = keras_losses.compute_loss(
            model, x, y, y_pred, sample_weight, training
        )
        keras_losses.track_loss(model, loss, gradients.examples_in(x))
        model.compute_metrics(x, y, y_pred, sample_weight=sample_weight)
        return loss

"""A model and its data, and what is known exactly about them."""

import functools
import logging
import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from gdtrain.common.explained import more
from gdtrain.diagnosis import (
    constant,
    learned,
    outputs,
    regularization,
    sample,
    scales,
)
from gdtrain.diagnosis.entering import Entering, entering
from gdtrain.diagnosis.learned import Answer
from gdtrain.diagnosis.outputs import Output
from gdtrain.diagnosis.regularization import Regularization
from gdtrain.diagnosis.sample import Sample
from gdtrain.diagnosis.scales import Order, Scale
from gdtrain.keras_bridge import layers, optimizers
from gdtrain.keras_bridge.optimizers import unwrapped
from gdtrain.state import variables
from gdtrain.trainer import DescentTrainer

_FEW = 4  # Examples that the model is called with, to see its outputs
_log = logging.getLogger("gdtrain")
_NORMALIZING = (
    keras.layers.BatchNormalization,
    keras.layers.LayerNormalization,
    keras.layers.Normalization,
)


class Task:
    """A model with its data, and facts of them, each found when asked for.

    The model, the data and all random generators stay as they are. A fact
    that cannot be known is `None`.

    Args:
        model: A gdtrain model, compiled and built, as training left it.
        x, y, sample_weight: The data, as in `keras.Model.fit`.
        batch_size: Of the training. Defaults to `None`: what
            `steps_per_epoch` says for arrays, else 32.
        shuffle: As `fit` was given it. Defaults to `True`.
        steps_per_epoch: Of the training, if it is known.
        learning_rates: Those of the training's steps, float `[steps]`.
            Defaults to `None`: what the optimizer's schedule says, or its
            rate now.

    Raises:
        TypeError, ValueError: if the model or the data cannot be used.

    Example:

    >>> import gdtrain
    >>> model = gdtrain.Sequential([keras.Input([1]), keras.layers.Dense(1)])
    >>> model.compile(gdtrain.GradientDescent(0.1), loss="mse")
    >>> x = np.array([[0.0], [200.0]])
    >>> task = Task(model, x, 3 * x)
    >>> task.inputs[0].mean.tolist(), task.outputs[0].activation
    ([100.0], 'linear')
    >>> task.constant_loss
    90000.0
    """

    def __init__(
        self,
        model: keras.Model,
        x: Any,
        y: Any = None,
        *,
        sample_weight: Any = None,
        batch_size: int | None = None,
        shuffle: bool = True,
        steps_per_epoch: int | None = None,
        learning_rates: Any = None,
    ) -> None:
        if not isinstance(model, DescentTrainer):
            raise TypeError(
                "`model` must be a gdtrain model. Received: "
                f"model={model!r} of type {type(model).__name__}. Pass the "
                "model that was trained." + more("gdtrain-model")
            )
        if not model.built or not model.compiled:
            raise ValueError(
                "`model` must be built and compiled. Received: "
                f"{model.name!r}, which is not. Pass the model that was "
                "trained."
            )
        self.model = model
        with variables.keep_random_state():
            self.sample: Sample = sample.take(
                x,
                y,
                sample_weight,
                batch_size=batch_size,
                shuffle=shuffle,
                steps_per_epoch=steps_per_epoch,
            )
        self._rates = learning_rates

    @functools.cached_property
    def inputs(self) -> list[Scale]:
        """The scale of each input array."""
        x, _, _ = self.sample.parts
        inner = self._takes_any_scale
        return [
            scales.scale(name, leaf, not (inner or self._is_looked_up(leaf)))
            for name, leaf in _named("x", x)
        ]

    @functools.cached_property
    def targets(self) -> list[Scale]:
        """The scale of each array of targets; none where `y` is missing."""
        _, y, _ = self.sample.parts
        of_classes = [output.from_logits is not None for output in self.outputs]
        matters = not any(of_classes)
        return [
            scales.scale(name, leaf, matters) for name, leaf in _named("y", y)
        ]

    @functools.cached_property
    def not_finite(self) -> list[str]:
        """The arrays that have a NaN or an infinity, such as `["y"]`."""
        return [
            name
            for part, some in zip("xy", self.sample.parts[:2], strict=True)
            for name, leaf in _named(part, some)
            if leaf.dtype.is_floating
            and not bool(tf.reduce_all(tf.math.is_finite(leaf)))
        ]

    @functools.cached_property
    def order(self) -> Order | None:
        """Whether examples come sorted by the first of the targets.

        By the inputs where there are no targets. In the order in which the
        data give them, whether or not training shuffles them.
        """
        x, y, _ = self.sample.parts
        leaves = _named("y", y) or _named("x", x)
        first = leaves[0][1]
        found = scales.order(first)
        is_one_value = bool(tf.reduce_all(first == first[:1]))
        if is_one_value and not self.sample.is_whole and y is not None:
            # Batches from the beginning, all of one class
            return Order(1.0, 1 / math.sqrt(len(first)))
        return found

    @functools.cached_property
    def outputs(self) -> list[Output]:
        """The outputs with their activations and losses."""
        x, _, _ = self.sample.parts
        few = keras.tree.map_structure(
            lambda leaf: None if leaf is None else leaf[:_FEW], x
        )
        return _or_none(lambda: outputs.of(self.model, few)) or []

    @functools.cached_property
    def answers(self) -> list[Answer]:
        """What the model gives for some examples, at each output."""
        x, targets = self._some

        def call() -> list[Answer]:
            return learned.answers(self.model, self.outputs, x, targets)

        return _or_none(call) or []

    @functools.cached_property
    def entering(self) -> list[Entering]:
        """What the first layers with weights receive of them."""
        return _or_none(lambda: entering(self.model, self._some[0])) or []

    def losses_of_longer(self, factors: Sequence[float]) -> np.ndarray | None:
        """The loss of the data where kernels are multiplied by factors.

        Without regularizers; the model stays as it is.

        Returns:
            Float64 `[factors]`, or `None` if it is not known.
        """
        x, targets = self._some
        weights = [one for one in self._loss_weights if one is not None]

        def measure() -> np.ndarray:
            return np.array(
                [
                    learned.loss_of_longer(
                        self.model, self.outputs, x, targets, factor, weights
                    )
                    for factor in factors
                ]
            )

        return _or_none(measure)

    @property
    def relative_length(self) -> float:
        """The size of the kernels over that of new ones, of the largest.

        New ones are taken to be Glorot's; infinite if there are no kernels.
        """
        return learned.relative_length(self.model)

    @functools.cached_property
    def some_rows(self) -> np.ndarray:
        """Which of the sample's examples these are: spread evenly."""
        count = self.sample.examples
        taken = min(count, learned.EXAMPLES)
        return np.arange(taken) * count // taken

    @property
    def _some(self) -> tuple[Any, list[Any]]:
        """Their inputs, and the targets of each output."""
        return keras.tree.map_structure(
            lambda leaf: (
                None if leaf is None else tf.gather(leaf, self.some_rows)
            ),
            (self.sample.parts[0], self._targets_of),
        )

    @functools.cached_property
    def constant_loss(self) -> float | None:
        """The loss that the best constant outputs reach, without regularizers.

        A training that does not get below has not learned from its inputs.
        """
        _, _, sample_weight = self.sample.parts
        names = [output.name for output in self.outputs]
        weights = outputs.by_output(sample_weight, names)
        of_losses = self._loss_weights
        total = 0.0
        for output, y, weight, times in zip(
            self.outputs, self._targets_of, weights, of_losses, strict=True
        ):
            found = _or_none(
                functools.partial(constant.loss_of_constant, output, y, weight)
            )
            if found is None or times is None:
                return None
            total += times * found
        return total if self.outputs else None

    @functools.cached_property
    def learning_rates(self) -> np.ndarray:
        """The rates of the training's steps, float64 `[steps]`, not empty.

        As measured, if they were given; else what the optimizer's schedule
        says, or its rate now, for as many steps as it made.
        """
        if self._rates is not None:
            rates = np.asarray(self._rates, np.float64)
            rates = rates[np.isfinite(rates)]
            if len(rates):
                return rates
        optimizer = unwrapped(self.model.optimizer)
        return self.scheduled(0, max(int(optimizer.iterations.numpy()), 1))

    def scheduled(self, first: int, count: int) -> np.ndarray:
        """What the optimizer's own rate is at steps, float64 `[count]`."""
        if self._schedule is None:
            optimizer = unwrapped(self.model.optimizer)
            return np.full(count, float(np.asarray(optimizer.learning_rate)))
        steps = tf.range(first, first + count, dtype=tf.int64)
        return self._schedule(steps).numpy().astype(np.float64)

    @functools.cached_property
    def _schedule(self) -> Callable[[tf.Tensor], tf.Tensor] | None:
        """The rates of steps by the optimizer's schedule; `None` without."""
        schedule = optimizers.schedule_of(self.model.optimizer)
        if schedule is None:
            return None
        return tf.function(
            lambda steps: tf.map_fn(
                lambda step: tf.cast(schedule(step), tf.float32),
                steps,
                fn_output_signature=tf.float32,
            ),
            input_signature=[tf.TensorSpec([None], tf.int64)],
            autograph=False,
        )

    @property
    def strength_of_decay(self) -> float:
        """The optimizer's weight decay, else the largest of a regularizer."""
        return regularization.strength(self.model)

    @functools.cached_property
    def regularization(self) -> Regularization:
        """How strong weight decay and regularizers are."""
        strength, share = self.strength_of_decay, 0.0
        if strength:
            share = _or_none(
                lambda: regularization.gradient_share(self.model, self.sample)
            )
        return Regularization(strength, share)

    @property
    def targets_by_output(self) -> list[Scale | None]:
        """The scale of the targets of each output; `None` if unknown."""
        _, y, _ = self.sample.parts
        known = {
            id(leaf): scale
            for (_, leaf), scale in zip(
                _named("y", y), self.targets, strict=True
            )
        }
        return [known.get(id(one)) for one in self._targets_of]

    @functools.cached_property
    def _targets_of(self) -> list[Any]:
        """The targets of each output; `None` if unknown."""
        _, y, _ = self.sample.parts
        return outputs.by_output(y, [output.name for output in self.outputs])

    @property
    def _loss_weights(self) -> list[float | None]:
        """By what the loss of each output is multiplied."""
        names = [output.name for output in self.outputs]
        config = _or_none(self.model.get_compile_config)
        if config is None:
            return [None] * len(names)
        weights = config.get("loss_weights")
        if weights is None:
            return [1.0] * len(names)
        return outputs.by_output(weights, names)

    @property
    def _takes_any_scale(self) -> bool:
        """Whether the first layer with variables normalizes its inputs."""
        for layer in self.model.layers:
            if isinstance(layer, _NORMALIZING):
                return True
            if layer.variables:
                return False
        return False

    def _is_looked_up(self, leaf: tf.Tensor) -> bool:
        """Whether an input is of whole numbers that an embedding looks up."""
        has_embedding = any(
            isinstance(layer, keras.layers.Embedding)
            for layer in layers.all_layers(self.model)
        )
        if not has_embedding or leaf.dtype == tf.string:
            return False
        whole = tf.cast(tf.cast(leaf, tf.int64), leaf.dtype)
        return bool(tf.reduce_all(leaf == whole))


def _named(name: str, some: Any) -> list[tuple[str, tf.Tensor]]:
    """The arrays of a structure with their names, such as `x['age']`."""
    return [
        (name + "".join(f"[{key!r}]" for key in path), leaf)
        for path, leaf in keras.tree.flatten_with_path(some)
        if leaf is not None
    ]


def _or_none(find: Callable[[], Any]) -> Any:
    """What a function finds; `None` where it cannot.

    Whatever the model's own code raises, a diagnosis says less, and does not
    fail.
    """
    try:
        with variables.keep_random_state(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Training has given them.
            return find()
    except Exception:
        _log.debug("A fact of a model and its data:", exc_info=True)
        return None

"""One step run again in parts, eagerly, from the variables before it."""

import contextlib
import dataclasses
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from gdtrain.autopsy.cause import Cause, LargestWeight
from gdtrain.autopsy.nonfinite_values import any_nonfinite, kind_of, rows_of
from gdtrain.descent import gradients, update
from gdtrain.keras_bridge import layers, losses, randomness
from gdtrain.state import variables

#: Values of the trained weights
Weights = Sequence[np.ndarray] | None

_TRIALS = 1000  # Parts of a batch tried, at most, to find its bad examples


class Call(NamedTuple):
    """What a layer or an operation computed."""

    name: str
    inputs: list[Any]
    outputs: list[tf.Tensor]  # Those of floats


class Forward(NamedTuple):
    """A forward pass.

    Args:
        tape: What recorded it.
        calls: What layers and operations computed, in their order.
        y_pred: The outputs.
        loss: The loss; `None` if it raised an error, or for a user's own
            `train_step`.
        error: The error that the loss raised, or `None`.
    """

    tape: tf.GradientTape
    calls: list[Call]
    y_pred: Any
    loss: tf.Tensor | None
    error: Exception | None

    @property
    def outputs(self) -> list[tuple[str, tf.Tensor]]:
        """Each output once, by the name of what computed it first."""
        found: dict[int, tuple[str, tf.Tensor]] = {}
        for call in self.calls:
            for tensor in call.outputs:
                # A model puts out the same tensor as its last layer.
                found.setdefault(id(tensor), (call.name, tensor))
        return list(found.values())


class StepReplay:
    """Runs a step again, as often as needed, on its batch or on parts of it.

    Each run begins with the variables from before the step; `restore` sets
    them back at the end.

    Args:
        model: A `DescentTrainer`, compiled and built, with its variables as
            they were before the step.
        data: The batch: `x`, `(x, y)` or `(x, y, sample_weight)`.
        start: Values of the trained weights when training began; `None` if
            unknown.

    Attributes:
        data: `(x, y, sample_weight)`, of tensors.
        optimizers: All that the model uses.
        is_repeatable: Whether loss and update are known; not those of a
            user's own `train_step`.
    """

    def __init__(self, model: keras.Model, data: Any, start: Weights) -> None:
        self.model, self.start = model, start
        self.is_repeatable = model._uses_default_step
        if self.is_repeatable:
            update.prepare(model.optimizer, model.trainable_variables)
        self.data = keras.utils.unpack_x_y_sample_weight(
            keras.tree.map_structure(_as_tensor, data)
        )
        self.batch_size = int(gradients.examples_in(self.data[0]))
        before = [v for some in variables.of(model).values() for v in some]
        before.append(randomness.global_random_state())
        self._before = variables.KeptValues(before, model.distribute_strategy)
        self.optimizers = variables.optimizers(model)
        self._largest = _largest(model.trainable_variables)

    def restore(self) -> None:
        """Sets all variables to what they were before the step."""
        self.model.reset_metrics()  # Those too that were made meanwhile
        self._before.set_back()

    def forward(self, data: Any, weights: Weights = None) -> Forward:
        """A forward pass.

        Args:
            data: A batch.
            weights: Values of the trained weights; `None` for those before
                the step.
        """
        x, y, sample_weight = data
        self.restore()  # The random numbers are those of the step.
        for weight, value in zip(
            self.model.trainable_variables, weights or (), strict=False
        ):
            weight.assign(value)
        self.model.reset_metrics()
        calls: list[Call] = []

        def note(operation: Any, inputs: list[Any], output: Any) -> None:
            if tf.executing_eagerly():  # Not while a function is traced
                calls.append(Call(operation.name, inputs, _tensors(output)))

        loss = error = None
        with tf.GradientTape() as tape:
            with layers.observe_calls(self.model, note):
                y_pred = self.model(x, training=True)
            if self.is_repeatable:
                try:
                    loss = losses.compute_loss(
                        self.model, x, y, y_pred, sample_weight
                    )
                except Exception as raised:  # As of labels out of range
                    error = raised
        return Forward(tape, calls, y_pred, loss, error)

    def gradients(self, forward: Forward, sources: Iterable[Any]) -> list[Any]:
        """Gradients of the loss with respect to tensors or weights."""
        return gradients.compute(
            forward.tape, forward.loss, [*sources], self.model.optimizer
        )

    def backward(self, forward: Forward) -> tuple[list[str], list[Any]]:
        """Names and gradients, from the loss backwards.

        With respect to the outputs of layers, the last first, named by the
        layer; then to the trained weights.
        """
        weights = self.model.trainable_variables
        sources = [*reversed(forward.outputs), *((w.path, w) for w in weights)]
        names, tensors = map(list, zip(*sources))
        return names, self.gradients(forward, tensors)

    def is_finite(
        self, data: Any, weights: Weights = None, backward: bool = True
    ) -> bool | None:
        """Whether a step is finite: outputs, loss and gradients.

        Args:
            data, weights: As in `forward`.
            backward: Whether gradients matter.

        Returns:
            `None` if it raised.
        """
        try:
            forward = self.forward(data, weights)
        except Exception:  # Whatever a model raises
            return None
        if forward.error is not None:
            return None
        if not self.is_repeatable:
            return not any_nonfinite(keras.tree.flatten(forward.y_pred))
        if kind_of(forward.loss) or not backward:
            return not kind_of(forward.loss)
        return not any_nonfinite(
            self.gradients(forward, self.model.trainable_variables)
        )

    def is_finite_without(self, examples: Sequence[int]) -> bool | None:
        """Whether the step is finite without some examples, if known."""
        if not 0 < len(examples) < self.batch_size:
            return None
        kept = np.setdiff1d(np.arange(self.batch_size), examples)
        try:
            rest = keras.tree.map_structure(
                lambda leaf: None if leaf is None else tf.gather(leaf, kept),
                self.data,
            )
        except Exception:  # Not every kind of tensor has rows to gather.
            return None
        return self.is_finite(rest)

    def nonfinite_after_update(
        self,
        gradient: list[Any],
        changed: contextlib.AbstractContextManager = contextlib.nullcontext(),
    ) -> Any:
        """The first variable that an update makes not finite, or `None`.

        Args:
            gradient: The gradient of each trained weight.
            changed: Entered for the update.
        """
        self.restore()
        model = self.model
        finite = [
            variable
            for variable in [*model.variables, *model.optimizer.variables]
            if not kind_of(variable)
        ]
        with changed:
            update.apply(model.optimizer, gradient, model.trainable_variables)
        return next(filter(kind_of, finite), None)

    def examples_where(
        self, is_bad: Callable[[Any], bool], data: Any
    ) -> list[int]:
        """Positions of the examples that are bad by themselves.

        Args:
            is_bad: Says whether a part of `data` is bad.
            data: A structure of tensors with a row for each example.
        """
        trials = iter(range(_TRIALS))

        def positions(part: Any, first: int, count: int) -> list[int]:
            next(trials)
            if not is_bad(part):
                return []
            if count == 1:
                return [first]
            (left, _), (right, _) = gradients.split(part, 2)
            half = count // 2
            return positions(left, first, half) + positions(
                right, first + half, count - half
            )

        try:
            return positions(data, 0, self.batch_size)
        except Exception:  # Too many trials, or no part can be run alone
            return []

    def cause(
        self,
        where: str,
        name: str = "",
        tensor: Any = None,
        examples: Iterable[int] | None = None,
        **more: Any,
    ) -> Cause:
        """A `Cause`, of a tensor that is not finite.

        Args:
            where, name: As in `Cause`.
            tensor: The tensor, or `None`.
            examples: As in `Cause`; `None` for the rows of the tensor.
            **more: Other fields of `Cause`.
        """
        if tensor is not None:
            more.setdefault("kind", kind_of(tensor))
            more["dtype"] = tf.as_dtype(tensor.dtype).name
            if examples is None:
                examples = rows_of(tensor, self.batch_size)
        return Cause(
            where,
            name,
            examples=tuple(examples or ()),
            batch_size=self.batch_size,
            largest=self._largest,
            **more,
        )

    def with_evidence(self, cause: Cause) -> Cause:
        """A cause, and whether the step is finite without its examples."""
        if not self.is_finite_without(cause.examples):
            return cause
        evidence = "Without these examples, the same step is finite."
        for name, leaf in self.named_data():
            if set(cause.examples) <= set(rows_of(leaf, self.batch_size)):
                evidence = f"There, {name} has {kind_of(leaf)}. {evidence}"
        return dataclasses.replace(cause, evidence=evidence)

    def named_data(self) -> list[tuple[str, Any]]:
        """The tensors of the batch, as `("x['image']", tensor)`."""
        return [
            (word + "".join(f"[{key!r}]" for key in path), leaf)
            for word, part in zip(("x", "y", "sample_weight"), self.data)
            for path, leaf in keras.tree.flatten_with_path(part)
            if leaf is not None
        ]


def first_sentence(error: Exception) -> str:
    """The first sentence of an error of TensorFlow, without its node."""
    text = str(error).strip()
    # Keras says first in which layer, and prints in bold what it was.
    wrapped = re.search(r"\x1b\[1m(.*?)\x1b\[0m", text, re.DOTALL)
    text = (wrapped[1] if wrapped else text).strip().partition("\n")[0]
    text = re.sub(r"^\{\{function_node .*?\}\} *", "", text)
    text = re.split(r"(?<=[.)])  | \[Op:", text)[0].rstrip(". ")
    return (text or "without a message") + "."


def _as_tensor(leaf: Any) -> Any:
    return tf.convert_to_tensor(leaf) if isinstance(leaf, np.ndarray) else leaf


def _tensors(output: Any) -> list[tf.Tensor]:
    """The float tensors in a structure."""
    return [
        leaf
        for leaf in keras.tree.flatten(output)
        if isinstance(leaf, tf.Tensor) and leaf.dtype.is_floating
    ]


def _largest(weights: Iterable[Any]) -> LargestWeight | None:
    found = []
    for weight in weights:
        values = np.abs(np.asarray(weight.numpy(), "float64"))
        value = float(values[np.isfinite(values)].max(initial=0.0))
        found.append(LargestWeight(path=weight.path, value=value))
    return max(found, key=lambda one: one["value"], default=None)

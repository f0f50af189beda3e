"""Finds the updates that a `train_step` makes without `descend`.

Keras's guides write a step like this:

    gradients = tape.gradient(loss, weights)
    self.optimizer.apply(gradients, weights)

While a step is traced, or runs eagerly, `GradientTape.gradient` and the
`apply` of every optimizer class are wrapped. So the update is known where it
happens: it is measured, clipped after the mean, and shown to the guard, as an
update by `descend` is. The numbers that the optimizer gets are otherwise those
that the step gave it.

Outside of a step, and in the threads of others, the wrappers only call what
they wrap.
"""

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator
from typing import Any

import keras
import tensorflow as tf

from gdtrain.descent import clipping, gradients, settings, update
from gdtrain.keras_bridge import optimizers
from gdtrain.step import step_context
from gdtrain.step.measurer import Update


def _apply(original: Callable) -> Callable:
    """The wrapper of an optimizer's `apply`."""

    @functools.wraps(original)
    def apply(
        optimizer: Any,
        grads: Any,
        trainable_variables: Any = None,
        **kwargs: Any,
    ) -> Any:
        step = step_context.inside()
        if step is None or step.is_updating or kwargs:
            return original(optimizer, grads, trainable_variables, **kwargs)
        grads = list(grads)
        weights = (
            optimizers.optimized_weights(optimizer)
            if trainable_variables is None
            else list(trainable_variables)
        )
        if not grads or len(grads) != len(weights):
            # Keras says what is wrong.
            return original(optimizer, grads, trainable_variables)
        return _update(step, optimizer, grads, weights)

    return apply


def _update(
    step: step_context.StepContext,
    optimizer: Any,
    gradient: list[Any],
    weights: list[Any],
) -> None:
    """Makes an update of a step's own, by the rules of `descend`."""
    update.build(optimizer, weights)
    name = step.begin_own_update(_name_of(optimizer, step.model), weights)
    loss = step.tape_record.loss_of(gradient, weights)
    scale = gradients.loss_scale(optimizer)
    if scale is not None:
        gradient = [gradients.multiply(g, 1.0 / scale) for g in gradient]
    loss, *gradient = step.mean_over_microbatches(loss, gradient)
    if not step.updates_now:
        return
    (loss,) = step.mean_over_replicas([loss])
    # Over replicas a Keras optimizer adds up: what such steps are written for.
    gradient = step.sum_over_replicas(gradient)
    clipnorm = settings.of(step.model).global_clipnorm
    clipped = clipping.clip(gradient, clipnorm, optimizer)
    step.check_loss(loss)
    with step.measuring(
        Update(name, step.model, loss, gradient, weights, optimizer)
    ):
        optimizer.apply(update.as_taken(optimizer, clipped), weights)


def measure_by_hand(step: step_context.StepContext) -> None:
    """Measures the update of a step that moves its weights by itself.

    As the lecture's loop does, by `w.assign_sub(learning_rate * gradient)`:
    what moved is seen at the end of the step, by how much and along which
    gradient; at which learning rate is not known.
    """
    if step.descents:
        return
    call = next((c for c in step.tape_record.calls[::-1] if c.values), None)
    if call is None or call.values is None:
        return
    loss, *gradient = step.mean_over_replicas(
        [step.tape_record.loss(call), *call.found]
    )
    step.measurer.measure(
        Update(None, step.model, loss, gradient, call.sources, None),
        before=call.values,
        rates={},
        examples=step.examples,
    )


def _name_of(optimizer: Any, model: Any) -> str:
    """The name of the attribute in which a model keeps an optimizer.

    Where it is kept otherwise, the name of its class.
    """
    if model.optimizer is optimizer:
        return "optimizer"
    for name, value in vars(model).items():
        if value is optimizer:
            return name.lstrip("_")
        if isinstance(value, dict):
            for key, one in value.items():
                if one is optimizer:
                    return str(key)
    return type(optimizer).__name__.lower()


def _gradient(original: Callable) -> Callable:
    """The wrapper of `GradientTape.gradient`."""

    @functools.wraps(original)
    def gradient(
        tape: tf.GradientTape,
        target: Any,
        sources: Any,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        found = original(tape, target, sources, *args, **kwargs)
        step = step_context.inside()
        if step is not None:
            step.tape_record.add_call(
                target, sources, found, step.measurer.can_measure
            )
        return found

    return gradient


def _scale_loss(original: Callable) -> Callable:
    """The wrapper of an optimizer's `scale_loss`."""

    @functools.wraps(original)
    def scale_loss(optimizer: Any, loss: Any) -> Any:
        scaled = original(optimizer, loss)
        step = step_context.inside()
        if step is not None and scaled is not loss:
            step.tape_record.add_scaled_loss(loss, scaled)
        return scaled

    return scale_loss


class _Wrapping:
    """Wraps methods of classes while at least one step needs it."""

    def __init__(self) -> None:
        self._users = 0
        self._lock = threading.Lock()
        self._wrapped: list[tuple[type, str, Any, Any]] = []

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """A context in which the methods are wrapped."""
        with self._lock:  # Two models may train in two threads.
            self._users += 1
            if self._users == 1:
                self._wrap()
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if self._users == 0:
                    self._unwrap()

    def _wrap(self) -> None:
        wrappers = {"apply": _apply, "scale_loss": _scale_loss}
        found = [
            (owner, name, wrapper)
            for owner in _optimizer_classes()
            for name, wrapper in wrappers.items()
            if name in vars(owner)
        ]
        found.append((tf.GradientTape, "gradient", _gradient))
        for owner, name, wrapper in found:
            original = vars(owner)[name]
            wrapped = wrapper(original)
            setattr(owner, name, wrapped)
            self._wrapped.append((owner, name, original, wrapped))

    def _unwrap(self) -> None:
        for owner, name, original, wrapped in self._wrapped:
            # What somebody else has put there since stays.
            if vars(owner).get(name) is wrapped:
                setattr(owner, name, original)
        self._wrapped.clear()


def _optimizer_classes() -> list[type]:
    """All classes of Keras optimizers, of Keras and of others."""
    found = list(keras.optimizers.Optimizer.__mro__[:-1])
    rest = [keras.optimizers.Optimizer]
    while rest:
        rest = [sub for one in rest for sub in type.__subclasses__(one)]
        found += [one for one in rest if one not in found]
    return found


#: `with own_updates.found():` surrounds the steps whose updates are to be
#: known.
found = _Wrapping().active

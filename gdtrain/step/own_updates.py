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


def _apply(
    step: step_context.StepContext,
    original: Callable[..., Any],
    optimizer: Any,
    grads: Any,
    trainable_variables: Any = None,
    **kwargs: Any,
) -> Any:
    """Stands for an optimizer's `apply`."""
    if kwargs:
        return original(optimizer, grads, trainable_variables, **kwargs)
    grads = list(grads)
    weights = (
        optimizers.optimized_weights(optimizer)
        if trainable_variables is None
        else list(trainable_variables)
    )
    if not grads or len(grads) != len(weights):
        # Keras refuses them.
        return original(optimizer, grads, trainable_variables)
    return _update(step, optimizer, grads, weights)


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
        update.apply(optimizer, clipped, weights)


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


def _gradient(
    step: step_context.StepContext,
    original: Callable[..., Any],
    tape: tf.GradientTape,
    target: Any,
    sources: Any,
    *args: Any,
    **kwargs: Any,
) -> Any:
    """Stands for `GradientTape.gradient`."""
    found = original(tape, target, sources, *args, **kwargs)
    step.tape_record.add_call(target, sources, found, step.measurer.can_measure)
    return found


def _scale_loss(
    step: step_context.StepContext,
    original: Callable[..., Any],
    optimizer: Any,
    loss: Any,
) -> Any:
    """Stands for an optimizer's `scale_loss`."""
    scaled = original(optimizer, loss)
    if scaled is not loss:
        step.tape_record.add_scaled_loss(loss, scaled)
    return scaled


def _wrapped(
    original: Callable[..., Any], within_step: Callable[..., Any]
) -> Callable[..., Any]:
    """A method that is replaced within a step, except in `descend`."""

    @functools.wraps(original)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        step = step_context.inside()
        if step is None or step.is_updating:
            return original(*args, **kwargs)
        return within_step(step, original, *args, **kwargs)

    return wrapper


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
        methods: list[tuple[type, str, Callable[..., Any]]] = [
            (tf.GradientTape, "gradient", _gradient)
        ]
        for owner in _optimizer_classes():
            methods.append((owner, "apply", _apply))
            methods.append((owner, "scale_loss", _scale_loss))
        for owner, name, within_step in methods:
            original = vars(owner).get(name)
            if original is not None:
                wrapped = _wrapped(original, within_step)
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
    found = [keras.optimizers.Optimizer]
    for one in found:  # It grows as the loop finds subclasses.
        found += type.__subclasses__(one)
    return list(dict.fromkeys([*found[0].__mro__[:-1], *found]))


#: `with own_updates.found():` surrounds the steps whose updates are to be
#: known.
found = _Wrapping().active

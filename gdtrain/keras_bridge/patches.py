"""What is changed in Keras itself, for the whole process.

Both were seen to be needed in Keras 3.15.1, which has no other way in:

- `loss_scaling`: Keras divides each mean loss by the number of replicas, in
  functions of a module that no model and no strategy can override. Changed
  only while a step is traced or measured, and put back afterwards.
- `dispatch_to_model`: tools that log experiments replace `keras.Model.fit`
  by a function that calls Keras's, often before gdtrain is imported. To run
  gdtrain's loop below theirs, Keras's function itself must lead to it.
  Changed when such a tool is met, and never for models of other classes.
"""

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator
from typing import Any

import keras
import tensorflow as tf
from keras.src.backend.tensorflow import trainer as keras_trainer
from keras.src.losses import loss as keras_loss

_Scale = Callable[[tf.Tensor], tf.Tensor]

# Keras's own loops, whatever replaces them later
_LOOPS: dict[str, Any] = {
    name: vars(keras_trainer.TensorFlowTrainer)[name]
    for name in ("fit", "evaluate", "predict")
}


def leads_to_keras(model: keras.Model, mixin: type, name: str) -> bool:
    """Whether `super().<name>` of a mixin is the method of Keras itself.

    It is not if a class of the user's has one, or if a tool has replaced
    that of `keras.Model`. Needs `TensorFlowTrainer`, which defines it;
    without it gdtrain cannot be imported.

    Args:
        model: The model.
        mixin: The class that would call `super()`.
        name: `"fit"`, `"evaluate"` or `"predict"`.
    """
    classes = type(model).__mro__
    following = classes[classes.index(mixin) + 1 :]
    found = next(vars(c)[name] for c in following if name in vars(c))
    return found is _LOOPS[name]


@functools.cache
def dispatch_to_model(mixin: type, name: str) -> None:
    """Lets Keras's own `fit`, `evaluate` or `predict` run a model's loop.

    From now on, called with a model of the class `mixin`, it first asks
    `model._own_loop(name, arguments)` for a loop, and runs that if there is
    one. Other models are trained as before.

    Needs that the method is wrapped by `filter_traceback`, in whose closure
    it is; without that such models are run by Keras's loop, where callbacks
    that need that of gdtrain say so.

    Args:
        mixin: The class of models that have `_own_loop`.
        name: `"fit"`, `"evaluate"` or `"predict"`.
    """
    function = _LOOPS[name]
    original: Any = getattr(function, "__wrapped__", None)

    @functools.wraps(function)
    def run(model: keras.Model, *args: Any, **kwargs: Any) -> Any:
        loop = None
        if isinstance(model, mixin):
            loop = model._own_loop(name, kwargs)  # type: ignore[attr-defined]
        return (loop or original)(model, *args, **kwargs)

    for cell in function.__closure__ or ():
        if cell.cell_contents is original:
            cell.cell_contents = run


_originals = (
    keras_loss.scale_loss_for_distribution,
    keras_loss.unscale_loss_for_distribution,
)
_users = 0
_lock = threading.Lock()


@contextlib.contextmanager
def loss_scaling(scale: _Scale, unscale: _Scale) -> Iterator[None]:
    """While open, Keras scales mean losses by these functions.

    They stand for `scale_loss_for_distribution`, by which Keras divides every
    mean loss by the number of replicas, and for its inverse. Needs both names
    in `keras.src.losses.loss`, looked up at each call; without them the
    losses of several replicas are divided by their number.

    Args:
        scale: A function of a scalar tensor.
        unscale: Its inverse.
    """
    _count_users(+1, scale, unscale)
    try:
        yield
    finally:
        _count_users(-1, *_originals)


def _count_users(change: int, scale: _Scale, unscale: _Scale) -> None:
    """Lets the first user set both functions, and the last put them back."""
    global _users
    with _lock:  # Two models may train in two threads at once.
        _users += change
        if _users == (1 if change > 0 else 0):
            keras_loss.scale_loss_for_distribution = scale
            keras_loss.unscale_loss_for_distribution = unscale

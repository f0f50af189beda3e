"""Every touch of a private Keras name, one small function each. Floor 0.

Read in Keras 3.15.1. Each docstring says what breaks if the name goes.
"""

import contextlib
import threading
from typing import Any

from keras.src.losses import loss as keras_loss
from keras.src.models import functional as keras_functional
from keras.src.saving import object_registration


def functional_subclass(model_class):
    """A subclass of `model_class` that is a functional model too.

    Keras turns a subclass of `keras.Model` that is built with
    `(inputs, outputs)` into a functional one by rewriting the `__bases__` of
    that class and of all its parents. From then on, no other subclass can be
    built without inputs and outputs. A class of its own leaves them alone.

    Needs `Functional`; without it `gdtrain.Model(inputs, outputs)` breaks.
    """
    if issubclass(model_class, keras_functional.Functional):
        return model_class
    return subclass_of_same_name(
        model_class, (model_class, keras_functional.Functional)
    )


def subclass_of_same_name(model_class, bases):
    """The class with these bases that saves and prints as `model_class`.

    Made once for each class. Needs `GLOBAL_CUSTOM_NAMES`; without it a
    class registered with `register_keras_serializable` cannot be loaded.
    """
    if "_subclass_of_same_name" not in vars(model_class):
        subclass = type(
            model_class.__name__,
            bases,
            {
                "__module__": model_class.__module__,
                "__qualname__": model_class.__qualname__,
                "__doc__": model_class.__doc__,
                "_class_loaded": model_class,
            },
        )
        names = object_registration.GLOBAL_CUSTOM_NAMES
        if model_class in names:
            names[subclass] = names[model_class]
        model_class._subclass_of_same_name = subclass
    return model_class._subclass_of_same_name


def class_loaded(model):
    """The class that `keras.saving.load_model` makes of a saved `model`."""
    return getattr(type(model), "_class_loaded", type(model))


def is_plain_functional(model):
    """Whether `model` is what `keras.Model(inputs, outputs)` makes.

    Needs `Functional`; without it `gdtrain.from_keras` breaks.
    """
    return type(model) is keras_functional.Functional


def compute_loss(model, x, y, y_pred, sample_weight):
    """`model.compute_loss(..., training=True)`.

    A `compute_loss` written before Keras 3.3 has no argument `training`; the
    private wrapper leaves it out. Without it, such models break.
    """
    return model._compute_loss(
        x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=True
    )


def track_loss(model, loss, examples):
    """Adds a loss over so many examples to the metric `loss` of `compile`.

    Needs `_loss_tracker`; without it the loss of an epoch is missing.
    """
    model._loss_tracker.update_state(loss, sample_weight=examples)


# A mixin has no parent of its own; to the type checker, it may have any.
_Mixin: Any = object


class EpochLogs(_Mixin):
    """Mixin: Keras's `fit` and `evaluate` ask `epoch_logs` for the epoch.

    They call `_get_metrics_result_or_logs` with what the last execution
    returned; without it, epochs show the values of the last step.
    """

    def epoch_logs(self, logs):
        """What `History` shows of an epoch, given the last step's logs."""
        return super()._get_metrics_result_or_logs(logs)

    def _get_metrics_result_or_logs(self, logs):
        return self.epoch_logs(logs)


def built_metrics(model):
    """The metrics of `model` that have a result.

    The metrics given to `compile` are built at their first update, which a
    step of the user's own may never do; asked for a result before, they
    raise. Needs `built`; without it they are taken as built.
    """
    return [m for m in model.metrics if getattr(m, "built", True)]


def statistics(model):
    """Float variables that layers move by themselves, as moving averages.

    Those that a layer made as not trainable, without weights that were frozen
    later. Needs `_flatten_layers` and `_non_trainable_variables`; without
    them the moving averages of batch normalization differ between replicas.
    """
    return [
        variable
        for layer in model._flatten_layers()
        for variable in layer._non_trainable_variables
        if "float" in variable.dtype
    ]


def slot(optimizer, slots, variable):
    """The entry of `slots` (one per weight) that belongs to `variable`.

    Needs `_get_variable_index`, which Keras's own guide to writing an
    optimizer uses; without it momentum breaks.
    """
    return slots[optimizer._get_variable_index(variable)]


def clip_as(optimizer, gradients):
    """Clips as `optimizer` itself would: clipnorm, global_clipnorm, clipvalue.

    Needs `_clip_gradients`; without it, optimizers with a clip of their own
    break on several replicas.
    """
    return optimizer._clip_gradients(gradients)


class _LossScaling:
    """Stands in for Keras's pair of loss-scaling functions while in use."""

    def __init__(self):
        self._originals = (
            keras_loss.scale_loss_for_distribution,
            keras_loss.unscale_loss_for_distribution,
        )
        self._users = 0
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def replaced(self, scale, unscale):
        self._count(+1, scale, unscale)
        try:
            yield
        finally:
            self._count(-1, *self._originals)

    def _count(self, change, scale, unscale):
        # The count lets two models train in two threads at once.
        with self._lock:
            self._users += change
            if self._users == (1 if change > 0 else 0):
                keras_loss.scale_loss_for_distribution = scale
                keras_loss.unscale_loss_for_distribution = unscale


#: `with loss_scaling(scale, unscale):` puts two functions of a scalar tensor
#: in the place of `scale_loss_for_distribution`, by which Keras divides every
#: mean loss by the number of replicas, and of its inverse. Needs both names in
#: `keras.src.losses.loss`, looked up at each call; without them the losses of
#: several replicas are reported and descended divided by their number.
loss_scaling = _LossScaling().replaced


def is_functional_call(args, kwargs):
    """Whether a model constructor's arguments are inputs and outputs.

    The rule by which Keras decides (`functional_init_arguments`), restated.
    """
    return (
        len(args) == 2
        or (len(args) == 1 and "outputs" in kwargs)
        or ("inputs" in kwargs and "outputs" in kwargs)
    )

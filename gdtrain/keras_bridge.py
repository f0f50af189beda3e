"""Every touch of a private Keras name, one small function each.

Read in Keras 3.15.1. Each docstring says what breaks if the name goes.
"""

import contextlib
import contextvars
import copy
import functools
import json
import re
import threading
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras.src import tree
from keras.src.backend.common import global_state
from keras.src.backend.tensorflow import trainer as keras_trainer
from keras.src.losses import loss as keras_loss
from keras.src.losses import losses as keras_losses
from keras.src.models import functional as keras_functional
from keras.src.random import seed_generator
from keras.src.saving import object_registration
from keras.src.trainers import compile_utils, data_adapters
from keras.src.trainers.data_adapters import (
    array_slicing,
    data_adapter_utils,
)
from keras.src.utils import (
    module_utils,
    python_utils,
    rng_utils,
    traceback_utils,
)
from tensorflow.python.eager import context as tensorflow_context

# Layers that are observed though they have no weights, or layers within
_ACTIVATIONS = (
    keras.layers.Activation,
    keras.layers.ELU,
    keras.layers.LeakyReLU,
    keras.layers.PReLU,
    keras.layers.ReLU,
    keras.layers.RNN,
    keras.layers.Softmax,
)


# A frame of a stack trace, as `traceback.format_list` writes it
_FRAME = re.compile(
    r'^  File "(?P<path>[^"\n]+)", line \d+, in .*\n(?:    .*\n)*\n?',
    re.MULTILINE,
)


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
                "_made_of": (model_class, bases),
            },
        )
        names = object_registration.GLOBAL_CUSTOM_NAMES
        if model_class in names:
            names[subclass] = names[model_class]
        model_class._subclass_of_same_name = subclass
    return model_class._subclass_of_same_name


def reduced(model, arguments):
    """What `__reduce__` of a model returns, so that its class comes back.

    Keras's pickles name the class of a model, which cannot be done with one
    that `subclass_of_same_name` made, and do not find one that is not
    registered.

    Args:
        model: The model.
        arguments: Those that Keras's own `__reduce__` gives.
    """
    made_of = getattr(type(model), "_made_of", (type(model), None))
    return _unpickled, (*made_of, arguments)


def _unpickled(model_class, bases, arguments):
    """A model of which `reduced` told.

    Needs `_unpickle_model`; without it models cannot be pickled or copied.
    """
    if bases is not None:
        model_class = subclass_of_same_name(model_class, bases)
    name = keras.saving.get_registered_name(model_class)
    with keras.utils.custom_object_scope({name: model_class}):
        return model_class._unpickle_model(*arguments)


def mend_hdf5(model_class, path):
    """Has an HDF5 file of a model say what Keras reads as it was meant.

    Keras writes the bare name of a class, `Sequential`, which is one of its
    own when it is read; and losses as `"mse"`, which it fails to read (seen
    in 3.15.1). Needs the attributes `model_config` and `training_config` of
    such files; without them, gdtrain's models come back as Keras's.
    """
    with module_utils.h5py.File(path, "r+") as file:
        with _json_of(file, "model_config") as config:
            name = keras.saving.get_registered_name(model_class)
            if name.startswith("gdtrain>"):
                config["class_name"] = name
        with _json_of(file, "training_config") as config:
            if "loss" in config:
                config["loss"] = _full_names(config["loss"])


@contextlib.contextmanager
def _json_of(file, name):
    """An attribute of an HDF5 file, written back at the end if it is there."""
    config = json.loads(file.attrs.get(name, "{}"))
    yield config
    if config:
        file.attrs[name] = json.dumps(config).encode()


def _full_names(losses):
    """Names of losses, one or a structure, without abbreviations."""
    if isinstance(losses, list):
        return [_full_names(loss) for loss in losses]
    if isinstance(losses, dict) and "class_name" not in losses:
        return {name: _full_names(loss) for name, loss in losses.items()}
    if isinstance(losses, str):
        with contextlib.suppress(ValueError):  # A function of the user's
            return getattr(keras.losses.get(losses), "__name__", losses)
    return losses


def is_plain_functional(model_class):
    """Whether a class is that of what `keras.Model(inputs, outputs)` makes.

    Needs `Functional`; without it `gdtrain.from_keras` breaks.
    """
    return model_class is keras_functional.Functional


# Keras's own loops, whatever replaces them later
_LOOPS = {
    name: vars(keras_trainer.TensorFlowTrainer)[name]
    for name in ("fit", "evaluate", "predict")
}


def leads_to_keras(model, mixin, name):
    """Whether `super().<name>` of a mixin is the method of Keras itself.

    It is another if a class of the user's has one, or if a tool has replaced
    that of `keras.Model`, as loggers of experiments do. Needs
    `TensorFlowTrainer`, which defines it; without it gdtrain cannot be
    imported.

    Args:
        model: The model.
        mixin: The class whose `super()` is asked for.
        name: `"fit"`, `"evaluate"` or `"predict"`.
    """
    classes = type(model).__mro__
    following = classes[classes.index(mixin) + 1 :]
    found = next(vars(c)[name] for c in following if name in vars(c))
    return found is _LOOPS[name]


@functools.cache
def let_models_run(mixin, name):
    """Has Keras's own `fit`, `evaluate` or `predict` ask the model first.

    Whoever has replaced the method calls the one of Keras in the end, which
    it may have taken before gdtrain was imported. From now on that one runs
    `model.own_loop(name, arguments)` in its place, if the model is of a class
    and gives one. Other models are trained as before.

    Needs that the method is wrapped by `filter_traceback`, in whose closure
    it is; without that, such models are run by Keras's loop, where callbacks
    that need that of gdtrain say so.

    Args:
        mixin: The class of models that have `own_loop`.
        name: `"fit"`, `"evaluate"` or `"predict"`.
    """
    function = _LOOPS[name]
    original: Any = getattr(function, "__wrapped__", None)

    @functools.wraps(function)
    def run(model, *args, **kwargs):
        loop = None
        if isinstance(model, mixin):
            loop = model.own_loop(name, kwargs)
        return (loop or original)(model, *args, **kwargs)

    for cell in function.__closure__ or ():
        if cell.cell_contents is original:
            cell.cell_contents = run


def compute_loss(model, x, y, y_pred, sample_weight, training=True):
    """`model.compute_loss(..., training=training)`.

    A `compute_loss` written before Keras 3.3 has no argument `training`; the
    private wrapper leaves it out. Without it, such models break.
    """
    return model._compute_loss(
        x=x,
        y=y,
        y_pred=y_pred,
        sample_weight=sample_weight,
        training=training,
    )


def track_loss(model, loss, examples):
    """Adds a loss over so many examples to the metric `loss` of `compile`.

    Needs `_loss_tracker`; without it the loss of an epoch is missing.
    """
    model._loss_tracker.update_state(loss, sample_weight=examples)


def replace_compiled_loss(model, around=None, mismatch=None):
    """Has the loss of each of several outputs be a mean over examples.

    Keras weighs a batch by its size as far as it is known while tracing: in a
    graph, where it is not, a smaller last batch counts as much as the others.
    Run eagerly, it is right. Needs `_compile_loss`, made anew here, with the
    arguments that `CompileLoss` keeps; without them the numbers are Keras's.

    Args:
        model: The model, compiled.
        around: Called with each loss and the name of its output, gives what
            is called in the place of the loss. `None` for the loss itself.
        mismatch: Called with labels, outputs and names of outputs of which
            Keras makes no loss, says why, or `None`.
    """
    loss = model._compile_loss
    if isinstance(loss, compile_utils.CompileLoss):
        model._compile_loss = _CompileLoss(
            loss._user_loss,
            loss._user_loss_weights,
            output_names=loss.output_names,
        )
        model._compile_loss.around = around
        model._compile_loss.mismatch = mismatch


def function_of_loss(loss):
    """The function that a loss of Keras's calls, and its further arguments.

    `(None, {})` for a loss of the user's own. Needs `LossFunctionWrapper`,
    `fn` and `_fn_kwargs`; without them no loss is known, and mistakes in
    labels are told in Keras's words.
    """
    is_keras = (
        isinstance(loss, keras_losses.LossFunctionWrapper)
        and type(loss).call is keras_losses.LossFunctionWrapper.call
        and type(loss).__call__ is keras_loss.Loss.__call__
        and getattr(loss.fn, "__module__", "").startswith("keras.")
    )
    return (loss.fn, loss._fn_kwargs) if is_keras else (None, {})


class _CompileLoss(compile_utils.CompileLoss):
    """Tells the means over outputs what they are means over."""

    around = mismatch = None  # See `replace_compiled_loss`

    def build(self, y_true, y_pred):
        super().build(y_true, y_pred)
        if self.around is not None:
            self._flat_losses = [
                entry._replace(loss=self.around(entry.loss, entry.name))
                for entry in self._flat_losses
            ]
        self._metrics[:] = [_OutputLoss(name=m.name) for m in self._metrics]

    def call(self, y_true, y_pred, sample_weight=None):
        token = _outputs.set(tree.flatten(y_pred)[0])
        try:
            return super().call(y_true, y_pred, sample_weight)
        except (ValueError, TypeError, KeyError) as error:
            reason = self._reason(y_true, y_pred)
            if reason is None:
                raise
            raise ValueError(reason) from error
        finally:
            _outputs.reset(token)

    def _reason(self, y_true, y_pred):
        if self.mismatch is None or y_true is None:
            return None
        return self.mismatch(y_true, y_pred, self.output_names)


class _OutputLoss(keras.metrics.Mean):
    """The mean of an output's loss over examples."""

    def update_state(self, values, sample_weight=None):
        if sample_weight is None:
            sample_weight = keras.ops.shape(_outputs.get())[0]
        super().update_state(values, sample_weight)


# An output whose loss is being computed; each replica has a thread.
_outputs: contextvars.ContextVar = contextvars.ContextVar("outputs")


def built_metrics(model):
    """The metrics of `model` that have a result.

    The metrics given to `compile` are built at their first update, which a
    step of the user's own may never do; asked for a result before, they
    raise. Needs `built`; without it they are taken as built.
    """
    return [m for m in model.metrics if getattr(m, "built", True)]


def leaf_metrics(model):
    """The metrics of `model` that have a result, each by itself.

    Those given to `compile` are in one that Keras makes of them. Needs
    `CompileMetrics`; without it, TensorBoard has no accuracy of each step.
    """
    found: list[keras.metrics.Metric] = []
    for metric in built_metrics(model):
        together = isinstance(metric, compile_utils.CompileMetrics)
        found += metric.metrics if together else [metric]
    return [metric for metric in found if getattr(metric, "built", True)]


def are_metrics_built(model):
    """Whether the metrics that were given to `compile` have their variables.

    Needs `_compile_metrics`; without it they are taken to have them.
    """
    metrics = getattr(model, "_compile_metrics", None)
    return metrics is None or metrics.built


def is_of_keras(metric):
    """Whether a metric is one that comes with Keras, not a user's class.

    Needs the name of Keras's package; without it, only means are shown at
    each step.
    """
    return type(metric).__module__.startswith("keras.src.metrics.")


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


def frozen(model):
    """What `trainable = False` was set on: a list of layers and weights.

    Not of variables that a layer made as not trainable. Needs
    `_flatten_layers` and `_trainable_variables`; without them a layer that is
    frozen after training has begun goes on being trained, or does not,
    depending on which program runs.
    """
    found = []
    for layer in model._flatten_layers():
        if not layer.trainable:
            found.append(layer)
        for variable in layer._trainable_variables:
            if not variable.trainable:
                found.append(variable)
    return found


@contextlib.contextmanager
def outputs_noted(model, note):
    """While open, `note(layer, output)` is called with what layers put out.

    Of layers that have weights of their own and no layers within, of
    recurrent ones, and of activations; after each call of them. Needs
    `_flatten_layers`, and that a layer's `__call__` looks up `self.call`;
    without them nothing is noted.
    """
    layers = [
        layer
        for layer in model._flatten_layers()
        if isinstance(layer, _ACTIVATIONS) or not _within(layer)
    ]
    with _calls_replaced(layers, lambda layer: _noting(layer, note)):
        yield


@contextlib.contextmanager
def _calls_replaced(operations, replacement):
    """While open, each operation's `call` is `replacement(operation)`."""
    for operation in operations:
        # In the instance alone; Keras's own `__setattr__` would track it.
        operation.__dict__["call"] = replacement(operation)
    try:
        yield
    finally:
        for operation in operations:
            del operation.__dict__["call"]


@contextlib.contextmanager
def calls_noted(model, note):
    """While open, `note(operation, inputs, output)` follows every call.

    Of the model and all layers in it, and of the plain operations of
    functional models, such as `keras.ops.log(x)`; of what is within a layer
    before the layer itself. Needs `Functional`, `_flatten_layers`, and that
    an operation's `__call__` looks up `self.call`; without them nothing is
    noted.
    """
    layers = model._flatten_layers()
    operations = {
        id(operation): operation
        for layer in layers
        for operation in (layer, *_operations(layer))
    }

    def noting(operation):
        call = operation.call

        @functools.wraps(call)
        def noting_call(*args, **kwargs):
            output = call(*args, **kwargs)
            note(operation, tree.flatten((args, kwargs)), output)
            return output

        return noting_call

    with _calls_replaced(list(operations.values()), noting):
        yield


def _operations(layer):
    """What a functional model is made of; nothing of other layers."""
    is_functional = isinstance(layer, keras_functional.Functional)
    return layer.operations if is_functional else []


def _within(layer):
    """The layers within a layer."""
    return list(layer._flatten_layers(include_self=False))


def _is_noted(layer):
    """Whether a layer's output says what its weights or activation do."""
    if isinstance(layer, _ACTIVATIONS):
        return True
    return bool(layer.trainable_weights) and not _within(layer)


def _noting(layer, note):
    """The layer's `call`, which notes its output."""
    call = layer.call

    @functools.wraps(call)
    def noting(*args, **kwargs):
        output = call(*args, **kwargs)
        # Before its first call, a layer may have no weights yet.
        if _is_noted(layer):
            note(layer, output)
        return output

    return noting


def slot(optimizer, slots, variable):
    """The entry of `slots` (one per weight) that belongs to `variable`.

    Needs `_get_variable_index`, which Keras's own guide to writing an
    optimizer uses; without it momentum breaks.
    """
    return slots[optimizer._get_variable_index(variable)]


def unknown_to(optimizer, weights):
    """Those of some weights that a built optimizer was not built for.

    Needs `_trainable_variables_indices` and `_var_key`; without them Keras's
    own error comes later, without the names of all weights.
    """
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    known = getattr(optimizer, "_trainable_variables_indices", None)
    if not known:
        return []
    return [w for w in weights if optimizer._var_key(w) not in known]


def optimized_weights(optimizer):
    """The weights that an optimizer was built for, a list; empty if it is not.

    Needs `_trainable_variables`; without it, an update that names no weights
    is not measured.
    """
    return list(getattr(optimizer, "_trainable_variables", None) or [])


def forget_empty_build(optimizer):
    """Has an optimizer that was built for no weights be built again.

    As Keras does where all weights were frozen, and where it reads an HDF5
    file. Needs `_trainable_variables`; without it Keras says that it does not
    know the weights.
    """
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    if inner.built and getattr(inner, "_trainable_variables", None) == []:
        inner.built = optimizer.built = False


def squared_gradients(optimizer):
    """What Adam, AdamW or RMSprop divide by the root of, one per weight.

    Needs `_velocities` and `_velocity_hats`; without them the preconditioner
    of these optimizers is not known.
    """
    if getattr(optimizer, "amsgrad", False):
        return optimizer._velocity_hats
    return optimizer._velocities


def clip_as(optimizer, gradients):
    """Clips as `optimizer` itself would: clipnorm, global_clipnorm, clipvalue.

    Needs `_clip_gradients`; without it, optimizers with a clip of their own
    break on several replicas.
    """
    return optimizer._clip_gradients(gradients)


def excludes_from_weight_decay(optimizer):
    """Whether an optimizer was told to leave some weights out of the decay.

    Needs `_exclude_from_weight_decay` and `_exclude_from_weight_decay_pattern`;
    without them, a sweep of such a model decays all weights.
    """
    return bool(
        getattr(optimizer, "_exclude_from_weight_decay", None)
        or getattr(optimizer, "_exclude_from_weight_decay_pattern", None)
    )


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


def data_adapter(
    x, y, sample_weight, batch_size, steps_per_epoch, shuffle, class_weight
):
    """Keras's adapter of whatever `fit` takes as data.

    It checks the data, turns class weights into sample weights, and makes
    `tf.data` datasets of it. Needs `get_data_adapter`; without it no data can
    be trained on.
    """
    return data_adapters.get_data_adapter(
        x=x,
        y=y,
        sample_weight=sample_weight,
        batch_size=batch_size,
        steps_per_epoch=steps_per_epoch,
        shuffle=shuffle,
        class_weight=class_weight,
    )


def arrays_of(adapter):
    """The arrays that a data adapter brings, or `None` if it brings others.

    Returns:
        A structure of NumPy arrays and dense tensors; `None` stays. `None`
        where any of them is ragged or sparse, and for other adapters.

    Needs `ArrayDataAdapter._inputs`; without it arrays come as a dataset.
    """
    if not isinstance(adapter, data_adapters.ArrayDataAdapter):
        return None
    inputs = tree.lists_to_tuples(adapter._inputs)
    if any(_is_ragged_or_sparse(leaf) for leaf in tree.flatten(inputs)):
        return None
    return tree.map_structure(_as_array, inputs)


def inputs_of(adapter):
    """What `fit` was given, of an adapter of arrays; `None` for others.

    Ragged and sparse arrays come as lists of the dense ones they are made of.
    Needs `ArrayDataAdapter._inputs`; without it, other such data are not
    noticed when a run is gone on with.
    """
    if not isinstance(adapter, data_adapters.ArrayDataAdapter):
        return None
    return tree.map_structure(_as_dense, tree.lists_to_tuples(adapter._inputs))


def _as_dense(leaf):
    if data_adapter_utils.is_tensorflow_ragged(leaf):
        return [leaf.flat_values, *leaf.nested_row_splits]
    if data_adapter_utils.is_tensorflow_sparse(leaf):
        return [leaf.indices, leaf.values, leaf.dense_shape]
    if data_adapter_utils.is_scipy_sparse(leaf):
        return [leaf.data, *leaf.tocoo().coords]
    return _as_array(leaf)


def kind_of_data(adapter):
    """A word for what a data adapter brings."""
    return {
        data_adapters.ArrayDataAdapter: "arrays",
        data_adapters.GeneratorDataAdapter: "a generator",
        data_adapters.PyDatasetAdapter: "a PyDataset",
        data_adapters.TFDatasetAdapter: "a tf.data.Dataset",
    }.get(type(adapter), type(adapter).__name__)


def first_batches(adapter):
    """The batches that Keras took from a generator to see their shape.

    `None` for other adapters. Needs `_first_batches`; without it, another
    generator is not noticed when a run is gone on with.
    """
    return getattr(adapter, "_first_batches", None)


def layers_within(layer):
    """The layers that are a part of a layer, without those within them.

    Needs `_flatten_layers`; without it another architecture is not noticed
    when a run is gone on with.
    """
    return list(layer._flatten_layers(include_self=False, recursive=False))


def value_of(variable):
    """The TensorFlow variable behind a `keras.Variable`.

    Needs `_value`, as `value` may be cast; without it, variables are saved
    twice that are known by two objects.
    """
    return variable._value


def rate_variable(optimizer):
    """The variable of an optimizer's learning rate; `None` if it is scheduled.

    Needs `_learning_rate`, as `learning_rate` gives the value of a schedule;
    without it, another rate than a checkpoint's cannot be set.
    """
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    rate = getattr(inner, "_learning_rate", None)
    return rate if isinstance(rate, keras.Variable) else None


def all_layers(layer):
    """A layer and all layers within it.

    Needs `_flatten_layers`; without it, runs cannot be told apart by names.
    """
    return list(layer._flatten_layers())


def _is_ragged_or_sparse(leaf):
    utils = data_adapter_utils
    return (
        utils.is_tensorflow_ragged(leaf)
        or utils.is_tensorflow_sparse(leaf)
        or utils.is_jax_sparse(leaf)
        or utils.is_scipy_sparse(leaf)
    )


def _as_array(leaf):
    is_tensor = data_adapter_utils.is_tensorflow_tensor
    is_array = isinstance(leaf, np.ndarray) and leaf.dtype != object
    if leaf is None or is_array or is_tensor(leaf):
        return leaf
    # Pandas, PyTorch, JAX, and arrays of strings
    converted = array_slicing.convert_to_sliceable(leaf, "tensorflow")
    return converted if is_tensor(converted) else np.asarray(converted)


def train_validation_split(arrays, share):
    """`(training, validation)` arrays, of which the latter are the last.

    Needs `train_validation_split`; without it `validation_split` breaks.
    """
    return array_slicing.train_validation_split(arrays, share)


def pythonify_logs(logs):
    """Logs with Python numbers in the place of scalars, as callbacks see them.

    Needs `pythonify_logs`; without it, callbacks would see tensors.
    """
    return python_utils.pythonify_logs(logs)


def compile_arguments(model):
    """What a model was compiled with, objects as they are, a dict by name.

    `get_compile_config` raises where a single one cannot be serialized, and
    warns of every lambda. Without `_compile_config`, TensorBoard does not
    tell how a model was compiled, and another loss or metric is not noticed
    when a run is gone on with.
    """
    config = getattr(model, "_compile_config", None)
    return dict(config.config) if config is not None else {}


def assert_compiled(model, method):
    """Raises a `ValueError` if a model is not compiled.

    Needs `_assert_compile_called`; without it the error comes later.
    """
    model._assert_compile_called(method)


def maybe_build(model, batch_spec):
    """Builds a model made under a strategy, with its loss and metrics.

    Variables cannot be made by a step that runs on several replicas. As Keras
    does, models made under none are left to their first step.

    Args:
        model: The model.
        batch_spec: A structure of `tf.TensorSpec`, of a batch.

    Needs `_distribute_strategy` and `_symbolic_build`; without them, models
    that are built by their first batch cannot be trained on several replicas.
    """
    if model._distribute_strategy is not None:
        with model.distribute_strategy.scope():
            model._symbolic_build(data_batch=batch_spec)


def concatenated(outputs):
    """Outputs of several batches as NumPy arrays, one after another.

    Args:
        outputs: A list of structures of tensors.

    Needs `potentially_ragged_concat` and `convert_to_np_if_not_ragged`;
    without them `predict` breaks.
    """
    return tree.map_structure_up_to(
        outputs[0],
        lambda *leaves: keras_trainer.convert_to_np_if_not_ragged(
            keras_trainer.potentially_ragged_concat(list(leaves))
        ),
        *outputs,
    )


def flat_metrics(model, logs):
    """Logs in the order in which `evaluate` returns them.

    Needs `_flatten_metrics_in_order`; without it `evaluate` breaks.
    """
    return model._flatten_metrics_in_order(logs)


def initial_epoch(model):
    """The epoch that a callback set to begin with, or `None`.

    Needs `_initial_epoch`, which `keras.callbacks.BackupAndRestore` sets;
    without it a resumed run begins with the first epoch.
    """
    return model._initial_epoch


def is_default_hook(method):
    """Whether a hook of a callback is the empty one of `Callback`.

    Needs the mark of `keras.src.utils.default`; without it every callback
    seems to look at every batch, and training is slow.
    """
    return getattr(method, "_is_default", False)


def profiles(tensorboard):
    """Whether a `keras.callbacks.TensorBoard` profiles some batches.

    Needs `_should_trace`; without it, it is taken to do so.
    """
    return getattr(tensorboard, "_should_trace", True)


def finish_hooks(callbacks):
    """Waits for hooks of batches that a `CallbackList` runs on its threads.

    Needs `_async_train` and `_flush_futures`; without them, hooks of batches
    might come after the end of their epoch.
    """
    if callbacks._async_train:
        callbacks._flush_futures()


def build(model, batch_spec):
    """Makes the variables of a model, its optimizer and its metrics.

    Those that a step of the user's own makes come with that step.

    Args:
        model: The model, compiled.
        batch_spec: A structure of `tf.TensorSpec`, of a batch.

    Returns:
        Whether that was possible.

    Needs `_symbolic_build`; without it, runs that are gone on with are
    checked later.
    """
    try:
        with model.distribute_strategy.scope():
            model._symbolic_build(data_batch=batch_spec)
    except Exception:  # Whatever code of the user's raises
        return False
    return True


def break_off(adapter):
    """Ends an epoch of a data adapter without a word to the user's data.

    Needs `_within_epoch` and `enqueuer` of the adapter of a `PyDataset`;
    without them such data cannot be set back within a process.
    """
    if getattr(adapter, "enqueuer", None):
        adapter.enqueuer.stop()
    if hasattr(adapter, "_within_epoch"):
        adapter._within_epoch = False


def random_states(model):
    """Variables of the random generators of a model's layers.

    Needs `_flatten_layers` and `_seed_generators`; without them a model that
    was loaded from a file drops out other units than it would have.
    """
    return [
        generator.state
        for layer in model._flatten_layers()
        for generator in layer._seed_generators
    ]


@contextlib.contextmanager
def learning_rate_replaced(optimizer, schedule):
    """While open, an optimizer follows a schedule instead of its own rate.

    Keras's own way of setting a schedule drops the variable that was there,
    or refuses. Needs `_learning_rate`, looked up at each update; without it
    no range of rates can be tried.

    Args:
        optimizer: A Keras optimizer that has a rate itself.
        schedule: A `keras.optimizers.schedules.LearningRateSchedule`.
    """
    # Past `__setattr__`, which would track it
    before = vars(optimizer)["_learning_rate"]
    vars(optimizer)["_learning_rate"] = schedule
    try:
        yield
    finally:
        vars(optimizer)["_learning_rate"] = before


@contextlib.contextmanager
def computing_in_float32(model):
    """While open, layers of half precision compute in float32.

    Weights stay what they are. Needs `_flatten_layers`, and that
    `compute_dtype` follows `_dtype_policy`, which is set without the setter of
    `dtype_policy`, as that may quantize; without them curvature is measured
    in half precision, which has three digits.
    """
    layers = [
        layer
        for layer in model._flatten_layers()
        if layer.compute_dtype in ("float16", "bfloat16")
    ]
    before = [layer._dtype_policy for layer in layers]
    single = keras.DTypePolicy("float32")
    for layer in layers:
        layer._dtype_policy = single
    try:
        yield
    finally:
        for layer, policy in zip(layers, before, strict=True):
            layer._dtype_policy = policy


def is_saving():
    """Whether a model is being saved as a whole, not cloned or described.

    Needs the global attribute that `ObjectSharingScope` sets, seen in Keras
    3.15; without it a loaded model drops out other units than it would have.
    """
    name = "shared_objects/id_to_config_map"
    return global_state.get_global_attribute(name) is not None


def random_seed():
    """What `keras.utils.set_random_seed` was given last, or `None`.

    Needs `get_random_seed`; without it another seed is not noticed.
    """
    return rng_utils.get_random_seed()


def seeds():
    """What `keras.utils.set_random_seed` tells Keras and TensorFlow.

    Needs `_seed` and `_rng` of TensorFlow's context; without them, operations
    such as `tf.random.normal` draw other numbers after a sweep.
    """
    context = tensorflow_context.context()
    generator = getattr(context, "_rng", None)
    return random_seed(), context._seed, copy.copy(generator)


def set_seeds(found):
    """Sets what `seeds` gave, with the same needs."""
    context = tensorflow_context.context()
    seed, context._seed, context._rng = found
    global_state.set_global_attribute(rng_utils.GLOBAL_RANDOM_SEED, seed)


def global_random_state():
    """The variable behind `keras.random` where no seed is given.

    Needs `global_seed_generator`; without it what draws from it does not go
    on exactly.
    """
    return seed_generator.global_seed_generator().state


def global_random_generator():
    """The generator behind `keras.random`; `None` if it is not made yet.

    Needs `GLOBAL_SEED_GENERATOR`; without it, what is drawn from it after
    something was tried out is not what it would have been.
    """
    return global_state.get_global_attribute(
        seed_generator.GLOBAL_SEED_GENERATOR
    )


def set_global_random_generator(generator):
    """Sets what `global_random_generator` gave, with the same needs."""
    global_state.set_global_attribute(
        seed_generator.GLOBAL_SEED_GENERATOR, generator
    )


_STATES = {
    keras.callbacks.History: ("history", "epoch"),
    keras.callbacks.CSVLogger: ("keys",),  # Its columns, in their order
    keras.callbacks.EarlyStopping: (
        "wait",
        "stopped_epoch",
        "best",
        "best_weights",
        "best_epoch",
    ),
    keras.callbacks.ReduceLROnPlateau: ("best", "wait", "cooldown_counter"),
    keras.callbacks.ModelCheckpoint: (
        "best",
        "_batches_seen_since_last_saving",
        "_last_batch_seen",
        "_current_epoch",
    ),
    keras.callbacks.SwapEMAWeights: ("_ema_weights_in_model",),
    keras.callbacks.TensorBoard: (
        "_global_train_batch",
        "_global_test_batch",
    ),
}


def without_model(callback):
    """Attributes of a callback, a dict, with no model among them.

    Needs `_model`; without it, a pickled callback has its model with it.
    """
    return {**vars(callback), "_model": None}


def callback_state_names(callback):
    """Attributes in which one of Keras's callbacks remembers, a list.

    Needs the names above; one that is gone is not remembered.
    """
    return [
        name
        for kind, names in _STATES.items()
        if isinstance(callback, kind)
        for name in names
    ]


def is_internal_file(path: str) -> bool:
    """Whether Keras leaves frames of this file out of tracebacks.

    It does so with its own files and TensorFlow's. Needs `include_frame`;
    without it no error shows a short traceback.
    """
    return not traceback_utils.include_frame(path)


def leave_frames_out(
    error: tf.errors.OpError, is_internal: Callable[[str], bool]
) -> None:
    """Leaves some frames out of the stack traces in an error's message.

    TensorFlow writes there where the operation that failed was made.

    Args:
        error: The error, whose message is changed.
        is_internal: Whether to leave out the frames of a file, by its path.
    """

    def shortened(match: re.Match[str]) -> str:
        return "" if is_internal(match["path"]) else match[0]

    change_message(error, _FRAME.sub(shortened, error.message))


def change_message(error: tf.errors.OpError, message: str) -> None:
    """Sets the message of an error of TensorFlow's.

    Needs `_message`, which TensorFlow itself sets after the error is made;
    without it messages stay as TensorFlow writes them.
    """
    error._message = message

"""Finds out why a step was not finite, by running it part by part."""

import logging

import keras
import numpy as np
import tensorflow as tf

from gdtrain import keras_bridge
from gdtrain.descent import clipping, gradients, microbatches, update
from gdtrain.engine.nonfinite_report import Cause, kind_of, rows_of

_log = logging.getLogger("gdtrain")

_TRIALS = 1000  # Parts of a batch tried, at most, to find its bad examples


def find(model, data):
    """Finds the first part of a step that is not finite.

    In this order: the data, the weights before the step, what layers put
    out, the loss, the gradients on their way back, the weights after the
    update. All of it runs eagerly, outside XLA, and all variables are as they
    were in the end.

    Of a `train_step` of the user's own only the data, the weights and the
    outputs for `x` are looked at. What cannot be run gives `"nowhere"`.

    Args:
        model: A `DescentTrainer`, compiled and built, with its variables as
            they were before the step.
        data: The batch of the step: `x`, `(x, y)` or `(x, y, sample_weight)`
            of tensors or arrays.

    Returns:
        A `Cause`.

    Example:

    >>> import gdtrain
    >>> root = keras.layers.Lambda(keras.ops.sqrt, name="root")
    >>> model = gdtrain.Sequential([keras.Input([1]), root])
    >>> model.add(keras.layers.Dense(1))
    >>> model.compile("sgd", "mse")
    >>> data = np.array([[1.0], [-1.0], [4.0]]), np.ones([3, 1])
    >>> cause = find(model, data)
    >>> cause.where, cause.name, cause.kind, cause.examples
    ('output', 'root', 'NaN', (1,))
    """
    search = _Search(model, data)
    try:
        return search.run()
    except Exception:  # Whatever a model raises when it runs eagerly
        _log.debug("Not found why a step was not finite", exc_info=True)
        return search.cause("nowhere")
    finally:
        search.restore()


class _Search:
    """The search within one step.

    Args:
        model, data: As in `find`.
    """

    def __init__(self, model, data):
        self._model = model
        # A step of the user's own cannot be repeated.
        self._is_repeatable = model.repeated_loss is not None
        if self._is_repeatable:
            update.prepare(model.optimizer, model.trainable_variables)
        self._data = keras.utils.unpack_x_y_sample_weight(
            keras.tree.map_structure(_as_tensor, data)
        )
        self._batch_size = int(microbatches.examples_in(self._data[0]))
        self._before = _state(model)
        self._largest = _largest(model.trainable_variables)

    def run(self):
        """The `Cause`."""
        cause = self._in_data() or self._in_weights()
        if cause:
            return cause
        tape, notes, y_pred, loss = self._forward(self._data)
        if not self._is_repeatable:
            bad = any(map(kind_of, keras.tree.flatten(y_pred)))
            cause = self._in_outputs(notes) if bad else None
        elif kind_of(loss):
            cause = self._in_outputs(notes) or self._in_loss(y_pred, loss)
        else:
            cause = self._in_update(tape, notes, loss)
        return cause or self.cause("nowhere")

    def restore(self):
        """Sets all variables to what they were."""
        self._model.reset_metrics()  # Those too that are made meanwhile
        for variable, value in self._before:
            variable.assign(value)

    def cause(self, where, name="", tensor=None, examples=None):
        """A `Cause`, of this tensor that is not finite."""
        if examples is None and tensor is not None:
            examples = rows_of(tensor, self._batch_size)
        return Cause(
            where,
            name,
            kind_of(tensor),
            tuple(examples or ()),
            self._batch_size,
            self._largest,
            "" if tensor is None else tf.as_dtype(tensor.dtype).name,
        )

    def _in_data(self):
        for word, part in zip(("x", "y", "sample_weight"), self._data):
            for path, leaf in keras.tree.flatten_with_path(part):
                if kind_of(leaf):
                    keys = "".join(f"[{key!r}]" for key in path)
                    return self.cause("data", word + keys, leaf)
        return None

    def _in_weights(self):
        trained = {id(v) for v in self._model.trainable_variables}
        for variable in _without_metrics(self._model):
            kind = kind_of(variable)
            # Others may be infinite on purpose, as a running maximum is.
            if "NaN" in kind or (kind and id(variable) in trained):
                return self.cause("weights", variable.path, variable, ())
        return None

    def _forward(self, data):
        """`(tape, notes, y_pred, loss)`; of a step of one's own no loss."""
        x, y, sample_weight = data
        self.restore()  # The random numbers are those of the step.
        self._model.reset_metrics()
        notes = []

        def note(operation, inputs, output):
            if tf.executing_eagerly():  # Not while a function is traced
                notes.append((operation.name, inputs, _tensors(output)))

        loss = None
        with tf.GradientTape() as tape:
            with keras_bridge.calls_noted(self._model, note):
                y_pred = self._model(x, training=True)
            if self._is_repeatable:
                loss = keras_bridge.compute_loss(
                    self._model, x, y, y_pred, sample_weight
                )
        return tape, notes, y_pred, loss

    def _in_outputs(self, notes):
        for name, _, outputs in notes:
            for tensor in outputs:
                if kind_of(tensor) and not _is_swallowed(tensor, notes):
                    return self.cause("output", name, tensor)
        return None

    def _in_loss(self, y_pred, loss):
        if any(map(kind_of, self._model.losses)):
            return self.cause("loss", "added by layers", loss)
        x, y, sample_weight = self._data

        def is_bad(part):
            return kind_of(keras_bridge.compute_loss(self._model, *part))

        name = _loss_name(self._model)
        examples = self._examples_where(is_bad, (x, y, y_pred, sample_weight))
        return self.cause("loss", name, loss, examples)

    def _in_update(self, tape, notes, loss):
        """Looks at the gradients, and at the weights after the update."""
        model, optimizer = self._model, self._model.optimizer
        weights = model.trainable_variables
        names, outputs = _backward(notes)
        gradient = gradients.compute(
            tape, loss, [*outputs, *weights], optimizer
        )
        for name, one in zip(names, gradient):
            if kind_of(one):
                return self.cause("gradient", name, one)
        gradient = gradient[len(outputs):]
        for weight, one in zip(weights, gradient):
            if kind_of(one):
                examples = self._examples_where(self._is_steep, self._data)
                return self.cause("gradient", weight.path, one, examples)
        update.apply(
            optimizer,
            clipping.clip(gradient, model.global_clipnorm, optimizer),
            weights,
        )
        before = {id(variable): value for variable, value in self._before}
        for variable in _without_metrics(model):
            if kind_of(variable) and not kind_of(before[id(variable)]):
                return self.cause("update", variable.path, variable, ())
        return None

    def _is_steep(self, part):
        """Whether a part of the batch has a gradient that is not finite."""
        model = self._model
        tape, _, _, loss = self._forward(part)
        gradient = gradients.compute(
            tape, loss, model.trainable_variables, model.optimizer
        )
        return any(map(kind_of, gradient))

    def _examples_where(self, is_bad, data):
        """Positions of the examples that are bad by themselves."""
        trials = iter(range(_TRIALS))

        def positions(part, first, count):
            next(trials)
            if not is_bad(part):
                return []
            if count == 1:
                return [first]
            (left, _), (right, _) = microbatches.split(part, 2)
            half = count // 2
            return positions(left, first, half) + positions(
                right, first + half, count - half
            )

        try:
            return positions(data, 0, self._batch_size)
        except Exception:  # Too many trials, or no part can be run alone
            return []


def _as_tensor(leaf):
    return tf.convert_to_tensor(leaf) if isinstance(leaf, np.ndarray) else leaf


def _without_metrics(model):
    """What a step makes of its weights, averages and momenta."""
    return [*model.variables, *model.optimizer.variables]


def _state(model):
    """All that a step may change: `(variable, value)` of each."""
    variables = [
        *_without_metrics(model),
        *model.metrics_variables,
        keras_bridge.global_random_state(),
    ]
    distinct = {id(variable): variable for variable in variables}
    return [(v, tf.identity(v.value)) for v in distinct.values()]


def _largest(weights):
    """The largest finite weight, as `Cause` has it."""
    found = None
    for weight in weights:
        values = np.abs(np.asarray(weight.numpy(), "float64"))
        value = float(values[np.isfinite(values)].max(initial=0.0))
        if found is None or value > found["value"]:
            found = {"path": weight.path, "value": value}
    return found


def _tensors(output):
    """The float tensors among what a layer put out."""
    return [
        leaf
        for leaf in keras.tree.flatten(output)
        if isinstance(leaf, tf.Tensor) and leaf.dtype.is_floating
    ]


def _backward(notes):
    """`(names, outputs)` of layers, the last first, each tensor once."""
    distinct: dict[int, tuple[str, tf.Tensor]] = {}
    for name, _, outputs in notes:
        for tensor in outputs:
            # A model puts out the same tensor as its last layer.
            distinct.setdefault(id(tensor), (name, tensor))
    names, outputs = zip(*reversed(distinct.values()))
    return names, outputs


def _is_swallowed(tensor, notes):
    """Whether all that is computed of a tensor is finite.

    So with logits of minus infinity, which a softmax makes 0.
    """
    followers = [
        outputs
        for _, inputs, outputs in notes
        if any(one is tensor for one in inputs)
    ]
    return bool(followers) and not any(
        kind_of(one) for outputs in followers for one in outputs
    )


def _loss_name(model):
    """The name of the first loss that is not finite, or `"loss"`.

    With several outputs, Keras has a metric for each output's loss.
    """
    for metric in model.metrics:
        if any(map(kind_of, metric.variables)):
            return metric.name
    loss = model.loss
    if isinstance(loss, str):
        return loss
    name = getattr(loss, "name", None) or getattr(loss, "__name__", None)
    return name or "loss"

"""Finds out why a step was not finite, by running it part by part."""

import contextlib
import dataclasses
import logging
import re

import keras
import numpy as np
import tensorflow as tf

from gdtrain.autopsy import report, update_cause
from gdtrain.autopsy.report import Cause, kind_of, rows_of
from gdtrain.descent import clipping, gradients, microbatches, update
from gdtrain.keras_bridge import layers, losses, randomness
from gdtrain.state import variables
from gdtrain.step import guard

_log = logging.getLogger("gdtrain")

_GROWN = 100  # Times that no training in order makes weights larger
_TRIALS = 1000  # Parts of a batch tried, at most, to find its bad examples


def find(model, data, start=None):
    """Finds the first part of a step that is not as it should be.

    In this order: the weights before the step, the learning rate if it has
    made the weights grow, the data, what layers put out, the loss, the
    gradients on their way back, the weights after the update. All of it runs
    eagerly, outside XLA, and all variables are as they were in the end.

    What is named has been tried, where it can be: without it, the same step
    is finite. So NaN in the data that the model replaces, as by a mask, is
    not named, and examples are not where the weights have grown too large.

    Of a `train_step` of the user's own only the data, the weights, the
    learning rate and the outputs for `x` are looked at. What cannot be found
    is `"nowhere"`, with the reason.

    Args:
        model: A `DescentTrainer`, compiled and built, with its variables as
            they were before the step.
        data: The batch of the step: `x`, `(x, y)` or `(x, y, sample_weight)`
            of tensors or arrays; `None` if it is not at hand.
        start: Values of the weights that are trained when training began, a
            list of arrays; `None` if they are not known.

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
    if data is None:
        return Cause("nowhere", reason="Its batch is not at hand any more.")
    search = None
    try:
        search = _Search(model, data, start)
        return search.run()
    except Exception as error:  # Whatever a model raises when it runs eagerly
        _log.debug("Not found why a step was not finite", exc_info=True)
        return Cause(
            "nowhere",
            reason="Why could not be found: run once more, part by part and "
            f"outside XLA, it raised {type(error).__name__}: "
            f"{_first_sentence(error)}",
        )
    finally:
        if search is not None:
            search.restore()


class _LossRaised(Exception):
    """The loss of outputs could not be computed."""

    def __init__(self, y_pred, error):
        super().__init__(str(error))
        self.y_pred, self.error = y_pred, error


class _Search:
    """The search within one step.

    Args:
        model, data, start: As in `find`.
    """

    def __init__(self, model, data, start=None):
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
        self._start = start
        self._largest = _largest(model.trainable_variables)

    def run(self):
        """The `Cause`."""
        cause = self._in_rate() or self._in_weights()
        if cause:
            return cause
        if not self._is_repeatable:
            return self._in_own_step()
        try:
            tape, notes, y_pred, loss = self._forward(self._data)
        except _LossRaised as raised:
            return self._in_loss_raised(raised)
        if kind_of(loss):
            # Known by its metric, which the next forward pass sets anew.
            name = _loss_name(self._model)
            return self._in_forward(notes) or self._in_loss(name, y_pred, loss)
        return self._in_update(tape, notes, loss) or self.cause(
            "nowhere",
            reason="Run once more, part by part and outside XLA, nothing in "
            "it was found that is not: it has other random numbers there, or "
            "XLA computes otherwise.",
        )

    def _in_forward(self, notes):
        """What makes a forward pass not finite."""
        return (
            self._in_weights("other")
            or self._in_growth()
            or self._in_data()
            or self._in_outputs(notes)
        )

    def _in_own_step(self):
        """What can be told of a `train_step` that is not ours."""
        cause, said = None, "outputs are finite"
        try:
            _, notes, y_pred, _ = self._forward(self._data)
            if any(map(kind_of, keras.tree.flatten(y_pred))):
                cause = self._in_forward(notes)
        except Exception as error:  # It may have no `call`.
            said = f"outputs are not known ({_first_sentence(error)[:-1]})"
        return (
            cause
            or self._in_data(is_proven=False)
            or self._in_growth(is_proven=False)
            or self.cause(
                "nowhere",
                reason="Its data, weights and learning rate are finite, its "
                f"{said}. The rest of a `train_step` of its own cannot be run "
                "again in parts.",
            )
        )

    def restore(self):
        """Sets all variables to what they were."""
        self._model.reset_metrics()  # Those too that are made meanwhile
        for variable, value in self._before:
            variable.assign(value)

    def cause(self, where, name="", tensor=None, examples=None, **more):
        """A `Cause`, of this tensor that is not finite."""
        if examples is None and tensor is not None:
            examples = rows_of(tensor, self._batch_size)
        return Cause(
            **{
                "where": where,
                "name": name,
                "kind": kind_of(tensor),
                "examples": tuple(examples or ()),
                "batch_size": self._batch_size,
                "largest": self._largest,
                "dtype": (
                    "" if tensor is None else tf.as_dtype(tensor.dtype).name
                ),
            }
            | more
        )

    def _in_weights(self, which="trained"):
        """Variables before the step: what is trained and slots; or others."""
        self.restore()
        strict, others = guard.checked(self._model)
        for variable in strict if which == "trained" else others:
            kind = kind_of(variable)
            # Others may be infinite on purpose, as a running maximum is.
            if kind and (which == "trained" or "NaN" in kind):
                return self.cause("weights", variable.path, variable, ())
        return None

    def _in_rate(self):
        """A learning rate that is no finite number."""
        found = update_cause.bad_rate(variables.optimizers(self._model))
        if found is None:
            return None
        name, rate = found
        return self.cause("learning rate", name, tf.constant(rate), ())

    def _in_growth(self, is_proven=True):
        """Weights that training has made too large: the rate is at fault.

        Args:
            is_proven: Whether the step must be finite with those before.
        """
        if self._start is None:
            return None
        now = _norm(w.numpy() for w in self._model.trainable_variables)
        then = _norm(self._start)
        if not now > _GROWN * max(then, 1.0):
            return None
        if is_proven and not self._is_finite(self._data, self._start):
            return None
        optimizers = variables.optimizers(self._model)
        evidence = (
            "Since training began, the norm of the weights has gone from "
            f"{then:.2g} to {now:.2g}"
        )
        if is_proven:
            evidence += "; with those from then, the same batch is finite"
        by_decay = update_cause.too_much_decay(optimizers)
        return self.cause(
            "growth",
            update_cause.rates_said(optimizers),
            kind=f"too large for {by_decay}" if by_decay else "too large",
            advice=by_decay
            and (f"Make {by_decay} times the learning rate less than 1."),
            evidence=f"{evidence}.",
        )

    def _in_data(self, is_proven=True):
        """Data that are not finite, if the step is finite without that.

        Args:
            is_proven: Whether that is to be tried.
        """
        bad = [
            leaf for leaf in report.leaves_of(self._data) if kind_of(leaf[1])
        ]
        if not bad:
            return None
        if not is_proven:
            return self.cause("data", *bad[0])
        evidence = self._evidence_without(bad)
        if evidence is None:
            return None
        for name, leaf in bad:
            alone = report.cleaned(self._data, but=leaf)
            if len(bad) == 1 or not self._is_finite(alone, backward=False):
                return self.cause("data", name, leaf, evidence=evidence)
        return None

    def _evidence_without(self, bad):
        """Why data are at fault; `None` if they are not.

        Args:
            bad: `(name, tensor)` of all data that are not finite.
        """
        outcomes = [self._is_finite(report.cleaned(self._data), backward=False)]
        if outcomes[0]:
            return "With 0 in its place, the same step is finite."
        examples = {
            row for _, leaf in bad for row in rows_of(leaf, self._batch_size)
        }
        outcomes.append(self._is_finite_without(sorted(examples)))
        if outcomes[1]:
            return "Without these examples, the same step is finite."
        # What could not be tried is taken to be so.
        return "" if outcomes == [None, None] else None

    def _is_finite_without(self, examples):
        """Whether the step is without some examples; `None` if unknown."""
        if not 0 < len(examples) < self._batch_size:
            return None
        try:
            rest = report.batch_without(self._data, examples, self._batch_size)
        except Exception:  # Of whatever make its parts are
            return None
        return self._is_finite(rest)

    def _is_finite(self, data, weights=None, backward=True):
        """Whether a step is finite: outputs, loss and gradients.

        Args:
            data: Its batch.
            weights: Values of the weights that are trained; `None` for those
                before the step.
            backward: Whether gradients matter.

        Returns:
            A bool; `None` if it raised.
        """
        try:
            tape, _, y_pred, loss = self._forward(data, weights)
        except Exception:  # Whatever a model raises
            return None
        if not self._is_repeatable:
            return not any(map(kind_of, keras.tree.flatten(y_pred)))
        if kind_of(loss) or not backward:
            return not kind_of(loss)
        model = self._model
        return not any(
            map(
                kind_of,
                gradients.compute(
                    tape, loss, model.trainable_variables, model.optimizer
                ),
            )
        )

    def _forward(self, data, weights=None):
        """`(tape, notes, y_pred, loss)`; of a step of one's own no loss."""
        x, y, sample_weight = data
        self.restore()  # The random numbers are those of the step.
        for weight, value in zip(
            self._model.trainable_variables, weights or (), strict=False
        ):
            weight.assign(value)
        self._model.reset_metrics()
        notes = []

        def note(operation, inputs, output):
            if tf.executing_eagerly():  # Not while a function is traced
                notes.append((operation.name, inputs, _tensors(output)))

        loss = None
        with tf.GradientTape() as tape:
            with layers.observe_calls(self._model, note):
                y_pred = self._model(x, training=True)
            if self._is_repeatable:
                try:
                    loss = losses.compute_loss(
                        self._model, x, y, y_pred, sample_weight
                    )
                except Exception as error:  # As of labels out of range
                    raise _LossRaised(y_pred, error) from error
        return tape, notes, y_pred, loss

    def _in_outputs(self, notes):
        for name, _, outputs in notes:
            for tensor in outputs:
                if kind_of(tensor) and not _is_swallowed(tensor, notes):
                    cause = self.cause("output", name, tensor)
                    return self._with_evidence(cause)
        return None

    def _with_evidence(self, cause):
        """A cause, and whether the step is finite without its examples."""
        if not self._is_finite_without(cause.examples):
            return cause
        evidence = "Without these examples, the same step is finite."
        for name, leaf in report.leaves_of(self._data):
            if set(cause.examples) <= set(rows_of(leaf, self._batch_size)):
                evidence = f"There, {name} has {kind_of(leaf)}. {evidence}"
        return dataclasses.replace(cause, evidence=evidence)

    def _in_loss(self, name, y_pred, loss):
        model = self._model
        if any(map(kind_of, model.losses)):
            added = _bad_regularizer(model) or "added by layers"
            return self.cause("loss", added, loss)
        x, y, sample_weight = self._data
        cause = self._in_labels(y_pred)
        if cause:
            return cause
        if sample_weight is not None and self._is_finite(
            (x, y, None), backward=False
        ):
            return self.cause(
                "data",
                "sample_weight",
                sample_weight,
                (),
                kind="values that are too large",
                evidence="Without it, the same step is finite.",
            )

        def is_bad(part):
            return kind_of(losses.compute_loss(model, *part))

        examples = self._examples_where(is_bad, (x, y, y_pred, sample_weight))
        return self._with_evidence(self.cause("loss", name, loss, examples))

    def _in_labels(self, y_pred):
        """Labels that are none of the classes, where XLA says nothing."""
        if not _loss_name(self._model).startswith("sparse_categorical"):
            return None
        outside = report.labels_outside(self._data[1], y_pred)
        if outside is None or not outside.any():
            return None
        return self.cause(
            "data",
            "y",
            examples=np.flatnonzero(outside).tolist(),
            kind=f"labels outside of 0 to {y_pred.shape[-1] - 1}",
        )

    def _in_loss_raised(self, raised):
        """A loss that cannot be computed at all."""
        cause = self._in_labels(raised.y_pred)
        if cause:
            return cause
        x, y, sample_weight = self._data

        def is_bad(part):
            try:
                losses.compute_loss(self._model, *part)
            except type(raised.error):
                return True
            return False

        examples = self._examples_where(
            is_bad, (x, y, raised.y_pred, sample_weight)
        )
        return self.cause(
            "loss",
            _loss_name(self._model),
            examples=examples,
            kind="not computable",
            evidence=f"{type(raised.error).__name__}: "
            f"{_first_sentence(raised.error)}",
        )

    def _in_update(self, tape, notes, loss):
        """Looks at the gradients, and at the variables after the update."""
        model, optimizer = self._model, self._model.optimizer
        weights = model.trainable_variables
        names, outputs = _backward(notes)
        gradient = gradients.compute(
            tape, loss, [*outputs, *weights], optimizer
        )
        of_weights = gradient[len(outputs) :]
        if any(map(kind_of, of_weights)):
            return self._in_growth() or self._in_gradient(
                zip([*names, *(w.path for w in weights)], gradient),
                len(names),
            )
        clipped = clipping.clip(of_weights, model.global_clipnorm, optimizer)
        variable = self._bad_after(clipped)
        if variable is None:
            return None
        cause = self.cause("update", variable.path, variable, ())
        evidence, advice = update_cause.reason(
            optimizer, clipped, self._is_finite_after
        )
        return dataclasses.replace(cause, evidence=evidence, advice=advice)

    def _in_gradient(self, named, outputs):
        """The first gradient that is not finite, from the loss backwards.

        Args:
            named: `(name, gradient)`, first of outputs, then of weights.
            outputs: How many are of outputs.
        """
        for place, (name, one) in enumerate(named):
            if kind_of(one):
                examples = None
                if place >= outputs:
                    examples = self._examples_where(self._is_steep, self._data)
                return self._with_evidence(
                    self.cause("gradient", name, one, examples)
                )
        return None

    def _bad_after(self, gradient, changed=contextlib.nullcontext()):
        """The first variable that an update makes not finite, or `None`."""
        self.restore()
        model = self._model
        with changed:
            update.apply(model.optimizer, gradient, model.trainable_variables)
        before = {id(variable): value for variable, value in self._before}
        for variable in _without_metrics(model):
            if kind_of(variable) and not kind_of(before[id(variable)]):
                return variable
        return None

    def _is_finite_after(self, gradient, changed):
        return self._bad_after(gradient, changed) is None

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


def _norm(arrays):
    """The norm of arrays together, in float64."""
    return (
        sum(float(np.sum(np.asarray(a, "float64") ** 2)) for a in arrays) ** 0.5
    )


def _first_sentence(error):
    """The first sentence of an error of TensorFlow, without its node."""
    text = str(error).strip()
    # Keras says first in which layer, and prints in bold what it was.
    wrapped = re.search(r"\x1b\[1m(.*?)\x1b\[0m", text, re.DOTALL)
    text = (wrapped[1] if wrapped else text).strip().partition("\n")[0]
    text = re.sub(r"^\{\{function_node .*?\}\} *", "", text)
    text = re.split(r"(?<=[.)])  | \[Op:", text)[0].rstrip(". ")
    return (text or "without a word") + "."


def _bad_regularizer(model):
    """Which weight's regularizer is not finite, in words; or `None`."""
    for weight in model.trainable_variables:
        regularizer = getattr(weight, "regularizer", None)
        if regularizer and kind_of(regularizer(weight)):
            return f"regularizer of {weight.path}"
    return None


def _as_tensor(leaf):
    return tf.convert_to_tensor(leaf) if isinstance(leaf, np.ndarray) else leaf


def _without_metrics(model):
    """What a step makes of its weights, averages and momenta."""
    return [*model.variables, *model.optimizer.variables]


def _state(model):
    """All that a step may change: `(variable, value)` of each."""
    every = [
        *(one for some in variables.of(model).values() for one in some),
        randomness.global_random_state(),
    ]
    distinct = {id(variable): variable for variable in every}
    return [
        (one, tf.identity(tf.convert_to_tensor(one)))
        for one in distinct.values()
    ]


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

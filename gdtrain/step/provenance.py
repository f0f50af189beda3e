"""The scalars that a step returns, and where they come from.

A step may return a number of its batch, such as `{"loss": loss}`, or the state
of a metric, such as `{"loss": tracker.result()}`: then the number is a running
mean over the epoch so far. Its name does not say which. In a graph it is found
by walking from the scalar back to what it is made of; eagerly, by comparing
its value with the results of the metrics. Only of what a `tf.function` within
the step returns, which hides what it is made of, the name decides.
"""

from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from gdtrain.common.explained import more
from gdtrain.descent import gradients, replicas
from gdtrain.keras_bridge import losses as keras_metrics


def check_returned(logs: Any, method: str) -> Any:
    """Returns what `train_step` or `test_step` returned, a dict.

    Args:
        logs: What it returned.
        method: The name of the method.

    Raises:
        TypeError: if it is not a dict.

    Example:

    >>> check_returned({"loss": 1.0}, "train_step")
    {'loss': 1.0}
    >>> check_returned(None, "train_step")
    Traceback (most recent call last):
    TypeError: `train_step` must return a dict of numbers by name. Received...
    """
    if hasattr(logs, "items"):  # Whatever kind of mapping the user returns
        return logs
    if logs is None:
        received = "nothing (None)"
    elif tf.is_tensor(logs):
        received = f"a tensor of shape {logs.shape} and dtype {logs.dtype.name}"
    else:
        received = f"{logs!r} of type {type(logs).__name__}"
    raise TypeError(
        f"`{method}` must return a dict of numbers by name. Received: "
        f'{received}. End it with `return {{"loss": loss}}`, or with '
        "`return self.compute_metrics(x, y, y_pred)`." + more("train-step")
    )


def add_scalars(
    total: dict[str, Any], logs: Any, share: Any, parts: int
) -> dict[str, Any]:
    """Adds the scalars in `logs` to their running mean over micro-batches."""
    if not isinstance(logs, dict):
        return {}
    found = {key: scalar(value) for key, value in logs.items()}
    scalars = {key: one for key, one in found.items() if one is not None}
    if parts == 1:
        return scalars
    sums = gradients.add_share(
        [total[key] for key in scalars] if total else None,
        list(scalars.values()),
        share,
    )
    return dict(zip(scalars, sums, strict=True))


def scalar(value: Any) -> tf.Tensor | None:
    """`value` as a float32 scalar, or `None` if it is not a real scalar."""
    if value is None or isinstance(value, (str, bytes)):
        return None
    try:
        tensor = tf.convert_to_tensor(value)
    except (TypeError, ValueError):
        return None
    kind = tensor.dtype
    if tensor.shape.rank != 0 or not (
        kind.is_floating or kind.is_integer or kind.is_bool
    ):
        return None
    return tf.cast(tensor, tf.float32)


class MetricResult(NamedTuple):
    """The result of a metric, or an entry of it if it is a dict.

    Args:
        metric: The metric.
        entry: The key of the entry; `None` for the result itself.
    """

    metric: keras.metrics.Metric
    entry: str | None

    def __call__(self) -> Any:
        """The result as it is now, a scalar tensor."""
        return self._entry(self.metric.result())

    def of_state(self, values: list[Any]) -> Any:
        """The result that the metric would have with other variables."""
        return self._entry(self.metric.stateless_result(values))

    def _entry(self, result: Any) -> Any:
        return result if self.entry is None else result[self.entry]


class Origins(NamedTuple):
    """Which of the scalars that a step returns are states of metrics.

    Args:
        results: Those that are results of metrics, by name.
        states: Names of others that are made of metrics' variables alone.
    """

    results: dict[str, MetricResult]
    states: tuple[str, ...]

    def now(self, logs: Any) -> Any:
        """What the step returned, with the results as they are now."""
        found = {name: result() for name, result in self.results.items()}
        return logs | found if found else logs


def of(logs: Any, model: keras.Model) -> Origins:
    """Finds where the scalars come from that a step has just returned.

    Args:
        logs: What it returned; scalars by name.
        model: The model.
    """
    if not isinstance(logs, dict):
        return Origins({}, ())
    metrics = keras_metrics.leaf_metrics(model)
    trace = _by_value if tf.executing_eagerly() else _by_graph
    return trace(logs, metrics)


def _results(metric: keras.metrics.Metric) -> dict[MetricResult, Any]:
    """All results of a metric: one, or each of a dict."""
    found = metric.result()
    if isinstance(found, dict):
        return {MetricResult(metric, k): v for k, v in found.items()}
    return {MetricResult(metric, None): found}


def _by_value(
    logs: dict[str, Any], metrics: list[keras.metrics.Metric]
) -> Origins:
    """Compares numbers with the results of metrics.

    Where both are equal by chance, as at the first step of an epoch, both have
    the same mean over the epoch.
    """
    known = [
        (result, np.asarray(value))
        for metric in metrics
        for result, value in _results(metric).items()
    ]
    results: dict[str, MetricResult] = {}
    for name, value in logs.items():
        for result, other in known:
            if _are_equal(np.asarray(value), other):
                results.setdefault(name, result)
    return Origins(results, ())


def _are_equal(value: np.ndarray, other: np.ndarray) -> bool:
    """Whether two scalars are the same number, or both not a number."""
    if value.shape or other.shape or value.dtype.kind in "OSU":
        return False
    return bool(value == other or (value != value and other != other))


def _by_graph(
    logs: dict[str, Any], metrics: list[keras.metrics.Metric]
) -> Origins:
    """Walks through the graph that is being traced."""
    graph = tf.compat.v1.get_default_graph()
    owners = {
        _key(_handle(variable)): metric
        for metric in metrics
        for variable in metric.variables
    }
    results: dict[str, MetricResult] = {}
    states = []
    for name, value in logs.items():
        if isinstance(value, (keras.Variable, tf.Variable)):
            value = tf.convert_to_tensor(value)
        if not isinstance(value, tf.Tensor) or value.graph is not graph:
            continue
        read, has_batch = _sources(value, owners, graph)
        if has_batch and _is_of_a_call(value):
            named = _by_name(name, read)
            if named is not None:
                results[name] = named
            continue
        if has_batch or not read:
            continue
        recipe = _recipe(value)
        same = (
            result
            for metric in read
            for result, other in _results(metric).items()
            if _recipe(tf.convert_to_tensor(other)) == recipe
        )
        found = next(same, None)
        if found is not None:
            results[name] = found
        elif value.shape.rank == 0:
            states.append(name)
    return Origins(results, tuple(states))


def _is_of_a_call(tensor: tf.Tensor) -> bool:
    """Whether a function that is compiled by itself returned a tensor."""
    while tensor.op.type == "Identity":
        tensor = tensor.op.inputs[0]
    return tensor.op.type in ("PartitionedCall", "StatefulPartitionedCall")


def _by_name(
    name: str, metrics: list[keras.metrics.Metric]
) -> MetricResult | None:
    """The result that a scalar is taken for by its name, if there is one.

    What a function that is compiled by itself does cannot be seen from
    outside. If it uses a metric and returns a scalar of this name, that is
    the metric's result, as in `{"loss": self.loss_tracker.result()}`; if it is
    not, both have the same mean over an epoch.

    Args:
        name: Of the scalar.
        metrics: Those whose variables the function takes.
    """
    found = (
        result
        for metric in metrics
        for result in _results(metric)
        if name == (result.entry or metric.name)
    )
    return next(found, None)


def _sources(
    tensor: tf.Tensor,
    owners: dict[tuple[str, int], keras.metrics.Metric],
    graph: Any,
) -> tuple[list[keras.metrics.Metric], bool]:
    """Which metrics a tensor in a graph is made of, and whether of a batch.

    Args:
        tensor: The tensor.
        owners: The metrics, by the handles of their variables.
        graph: The graph.
    """
    captured = {_key(inner) for _, inner in graph.captures}
    read, has_batch = {}, False
    seen = set()
    rest = [tensor]
    while rest:
        one = rest.pop()
        key = _key(one)
        if key in seen:
            continue
        seen.add(key)
        if key in owners:
            read[id(owners[key])] = owners[key]
        elif one.op.type == "Placeholder" and key not in captured:
            has_batch = True
        rest.extend(one.op.inputs)
    return list(read.values()), has_batch


def _key(tensor: tf.Tensor) -> tuple[str, int]:
    """Which output of which operation of its graph a tensor is."""
    return tensor.op.name, tensor.value_index


def _handle(variable: Any) -> tf.Tensor:
    """The handle by which the graph that is being traced reads a variable."""
    tensor = tf.convert_to_tensor(variable)
    while tensor.op.type != "ReadVariableOp":
        tensor = tensor.op.inputs[0]
    return tensor.op.inputs[0]


def _recipe(tensor: tf.Tensor) -> tuple:
    """How a tensor is computed from variables and constants, comparable."""
    known: dict[tuple[str, int], tuple] = {}
    numbers: dict[tuple, int] = {}  # A tensor that is used twice counts once.

    def visit(one: tf.Tensor) -> int:
        key = _key(one)
        if key not in known:
            operation = one.op
            if operation.type == "Const":
                constant = operation.get_attr("value").SerializeToString()
                recipe: tuple = ("Const", constant)
            elif one.dtype == tf.resource:
                recipe = ("handle", *key)
            else:
                inputs = tuple(visit(each) for each in operation.inputs)
                recipe = (operation.type, one.value_index, one.dtype, inputs)
            known[key] = recipe
            numbers.setdefault(recipe, len(numbers))
        return numbers[known[key]]

    visit(tensor)
    return tuple(numbers)


class BatchMetrics:
    """What metrics have counted in one step, from their states around it.

    A metric of Keras adds up: what it counted in a step is its state after
    the step minus that before, and the result of that is the batch's own. In
    float32 its error grows with the epoch: some 1e-7 times the number of
    batches so far.

    Args:
        model: The model, before the step.
    """

    def __init__(self, model: keras.Model) -> None:
        #: Whether a graph lacks the state before it of a metric that was made
        #: while it was traced; traced again, it has it.
        self.is_incomplete = False
        self._before = {
            id(metric): [tf.convert_to_tensor(v) for v in metric.variables]
            for metric in keras_metrics.leaf_metrics(model)
            if _adds_up(metric)
        }

    def of(self, results: dict[str, MetricResult]) -> dict[str, Any]:
        """The results of the batch alone, float32 scalars by name.

        Args:
            results: Results of metrics by name; those of which the batch's own
                is not known are skipped.
        """
        found = {}
        for name, result in results.items():
            before = self._state_before(result.metric)
            if before is not None:
                change = replicas.sums(
                    [
                        tf.convert_to_tensor(now) - old
                        for now, old in zip(
                            result.metric.variables, before, strict=True
                        )
                    ]
                )
                found[name] = tf.cast(result.of_state(change), tf.float32)
        return found

    def _state_before(
        self, metric: keras.metrics.Metric
    ) -> list[tf.Tensor] | None:
        """A metric's variables before the step; `None` if not known."""
        if id(metric) in self._before or not _adds_up(metric):
            return self._before.get(id(metric))
        if tf.executing_eagerly():  # It was made in this step.
            return [tf.zeros(v.shape, v.dtype) for v in metric.variables]
        self.is_incomplete = True
        return None


def summed_variables(model: keras.Model) -> list[keras.Variable]:
    """The variables of a model's metrics that are sums over examples."""
    return [
        variable
        for metric in keras_metrics.leaf_metrics(model)
        if _adds_up(metric)
        for variable in metric.variables
    ]


def _adds_up(metric: keras.metrics.Metric) -> bool:
    """Whether a metric's variables are sums over examples."""
    return isinstance(metric, keras.metrics.Mean) or (
        keras_metrics.is_keras_metric(metric)
    )

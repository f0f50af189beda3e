"""The outputs of a model: activation, and the loss that each one has."""

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from gdtrain.keras_bridge import losses

#: Operations of a program that are an activation
_ACTIVATIONS = {
    "Elu": "elu",
    "Exp": "exponential",
    "LogSoftmax": "log_softmax",
    "Relu": "relu",
    "Relu6": "relu6",
    "Selu": "selu",
    "Sigmoid": "sigmoid",
    "Softmax": "softmax",
    "Softplus": "softplus",
    "Softsign": "softsign",
    "Tanh": "tanh",
}
#: Those that end a layer without one
_LINEAR = {
    "Add",
    "AddV2",
    "BatchMatMulV2",
    "BiasAdd",
    "Conv2D",
    "Einsum",
    "MatMul",
    "Mul",
    "Sub",
    "Sum",
}
#: Those that give what they receive, in another form
_SAME_VALUES = {
    "Cast",
    "ExpandDims",
    "Identity",
    "Reshape",
    "Squeeze",
    "StopGradient",
    "Transpose",
}


@dataclasses.dataclass(frozen=True)
class Output:
    """One output of a model.

    Args:
        name: `""` if it is the only one.
        activation: Of the last layer, such as `"softmax"` or `"linear"`;
            `None` if unknown.
        loss: The name of the function of Keras that is its loss, such as
            `"binary_crossentropy"`; `None` if unknown, or if it has none.
        from_logits: Whether the loss takes numbers before softmax or sigmoid;
            `None` if it does not depend on that, or is unknown.
        has_logits: Whether a softmax or sigmoid is the last operation: Keras
            then computes a cross-entropy from the numbers before it, whatever
            `from_logits` says.
        units: The length of the last axis.
        reduction: Of the loss, as Keras names it; `None` if unknown.
        function: The function, and `arguments` of it; `None` if unknown.
    """

    name: str
    activation: str | None
    loss: str | None
    from_logits: bool | None
    units: int
    has_logits: bool = False
    function: Callable | None = dataclasses.field(default=None, repr=False)
    arguments: dict[str, Any] = dataclasses.field(
        default_factory=dict, repr=False
    )
    reduction: str | None = dataclasses.field(default=None, repr=False)


def of(model: keras.Model, x: Any) -> list[Output]:
    """The outputs of a model, called with a few examples.

    Args:
        model: Compiled and built.
        x: A few examples.

    Example:

    >>> last = keras.layers.Dense(3, activation="softmax")
    >>> model = keras.Sequential([keras.Input([2]), last])
    >>> model.compile(loss="sparse_categorical_crossentropy")
    >>> [found] = of(model, tf.zeros([2, 2]))
    >>> found.activation, found.loss, found.from_logits, found.units
    ('softmax', 'sparse_categorical_crossentropy', False, 3)
    """
    traced: list[Any] = []

    def call(x: Any) -> None:
        # What layers keep of a call, as added losses, ends with the scope
        with keras.StatelessScope(collect_losses=True):
            traced.append(model(x, training=False))

    tf.function(call, autograph=False).get_concrete_function(x)
    predicted = traced[-1]
    values = keras.tree.flatten(predicted)
    names = names_of(model, predicted)
    found = []
    for name, value, loss in zip(
        names, values, _losses(model, names), strict=True
    ):
        function, arguments, reduction = known(loss)
        found.append(
            Output(
                name if len(names) > 1 else "",
                _activation(value),
                function.__name__ if function else None,
                _from_logits(function, arguments),
                int(value.shape[-1]) if value.shape.rank else 1,
                losses.has_logits(value),
                function,
                arguments,
                reduction,
            )
        )
    return found


def names_of(model: keras.Model, predicted: Any) -> list[str]:
    """The names of outputs, in the order of `keras.tree.flatten`."""
    count = len(keras.tree.flatten(predicted))
    if isinstance(predicted, dict):
        return [str(key) for key in sorted(predicted)]
    names = getattr(model, "output_names", None)  # Only a graph has them
    if names and len(names) == count:
        return list(names)
    return [str(index) for index in range(count)]


def by_output(some: Any, names: list[str]) -> list[Any]:
    """What each output has of a structure, as targets; `None` if unknown."""
    if isinstance(some, dict):
        return [some.get(name) for name in names]
    flat = list(some) if isinstance(some, (list, tuple)) else [some]
    return flat if len(flat) == len(names) else [None] * len(names)


def _losses(model: keras.Model, names: list[str]) -> list[Any]:
    """The loss of each output as it was compiled; `None` if unknown."""
    if type(model).compute_loss is not keras.Model.compute_loss:
        return [None] * len(names)
    loss = model.loss
    if not isinstance(loss, (dict, list, tuple)):
        return [loss] * len(names)
    return by_output(loss, names)


def known(loss: Any) -> tuple[Callable | None, dict[str, Any], str | None]:
    """Function, arguments and reduction of a loss; `None` if unknown.

    Args:
        loss: As `keras.Model.compile` takes it, for one output.
    """
    if isinstance(loss, str):
        try:
            loss = keras.losses.get(loss)
        except ValueError:  # Keras says so when it trains.
            return None, {}, None
    if isinstance(loss, keras.losses.Loss):
        function, arguments = losses.function_of_loss(loss)
        return function, arguments, loss.reduction
    if getattr(loss, "__module__", "").startswith("keras."):
        return loss, {}, "sum_over_batch_size"
    return None, {}, None


_WITH_LOGITS = (
    keras.losses.binary_crossentropy,
    keras.losses.binary_focal_crossentropy,
    keras.losses.categorical_crossentropy,
    keras.losses.categorical_focal_crossentropy,
    keras.losses.sparse_categorical_crossentropy,
)


def _from_logits(
    function: Callable | None, arguments: dict[str, Any]
) -> bool | None:
    if function not in _WITH_LOGITS:
        return None
    return bool(arguments.get("from_logits", False))


def with_logits(loss: Any, from_logits: bool) -> Any:
    """A loss of Keras with another `from_logits`; others as they are.

    Example:

    >>> with_logits("binary_crossentropy", True).get_config()["from_logits"]
    True
    """
    function, arguments, reduction = known(loss)
    if function is None or function not in _WITH_LOGITS:
        return loss
    if not isinstance(loss, keras.losses.Loss):
        name = "".join(part.title() for part in function.__name__.split("_"))
        loss = getattr(keras.losses, name)()
    config = loss.get_config() | {"from_logits": from_logits}
    return type(loss).from_config(config)


def _activation(value: tf.Tensor) -> str | None:
    """The activation of an output of a program that is being traced."""
    while value.op.type in _SAME_VALUES:
        value = value.op.inputs[0]
    kind = value.op.type
    return "linear" if kind in _LINEAR else _ACTIVATIONS.get(kind)

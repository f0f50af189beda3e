"""All variables that training a model moves, and their values."""

import keras
import numpy as np
import tensorflow as tf

from gdtrain import keras_bridge

KINDS = ("weight", "optimizer", "metric", "other")


def build(model, batch_spec):
    """Makes all variables before the first step, as that would.

    Args:
        model: A `DescentTrainer`, compiled.
        batch_spec: A structure of `tf.TensorSpec`, of a batch.

    Returns:
        Whether they are made: what a `train_step` of the user's own makes is
        not known before it.
    """
    if model.repeated_loss is None:
        return False
    return keras_bridge.build(model, batch_spec)


def of(model):
    """The variables of a model by kind, each once.

    Args:
        model: A `keras.Model`, compiled.

    Returns:
        Lists under "weight" (with the states of layers' random generators),
        "optimizer" (of all its optimizers), "metric", and "other": variables
        that are attributes of the model or its layers, such as the states of
        recurrent layers that are stateful.
    """
    found = {
        "weight": model.variables,
        "optimizer": [v for o in optimizers(model) for v in o.variables],
        "metric": model.metrics_variables,
        "other": _others(model),
    }
    seen: set[int] = set()
    for kind, variables in found.items():
        found[kind] = [v for v in variables if id(v) not in seen]
        seen.update(map(id, variables))
    return found


def optimizers(model):
    """The optimizers of a model: the compiled one, and attributes."""
    found: list = []
    for value in [model.optimizer, *vars(model).values()]:
        several = isinstance(value, (list, tuple, dict))
        if isinstance(value, dict):
            value = value.values()
        for one in value if several else [value]:
            if isinstance(one, keras.optimizers.Optimizer) and not any(
                one is other for other in found
            ):
                found.append(one)
    return found


def _others(model):
    """What TensorFlow finds beside what Keras knows, and what losses keep."""
    kinds = (keras.Variable, tf.Variable, tf.distribute.DistributedValues)
    kept = [
        value
        for loss in keras.tree.flatten(model.loss)
        for value in getattr(loss, "__dict__", {}).values()
    ]
    found = tf.train.TrackableView(model).descendants()
    return [one for one in [*found, *kept] if isinstance(one, kinds)]


def values(variables, strategy):
    """Values of some variables, a list of arrays.

    A variable that is not the same on all replicas has an array for each, a
    tuple.
    """
    found: list = []
    for variable in variables:
        each = [part.numpy() for part in parts(variable, strategy)]
        first = each[0].tobytes()
        same = all(one.tobytes() == first for one in each)
        found.append(each[0] if same else tuple(each))
    return found


def assign(variables, found, strategy):
    """Sets variables to what `values` found."""
    for variable, value in zip(variables, found, strict=True):
        local = parts(variable, strategy)
        each = value if isinstance(value, tuple) else [value] * len(local)
        for part, one in zip(local, each, strict=True):
            part.assign(one)


def parts(variable, strategy):
    """The TensorFlow variable on each replica of this process."""
    if isinstance(variable, keras.Variable):
        variable = variable.value
    return strategy.experimental_local_results(variable)


def difference(kind, variables, found):
    """What keeps variables from being set to values: a string, or `None`.

    Args:
        kind: What they are, a word.
        variables: A list.
        found: What `values` found of others.
    """
    for index, (variable, value) in enumerate(
        zip(variables, found, strict=False)
    ):
        value = value[0] if isinstance(value, tuple) else value
        here = tuple(variable.shape), str(tf.as_dtype(variable.dtype).name)
        there = np.shape(value), str(tf.as_dtype(value.dtype).name)
        if here != there:
            return (
                f"{kind} variable {index}, {name_of(variable)!r}, has shape "
                f"{here[0]} and dtype {here[1]}; in the checkpoint it has "
                f"{there[0]} and {there[1]}"
            )
    if len(variables) != len(found):
        more = [name_of(v) for v in variables[len(found) :][:1]]
        return (
            f"there are {len(variables)} {kind} variables"
            + (f" ({more[0]!r} is the first new one)" if more else "")
            + f"; in the checkpoint there are {len(found)}"
        )
    return None


def name_of(variable):
    """The name under which a user knows a variable."""
    return getattr(variable, "path", variable.name)

"""All variables that training a model moves, and their values."""

import keras
import numpy as np
import tensorflow as tf

from gdtrain.keras_bridge import layers, models, randomness
from gdtrain.state import reach

KINDS = ("weight", "optimizer", "metric", "other")


def build(model, batch_spec):
    """Makes all variables before the first step, as that would.

    Args:
        model: A `DescentTrainer`, compiled.
        batch_spec: A batch, or a structure of `tf.TensorSpec` of one.

    Returns:
        Whether they are made: what a `train_step` of the user's own makes is
        not known before it.
    """
    if model.repeated_loss is None:
        return False
    return models.build(model, batch_spec)


def of(model, reached=None):
    """The variables of a model by kind, each once.

    What Keras knows of comes first, then what the model's own code can reach
    (see `gdtrain.state.reach`), then what the traced step was seen to use.

    Args:
        model: A `keras.Model`, compiled.
        reached: What `reach.of` gave, if it was asked just now.

    Returns:
        Lists under "weight" (with the states of layers' random generators),
        "optimizer" (of all its optimizers), "metric", and "other": such as
        the states of stateful recurrent layers and of other generators.
    """
    reached = reach.of(model) if reached is None else reached
    found = {
        "weight": [
            *model.variables,
            *_of_kind(reached, keras.layers.Layer),
        ],
        "optimizer": [
            v for _, o in _optimizers(model, reached) for v in o.variables
        ],
        "metric": [
            *model.metrics_variables,
            *_of_kind(reached, keras.metrics.Metric),
        ],
        "other": [*_others(model), *_reached_others(reached)],
    }
    seen = _set_elsewhere(model)
    for kind, variables in found.items():
        found[kind] = _new(variables, seen)
    # Last, as what was reached may be these by other objects
    found["other"] += _new(_used_by_program(model), seen)
    return found


def named_optimizers(model, reached=None):
    """Names and optimizers of a model: the compiled one, named so, first."""
    reached = reach.of(model) if reached is None else reached
    return _optimizers(model, reached)


def optimizers(model):
    """The optimizers of a model: the compiled one, and all it reaches."""
    return [optimizer for _, optimizer in named_optimizers(model)]


def _optimizers(model, reached):
    found = {id(None): None}
    named = []
    for name, one in [("optimizer", model.optimizer), *reached]:
        if isinstance(one, keras.optimizers.Optimizer) and id(one) not in found:
            found[id(one)] = one
            # One that scales the loss has another within.
            inner = getattr(one, "inner_optimizer", None)
            found[id(inner)] = inner
            named.append((name, one))
    return named


def _of_kind(reached, kind):
    """Variables of some of the objects that were reached."""
    some = [one for _, one in reached if isinstance(one, kind)]
    return [variable for one in some for variable in one.variables]


def _reached_others(reached):
    """Variables that are reached by themselves, or of generators."""
    found = []
    for _, one in reached:
        if isinstance(one, reach.VARIABLES):
            found.append(one)
        elif isinstance(one, (keras.random.SeedGenerator, tf.random.Generator)):
            found.append(one.state)
        elif isinstance(one, tf.Module) and not isinstance(
            one, (keras.layers.Layer, keras.metrics.Metric)
        ):
            found += one.variables
    return found


def _others(model):
    """What TensorFlow finds beside what Keras knows, and what losses keep."""
    kept = [
        value
        for loss in keras.tree.flatten(model.loss)
        for value in getattr(loss, "__dict__", {}).values()
    ]
    found = tf.train.TrackableView(model).descendants()
    return [one for one in [*found, *kept] if isinstance(one, reach.VARIABLES)]


def _used_by_program(model):
    """Variables that the traced steps of `fit` read or write."""
    return getattr(model.train_function, "variables", [])


def _set_elsewhere(model):
    """Keys of variables that are no part of the model."""
    kept = model.step_observers.memory.variables
    generators = [
        randomness.global_random_generator(),
        tf.random.get_global_generator(),
    ]
    apart = [variable for some in kept.values() for variable in some]
    apart += [one.state for one in generators if one is not None]
    return {key for one in apart for key in _keys(one)}


def _new(variables, seen):
    """Those that were not seen, each once; they are seen then."""
    new = []
    for variable in variables:
        keys = _keys(variable)
        if not keys & seen:
            new.append(variable)
        seen |= keys
    return new


def _keys(variable):
    """What a variable is known by, also if another object stands for it."""
    known = {id(variable)}
    if isinstance(variable, keras.Variable):
        variable = layers.tensorflow_variable(variable)
    replicated = isinstance(variable, tf.distribute.DistributedValues)
    parts = getattr(variable, "values", ()) if replicated else ()
    return known | {id(variable), *map(id, parts)}


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

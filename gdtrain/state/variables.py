"""All variables that training a model changes, and their values."""

import contextlib
import random
from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

import keras
import numpy as np
import tensorflow as tf

from gdtrain.keras_bridge import layers, models, randomness
from gdtrain.keras_bridge.optimizers import unwrapped
from gdtrain.state import own_code
from gdtrain.state.own_code import Reached

KINDS = ("weight", "optimizer", "metric", "other")

#: A variable of Keras or of TensorFlow
Variable = Any
#: An array, or a tuple of one for each replica if they differ
Value = Any
Strategy: TypeAlias = tf.distribute.Strategy


def build(model: keras.Model, batch_spec: Any) -> bool:
    """Makes all variables before the first step, as that would.

    Args:
        model: A `DescentTrainer`, compiled.
        batch_spec: A batch, or a structure of `tf.TensorSpec` of one.

    Returns:
        Whether they are made. What a user's own `train_step` makes is not
        known before it runs.
    """
    return model._uses_default_step and models.build(model, batch_spec)


def of(
    model: keras.Model, reached: Reached | None = None
) -> dict[str, list[Variable]]:
    """The variables of a model by kind, each once.

    What Keras knows of comes first, then what the model's own code can reach
    (see `gdtrain.state.own_code`), then what the traced step was seen to use.

    Args:
        model: A `keras.Model`, compiled.
        reached: What `own_code.reached_from` gave, if it was called just now.

    Returns:
        Lists under "weight" (with the states of layers' random generators),
        "optimizer" (of all its optimizers), "metric", and "other": such as
        the states of stateful recurrent layers and of other generators.
    """
    reached = own_code.reached_from(model) if reached is None else reached
    found: dict[str, list[Variable]] = {
        "weight": list(model.variables),
        "optimizer": [
            variable
            for _, optimizer in named_optimizers(model, reached)
            for variable in optimizer.variables
        ],
        "metric": list(model.metrics_variables),
        "other": _tracked(model),
    }
    for _, one in reached:
        if isinstance(one, keras.layers.Layer):
            found["weight"] += one.variables
        elif isinstance(one, keras.metrics.Metric):
            found["metric"] += one.variables
        elif isinstance(one, own_code.VARIABLES):
            found["other"].append(one)
        elif isinstance(one, own_code.GENERATORS):
            found["other"].append(one.state)
        elif isinstance(one, tf.Module):
            found["other"] += one.variables
    seen = _keys_elsewhere(model)
    for kind, variables in found.items():
        found[kind] = _new(variables, seen)
    # Last, as what was reached may be these by other objects
    used = getattr(model.train_function, "variables", [])  # By a traced step
    found["other"] += _new(used, seen)
    return found


def named_optimizers(
    model: keras.Model, reached: Reached | None = None
) -> list[tuple[str, keras.optimizers.Optimizer]]:
    """Names and optimizers: `"optimizer"`, the compiled one, comes first."""
    reached = own_code.reached_from(model) if reached is None else reached
    seen = {id(None)}
    named = []
    for name, one in [("optimizer", model.optimizer), *reached]:
        if isinstance(one, keras.optimizers.Optimizer) and id(one) not in seen:
            seen |= {id(one), id(unwrapped(one))}
            named.append((name, one))
    return named


def optimizers(model: keras.Model) -> list[keras.optimizers.Optimizer]:
    """The optimizers of a model: the compiled one, and all it reaches."""
    return [optimizer for _, optimizer in named_optimizers(model)]


def _tracked(model: keras.Model) -> list[Variable]:
    """What TensorFlow finds beside what Keras knows, and what losses keep."""
    kept = [
        value
        for loss in keras.tree.flatten(model.loss)
        for value in getattr(loss, "__dict__", {}).values()
    ]
    found = [*tf.train.TrackableView(model).descendants(), *kept]
    return [one for one in found if isinstance(one, own_code.VARIABLES)]


def _keys_elsewhere(model: keras.Model) -> set[int]:
    """Keys of variables that are saved apart from the model's."""
    kept = model._step_hooks.step_variables.variables
    generators = [
        randomness.global_random_generator(),
        tf.random.get_global_generator(),
    ]
    apart = [variable for some in kept.values() for variable in some]
    apart += [one.state for one in generators if one is not None]
    return {key for one in apart for key in _keys(one)}


def _new(variables: Iterable[Variable], seen: set[int]) -> list[Variable]:
    """Those that are not in `seen`, each once; adds them to it."""
    new = []
    for variable in variables:
        keys = _keys(variable)
        if not keys & seen:
            new.append(variable)
        seen |= keys
    return new


def _keys(variable: Variable) -> set[int]:
    """Identifies a variable, also if a different object stands for it."""
    known = {id(variable)}
    if isinstance(variable, keras.Variable):
        variable = layers.tensorflow_variable(variable)
    replicated = isinstance(variable, tf.distribute.DistributedValues)
    return (
        known
        | {id(variable)}
        | set(map(id, variable.values if replicated else ()))
    )


def parts(variable: Variable, strategy: Strategy) -> tuple[tf.Variable, ...]:
    """The TensorFlow variable on each replica of this process."""
    if isinstance(variable, keras.Variable):
        variable = variable.value
    return strategy.experimental_local_results(variable)


def values(variables: Iterable[Variable], strategy: Strategy) -> list[Value]:
    """Values of some variables.

    A variable that is not the same on all replicas has an array for each, a
    tuple.
    """
    found: list[Value] = []
    for variable in variables:
        each = [part.numpy() for part in parts(variable, strategy)]
        first = each[0].tobytes()
        same = all(one.tobytes() == first for one in each)
        found.append(each[0] if same else tuple(each))
    return found


def assign(
    variables: Iterable[Variable], found: Iterable[Value], strategy: Strategy
) -> None:
    """Sets variables to what `values` found."""
    for variable, value in zip(variables, found, strict=True):
        local = parts(variable, strategy)
        each = value if isinstance(value, tuple) else [value] * len(local)
        for part, one in zip(local, each, strict=True):
            part.assign(one)


class KeptValues:
    """The values that variables have now, to be set back as often as needed.

    Args:
        variables: Of Keras or of TensorFlow, each once.
        strategy: Theirs.

    Example:

    >>> weight = keras.Variable([1.0, 2.0])
    >>> kept = KeptValues([weight], tf.distribute.get_strategy())
    >>> _ = weight.assign([3.0, 4.0])
    >>> kept.set_back()
    >>> weight.numpy().tolist()
    [1.0, 2.0]
    """

    def __init__(
        self, variables: Iterable[Variable], strategy: Strategy
    ) -> None:
        self._variables, self._strategy = list(variables), strategy
        self._values = values(self._variables, strategy)

    def set_back(self) -> None:
        """Sets the variables to these values."""
        assign(self._variables, self._values, self._strategy)


def difference(
    kind: str, variables: list[Variable], found: list[Value]
) -> str | None:
    """What keeps variables from being set to values; `None` if nothing does.

    Args:
        kind: What they are, a word.
        variables: The variables.
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


def name_of(variable: Variable) -> str:
    """The name under which a user knows a variable."""
    is_of_keras = isinstance(variable, keras.Variable)
    return variable.path if is_of_keras else variable.name


def get_random_state() -> dict[str, Any]:
    """The states of Python's, NumPy's, TensorFlow's and Keras's generator.

    What TensorFlow's older operations count by themselves, such as
    `tf.random.normal`, cannot be read.
    """
    # Making one draws from Python's; so it is not made here.
    of_keras = randomness.global_random_generator()
    return {
        "python": random.getstate(),
        "numpy": np.random.get_state(legacy=False),
        "tensorflow": tf.random.get_global_generator().state.numpy(),
        "keras": None if of_keras is None else of_keras.state.numpy(),
    }


def put_random_state(states: dict[str, Any]) -> None:
    """Sets the generators to what `get` found."""
    if states["keras"] is None:
        randomness.set_global_random_generator(None)
    else:
        randomness.global_random_state().assign(states["keras"])
    tf.random.get_global_generator().state.assign(states["tensorflow"])
    np.random.set_state(states["numpy"])
    random.setstate(states["python"])


@contextlib.contextmanager
def keep_random_state() -> Iterator[None]:
    """Sets generators and seeds back, at the end, to what they are now.

    If Keras's is not made yet, it is made when it is needed, from what
    Python's gives then, as if nothing had happened.
    """
    of_keras = randomness.global_random_generator()
    states, seeds = get_random_state(), randomness.seeds()
    try:
        yield
    finally:
        # A new one may have been made meanwhile.
        randomness.set_global_random_generator(of_keras)
        put_random_state(states)
        randomness.set_seeds(seeds)

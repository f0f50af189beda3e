"""Checks of what `find_learning_rate` is given, before the first step."""

from gdtrain import checks, keras_bridge
from gdtrain.insight import rate_ramp, suggestions
from gdtrain.telemetry.record import is_scheduled
from gdtrain.trainer import DescentTrainer

_FEWEST = 10  # Steps


def check_model(model):
    """Refuses a model that cannot be tested.

    Raises:
        TypeError, ValueError, RuntimeError: if it cannot.
    """
    if not isinstance(model, DescentTrainer):
        raise TypeError(
            "`model` must be a gdtrain model, whose steps can be observed. "
            f"Received: model={model!r} of type {type(model).__name__}. "
            "Write `gdtrain.from_keras(model)`, or use gdtrain.Model or "
            "gdtrain.Sequential."
        )
    keras_bridge.assert_compiled(model, "find_learning_rate")
    rate_ramp.optimizer_of(model)
    if not model.built:
        raise RuntimeError(
            "`model` must be built, so that it can be set back to its first "
            f"weights. Received: {model.name!r}, which has none yet. Give it "
            "a `keras.Input`, or call it on a batch."
        )


def check_apply(apply, curvature, optimizer):
    """Refuses what cannot be applied, before it takes time.

    Raises:
        ValueError: if it cannot.
    """
    if not apply:
        return
    names = [*suggestions.METHODS, *(["curvature"] if curvature else [])]
    if apply is not True and apply not in names:
        raise ValueError(
            f"`apply` must be True or the name of a method: one of {names}. "
            f"Received: apply={apply!r}."
        )
    if is_scheduled(optimizer):
        raise ValueError(
            "`apply` needs an optimizer whose learning rate can be set. "
            f"Received: apply={apply!r}, and a {type(optimizer).__name__} "
            "that follows a schedule. Compile it with a number as its "
            "learning_rate, or make the schedule of what is suggested."
        )


def rates(from_rate, to_rate, steps):
    """The range of rates, as arguments of `rate_range.run`.

    Raises:
        TypeError, ValueError: if it is none.
    """
    low = checks.positive_number("from_rate", from_rate, "Write 1e-7.")
    high = checks.positive_number("to_rate", to_rate, "Write 10.0.")
    if not low < high:
        raise ValueError(
            "`from_rate` must be below `to_rate`. Received: "
            f"from_rate={low}, to_rate={high}. Write for example 1e-7 and 10."
        )
    if steps is not None:
        steps = checks.positive_integer("steps", steps)
        if steps < _FEWEST:
            raise ValueError(
                f"`steps` must be at least {_FEWEST}, for a course to be "
                f"seen. Received: steps={steps}. Leave it out."
            )
    return {"from_rate": low, "to_rate": high, "steps": steps}


def check_seed(seed):
    """Refuses what is no seed.

    Raises:
        TypeError, ValueError: if it is none.
    """
    if seed != 0 or isinstance(seed, bool):
        checks.positive_integer("seed", seed)

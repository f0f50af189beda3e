"""What TensorBoard is told of a run before it begins."""

import contextlib
import inspect
import json
import math

import numpy as np

from gdtrain import keras_bridge
from gdtrain.callbacks import scalar_page
from gdtrain.writers import summaries

# Arguments of `compile` that are gdtrain's own, and where a model has them
_OWN = {
    "global_clipnorm": "global_clipnorm",
    "microbatches": "microbatches",
    "steps_per_execution": "steps_setting",
    "jit_compile": "jit_compile_setting",
}


def describe(model, batch_size, entries, measured, parts):
    """All that is told of a run, a list of `Summary`.

    Args:
        model: A Keras model, compiled.
        batch_size: In examples.
        entries: A dict of the user's own for the tab HParams.
        measured: `(name, quantity)` of what is measured, as in
            `scalar_page.page`.
        parts: A `failures.Parts`: what cannot be told is left out alone.
    """
    found = []
    with parts.alone("The page of Custom Scalars is left out"):
        found.append(scalar_page.page(measured))
    with parts.alone("The run is not in the tab HParams"):
        values = hyperparameters(model, batch_size, entries, parts)
        found.append(summaries.hparams(values))
    return found + texts(model, parts)


def texts(model, parts):
    """The model's summary and configuration for the tab Text.

    What has no configuration, as most classes of users have none, is left
    out without a word.

    Args:
        model: A Keras model, compiled.
        parts: A `failures.Parts`: what cannot be told is left out alone.

    Returns:
        A list of `Summary`.
    """
    making = {
        "summary": lambda: _summary(model),
        "optimizer": lambda: _json(model.optimizer),
        "compile": lambda: _json(_compiled(model)),
        "configuration": lambda: _json(model.get_config()),
    }
    found = []
    for name, make in making.items():
        with (
            parts.alone(f"The text model/{name} is left out"),
            contextlib.suppress(NotImplementedError),
        ):
            text = f"```\n{make()}\n```"
            found.append(summaries.text(f"model/{name}", text))
    return found


def hyperparameters(model, batch_size, entries, parts):
    """What tells this run from others, for the tab HParams.

    Args:
        model: A Keras model, compiled.
        batch_size: In examples.
        entries: A dict of the user's own, which come before the others.
        parts: A `failures.Parts`: what cannot be told is left out alone.

    Returns:
        A dict by name.
    """
    found = {"model": model.name}
    with parts.alone("The size of the model is left out of HParams"):
        # `count_params` refuses a model that is never called itself.
        found["model_size"] = sum(
            math.prod(weight.shape) for weight in model.weights
        )
    found["batch_size"] = batch_size
    if model.optimizer is not None:
        # What mixed precision wraps around it is no choice of the user's.
        one = getattr(model.optimizer, "inner_optimizer", model.optimizer)
        found["optimizer"] = type(one).__name__
        with parts.alone("Settings of the optimizer are left out of HParams"):
            found |= _settings(one)
    if getattr(model, "microbatches", 1) > 1:
        found["microbatches"] = model.microbatches
    found["global_clipnorm"] = getattr(model, "global_clipnorm", None)
    found |= entries
    return {name: value for name, value in found.items() if value is not None}


def _settings(optimizer):
    """What an optimizer, or each of several in it, was told."""
    if not hasattr(optimizer, "optimizers"):
        return _flat(_told(optimizer))
    found = {}
    for part in optimizer.optimizers:
        found[part.name] = type(part).__name__
        found |= _flat(_told(part), f"{part.name}/")
    return found


def _told(optimizer):
    """What an optimizer was told beyond defaults, and its learning rate."""
    defaults: dict[str, object] = {}
    for kind in reversed(type(optimizer).__mro__):
        parameters = inspect.signature(getattr(kind, "__init__")).parameters
        defaults |= {name: p.default for name, p in parameters.items()}
    config: dict[str, object] = {}
    with contextlib.suppress(NotImplementedError):  # It has none.
        config = optimizer.get_config()
    return {
        name: value
        for name, value in config.items()
        if name == "learning_rate" or not _is(defaults.get(name), value)
    }


def _is(default, value):
    """Whether a value is the default, one number, string or the like."""
    return type(default) is type(value) and bool(np.all(default == value))


def _flat(config, prefix=""):
    """Plain values of a nested configuration, by `name/within`."""
    found = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        if key == "name":
            continue
        if isinstance(value, dict):
            inner = value.get("config", value)
            if "class_name" in value:
                found[name] = value["class_name"]
            if isinstance(inner, dict):
                found |= _flat(inner, f"{name}/")
        elif isinstance(value, (bool, int, str)):
            found[name] = value
        elif hasattr(value, "__float__") and np.ndim(value) == 0:
            # 0.1, which as a float32 is a longer number
            found[name] = float(str(np.float32(value)))
    return found


def _summary(model):
    """What `model.summary()` prints."""
    lines: list[str] = []
    model.summary(print_fn=lines.append, expand_nested=True)
    return "\n".join(lines)


def _compiled(model):
    """What a model was compiled with, a dict by name."""
    own = {
        name: getattr(model, attribute)
        for name, attribute in _OWN.items()
        if hasattr(model, attribute)
    }
    return keras_bridge.compile_arguments(model) | own


def _json(value):
    """A configuration as text."""
    return json.dumps(value, indent=1, default=_written, skipkeys=True)


def _written(value):
    """An object that JSON does not know, as something that it knows."""
    # A user's class may have no configuration, or one that raises anything.
    with contextlib.suppress(Exception):
        return {
            "class_name": type(value).__name__,
            "config": value.get_config(),
        }
    with contextlib.suppress(Exception):
        return repr(value)
    return f"<{type(value).__name__}>"

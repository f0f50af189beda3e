"""What TensorBoard is told of a run before it begins."""

import contextlib
import inspect
import json
import re

import keras
import numpy as np

from gdtrain.writers import summaries

# Charts of the page "Gradient descent", and the tags that they draw together
_CHARTS = {
    "loss": [r"step/loss$", r"evaluation_loss_vs_iterations$"],
    "learning rate": [
        r"step/learning_rate(/.*)?$",
        r"step/stable_learning_rate$",
    ],
    "gradient norm": [r"step/gradient_norm$"],
    "gradient norm of each layer": [r"step/gradient_norm/.*"],
    "update ratio of each layer": [r"step/update_ratio/.*"],
    "stability: cosine to the gradient before": [r"step/gradient_cosine$"],
    "stability: learning rate over its limit, 1": [r"step/stability$"],
    "stability: sharpness": [r"step/sharpness$"],
    "best multiple of the learning rate": [r"step/best_multiple$"],
    "loss at multiples of the learning rate": [r"step/what_if/.*"],
    "change of the loss, predicted and real": [
        r"step/predicted_loss_change$",
        r"step/loss_change$",
    ],
    "numbers that are not finite": [r"step/nonfinite_count$"],
}


def describe(model, batch_size, entries, quantities):
    """All that is told of a run, a list of `Summary`.

    Args:
        model: A Keras model, compiled.
        batch_size: In examples.
        entries: A dict of the user's own for the tab HParams.
        quantities: Names of what is measured.
    """
    values = hyperparameters(model, batch_size, entries)
    return [layout(quantities), summaries.hparams(values), *texts(model)]


def layout(quantities):
    """The page "Gradient descent" of the tab Custom Scalars, a `Summary`.

    Args:
        quantities: Names of what is measured; charts of others are left out.
    """
    # Of the quantity, or of one of its parts
    names = [f"step/{name}{end}" for name in quantities for end in ("", "/a")]
    charts = [
        (title, tags)
        for title, tags in _CHARTS.items()
        if any(re.match(tag, name) for tag in tags for name in names)
    ]
    return summaries.custom_scalars("Gradient descent", charts)


def texts(model):
    """The model's summary and configuration for the tab Text.

    Args:
        model: A Keras model, compiled.

    Returns:
        A list of `Summary`.
    """
    found = {
        "model/summary": _summary(model),
        "model/optimizer": _json(
            keras.optimizers.serialize, model.optimizer
        ),
        "model/compile": _json(lambda: model.get_compile_config()),
        "model/configuration": _json(lambda: model.get_config()),
    }
    return [
        summaries.text(tag, f"```\n{text}\n```")
        for tag, text in found.items()
        if text
    ]


def hyperparameters(model, batch_size, entries):
    """What tells this run from others, for the tab HParams.

    Args:
        model: A Keras model, compiled.
        batch_size: In examples.
        entries: A dict of the user's own, which come before the others.

    Returns:
        A dict of numbers, bools and strings.
    """
    found = {
        "model": model.name,
        "model_size": model.count_params(),
        "batch_size": batch_size,
    }
    if model.optimizer is not None:
        # What mixed precision wraps around it is no choice of the user's.
        one = getattr(model.optimizer, "inner_optimizer", model.optimizer)
        found["optimizer"] = type(one).__name__
        if not hasattr(one, "optimizers"):
            found |= _flat(_told(one))
        for part in getattr(one, "optimizers", ()):
            found[part.name] = type(part).__name__
            found |= _flat(_told(part), f"{part.name}/")
    if getattr(model, "microbatches", 1) > 1:
        found["microbatches"] = model.microbatches
    found["global_clipnorm"] = getattr(model, "global_clipnorm", None)
    found |= entries
    return {name: value for name, value in found.items() if value is not None}


def _told(optimizer):
    """What an optimizer was told beyond defaults, and its learning rate."""
    defaults: dict[str, object] = {}
    for kind in reversed(type(optimizer).__mro__):
        parameters = inspect.signature(getattr(kind, "__init__")).parameters
        defaults |= {name: p.default for name, p in parameters.items()}
    config: dict[str, object] = {}
    with contextlib.suppress(Exception):  # A user's own, as in `_json`
        config = optimizer.get_config()
    return {
        name: value
        for name, value in config.items()
        if name == "learning_rate" or defaults.get(name) != value
    }


def _flat(config, prefix=""):
    """Plain values of a nested configuration, by `name/within`."""
    found = {}
    for key, value in config.items():
        if key == "name":
            continue
        if isinstance(value, dict):
            inner = value.get("config", value)
            if "class_name" in value:
                found[prefix + key] = value["class_name"]
            found |= _flat(inner, f"{prefix}{key}/")
        elif isinstance(value, (bool, int, str)):
            found[prefix + key] = value
        elif hasattr(value, "__float__"):
            # 0.1, which as a float32 is a longer number
            found[prefix + key] = float(str(np.float32(value)))
    return found


def _summary(model):
    """What `model.summary()` prints; empty for a model that has none."""
    lines: list[str] = []
    with contextlib.suppress(ValueError):  # Not built
        model.summary(print_fn=lines.append, expand_nested=True)
    return "\n".join(lines)


def _json(make, *args):
    """A configuration as text; empty where there is none to be had."""
    # A user's own class may have no configuration, or one that raises
    # anything; a text is not worth ending telemetry for.
    with contextlib.suppress(Exception):
        return json.dumps(make(*args), indent=1, default=repr)
    return ""

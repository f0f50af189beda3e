"""What TensorBoard shows of a run beside its curves: charts, HParams, texts.

The page "Gradient descent" of the tab Custom Scalars has the most informative
charts first. TensorBoard draws all curves of a run in one colour, so that each
has a chart of its own, except for those that are compared, such as training
and validation.
"""

import contextlib
import dataclasses
import inspect
import json
import math
import operator
import re
from collections.abc import Iterable, Mapping
from typing import Any, SupportsFloat

import keras
import numpy as np
from tensorboard.compat.proto.summary_pb2 import Summary

from gdtrain.common import failures, notebook
from gdtrain.descent import optimizers, settings
from gdtrain.keras_bridge import models
from gdtrain.keras_bridge.optimizers import unwrapped
from gdtrain.telemetry.system import Workers
from gdtrain.writers import summaries

_TITLE = "Gradient descent"
_OPEN = 12  # Charts of layers that are expanded, at most

# Titles of the first charts, and patterns of what they draw together.
# Metrics of the step come after the loss.
_CHARTS = {
    "loss": ["loss"],
    "learning rate": ["learning_rate(/.*)?", "stable_learning_rate"],
    "gradient norm": ["gradient_norm"],
    "stability: learning rate over its limit, 1": ["stability"],
    "stability: sharpness": ["sharpness"],
    "stability: cosine to the gradient before": ["gradient_cosine"],
    "best multiple of the learning rate": ["best_multiple"],
    "loss at multiples of the learning rate": ["what_if/.*"],
    "change of the loss, predicted and real": [
        "predicted_loss_change",
        "loss_change",
    ],
}
_METRICS, _OTHERS = 0.5, len(_CHARTS)  # Their places among `_CHARTS`
_LAST = {"nonfinite_count": "numbers that are not finite"}
_LAYERS = ["update_ratio", "gradient_norm", "weight_norm"]  # Others follow

Charts = list[tuple[str, list[str]]]  # Titles, and patterns of tags
Measured = Iterable[tuple[str, str | None]]  # Names, and their quantities


def categories(measured: Measured) -> list[tuple[str, bool, Charts]]:
    """The charts of the page: `(title, whether it is closed, charts)`.

    Args:
        measured: `(name, quantity)` of each number of a step, in the order of
            the table; `None` for those that the step itself returned.

    Example:

    >>> for title, closed, charts in categories(
    ...     [
    ...         ("loss", "loss"),
    ...         ("gradient_norm", "gradient_norm"),
    ...         ("gradient_norm/one", "gradient_norm"),
    ...         ("gradient_norm/two", "gradient_norm"),
    ...         ("accuracy", None),
    ...     ]
    ... ):
    ...     print(title, [name for name, tags in charts])
    Gradient descent ['loss', 'accuracy', 'gradient norm']
    Gradient norm of each layer ['one', 'two']
    """
    updates: dict[str, int] = {}  # In their order
    # Of the first page: place, title and tags
    found: list[tuple[tuple[float, int, int], str, list[str]]] = []
    last: Charts = []
    layers: dict[str, Charts] = {name: [] for name in _LAYERS}
    for name, quantity in measured:
        update, word, part = _parted(name, quantity)
        of_update = f": {update}" if update else ""
        order = updates.setdefault(update, len(updates))
        chart, title, place = _chart(word)
        tags = [f"step/{re.escape(name)}$"]
        if name == "loss" or (quantity is None and chart == _OTHERS):
            tags.append(f"evaluation_{re.escape(name)}_vs_iterations$")
        if chart != _OTHERS:
            found.append(((chart, order, place), title + of_update, tags))
        elif quantity is None:
            found.append(((_METRICS, 0, 0), name, tags))
        elif part:
            layers.setdefault(quantity, []).append((part + of_update, tags))
        elif word in _LAST:
            last.append((_LAST[word] + of_update, tags))
        else:
            found.append(((_OTHERS, 0, 0), title + of_update, tags))
    first: dict[str, list[str]] = {}
    for _, title, tags in sorted(found, key=operator.itemgetter(0)):
        first.setdefault(title, []).extend(tags)
    pages = [(_TITLE, False, [*first.items()])]
    for quantity, charts in layers.items():
        words = quantity.replace("_", " ")
        if len(charts) == 1:  # No layers to compare
            page = pages[0][-1] if quantity == _LAYERS[0] else last
            page.append((words, charts[0][1]))
        else:
            closed = quantity != _LAYERS[0] or len(charts) > _OPEN
            title = f"{words.capitalize()} of each layer"
            if quantity == Workers.name:
                closed, title = False, "Workers"
            pages.append((title, closed, charts))
    pages.append(("More", True, last))
    return [page for page in pages if page[-1]]


def _parted(name: str, quantity: str | None) -> tuple[str, str, str]:
    """The update, the name without it, and the part of a quantity."""
    if quantity is None:
        return "", name, ""
    word = re.escape(quantity)
    match = re.fullmatch(f"(?:(.+?)/)?({word}(?:/(.+))?)", name, re.DOTALL)
    if match is None:  # A quantity may call its numbers what it likes.
        return "", name, ""
    update, found, part = match.groups(default="")
    return update, found, part


def _chart(word: str) -> tuple[int, str, int]:
    """The place of the chart that draws a number, its title, its place in it.

    `_OTHERS` where the number has a chart of its own.
    """
    for chart, (title, patterns) in enumerate(_CHARTS.items()):
        for place, pattern in enumerate(patterns):
            if re.fullmatch(pattern, word):
                return chart, title, place
    return _OTHERS, word.replace("_", " "), 0


def describe(
    model: keras.Model,
    batch_size: int,
    entries: Mapping[str, Any],
    measured: Measured,
    parts: failures.FailureReporter,
) -> list[Summary]:
    """Summaries that describe a run.

    Args:
        model: A Keras model, compiled.
        batch_size: In examples.
        entries: A dict of the user's own for the tab HParams.
        measured: What is measured, as in `categories`.
        parts: What cannot be described is excluded alone.
    """
    found = []
    with parts.catch("The page of Custom Scalars is skipped"):
        found.append(summaries.custom_scalars(categories(measured)))
    with parts.catch("The run is not in the tab HParams"):
        values = hyperparameters(model, batch_size, entries, parts)
        found.append(summaries.hparams(values))
    texts = {
        "summary": lambda: _summary(model),
        "optimizer": lambda: _json(model.optimizer),
        "compile": lambda: _json(_compiled(model)),
        "configuration": lambda: _json(model.get_config()),
    }
    for name, make in texts.items():
        with (
            parts.catch(f"The text model/{name} is skipped"),
            # Of what has no configuration, such as most classes of users
            contextlib.suppress(NotImplementedError),
        ):
            text = f"```\n{make()}\n```"
            found.append(summaries.text(f"model/{name}", text))
    return found


def hyperparameters(
    model: keras.Model,
    batch_size: int,
    entries: Mapping[str, Any],
    parts: failures.FailureReporter,
) -> dict[str, Any]:
    """What distinguishes this run from others, for the tab HParams.

    Args:
        model: A Keras model, compiled.
        batch_size: In examples.
        entries: The user's own, which replace others of the same name.
        parts: What cannot be described is excluded alone.

    Returns:
        A dict by name.
    """
    found: dict[str, Any] = {"model": model.name}
    with parts.catch("The size of the model is missing in HParams"):
        # `count_params` refuses a model that is never called itself.
        found["model_size"] = sum(
            math.prod(weight.shape) for weight in model.weights
        )
    found["batch_size"] = batch_size
    if model.optimizer is not None:
        # Mixed precision wraps one for loss scaling around the user's.
        one = unwrapped(model.optimizer)
        found["optimizer"] = type(one).__name__
        with parts.catch("Settings of the optimizer are missing in HParams"):
            found |= _settings(one)
    found |= settings.of(model).changed
    found |= entries
    return {name: value for name, value in found.items() if value is not None}


def _settings(optimizer: keras.optimizers.Optimizer) -> dict[str, Any]:
    """The settings of an optimizer, or of each of several in it."""
    found: dict[str, Any] = {}
    for name, one in optimizers.by_name(optimizer).items():
        if name:
            found[name] = type(one).__name__
        found |= _flat(_arguments(one), f"{name}/" if name else "")
    return found


def _arguments(optimizer: keras.optimizers.Optimizer) -> dict[str, Any]:
    """Arguments of an optimizer that differ from defaults; learning rates."""
    defaults: dict[str, Any] = {}
    for kind in reversed(type(optimizer).__mro__):
        parameters = inspect.signature(getattr(kind, "__init__")).parameters
        defaults |= {name: p.default for name, p in parameters.items()}
    found: dict[str, Any] = {}
    with contextlib.suppress(NotImplementedError):  # It has no configuration.
        for name, value in optimizer.get_config().items():
            default = defaults.get(name)
            is_default = type(default) is type(value) and np.all(
                default == value
            )
            if name == "learning_rate" or not is_default:
                found[name] = value
    return found


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Plain values of a nested configuration, by `name/within`."""
    found: dict[str, Any] = {}
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
        elif isinstance(value, SupportsFloat) and not np.asarray(value).ndim:
            # 0.1, which as a float32 is a longer number
            found[name] = float(str(np.float32(value)))
    return found


def _summary(model: keras.Model) -> str:
    """What `model.summary()` prints."""
    lines: list[str] = []
    with notebook.nothing_shown():
        model.summary(print_fn=lines.append, expand_nested=True)
    return "\n".join(lines)


def _compiled(model: keras.Model) -> dict[str, Any]:
    """What a model was compiled with, by name."""
    own = dataclasses.asdict(settings.of(model))
    del own["resolved_jit_compile"]
    return models.compile_arguments(model) | own


def _json(value: object) -> str:
    """A configuration as text."""
    text = json.dumps(value, default=_written, skipkeys=True)
    return json.dumps(json.loads(text, parse_float=_shortest), indent=1)


def _shortest(number: str) -> float:
    """0.1 for 0.10000000149011612, as optimizers keep it: in float32."""
    value = float(number)
    with np.errstate(over="ignore"):
        single = np.float32(value)
    return float(str(single)) if single == value else value


def _written(value: Any) -> dict[str, Any] | str:
    """An object that JSON has no type for, by its configuration or `repr`."""
    # A user's class may have no configuration, or one that raises anything.
    with contextlib.suppress(Exception):
        return {
            "class_name": type(value).__name__,
            "config": value.get_config(),
        }
    with contextlib.suppress(Exception):
        return repr(value)
    return f"<{type(value).__name__}>"

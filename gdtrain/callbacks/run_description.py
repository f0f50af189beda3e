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
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, SupportsFloat

import keras
import numpy as np
from tensorboard.compat.proto.summary_pb2 import Summary

from gdtrain.common import failures
from gdtrain.descent import optimizers, settings
from gdtrain.keras_bridge import models
from gdtrain.keras_bridge.optimizers import unwrapped
from gdtrain.writers import summaries

_TITLE = "Gradient descent"
_OPEN = 12  # Charts of layers that are expanded, at most

# Titles of charts, and patterns of what they draw together, in their order.
# Metrics of the step come after the loss.
_LOSS = {"loss": ["loss"]}
_CHARTS = {
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
_LAST = {"nonfinite_count": "numbers that are not finite"}
_LAYERS = ["update_ratio", "gradient_norm", "weight_norm"]  # Others follow

Charts = list[tuple[str, list[str]]]


Measured = Sequence[tuple[str, str | None]]  # Names, and their quantities


def scalar_page(measured: Measured) -> Summary:
    """The page of Custom Scalars.

    Args:
        measured: `(name, quantity)` of each number of a step, in the order of
            the table; `None` for those that the step itself returned.
    """
    return summaries.custom_scalars(categories(measured))


def categories(
    measured: Iterable[tuple[str, str | None]],
) -> list[tuple[str, bool, Charts]]:
    """The charts of the page: `(title, whether it is closed, charts)`.

    Args:
        measured: As in `page`.

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
    whole: list[tuple[str, str]] = []  # (update, name without it)
    layers: dict[str, Charts] = {name: [] for name in _LAYERS}
    own: Charts = []
    for name, quantity in measured:
        update, word, part = _parted(name, quantity)
        if quantity is None and not _is_known(name):
            own.append((name, [_tag(name), _evaluated(name)]))
        elif part and not _is_known(word):
            chart = _titled(part, update), [_tag(name)]
            layers.setdefault(quantity or word, []).append(chart)
        else:
            whole.append((update, word))
    first = [*_known(whole, _LOSS), *own, *_known(whole, _CHARTS)]
    first += _others(whole, lambda name: name not in _LAST)
    last = _others(whole, lambda name: name in _LAST)
    pages: list[tuple[str, bool, Charts]] = [(_TITLE, False, first)]
    for quantity, charts in layers.items():
        words = quantity.replace("_", " ")
        if len(charts) == 1:  # No layers to compare
            page = first if quantity == _LAYERS[0] else last
            page += [(words, tags) for _, tags in charts]
        else:
            closed = quantity != _LAYERS[0] or len(charts) > _OPEN
            title = f"{words.capitalize()} of each layer"
            pages.append((title, closed, charts))
    pages.append(("More", True, last))
    return [category for category in pages if category[-1]]


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


def _is_known(name: str) -> bool:
    """Whether a chart with a title of its own draws a name."""
    return any(
        re.fullmatch(pattern, name)
        for patterns in (_LOSS | _CHARTS).values()
        for pattern in patterns
    )


def _known(
    whole: list[tuple[str, str]], titles: dict[str, list[str]]
) -> Iterator[tuple[str, list[str]]]:
    """Charts that have titles of their own, of each update."""
    updates = list(dict.fromkeys(update for update, _ in whole))
    for title, patterns in titles.items():
        for update in updates:
            names = [
                name
                for pattern in patterns
                for one, name in whole
                if one == update and re.fullmatch(pattern, name)
            ]
            tags = [_tag(name, update) for name in names]
            if names == ["loss"] and not update:
                tags.append(_evaluated("loss"))
            if tags:
                yield _titled(title, update), tags


def _others(
    whole: list[tuple[str, str]], is_wanted: Callable[[str], bool]
) -> Charts:
    """Charts of what has no title of its own, of each update."""
    return [
        (
            _titled(_LAST.get(name, name.replace("_", " ")), update),
            [_tag(name, update)],
        )
        for update, name in whole
        if not _is_known(name) and is_wanted(name)
    ]


def _titled(title: str, update: str) -> str:
    """A title, of one update of several."""
    return f"{title}: {update}" if update else title


def _tag(name: str, update: str = "") -> str:
    """A regular expression for the tag of a number of a step."""
    return f"step/{re.escape(f'{update}/{name}' if update else name)}$"


def _evaluated(name: str) -> str:
    """A regular expression for the tag of a number of evaluations."""
    return f"evaluation_{re.escape(name)}_vs_iterations$"


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
        measured: `(name, quantity)` of what is measured, as in `scalar_page`.
        parts: What cannot be described is excluded alone.
    """
    found = []
    with parts.catch("The page of Custom Scalars is skipped"):
        found.append(scalar_page(measured))
    with parts.catch("The run is not in the tab HParams"):
        values = hyperparameters(model, batch_size, entries, parts)
        found.append(summaries.hparams(values))
    return found + texts(model, parts)


def texts(model: keras.Model, parts: failures.FailureReporter) -> list[Summary]:
    """The model's summary and configuration for the tab Text.

    What has no configuration, such as most classes of users, is skipped.

    Args:
        model: A Keras model, compiled.
        parts: What cannot be described is excluded alone.
    """
    making: dict[str, Callable[[], str]] = {
        "summary": lambda: _summary(model),
        "optimizer": lambda: _json(model.optimizer),
        "compile": lambda: _json(_compiled(model)),
        "configuration": lambda: _json(model.get_config()),
    }
    found = []
    for name, make in making.items():
        with (
            parts.catch(f"The text model/{name} is skipped"),
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
        # Mixed precision wraps another optimizer around the user's.
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


def _is(default: object, value: object) -> bool:
    """Whether a value is the default, one number, string or the like."""
    return type(default) is type(value) and bool(np.all(default == value))


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
